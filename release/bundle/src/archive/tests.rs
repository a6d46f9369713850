//! Tests of writing, reading and extracting: a good bundle, and every way to tamper with one.

use super::*;
use crate::digest::sha256;
use crate::manifest::{Entry, EntryKind, FORMAT, Manifest, PRODUCT};
use crate::signature::{KeyPair, PublicKey, keygen, sign};
use crate::tree::{Difference, verify_tree};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tar::{EntryType, Header};

const CONTENT: &[u8] = b"content of a file that is longer than nothing";

fn entry(path: &str, kind: EntryKind, mode: u32) -> Entry {
    Entry { path: path.into(), kind, mode, package: None }
}

fn file(path: &str, mode: u32) -> Entry {
    entry(path, EntryKind::File { size: CONTENT.len() as u64, sha256: sha256(CONTENT) }, mode)
}

fn manifest() -> Manifest {
    let long = format!("qemu/{}", "n".repeat(150));
    let files = vec![
        entry("empty", EntryKind::File { size: 0, sha256: sha256(b"") }, 0o444),
        entry("qemu", EntryKind::Directory, 0o755),
        entry("qemu/.runq-assets", EntryKind::Symlink { target: ".".into() }, 0o777),
        file("qemu/kernel", 0o644),
        entry("qemu/link", EntryKind::Symlink { target: "l".repeat(120) }, 0o777),
        file(&long, 0o600),
        file("runq", 0o755),
    ];
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
        machine: serde_json::json!({}),
    }
}

fn content_of(entry: &Entry) -> io::Result<Box<dyn Read>> {
    Ok(if entry.bytes() == 0 { Box::new(io::empty()) } else { Box::new(CONTENT) })
}

/// A key and a good bundle by it.
struct Fixture {
    pair: KeyPair,
    bundle: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        let pair = keygen().unwrap();
        let signature = sign(&pair.secret, &manifest().to_json().unwrap(), "test").unwrap();
        let mut bundle = Vec::new();
        write_bundle(&mut bundle, &manifest(), &signature, content_of).unwrap();
        Self { pair, bundle }
    }

    fn keys(&self) -> Vec<PublicKey> {
        vec![PublicKey::parse(&self.pair.public).unwrap()]
    }

    fn read(&self, bundle: &[u8]) -> Result<(), ArchiveError> {
        BundleReader::open(bundle, &self.keys())?.verify_entries()
    }

    /// The tar file, changed and compressed again.
    fn tampered(&self, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), ArchiveError> {
        let mut tar = zstd::decode_all(&self.bundle[..]).unwrap();
        change(&mut tar);
        self.read(&zstd::encode_all(&tar[..], 3).unwrap())
    }
}

/// Where the header block of a member starts.
fn position(tar: &[u8], path: &str) -> usize {
    let named = |block: &[u8]| block.starts_with(path.as_bytes()) && block[path.len()] == 0;
    BLOCK_BYTES * tar.chunks(BLOCK_BYTES).position(named).unwrap()
}

fn change_header(tar: &mut [u8], path: &str, change: impl FnOnce(&mut Header)) {
    let start = position(tar, path);
    let mut header = Header::from_byte_slice(&tar[start..start + BLOCK_BYTES]).clone();
    change(&mut header);
    header.set_cksum();
    tar[start..start + BLOCK_BYTES].copy_from_slice(header.as_bytes());
}

fn refused(result: Result<(), ArchiveError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn extracts_exactly_what_was_written() {
    let fixture = Fixture::new();
    let directory = tempfile::tempdir().unwrap();
    let reader = BundleReader::open(&fixture.bundle[..], &fixture.keys()).unwrap();
    assert_eq!(reader.manifest(), &manifest());
    assert_eq!(reader.verified().trusted_comment, "test");
    reader.extract(directory.path()).unwrap();
    assert_eq!(verify_tree(directory.path(), &manifest()).unwrap(), []);
    let stored = std::fs::read(directory.path().join("manifest.json")).unwrap();
    assert_eq!(stored, manifest().to_json().unwrap());
}

#[test]
fn writes_the_same_bytes_again() {
    let fixture = Fixture::new();
    let signature = sign(&fixture.pair.secret, &manifest().to_json().unwrap(), "test").unwrap();
    let mut again = Vec::new();
    write_bundle(&mut again, &manifest(), &signature, content_of).unwrap();
    assert!(again == fixture.bundle);
}

#[test]
fn other_programs_see_an_ordinary_tar_file() {
    let fixture = Fixture::new();
    let tar = zstd::decode_all(&fixture.bundle[..]).unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let found: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|member| String::from_utf8(member.unwrap().path_bytes().into_owned()).unwrap())
        .collect();
    let mut expected = vec!["manifest.json".to_owned(), "manifest.json.minisig".to_owned()];
    expected.extend(manifest().files.into_iter().map(|entry| entry.path));
    assert_eq!(found, expected);
}

#[test]
fn refuses_to_write_content_that_is_not_the_manifests() {
    for content in [&b""[..], b"short", &[b'x'; CONTENT.len()], &[b'x'; 4096]] {
        let result = write_bundle(io::sink(), &manifest(), "", |_| Ok(Box::new(content)));
        assert!(matches!(result, Err(ArchiveError::Differs { .. } | ArchiveError::Content { .. })));
    }
}

#[test]
fn refuses_every_flipped_byte() {
    let fixture = Fixture::new();
    for position in 0..fixture.bundle.len() {
        let mut bundle = fixture.bundle.clone();
        bundle[position] ^= 0x20;
        // A frame header says how much memory to use and so on; it may change as long as the content does not.
        if zstd::decode_all(&bundle[..])
            .is_ok_and(|tar| tar == zstd::decode_all(&fixture.bundle[..]).unwrap())
        {
            continue;
        }
        assert!(fixture.read(&bundle).is_err(), "byte {position}");
    }
}

#[test]
fn refuses_every_flipped_byte_of_the_tar_file() {
    let fixture = Fixture::new();
    let tar = zstd::decode_all(&fixture.bundle[..]).unwrap();
    // The first line of the signature is a comment that nothing covers, by minisign's design.
    let comment = BLOCK_BYTES + position(&tar, "manifest.json.minisig");
    let comment = comment..comment + "untrusted comment: signature of a runq asset bundle".len();
    for position in (0..tar.len()).filter(|position| !comment.contains(position)) {
        assert!(fixture.tampered(|tar| tar[position] ^= 1).is_err(), "byte {position}");
    }
}

#[test]
fn refuses_every_truncation() {
    let fixture = Fixture::new();
    for length in 0..fixture.bundle.len() {
        assert!(fixture.read(&fixture.bundle[..length]).is_err(), "{length} bytes");
    }
    let tar_bytes = zstd::decode_all(&fixture.bundle[..]).unwrap().len();
    for length in (0..tar_bytes).step_by(BLOCK_BYTES) {
        assert!(fixture.tampered(|tar| tar.truncate(length)).is_err(), "{length} bytes");
    }
}

#[test]
fn refuses_what_follows_the_end() {
    let fixture = Fixture::new();
    assert!(refused(fixture.tampered(|tar| tar.push(0))).contains("stray bytes"));
    assert!(refused(fixture.read(&[&fixture.bundle[..], b"x"].concat())).contains("stray bytes"));
    assert!(
        refused(fixture.read(&[&fixture.bundle[..], &fixture.bundle[..]].concat())).contains("stray bytes")
    );
}

#[test]
fn refuses_members_that_the_manifest_lacks_and_names_them() {
    let fixture = Fixture::new();
    let mut header = Header::new_gnu();
    header.set_path("intruder").unwrap();
    header.set_size(0);
    header.set_cksum();
    for before in ["empty", "qemu/kernel", "runq"] {
        let error = refused(fixture.tampered(|tar| {
            let start = position(tar, before);
            tar.splice(start..start, *header.as_bytes());
        }));
        assert_eq!(error, format!("archive has \"intruder\" where {before:?} is due"));
    }
    let error = refused(fixture.tampered(|tar| {
        let end = tar.len() - END_BYTES;
        tar.splice(end..end, *header.as_bytes());
    }));
    assert_eq!(error, "archive has \"intruder\" where \"the end\" is due");
}

#[test]
fn refuses_missing_repeated_and_reordered_members() {
    let fixture = Fixture::new();
    let error = refused(fixture.tampered(|tar| {
        let start = position(tar, "qemu");
        tar.drain(start..start + BLOCK_BYTES);
    }));
    assert_eq!(error, "archive has \"qemu/.runq-assets\" where \"qemu\" is due");
    let error = refused(fixture.tampered(|tar| {
        let start = position(tar, "qemu");
        tar.copy_within(start..start + BLOCK_BYTES, start + BLOCK_BYTES);
    }));
    assert_eq!(error, "archive has \"qemu\" where \"qemu/.runq-assets\" is due");
    let error = refused(fixture.tampered(|tar| {
        let (first, second) = (position(tar, "qemu"), position(tar, "qemu/.runq-assets"));
        let moved: Vec<u8> = tar.drain(first..second).collect();
        tar.splice(second..second, moved);
    }));
    assert_eq!(error, "archive has \"qemu/.runq-assets\" where \"qemu\" is due");
}

#[test]
fn refuses_members_of_another_kind_mode_target_or_size() {
    let fixture = Fixture::new();
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::Link, EntryType::GNUSparse] {
        let error = refused(fixture.tampered(|tar| change_header(tar, "runq", |h| h.set_entry_type(kind))));
        assert!(error.starts_with("\"runq\" has kind"), "{error}");
    }
    type Change = fn(&mut Header);
    let changes: [(&str, Change, &str); 7] = [
        ("runq", |h| h.set_mode(0o4755), "\"runq\" has mode 4755, the manifest has 0755"),
        ("runq", |h| h.set_size(1 << 40), "\"runq\" has size 1099511627776, the manifest has 45"),
        ("qemu/.runq-assets", |h| h.set_link_name_literal("/").unwrap(), "has target /, the manifest has ."),
        ("runq", |h| h.set_uid(1000), "with other fields"),
        ("runq", |h| h.set_mtime(0), "has time 0"),
        ("runq", |h| h.set_path_absolute("/runq").unwrap(), "archive has \"/runq\" where \"runq\" is due"),
        ("runq", |h| h.as_old_mut().name[..7].copy_from_slice(b"../runq"), "\"../runq\" where"),
    ];
    for (path, change, message) in changes {
        let error = refused(fixture.tampered(|tar| change_header(tar, path, change)));
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_bomb_stops_at_its_bound() {
    let fixture = Fixture::new();
    let error = refused(fixture.tampered(|tar| change_header(tar, "manifest.json", |h| h.set_size(1 << 40))));
    assert_eq!(error, "\"manifest.json\" has 1099511627776 bytes, at most 67108864 are allowed");
    let error =
        refused(fixture.tampered(|tar| change_header(tar, "manifest.json.minisig", |h| h.set_size(1 << 20))));
    assert_eq!(error, "\"manifest.json.minisig\" has 1048576 bytes, at most 4096 are allowed");
    // A frame of endless zeros is no manifest, whatever it would grow to.
    let bomb = zstd::encode_all(io::repeat(0).take(1 << 30), 3).unwrap();
    assert!(matches!(fixture.read(&bomb), Err(ArchiveError::Unexpected { .. })));
    // A window beyond the bound is refused before its memory is taken.
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(30).unwrap();
    encoder.write_all(&zstd::decode_all(&fixture.bundle[..]).unwrap()).unwrap();
    assert!(matches!(fixture.read(&encoder.finish().unwrap()), Err(ArchiveError::Read { .. })));
}

#[test]
fn refuses_what_nobody_trusted_has_signed() {
    let (ours, other) = (Fixture::new(), Fixture::new());
    let error = ours.read(&other.bundle).unwrap_err();
    assert!(matches!(error, ArchiveError::Signature(SignatureError::UnknownKey { .. })), "{error}");
    assert!(matches!(ours.read(b"<html>404 not found</html>"), Err(ArchiveError::Read { .. })));
}

#[test]
fn extraction_never_follows_or_replaces_what_is_there() {
    let fixture = Fixture::new();
    let outside = tempfile::tempdir().unwrap();
    for (name, obstacle) in [("qemu", true), ("runq", true), ("empty", false)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        if obstacle {
            symlink(outside.path(), &path).unwrap()
        } else {
            std::fs::write(&path, "mine").unwrap()
        }
        let reader = BundleReader::open(&fixture.bundle[..], &fixture.keys()).unwrap();
        let error = reader.extract(directory.path()).unwrap_err();
        assert!(matches!(&error, ArchiveError::Extract { path, .. } if path == name), "{error}");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}

#[test]
fn an_installed_tree_is_compared_completely() {
    let fixture = Fixture::new();
    type Change = fn(&Path);
    let changes: [(Change, &str); 7] = [
        (|root| std::fs::remove_file(root.join("runq")).unwrap(), "\"runq\" is missing"),
        (|root| std::fs::write(root.join("qemu/extra"), "").unwrap(), "\"qemu/extra\" does not belong there"),
        (|root| std::fs::write(root.join("runq"), [b'x'; CONTENT.len()]).unwrap(), "\"runq\" has SHA-256"),
        (|root| std::fs::write(root.join("runq"), "x").unwrap(), "\"runq\" has size 1, the manifest has 45"),
        (
            |root| std::fs::set_permissions(root.join("runq"), PermissionsExt::from_mode(0o700)).unwrap(),
            "\"runq\" has mode 0700, the manifest has 0755",
        ),
        (
            |root| {
                std::fs::rename(root.join("runq"), root.join("qemu/kernel")).unwrap();
                symlink("qemu/kernel", root.join("runq")).unwrap();
            },
            "\"runq\" has kind symbolic link, the manifest has file",
        ),
        (
            |root| {
                std::fs::remove_file(root.join("qemu/.runq-assets")).unwrap();
                symlink("/", root.join("qemu/.runq-assets")).unwrap();
            },
            "\"qemu/.runq-assets\" has target /, the manifest has .",
        ),
    ];
    for (change, message) in changes {
        let directory = tempfile::tempdir().unwrap();
        BundleReader::open(&fixture.bundle[..], &fixture.keys()).unwrap().extract(directory.path()).unwrap();
        change(directory.path());
        let found = verify_tree(directory.path(), &manifest()).unwrap();
        assert!(found.iter().map(Difference::to_string).any(|text| text.starts_with(message)), "{found:?}");
    }
}
