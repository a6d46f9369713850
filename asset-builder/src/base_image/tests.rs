//! Tests of base images: an OCI layout in a temporary directory.

use super::*;
use crate::release_file::IndexFile;

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn put(layout: &Path, content: &[u8]) -> String {
    let digest = sha256(content);
    fs_err::write(layout.join("blobs/sha256").join(digest.to_string()), content).unwrap();
    format!("sha256:{digest}")
}

/// Two layers: the second one hides `usr/bin/hidden` and what the first one has in `opt`.
fn layout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
    let status = "Package: libz\nStatus: install ok installed\nVersion: 1.3\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
    let first = tar(&[
        ("var/lib/dpkg/status", status),
        ("var/lib/dpkg/info/libz:amd64.list", "/.\n/lib\n/lib/libz.so.1\n/usr/share/doc/libz/copyright\n"),
        ("lib/libz.so.1", "z"),
        ("bin/hidden", "x"),
        ("opt/old", "x"),
    ]);
    let second = tar(&[("usr/bin/.wh.hidden", ""), ("opt/.wh..wh..opq", ""), ("opt/new", "y")]);
    let first = put(folder.path(), &zstd::encode_all(&first[..], 1).unwrap());
    let second = put(folder.path(), &second);
    let manifest = serde_json::json!({ "layers": [
        { "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": first },
        { "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": second },
    ]});
    let manifest = put(folder.path(), manifest.to_string().as_bytes());
    let index = serde_json::json!({ "manifests": [
        { "digest": "sha256:00", "platform": { "os": "linux", "architecture": "s390x" } },
        { "digest": manifest, "platform": { "os": "linux", "architecture": "amd64" } },
    ]});
    fs_err::write(folder.path().join("index.json"), index.to_string()).unwrap();
    folder
}

fn record(name: &str, version: &str) -> PackageRecord {
    PackageRecord {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: "amd64".to_owned(),
        suite: "trixie".to_owned(),
        source: (name.to_owned(), version.to_owned()),
        url: String::new(),
        deb: IndexFile { size: 0, sha256: sha256(b"") },
        depends: Vec::new(),
    }
}

#[test]
fn gives_the_files_of_packages_in_the_wanted_version_only() {
    let layout = layout();
    let image = BaseImage::read(layout.path(), "amd64").unwrap();
    let members = image.members(&record("libz", "1.3")).unwrap();
    let kind = MemberKind::File { content: Bytes::from_static(b"z"), executable: false };
    assert_eq!(members, [Member { path: "usr/lib/libz.so.1".to_owned(), kind }]);
    assert_eq!(image.members(&record("libz", "1.3.1")), None);
    assert_eq!(image.members(&record("gone", "1")), None);
}

#[test]
fn whiteouts_hide_what_lower_layers_have() {
    let layout = layout();
    let image = BaseImage::read(layout.path(), "amd64").unwrap();
    let paths: Vec<_> = image.files.keys().filter(|path| !path.starts_with("var")).collect();
    assert_eq!(paths, ["opt/new", "usr/lib/libz.so.1"]);
}

#[test]
fn refuses_other_architectures_and_altered_blobs() {
    let layout = layout();
    assert!(matches!(BaseImage::read(layout.path(), "riscv64"), Err(BaseImageError::NoImage { .. })));
    for blob in fs_err::read_dir(layout.path().join("blobs/sha256")).unwrap() {
        fs_err::write(blob.unwrap().path(), "altered").unwrap();
    }
    assert!(matches!(BaseImage::read(layout.path(), "amd64"), Err(BaseImageError::Mismatch { .. })));
}
