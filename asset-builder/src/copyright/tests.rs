//! Copyright files as packages have them.

use super::*;

const FORMAT: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n";

fn of(licenses: &[&str], more: &str) -> License {
    let files = licenses.iter().map(|license| format!("Files: *\nLicense: {license}\n\n"));
    license(&format!("{FORMAT}{}{more}", files.collect::<String>()), "source")
}

/// The expression, which has to be one.
fn expression(licenses: &[&str]) -> String {
    let found = of(licenses, "").expression;
    assert!(spdx::Expression::parse(&found).is_ok(), "{found}");
    found
}

#[test]
fn joins_the_licenses_of_all_files() {
    let found = expression(&["GPL-2+ or Expat", "LGPL-2.1+", "LGPL-2.1+"]);
    assert_eq!(found, "(GPL-2.0-or-later OR MIT) AND LGPL-2.1-or-later");
}

#[test]
fn reads_names_operators_and_commas_as_debian_means_them() {
    for (debian, spdx) in [
        ("bsd-3-Clause", "BSD-3-Clause"),
        ("GPL", "GPL-1.0-or-later"),
        ("LGPL-3", "LGPL-3.0-only"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("GFDL-NIV-1.3", "GFDL-1.3-no-invariants-only"),
        ("GPL-2 with Linux-syscall-note exception OR MIT", "GPL-2.0-only WITH Linux-syscall-note OR MIT"),
        ("GPL-2+ with Autoconf exception", "GPL-2.0-or-later WITH Autoconf-exception-2.0"),
        ("GPL-3+ with Autoconf exception", "GPL-3.0-or-later WITH Autoconf-exception-3.0"),
        ("GPL-3+ with Bison exception", "GPL-3.0-or-later WITH Bison-exception-2.2"),
        ("Apache-2.0 with LLVM exception", "Apache-2.0 WITH LLVM-exception"),
        ("GPL-2 or Artistic and ISC", "GPL-2.0-only OR (Artistic-1.0-Perl AND ISC)"),
        ("GPL-2 or Artistic, and ISC", "(GPL-2.0-only OR Artistic-1.0-Perl) AND ISC"),
        ("GPL-2, ISC or Zlib", "GPL-2.0-only OR ISC OR Zlib"),
        ("GPL-2, ISC and Zlib", "GPL-2.0-only AND ISC AND Zlib"),
    ] {
        assert_eq!(expression(&[debian]), spdx, "{debian}");
    }
}

#[test]
fn what_spdx_does_not_know_is_a_reference_to_its_text() {
    let found = of(&["GPL-2+ and Custom", "Custom"], "License: custom\n Do what\n .\n  you like.\n");
    let (id, extracted) = found.extracted.iter().next().unwrap();
    assert_eq!(found.expression, format!("GPL-2.0-or-later AND {id}"));
    assert!(id.starts_with("LicenseRef-Custom-"), "{id}");
    assert_eq!((extracted.name.as_str(), extracted.text.as_str()), ("Custom", "Do what\n\n you like."));
    assert_eq!(found.extracted.len(), 1);

    let other = of(&["Custom"], "License: Custom\n Do nothing.\n");
    assert!(!other.extracted.contains_key(id), "another text has another reference");
    let unnamed = of(&["\n Do what you like."], "");
    assert_eq!(unnamed.extracted.values().next().unwrap().text, "Do what you like.");
}

#[test]
fn any_other_form_is_one_license_with_the_whole_text() {
    let text = "This package was debianized by hand.\n\nLicense: see above\n";
    for text in [text, FORMAT, &format!("{FORMAT}Files: *\nCopyright: me\n")] {
        let found = license(text, "seabios");
        let (id, extracted) = found.extracted.iter().next().unwrap();
        assert_eq!(found.expression, *id);
        assert!(id.starts_with("LicenseRef-copyright-of-seabios-"), "{id}");
        assert_eq!(extracted.text, text.trim());
    }
}

#[test]
fn malformed_synopses_stay_whole() {
    for synopsis in ["GPL-2, or ISC, and Zlib", "Do as you, please"] {
        let found = of(&[synopsis], "");
        assert!(spdx::Expression::parse(&found.expression).is_ok(), "{}", found.expression);
        assert!(!found.extracted.is_empty());
    }
    let found = of(&["GPL-2+ and"], "");
    assert!(spdx::Expression::parse(&found.expression).is_ok(), "{}", found.expression);
}
