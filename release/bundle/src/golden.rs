//! Tests that manifest, signature and archive are the same bytes on every architecture. The files in `golden/` were written
//! on x86_64; `make unit-s390x` reads them, and writes them again, on a big-endian machine.

use crate::archive::{BundleReader, write_bundle};
use crate::digest::sha256;
use crate::manifest::{Entry, EntryKind, FORMAT, Manifest, PRODUCT, Package};
use crate::signature::{PublicKey, sign, verify};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::SigningKey;

const CONTENT: &[u8] = b"content";
const KEY_ID: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const COMMENT: &str = "runq 1.0.0";

/// A key that anybody can make: both halves in minisign's format.
fn keys() -> (String, PublicKey) {
    let pair = SigningKey::from_bytes(&[7; 32]);
    let salt_limits_and_so_on = [0; 48];
    let secret =
        [b"Ed\0\0B2", &salt_limits_and_so_on[..], &KEY_ID, &pair.to_keypair_bytes(), &[0; 32]].concat();
    let public = [b"Ed", &KEY_ID[..], pair.verifying_key().as_bytes()].concat();
    (
        format!("untrusted comment: golden\n{}\n", BASE64.encode(secret)),
        PublicKey::parse(&BASE64.encode(public)).unwrap(),
    )
}

fn manifest() -> Manifest {
    let entry = |path: &str, kind, mode, package: Option<&str>| Entry {
        path: path.into(),
        kind,
        mode,
        package: package.map(Into::into),
    };
    let file = || EntryKind::File { size: CONTENT.len() as u64, sha256: sha256(CONTENT) };
    Manifest {
        format: FORMAT,
        product: PRODUCT.into(),
        version: "1.0.0".into(),
        sequence: 0x0102_0304_0506,
        host_arch: "x86_64".into(),
        guest_arch: "s390x".into(),
        build_id: "golden".into(),
        distribution: "debian-trixie".into(),
        created: 1_700_000_000,
        packages: vec![Package {
            name: "qemu".into(),
            version: "1:10.0".into(),
            arch: "amd64".into(),
            sha256: sha256(b"deb"),
        }],
        files: vec![
            entry("qemu", EntryKind::Directory, 0o755, None),
            entry("qemu/kernel", file(), 0o644, Some("qemu")),
            entry("qemu/link", EntryKind::Symlink { target: "kernel".into() }, 0o777, None),
            entry("runq", file(), 0o755, None),
        ],
        machine: serde_json::json!({"machine_type": "s390-ccw-virtio"}),
    }
}

#[test]
fn manifest_signature_and_archive() {
    let (secret, public) = keys();
    let json = manifest().to_json().unwrap();
    let signature = sign(&secret, &json, COMMENT).unwrap();
    let mut bundle = Vec::new();
    write_bundle(&mut bundle, &manifest(), &signature, |_| Ok(Box::new(CONTENT))).unwrap();

    let golden_json = golden("manifest.json", &json);
    assert_eq!(String::from_utf8(json).unwrap(), String::from_utf8(golden_json.clone()).unwrap());
    let golden_signature = String::from_utf8(golden("manifest.json.minisig", signature.as_bytes())).unwrap();
    assert_eq!(signature, golden_signature);
    let golden_bundle = golden("bundle.tar.zst", &bundle);
    assert!(bundle == golden_bundle, "the archive differs from golden/bundle.tar.zst");

    let keys = [public];
    assert_eq!(Manifest::parse(&golden_json).unwrap(), manifest());
    assert_eq!(verify(&golden_json, &golden_signature, &keys).unwrap().trusted_comment, COMMENT);
    BundleReader::open(&golden_bundle[..], &keys).unwrap().verify_entries().unwrap();
}

/// The file's content; `UPDATE_GOLDEN=1` writes it first.
fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = format!("{}/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}
