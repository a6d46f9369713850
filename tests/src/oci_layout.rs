//! OCI layouts that the tests make: one image for each architecture, with layers of every compression. On the host.

use crate::command;
use crate::ubuntu_archive::UbuntuArchive;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layer before it is compressed.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its tar archive.
    pub tar: Vec<u8>,
    /// `gzip`, `zstd`, or nothing.
    pub compression: &'static str,
}

/// An OCI layout directory; it goes with this value.
pub struct OciLayout {
    dir: TempDir,
    /// SHA-256 of the last layer for amd64, compressed.
    pub last_layer: String,
}

impl OciLayout {
    /// An index with an image of these layers for amd64 and another one, of an empty layer, for s390x, which comes first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn of(layers: &[Layer]) -> Result<Self> {
        let mut layout = Self { dir: tempfile::tempdir()?, last_layer: String::new() };
        fs_err::create_dir_all(layout.path().join("blobs/sha256"))?;
        fs_err::write(layout.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let empty = [Layer { tar: vec![0; 1024], compression: "gzip" }];
        let mut images = Vec::new();
        for (arch, layers) in [("s390x", &empty[..]), ("amd64", layers)] {
            let mut image = layout.image(arch, layers)?;
            image["platform"] = json!({ "architecture": arch, "os": "linux" });
            images.push(image);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": images });
        let index = layout.blob(INDEX, index.to_string().as_bytes())?;
        let top = json!({ "schemaVersion": 2, "manifests": [index] });
        fs_err::write(layout.path().join("index.json"), top.to_string())?;
        Ok(layout)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The image for amd64 as a tar archive in a format of skopeo (`docker-archive`, `oci-archive`).
    ///
    /// # Errors
    /// When skopeo fails.
    pub fn archive(&self, format: &str, name: &str) -> Result<PathBuf> {
        let file = self.path().join(format!("{format}.tar"));
        let mut copy = Command::new("skopeo");
        copy.args(["--insecure-policy", "--override-arch", "amd64", "copy"]);
        copy.arg(format!("oci:{}", self.path().display()));
        copy.arg(format!("{format}:{}:{name}", file.display()));
        command::output(&mut copy, LIMIT)?;
        Ok(file)
    }

    fn image(&mut self, arch: &str, layers: &[Layer]) -> Result<Value> {
        let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
        for layer in layers {
            diff_ids.push(format!("sha256:{:x}", Sha256::digest(&layer.tar)));
            let (content, suffix) = match layer.compression {
                "" => (layer.tar.clone(), String::new()),
                program => {
                    let finished = command::run(Command::new(program).arg("-c"), &layer.tar, LIMIT)?;
                    ensure!(finished.code == 0, "{program} failed: {}", finished.stderr_text());
                    (finished.stdout, format!("+{program}"))
                }
            };
            self.last_layer = format!("{:x}", Sha256::digest(&content));
            descriptors.push(self.blob(&format!("{LAYER}{suffix}"), &content)?);
        }
        let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
        let config = json!({ "architecture": arch, "os": "linux", "config": {}, "rootfs": rootfs });
        let config = self.blob(CONFIG, config.to_string().as_bytes())?;
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors });
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    fn blob(&self, media_type: &str, content: &[u8]) -> Result<Value> {
        let digest = format!("{:x}", Sha256::digest(content));
        fs_err::write(self.path().join("blobs/sha256").join(&digest), content)?;
        Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": content.len() }))
    }
}

/// A layer in which a package of the archive is installed, as dpkg would have it.
///
/// # Errors
/// When dpkg-deb or tar fail.
pub fn installed(archive: &UbuntuArchive, package: &str) -> Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("root");
    let deb = archive.root().join(archive.deb(package)?.trim_start_matches('/'));
    command::output(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(&root), LIMIT)?;
    let list = command::output(Command::new("find").arg(&root).args(["-printf", "/%P\\n"]), LIMIT)?;
    let record = command::output(Command::new("dpkg-deb").arg("--field").arg(&deb), LIMIT)?;
    let dpkg = root.join("var/lib/dpkg");
    fs_err::create_dir_all(dpkg.join("info"))?;
    fs_err::write(dpkg.join(format!("info/{package}.list")), list + "\n")?;
    let (first, rest) = record.split_once('\n').context("a record has lines")?;
    fs_err::write(dpkg.join("status"), format!("{first}\nStatus: install ok installed\n{rest}\n\n"))?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&root).args(["--owner=0", "--group=0", "-cf", "-", "."]);
    Ok(command::run(&mut tar, &[], LIMIT)?.stdout)
}

/// A layer of empty files.
///
/// # Errors
/// When a path is too long.
pub fn empty_files(paths: &[&str]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for path in paths {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        tar.append_data(&mut header, path, &b""[..])?;
    }
    Ok(tar.into_inner()?)
}
