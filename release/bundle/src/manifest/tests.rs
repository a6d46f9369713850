//! Tests of the manifest's rules.

use super::*;

fn entry(path: &str, kind: EntryKind, mode: u32) -> Entry {
    Entry { path: path.into(), kind, mode, package: None }
}

fn file(path: &str) -> Entry {
    entry(path, EntryKind::File { size: 1, sha256: sha256(b"x") }, 0o644)
}

fn directory(path: &str) -> Entry {
    entry(path, EntryKind::Directory, 0o755)
}

fn link(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::Symlink { target: target.into() }, 0o777)
}

fn manifest(files: Vec<Entry>) -> Manifest {
    Manifest {
        format: FORMAT,
        product: PRODUCT.into(),
        version: "1.0.0".into(),
        sequence: 1,
        host_arch: "x86_64".into(),
        guest_arch: "x86_64".into(),
        build_id: "b1".into(),
        distribution: "debian-trixie".into(),
        created: 1_700_000_000,
        packages: Vec::new(),
        files,
        machine: serde_json::json!({"arch": "x86_64"}),
    }
}

#[test]
fn canonical_bytes_survive_the_round_trip() {
    let files = vec![directory("qemu"), link("qemu/.runq-assets", "."), file("qemu/kernel"), file("runq")];
    let original = manifest(files);
    let bytes = original.to_json().unwrap();
    let parsed = Manifest::parse(&bytes).unwrap();
    assert_eq!(parsed, original);
    assert_eq!(parsed.to_json().unwrap(), bytes);
    assert!(parsed.version_id(&bytes).starts_with("1.0.0-"));
    assert_eq!(parsed.entry("qemu/kernel").map(Entry::bytes), Some(1));
    assert_eq!(parsed.entry("qemu/initrd"), None);
}

#[test]
fn accepts_names_that_sort_between_a_directory_and_its_content() {
    let files = vec![directory("lib"), file("lib-extra"), file("lib/a"), link("lib/b", "../lib-extra")];
    manifest(files).validate().unwrap();
}

#[test]
fn rejects_unclean_paths() {
    for path in [
        "",
        "/etc/passwd",
        "..",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "a\nb",
        "manifest.json",
        "manifest.json.minisig",
    ] {
        assert!(matches!(manifest(vec![file(path)]).validate(), Err(ManifestError::Path { .. })), "{path:?}");
    }
    assert!(manifest(vec![file(&"n".repeat(256))]).validate().is_err());
}

#[test]
fn rejects_duplicates_and_disorder() {
    for files in [vec![file("a"), file("a")], vec![file("b"), file("a")], vec![directory("d"), file("d")]] {
        assert!(matches!(manifest(files).validate(), Err(ManifestError::Order { .. })));
    }
}

#[test]
fn rejects_files_below_links_files_and_nothing() {
    for files in [
        vec![link("d", "e"), file("d/f")],
        vec![file("d"), file("d/f")],
        vec![file("d/f")],
        vec![directory("d"), file("d/e/f")],
    ] {
        assert!(matches!(manifest(files).validate(), Err(ManifestError::Parent { .. })));
    }
}

#[test]
fn rejects_special_and_generous_modes() {
    for mode in [0o4755, 0o2755, 0o1755, 0o666, 0o775, 0o100, 0o100_644] {
        let mut files = vec![file("a")];
        files[0].mode = mode;
        assert!(matches!(manifest(files).validate(), Err(ManifestError::Mode { .. })), "{mode:o}");
    }
    assert!(manifest(vec![entry("d", EntryKind::Directory, 0o555)]).validate().is_err());
    assert!(manifest(vec![entry("l", EntryKind::Symlink { target: "a".into() }, 0o755)]).validate().is_err());
}

#[test]
fn rejects_links_that_leave_the_tree() {
    for target in ["", "/etc/passwd", "../..", "../../x", "x/../../..", "a/..", "a//b", "./a", "..//a", "a\0"]
    {
        let files = vec![directory("d"), link("d/l", target)];
        assert!(matches!(manifest(files).validate(), Err(ManifestError::Link { .. })), "{target:?}");
    }
    for target in ["..", ".", "x", "x/y", "../x"] {
        manifest(vec![directory("d"), link("d/l", target)]).validate().unwrap();
    }
}

#[test]
fn rejects_names_that_do_not_fit_a_directory_name() {
    for version in ["", "..", ".staging", "1/2", "1 2", "-1", "1\n"] {
        let mut manifest = manifest(Vec::new());
        manifest.version = version.into();
        assert!(
            matches!(manifest.validate(), Err(ManifestError::Word { field: "version", .. })),
            "{version:?}"
        );
    }
}

#[test]
fn rejects_sizes_that_overflow_or_that_nobody_has() {
    let mut files = vec![file("a"), file("b")];
    files[0].kind = EntryKind::File { size: u64::MAX, sha256: sha256(b"") };
    assert!(matches!(manifest(files).validate(), Err(ManifestError::TooMany { what: "bytes", .. })));
}

#[test]
fn rejects_packages_that_are_not_listed() {
    let mut files = vec![file("a")];
    files[0].package = Some("qemu".into());
    assert!(matches!(manifest(files).validate(), Err(ManifestError::Package { .. })));
}

#[test]
fn says_which_format_it_cannot_read() {
    let error = Manifest::parse(br#"{"format": 2, "novelty": true}"#).unwrap_err();
    assert_eq!(error.to_string(), "manifest has format 2, this program reads format 1");
}

#[test]
fn rejects_unknown_and_repeated_fields() {
    let text = String::from_utf8(manifest(vec![file("a")]).to_json().unwrap()).unwrap();
    for (from, to) in [
        ("\"product\"", "\"more\": 1, \"product\""),
        ("\"product\"", "\"product\": \"runq\", \"product\""),
        ("\"0644\"", "\"+644\""),
        ("\"file\"", "\"fifo\""),
        ("\"size\": 1", "\"size\": -1"),
    ] {
        let text = text.replacen(from, to, 1);
        assert!(matches!(Manifest::parse(text.as_bytes()), Err(ManifestError::Malformed(_))), "{from} {to}");
    }
}
