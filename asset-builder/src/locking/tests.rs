//! Tests of what changed between two locks.

use super::*;
use runq_bundle::digest::{Sha256Digest, sha256};

fn package(name: &str, version: &str, sha256: Sha256Digest) -> LockedPackage {
    LockedPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: "amd64".to_owned(),
        index: "amd64".to_owned(),
        suite: "trixie".to_owned(),
        source: (name.to_owned(), version.to_owned()),
        url: String::new(),
        size: 1,
        sha256,
        depends: vec![],
    }
}

fn lock(package: Vec<LockedPackage>) -> Lock {
    Lock {
        format: 1,
        distribution: "debian-trixie".to_owned(),
        host_arch: "x86_64".to_owned(),
        guest_arch: "x86_64".to_owned(),
        recipe: sha256(b""),
        base_image: None,
        suite: vec![],
        package,
    }
}

#[test]
fn warns_of_downgrades_and_of_other_content_under_a_known_version() {
    let (one, two) = (sha256(b"1"), sha256(b"2"));
    let old = lock(vec![
        package("down", "1:2.0", one),
        package("gone", "1", one),
        package("other", "1", one),
        package("same", "1", one),
        package("up", "1~rc1", one),
    ]);
    let new = lock(vec![
        package("down", "3.0", two),
        package("new", "1", one),
        package("other", "1", two),
        package("same", "1", one),
        package("up", "1", two),
    ]);
    let lines: Vec<_> = changes(Some(&old), &new).iter().map(Change::to_string).collect();
    assert_eq!(
        lines,
        [
            "~ down:amd64 1:2.0 -> 3.0  WARNING: downgrade",
            "- gone:amd64 1",
            "+ new:amd64 1",
            "~ other:amd64 1 -> 1  WARNING: same version, other content",
            "~ up:amd64 1~rc1 -> 1",
        ]
    );
}
