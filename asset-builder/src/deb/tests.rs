//! Tests of reading packages, made with the same crates the other way round.

use super::*;
use std::io::Write;

/// A tar archive with one of each kind.
fn data() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |kind: EntryType, mode: u32, path: &str, target: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        if target.is_empty() {
            tar.append_data(&mut header, path, content).unwrap();
        } else {
            tar.append_link(&mut header, path, target).unwrap();
        }
    };
    add(EntryType::Directory, 0o755, "./usr/bin/", "", b"");
    add(EntryType::Regular, 0o4755, "./usr/bin/qemu", "", b"program");
    add(EntryType::Regular, 0o644, &format!("./usr/{}", "long/".repeat(40)), "", b"text");
    add(EntryType::Symlink, 0o777, "./usr/bin/kvm", "qemu", b"");
    add(EntryType::Link, 0o755, "./usr/bin/same", "usr/bin/qemu", b"");
    tar.into_inner().unwrap()
}

const RECORD: &[u8] = b"Package: qemu\nVersion: 1\n";

/// With a record beside an empty file, as packages have.
fn control_tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in [("./md5sums", &b""[..]), ("./control", RECORD)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).unwrap();
    }
    zstd::encode_all(&tar.into_inner().unwrap()[..], 1).unwrap()
}

fn deb(member: &str, data: &[u8]) -> Vec<u8> {
    deb_of(&[("control.tar.zst", &control_tar()), (member, data)])
}

fn members(deb: &[u8]) -> Result<Vec<Member>, DebError> {
    Ok(read(deb)?.members)
}

fn deb_of(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ar::Builder::new(Vec::new());
    for (name, content) in [("debian-binary", &b"2.0\n"[..])].iter().chain(parts) {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn reads_members_whatever_the_compression() {
    let plain = data();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(&plain).unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    let expected = members(&deb("data.tar", &plain)).unwrap();
    assert_eq!(expected.len(), 5);
    let program = MemberKind::File { content: Bytes::from_static(b"program"), executable: true };
    assert_eq!(expected[1], Member { path: "usr/bin/qemu".to_owned(), kind: program });
    assert_eq!(expected[3].kind, MemberKind::Symlink { target: "qemu".to_owned() });
    assert_eq!(expected[4].kind, MemberKind::HardLink { target: "usr/bin/qemu".to_owned() });
    for (name, data) in [
        ("data.tar.gz", gzip.finish().unwrap()),
        ("data.tar.xz", xz.finish().unwrap()),
        ("data.tar.zst", zstd),
    ] {
        assert_eq!(members(&deb(name, &data)).unwrap(), expected, "{name}");
    }
}

#[test]
fn reads_the_record_of_the_package() {
    assert_eq!(read(&deb("data.tar", b"")[..]).unwrap().control.record.as_bytes(), RECORD);
    let without = deb_of(&[("data.tar", b"")]);
    assert!(matches!(read(&without[..]), Err(DebError::NoPart { name: "control.tar" })));
}

#[test]
fn refuses_what_it_does_not_understand() {
    assert!(matches!(members(b"not a package"), Err(DebError::Ar(_))));
    assert!(matches!(members(&deb("data.tar.lzma", b"")), Err(DebError::Compression { .. })));
    assert!(matches!(members(&deb("other", b"")), Err(DebError::NoPart { name: "data.tar" })));
    assert!(matches!(members(&deb("data.tar.gz", b"damaged")), Err(DebError::Tar(_))));
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::Fifo);
    header.set_size(0);
    tar.append_data(&mut header, "fifo", &b""[..]).unwrap();
    assert!(matches!(members(&deb("data.tar", &tar.into_inner().unwrap())), Err(DebError::Kind { .. })));
}
