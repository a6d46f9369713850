//! Licences from Debian's machine-readable copyright files (DEP-5, copyright-format/1.0), as SPDX expressions.
//! Runs on the build machine; the text comes from a verified package.

use crate::control::stanzas;
use std::collections::BTreeSet;

/// Debian's short names of licences, and SPDX's. With `-N+` Debian means "or later".
const NAMES: [(&str, &str); 36] = [
    ("apache-2.0", "Apache-2.0"),
    ("artistic", "Artistic-1.0-Perl"),
    ("artistic-2.0", "Artistic-2.0"),
    ("bsd-2-clause", "BSD-2-Clause"),
    ("bsd-3-clause", "BSD-3-Clause"),
    ("bsd-4-clause", "BSD-4-Clause"),
    ("bsl-1.0", "BSL-1.0"),
    ("cc0-1.0", "CC0-1.0"),
    ("expat", "MIT"),
    ("gfdl-1.2+", "GFDL-1.2-or-later"),
    ("gfdl-1.3+", "GFDL-1.3-or-later"),
    ("gpl-1+", "GPL-1.0-or-later"),
    ("gpl-2", "GPL-2.0-only"),
    ("gpl-2.0", "GPL-2.0-only"),
    ("gpl-2+", "GPL-2.0-or-later"),
    ("gpl-2.0+", "GPL-2.0-or-later"),
    ("gpl-3", "GPL-3.0-only"),
    ("gpl-3+", "GPL-3.0-or-later"),
    ("gpl-3.0+", "GPL-3.0-or-later"),
    ("isc", "ISC"),
    ("lgpl-2", "LGPL-2.0-only"),
    ("lgpl-2+", "LGPL-2.0-or-later"),
    ("lgpl-2.0+", "LGPL-2.0-or-later"),
    ("lgpl-2.1", "LGPL-2.1-only"),
    ("lgpl-2.1+", "LGPL-2.1-or-later"),
    ("lgpl-3", "LGPL-3.0-only"),
    ("lgpl-3+", "LGPL-3.0-or-later"),
    ("lgpl-3.0+", "LGPL-3.0-or-later"),
    ("mpl-1.1", "MPL-1.1"),
    ("mpl-2.0", "MPL-2.0"),
    ("openldap-2.8", "OLDAP-2.8"),
    ("python-2.0", "Python-2.0"),
    ("unicode", "Unicode-DFS-2016"),
    ("unlicense", "Unlicense"),
    ("wtfpl", "WTFPL"),
    ("zlib", "Zlib"),
];

/// All licences of a package's files, joined by AND; `None` when the file is of another form, or a licence has no SPDX name:
/// better no assertion than half of one.
pub(crate) fn spdx_license(text: &str) -> Option<String> {
    let mut stanzas = stanzas(text);
    let format = stanzas.next()?.get("Format")?;
    if !format.trim_end_matches('/').ends_with("copyright-format/1.0") {
        return None;
    }
    let files = stanzas.filter(|stanza| stanza.get("Files").is_some());
    let licenses: Vec<_> = files.map(|stanza| expression(stanza.get("License")?.lines().next()?)).collect();
    let licenses = licenses.into_iter().collect::<Option<BTreeSet<_>>>()?;
    let many = licenses.len() > 1;
    let operands =
        licenses.into_iter().map(|one| if many && one.contains(' ') { format!("({one})") } else { one });
    let joined = operands.collect::<Vec<_>>().join(" AND ");
    (!joined.is_empty()).then_some(joined)
}

/// `GPL-2+ and LGPL-2.1+ or Expat`: `or` binds less than `and`, as in SPDX.
fn expression(text: &str) -> Option<String> {
    let words = text.split_whitespace().map(|word| match word.to_ascii_lowercase().as_str() {
        "and" => Some("AND"),
        "or" => Some("OR"),
        name => NAMES.iter().find(|(debian, _)| *debian == name).map(|(_, spdx)| *spdx),
    });
    let words = words.collect::<Option<Vec<_>>>()?;
    // Names and operators take turns.
    let is_operator = |word: &str| matches!(word, "AND" | "OR");
    let well_formed = words.len() % 2 == 1
        && words.iter().zip(0..).all(|(word, position)| is_operator(word) == (position % 2 == 1));
    well_formed.then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copyright(licenses: &[&str]) -> String {
        let header =
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n".to_owned();
        let files = licenses.iter().map(|license| format!("Files: *\nLicense: {license}\n Text.\n\n"));
        header + &files.collect::<String>() + "License: Custom\n Text.\n"
    }

    #[test]
    fn joins_the_licenses_of_all_files() {
        let text = copyright(&["GPL-2+ or Expat", "LGPL-2.1+", "LGPL-2.1+"]);
        assert_eq!(spdx_license(&text).unwrap(), "(GPL-2.0-or-later OR MIT) AND LGPL-2.1-or-later");
    }

    #[test]
    fn asserts_nothing_about_what_it_does_not_know() {
        for licenses in [&["GPL-2+", "Custom"][..], &["GPL-2+ with exception"], &["GPL-2+ and"], &[]] {
            assert_eq!(spdx_license(&copyright(licenses)), None, "{licenses:?}");
        }
        assert_eq!(spdx_license("This package was debianized by hand.\n"), None);
    }
}
