//! Tests of package records and how they lead from one to another.

use super::*;
use runq_bundle::digest::sha256;

fn stanza(name: &str, version: &str, more: &str) -> String {
    let digest = sha256(name.as_bytes());
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}_{version}.deb\n\
         Size: 7\nSHA256: {digest}\n{more}\n\n"
    )
}

fn names(packages: &[&PackageRecord]) -> Vec<String> {
    packages.iter().map(|package| package.name.clone()).collect()
}

#[test]
fn takes_the_newest_version_of_all_suites() {
    let mut index = PackageIndex::default();
    index.add(("http://a", "trixie"), &stanza("qemu", "1:8.2", "")).unwrap();
    index.add(("http://b", "trixie"), &stanza("qemu", "1:8.2+deb13u1", "")).unwrap();
    index.add(("http://c", "trixie"), &stanza("qemu", "9.0", "")).unwrap();
    let package = index.package("qemu").unwrap();
    assert_eq!(package.url, "http://b/pool/qemu_1:8.2+deb13u1.deb");
    assert_eq!(package.source, ("qemu".to_owned(), "1:8.2+deb13u1".to_owned()));
    assert!(matches!(index.package("kvm"), Err(PackageIndexError::NoPackage { .. })));
}

#[test]
fn chooses_alternatives_in_order_and_real_packages_before_provided_ones() {
    let mut index = PackageIndex::default();
    let depends =
        "Pre-Depends: libc6:any (>= 2.38)\nDepends: gone | mail, old (>> 3) | libz1 (= 1), api (>= 2)";
    let text = [
        stanza("qemu", "1", depends),
        stanza("libc6", "2.41-1", "Source: glibc (2.41)"),
        stanza("amail", "1", "Provides: mail, api (= 1)"),
        stanza("bmail", "1", "Provides: mail, api (= 2)"),
        stanza("old", "3", ""),
        stanza("libz1", "1", ""),
    ];
    index.add(("http://a", "trixie"), &text.concat()).unwrap();
    let dependencies = index.dependencies(index.package("qemu").unwrap()).unwrap();
    assert_eq!(names(&dependencies), ["libc6", "amail", "libz1", "bmail"]);
    assert_eq!(dependencies[0].source, ("glibc".to_owned(), "2.41".to_owned()));
}

#[test]
fn reports_what_is_not_in_the_archive() {
    let mut index = PackageIndex::default();
    index.add(("http://a", "trixie"), &stanza("qemu", "1", "Depends: x (>= 2) | y")).unwrap();
    let error = index.dependencies(index.package("qemu").unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "qemu 1 needs x (>= 2) | y, and nothing meets that: no suite has x; no suite has y"
    );
    assert!(index.add(("http://a", "trixie"), &stanza("q", "1", "Depends: x (~ 2)")).is_err());
}

#[test]
fn explains_an_unmet_clause_by_the_chain_to_it_and_by_what_comes_near() {
    let mut index = PackageIndex::default();
    let text = [
        stanza("libqemu", "3", "Depends: libfoo (>= 2) | libbar (<< 1)"),
        stanza("libfoo", "1.5", ""),
        stanza("foo-next", "9", "Provides: libfoo"),
        stanza("foo-old", "9", "Provides: libfoo (= 1), libbar (= 1)"),
    ];
    index.add(("http://a", "trixie"), &text.concat()).unwrap();
    let error = index.dependencies(index.package("libqemu").unwrap()).unwrap_err();
    assert_eq!(
        error.asked_by(vec!["qemu 1:10".to_owned()]).to_string(),
        "qemu 1:10 needs libqemu 3, which needs libfoo (>= 2) | libbar (<< 1), and nothing meets that: \
         libfoo of trixie is rejected, as 1.5 is not >= 2; foo-next, which provides libfoo, is rejected, as it says no \
         version; foo-old, which provides libfoo, is rejected, as 1 is not >= 2; foo-old, which provides libbar, is \
         rejected, as 1 is not << 1"
    );
}

#[test]
fn the_closure_by_depends_is_all_that_apt_would_install() {
    let mut index = PackageIndex::default();
    let text = [
        stanza("qemu", "1", "Depends: liba, gone"),
        stanza("liba", "1", "Pre-Depends: libb | libc"),
        stanza("libb", "1", "Depends: liba"),
        stanza("libc", "1", ""),
    ];
    index.add(("http://a", "trixie"), &text.concat()).unwrap();
    let found = index.depends_closure(["qemu", "nowhere"].into_iter());
    assert_eq!(names(&found), ["liba", "libb", "qemu"]);
    assert_eq!(Weight::of(found.into_iter()), Weight { packages: 3, bytes: 21 });
}
