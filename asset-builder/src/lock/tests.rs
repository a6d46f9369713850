//! Tests of locks: the round trip, and what is refused.

use super::*;
use crate::cli::{Cli, Command};
use clap::Parser;
use runq_bundle::digest::sha256;

fn sides(more: &[&str]) -> Sides {
    let words = ["runq-assets", "lock", "--arch", "x86_64", "--distro", "debian"];
    match Cli::parse_from(words.iter().chain(more)).command {
        Command::Lock(args) => Sides::load(&args.source, "x86_64").unwrap(),
        _ => unreachable!("it says lock"),
    }
}

fn record(url: &str) -> PackageRecord {
    PackageRecord {
        name: "qemu".to_owned(),
        version: "1:10.0".to_owned(),
        arch: "all".to_owned(),
        suite: "trixie".to_owned(),
        source: ("qemu".to_owned(), "1:10.0".to_owned()),
        url: url.to_owned(),
        deb: IndexFile { size: 7, sha256: sha256(b"deb") },
        depends: vec![],
    }
}

#[test]
fn names_the_archive_itself_and_reads_from_the_mirror() {
    let mirrored = sides(&["--mirror", "http://mirror.example/debian"]);
    let package = record("http://mirror.example/debian/pool/q.deb");
    let locked = LockedPackage::new(&package, vec!["libc6".to_owned()], &mirrored.host);
    assert_eq!(locked.url, "http://deb.debian.org/debian/pool/q.deb");

    let lock = Lock::new(&mirrored, None, vec![], vec![locked.clone(), locked]);
    let text = lock.to_text().unwrap();
    let read = Lock::parse(&text).unwrap();
    assert_eq!((read.package.len(), &read), (1, &lock));
    let [package] = &read.packages(&mirrored.host)[..] else { panic!("one package") };
    assert_eq!(package.url, "http://mirror.example/debian/pool/q.deb");
    assert_eq!(package.depends[0][0].name, "libc6");
    assert_eq!(read.packages(&sides(&[]).host)[0].url, "http://deb.debian.org/debian/pool/q.deb");
}

#[test]
fn refuses_a_lock_of_another_recipe_or_architecture() {
    let mut debian = sides(&[]);
    let lock = Lock::new(&debian, None, vec![], vec![]);
    lock.check(&debian).unwrap();
    debian.guest.recipe.packages.programs.push("more".to_owned());
    let error = lock.check(&debian).unwrap_err();
    assert!(error.is::<StaleLock>(), "{error}");
    let error = lock.check(&sides(&["--host", "s390x"])).unwrap_err().to_string();
    assert!(error.contains("expected x86_64 on s390x"), "{error}");
    assert!(Lock::parse(&lock.to_text().unwrap().replace("format = 1", "format = 9")).is_err());
}

#[test]
fn locks_that_are_compiled_in_belong_to_their_recipes() {
    let locks = recipe::known(".lock", "");
    assert!(!locks.is_empty());
    for (arch, distro) in locks.into_iter().map(|lock| lock.split_once('/').unwrap()) {
        let words = ["runq-assets", "lock", "--arch", arch, "--distro", distro];
        let Command::Lock(args) = Cli::parse_from(words).command else { panic!("it says lock") };
        Lock::load(&Sides::load(&args.source, arch).unwrap(), None).unwrap_or_else(|error| {
            panic!("{error:#}: run `runq-assets lock --arch {arch} --distro {distro}`")
        });
    }
}

#[test]
fn is_good_for_one_base_image() {
    let mut lock = Lock::new(&sides(&[]), None, vec![], vec![]);
    lock.check_base_image(None).unwrap();
    let error = lock.check_base_image(Some("sha256:12")).unwrap_err().to_string();
    assert_eq!(error, "the base image is sha256:12, and the lock was made with none");
    lock.base_image = Some("sha256:34".to_owned());
    lock.check_base_image(Some("sha256:34")).unwrap();
    for other in [None, Some("sha256:12")] {
        let error = lock.check_base_image(other).unwrap_err().to_string();
        assert!(error.ends_with("the lock was made with sha256:34"), "{error}");
    }
}
