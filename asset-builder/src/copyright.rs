//! Licences from the copyright files of packages, as SPDX expressions: in Debian's machine-readable form (DEP-5,
//! copyright-format/1.0) licence by licence, otherwise as one text. Runs on the build machine; the text comes from a verified
//! package.

use crate::control::{Stanza, stanzas};
use runq_bundle::digest::sha256;
use std::collections::{BTreeMap, HashMap};

/// Debian's short names that are neither SPDX's, nor follow from them (`GPL-2+`, `LGPL`).
const NAMES: [(&str, &str); 9] = [
    ("artistic", "Artistic-1.0-Perl"),
    ("cc0", "CC0-1.0"),
    ("cddl", "CDDL-1.0"),
    ("expat", "MIT"),
    ("gfdl-niv-1.2", "GFDL-1.2-no-invariants-only"),
    ("gfdl-niv-1.2+", "GFDL-1.2-no-invariants-or-later"),
    ("gfdl-niv-1.3", "GFDL-1.3-no-invariants-only"),
    ("gfdl-niv-1.3+", "GFDL-1.3-no-invariants-or-later"),
    ("unicode", "Unicode-DFS-2016"),
];

/// GNU's families of licences, and the first version of each, which is meant where none is named.
const FAMILIES: [(&str, &str, &str); 4] =
    [("agpl", "AGPL", "3.0"), ("gfdl", "GFDL", "1.1"), ("gpl", "GPL", "1.0"), ("lgpl", "LGPL", "2.0")];

/// What a copyright file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct License {
    /// SPDX expression.
    pub(crate) expression: String,
    /// Its licences that SPDX does not know, by their `LicenseRef-…`.
    pub(crate) extracted: BTreeMap<String, ExtractedLicense>,
}

/// A licence that SPDX does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtractedLicense {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The licences of all files of a package, joined by AND. `source` names a text of another form.
pub(crate) fn license(text: &str, source: &str) -> License {
    let mut reader = Reader { text, texts: HashMap::new(), extracted: BTreeMap::new() };
    let expression = reader
        .machine_readable()
        .unwrap_or_else(|| reader.reference(&format!("copyright of {source}"), text.trim().to_owned()));
    License { expression, extracted: reader.extracted }
}

struct Reader<'a> {
    /// The whole file.
    text: &'a str,
    /// Name of a licence in lower case → its text.
    texts: HashMap<String, String>,
    extracted: BTreeMap<String, ExtractedLicense>,
}

impl Reader<'_> {
    /// `None` when the file is of another form.
    fn machine_readable(&mut self) -> Option<String> {
        let mut stanzas = stanzas(self.text);
        let header = stanzas.next()?;
        header.get("Format").or_else(|| header.get("Format-Specification"))?;
        let licenses: Vec<_> = stanzas.filter_map(|stanza| Some((synopsis(&stanza)?, stanza))).collect();
        for ((name, body), _) in licenses.iter().filter(|((_, body), _)| !body.is_empty()) {
            self.texts.entry(name.to_lowercase()).or_insert_with(|| body.clone());
        }
        let of_files = licenses.iter().filter(|(_, stanza)| stanza.get("Files").is_some());
        let parts: Vec<_> = of_files.map(|((name, _), _)| self.expression(name)).collect();
        let mut all = Expression::join(parts, Operator::And);
        if all.operator == Operator::And {
            all.operands.sort();
        }
        (!all.operands.is_empty()).then(|| all.text())
    }

    /// `GPL-2+ or Expat, and BSD-3-clause`: `or` binds less than `and`, a comma before either of them less than both. A comma
    /// alone is that of a list, whose last comma is a word.
    fn expression(&mut self, synopsis: &str) -> Expression {
        let spaced = synopsis.replace(',', " , ");
        let mut words: Vec<&str> = spaced.split_whitespace().collect();
        let mut operator = "and";
        for position in (0..words.len()).rev() {
            match operator_of(words[position]) {
                Some(_) => operator = words[position],
                None if words[position] != "," => {}
                None if words.get(position + 1).is_some_and(|next| operator_of(next).is_some()) => {}
                None => words[position] = operator,
            }
        }
        let parts: Vec<&[&str]> = words.split(|word| *word == ",").collect();
        let heads: Vec<_> = parts[1..].iter().filter_map(|part| operator_of(part.first()?)).collect();
        let operator = heads.first().copied().unwrap_or(Operator::And);
        // What mixes them says nothing about which comes first.
        let mixed = heads.len() + 1 != parts.len() || heads.iter().any(|head| *head != operator);
        let parts: Vec<_> =
            parts.iter().enumerate().map(|(n, part)| &part[n.min(part.len()).min(1)..]).collect();
        let incomplete = |part: &&[&str]| part.split(|word| operator_of(word).is_some()).any(<[_]>::is_empty);
        if mixed || parts.iter().any(incomplete) {
            return Expression::of(self.named(synopsis));
        }
        Expression::join(parts.into_iter().map(|part| self.alternatives(part)), operator)
    }

    fn alternatives(&mut self, words: &[&str]) -> Expression {
        let any = words.split(|word| operator_of(word) == Some(Operator::Or));
        let mut any_of = Vec::new();
        for words in any {
            let all = words.split(|word| operator_of(word) == Some(Operator::And));
            let all: Vec<_> = all.map(|words| Expression::of(self.named(&words.join(" ")))).collect();
            any_of.push(Expression::join(all, Operator::And));
        }
        Expression::join(any_of, Operator::Or)
    }

    /// A single licence: SPDX's name of it, or a reference to its text.
    fn named(&mut self, name: &str) -> String {
        spdx_name(name).unwrap_or_else(|| {
            let text = self.texts.get(&name.to_lowercase()).map_or(self.text, String::as_str);
            self.reference(name, text.to_owned())
        })
    }

    /// The same text under the same name has the same reference in every package.
    fn reference(&mut self, name: &str, text: String) -> String {
        let plain: String =
            name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
        let digest = sha256(text.as_bytes()).to_string();
        let id = format!("LicenseRef-{}-{}", plain.trim_matches('-'), &digest[..8]);
        self.extracted.insert(id.clone(), ExtractedLicense { name: name.to_owned(), text });
        id
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    And,
    Or,
}

fn operator_of(word: &str) -> Option<Operator> {
    match word.to_ascii_lowercase().as_str() {
        "and" => Some(Operator::And),
        "or" => Some(Operator::Or),
        _ => None,
    }
}

/// Operands, and what joins them.
struct Expression {
    operator: Operator,
    operands: Vec<String>,
}

impl Expression {
    fn of(license: String) -> Self {
        Self { operator: Operator::And, operands: vec![license] }
    }

    /// Each operand once.
    fn join(parts: impl IntoIterator<Item = Self>, operator: Operator) -> Self {
        let mut parts: Vec<_> = parts.into_iter().collect();
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let mut joined = Self { operator, operands: Vec::new() };
        for part in parts {
            let flat = part.operator == operator || part.operands.len() == 1;
            let operands = if flat { part.operands } else { vec![format!("({})", part.text())] };
            for operand in operands {
                if !joined.operands.contains(&operand) {
                    joined.operands.push(operand);
                }
            }
        }
        joined
    }

    fn text(&self) -> String {
        self.operands.join(match self.operator {
            Operator::And => " AND ",
            Operator::Or => " OR ",
        })
    }
}

/// The first line of a stanza's `License`, which names it, and the text below.
fn synopsis(stanza: &Stanza<'_>) -> Option<(String, String)> {
    let value = stanza.raw("License")?;
    let (name, body) = value.split_once('\n').unwrap_or((value, ""));
    let lines = body.lines().map(|line| match line.trim() {
        "." => "",
        _ => line.strip_prefix(' ').unwrap_or(line).trim_end(),
    });
    let body = lines.collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned();
    let name = if name.trim().is_empty() { "unnamed" } else { name.trim() };
    Some((name.to_owned(), body))
}

/// `GPL-2+ with Bison exception` is `GPL-2.0-or-later WITH Bison-exception-2.2`.
fn spdx_name(name: &str) -> Option<String> {
    let Some((base, exception)) = name.split_once(" with ") else { return license_id(name) };
    let license = license_id(base)?;
    let exception = exception.trim().strip_suffix(" exception")?.to_ascii_lowercase();
    // Autoconf's is one with version 2 of the GPL and another with version 3.
    let suffixes = [
        "",
        "-exception",
        if license.contains("-3.") { "-exception-3.0" } else { "-exception-2.0" },
        "-exception-2.2",
    ];
    let known = |name: &String| {
        spdx::identifiers::EXCEPTIONS.iter().find(|known| known.name.eq_ignore_ascii_case(name))
    };
    let found = suffixes.map(|suffix| format!("{exception}{suffix}")).iter().find_map(known)?;
    Some(format!("{license} WITH {}", found.name))
}

fn license_id(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let special = NAMES.iter().find(|(debian, _)| *debian == lower).map(|(_, spdx)| (*spdx).to_owned());
    let wanted = special.or_else(|| gnu_id(&lower)).unwrap_or(lower);
    let known = spdx::identifiers::LICENSES.iter().find(|known| known.name.eq_ignore_ascii_case(&wanted));
    known.map(|known| known.name.to_owned())
}

/// `gpl-2+` is `GPL-2.0-or-later`.
fn gnu_id(lower: &str) -> Option<String> {
    FAMILIES.iter().find_map(|(prefix, family, first)| match lower.strip_prefix(prefix)? {
        "" => Some(format!("{family}-{first}-or-later")),
        rest => {
            let version = rest.strip_prefix('-')?;
            let (version, kind) =
                version.strip_suffix('+').map_or((version, "only"), |version| (version, "or-later"));
            let point = if version.contains('.') { "" } else { ".0" };
            Some(format!("{family}-{version}{point}-{kind}"))
        }
    })
}

#[cfg(test)]
#[path = "copyright/tests.rs"]
mod tests;
