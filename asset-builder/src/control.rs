//! Debian's control format (deb822): stanzas of `Name: value` fields, as in Release, Packages and status files.
//! Runs on the build machine; the text is either verified by the caller or comes from a verified image.

/// One stanza. Values keep their continuation lines.
pub(crate) struct Stanza<'a> {
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Stanza<'a> {
    /// The value of a field without the white space around it. Names differ by more than case.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.raw(name).map(str::trim)
    }

    /// The value as it is written: where it begins on a line of its own, its first line is empty.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        let field = self.fields.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        field.map(|(_, value)| *value)
    }
}

/// All stanzas of a text.
pub(crate) fn stanzas(text: &str) -> impl Iterator<Item = Stanza<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut stanza = Stanza { fields: Vec::new() };
        while let Some((line, after)) = next_line(rest) {
            if line.trim().is_empty() {
                rest = after;
                if stanza.fields.is_empty() {
                    continue;
                }
                break;
            }
            let (field, after) = next_field(rest);
            rest = after;
            stanza.fields.extend(field.split_once(':'));
        }
        (!stanza.fields.is_empty()).then_some(stanza)
    })
}

/// A line and the lines after it that start with white space.
fn next_field(text: &str) -> (&str, &str) {
    let mut end = 0;
    while let Some((line, after)) = next_line(&text[end..]) {
        if end > 0 && (!line.starts_with([' ', '\t']) || line.trim().is_empty()) {
            break;
        }
        end = text.len() - after.len();
    }
    text.split_at(end)
}

fn next_line(text: &str) -> Option<(&str, &str)> {
    if text.is_empty() {
        return None;
    }
    Some(text.split_once('\n').unwrap_or((text, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_continuations_and_stanzas() {
        let text = "\nPackage: a\nDescription: one\n two\n .\n three: four\nSize: 1\n\n\nPackage: b\nsize:2";
        let stanzas: Vec<_> = stanzas(text).collect();
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0].get("description"), Some("one\n two\n .\n three: four"));
        assert_eq!(stanzas[0].get("Size"), Some("1"));
        assert_eq!(stanzas[1].get("Package"), Some("b"));
        assert_eq!(stanzas[1].get("Size"), Some("2"));
        assert_eq!(stanzas[1].get("three"), None);
    }

    #[test]
    fn reads_lines_that_end_as_signed_text_does() {
        let text = "Suite: x\r\nSHA256:\r\n aa 1 f\r\n bb 2 g\r\nDate: d\r\n";
        let stanza = stanzas(text).next().unwrap();
        assert_eq!(stanza.get("Suite"), Some("x"));
        assert_eq!(stanza.get("SHA256").unwrap().lines().count(), 2);
        assert_eq!(stanza.get("Date"), Some("d"));
    }
}
