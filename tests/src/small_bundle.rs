//! Asset bundles of a few kilobytes, made as the format's description says and not by the product: manifest by serde, tar file by
//! the crate, signature by the real `minisign`. Every part can be changed on the way. On the host; trusts minisign.

use crate::command;
use crate::workspace;
use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tar::{EntryType, Header};

const LIMIT: Duration = Duration::from_secs(30);
const CREATED: u64 = 1_700_000_000;
const BLOCK_BYTES: usize = 512;

/// A key pair of minisign's, without a password, in the files `PREFIX.key` and `PREFIX.pub`.
#[derive(Debug, Clone)]
pub struct Signer {
    prefix: PathBuf,
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// minisign's own today.
    Prehashed,
    /// That of its first versions.
    Legacy,
}

impl Signer {
    /// With the key pair of these files.
    #[must_use]
    pub fn at(prefix: &Path) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// Makes a key pair.
    ///
    /// # Errors
    /// When minisign fails.
    pub fn generate(prefix: &Path) -> Result<Self> {
        let signer = Self { prefix: prefix.to_owned() };
        let mut generate = Command::new("minisign");
        generate.args(["-G", "-W", "-f", "-p"]).arg(signer.public_key()).arg("-s").arg(signer.secret_key());
        command::output(&mut generate, LIMIT)?;
        Ok(signer)
    }

    /// For `--public-key`.
    #[must_use]
    pub fn public_key(&self) -> PathBuf {
        self.prefix.with_extension("pub")
    }

    /// For `runq-assets --key`.
    #[must_use]
    pub fn secret_key(&self) -> PathBuf {
        self.prefix.with_extension("key")
    }

    /// Text of a signature.
    ///
    /// # Errors
    /// When minisign fails.
    pub fn sign(&self, data: &[u8], scheme: Scheme) -> Result<String> {
        let file = self.prefix.with_extension("signed");
        let signature = self.prefix.with_extension("signature");
        fs_err::write(&file, data)?;
        let mut sign = Command::new("minisign");
        sign.args(["-S", "-t", "a small bundle", "-s"]).arg(self.secret_key());
        if scheme == Scheme::Legacy {
            sign.arg("-l");
        }
        command::output(sign.arg("-m").arg(&file).arg("-x").arg(&signature), LIMIT)?;
        Ok(fs_err::read_to_string(signature)?)
    }
}

/// A member, as the manifest and the archive have it.
#[derive(Debug, Clone)]
pub struct Item {
    /// Relative to the version's directory.
    pub path: String,
    /// What it is.
    pub content: Content,
    /// Permission bits.
    pub mode: u32,
}

/// What a member is.
#[derive(Debug, Clone)]
pub enum Content {
    /// A directory.
    Directory,
    /// A file with these bytes.
    File(Vec<u8>),
    /// A symbolic link with this target.
    Link(String),
}

impl Item {
    fn new(path: &str, content: Content, mode: u32) -> Self {
        Self { path: path.to_owned(), content, mode }
    }

    fn bytes(&self) -> &[u8] {
        if let Content::File(bytes) = &self.content { bytes } else { &[] }
    }

    fn manifest_entry(&self) -> Value {
        let kind = match &self.content {
            Content::Directory => json!("directory"),
            Content::File(bytes) => json!({"file": {"size": bytes.len(), "sha256": hex_digest(bytes)}}),
            Content::Link(target) => json!({"symlink": {"target": target}}),
        };
        json!({"path": self.path, "kind": kind, "mode": format!("{:04o}", self.mode)})
    }

    /// Header, content and padding.
    #[must_use]
    pub fn blocks(&self) -> Vec<u8> {
        let (kind, target) = match &self.content {
            Content::Directory => (EntryType::Directory, ""),
            Content::File(_) => (EntryType::Regular, ""),
            Content::Link(target) => (EntryType::Symlink, target.as_str()),
        };
        member(&self.path, kind, self.mode, target, self.bytes())
    }
}

/// One member of a tar file, as GNU tar writes it. Names are taken as they are, good or bad.
#[must_use]
pub fn member(path: &str, kind: EntryType, mode: u32, target: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_mtime(CREATED);
    header.set_uid(0);
    header.set_gid(0);
    let names = header.as_old_mut();
    names.name[..path.len()].copy_from_slice(path.as_bytes());
    names.linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    let mut blocks = header.as_bytes().to_vec();
    blocks.extend_from_slice(content);
    blocks.resize(blocks.len().next_multiple_of(BLOCK_BYTES), 0);
    blocks
}

/// A bundle in the making.
#[derive(Debug, Clone)]
pub struct SmallBundle {
    /// Version of the product.
    pub version: String,
    /// Number that grows with each release.
    pub sequence: u64,
    /// Host and guest.
    pub arch: String,
    /// Members in the order of their paths.
    pub items: Vec<Item>,
}

/// The header of a kernel for this machine, and nothing to boot.
fn kernel() -> Vec<u8> {
    let mut kernel = vec![b'k'; 0x1_1000];
    for (offset, magic) in [(0x202, &b"HdrS"[..]), (0x1_0008, b"S390EP")] {
        kernel[offset..offset + magic.len()].copy_from_slice(magic);
    }
    kernel
}

impl SmallBundle {
    /// A good one for this machine. Versions differ in their content; a larger sequence is a later release.
    #[must_use]
    pub fn new(version: &str, sequence: u64) -> Self {
        let script = |name: &str| Content::File(format!("#!/bin/sh\n# {name} of {version}\n").into_bytes());
        let items = vec![
            Item::new("qemu", Content::Directory, 0o755),
            Item::new("qemu/.runq-assets", Content::Link(".".into()), 0o777),
            Item::new("qemu/kernel", Content::File(kernel()), 0o644),
            Item::new("qemu/lib", Content::Directory, 0o755),
            Item::new("qemu/lib/empty", Content::File(Vec::new()), 0o444),
            Item::new("qemu/proxy", script("proxy"), 0o755),
            Item::new("runq", script("runq"), 0o755),
            Item::new("runq-install", script("runq-install"), 0o755),
        ];
        Self { version: version.into(), sequence, arch: workspace::ARCH.into(), items }
    }

    /// Bytes of the manifest.
    #[must_use]
    pub fn manifest(&self) -> Vec<u8> {
        let value = json!({
            "format": 1,
            "product": "runq",
            "version": self.version,
            "sequence": self.sequence,
            "host_arch": self.arch,
            "guest_arch": self.arch,
            "build_id": "small",
            "distribution": "small",
            "created": CREATED,
            "packages": [],
            "files": self.items.iter().map(Item::manifest_entry).collect::<Vec<_>>(),
            "machine": {},
        });
        format!("{value:#}\n").into_bytes()
    }

    /// The tar file with the members as they are.
    ///
    /// # Errors
    /// When minisign fails.
    pub fn tar(&self, signer: &Signer, scheme: Scheme) -> Result<Vec<u8>> {
        let manifest = self.manifest();
        let signature = signer.sign(&manifest, scheme)?;
        let members: Vec<Vec<u8>> = self.items.iter().map(Item::blocks).collect();
        Ok(tar(&manifest, &signature, &members))
    }

    /// Writes a good bundle into a directory, under its usual name.
    ///
    /// # Errors
    /// When minisign fails or the file cannot be written.
    pub fn write(&self, directory: &Path, signer: &Signer) -> Result<PathBuf> {
        let path = directory.join(format!("runq-{}-{}.tar.zst", self.version, self.arch));
        fs_err::write(&path, compress(&self.tar(signer, Scheme::Prehashed)?)?)?;
        Ok(path)
    }
}

/// A tar file of a bundle: manifest, signature, members, end.
#[must_use]
pub fn tar(manifest: &[u8], signature: &str, members: &[Vec<u8>]) -> Vec<u8> {
    let front = [("manifest.json", manifest), ("manifest.json.minisig", signature.as_bytes())];
    let mut tar = front.map(|(path, bytes)| member(path, EntryType::Regular, 0o644, "", bytes)).concat();
    members.iter().for_each(|member| tar.extend_from_slice(member));
    tar.resize(tar.len() + 2 * BLOCK_BYTES, 0);
    tar
}

/// One zstd frame.
///
/// # Errors
/// When zstd fails.
pub fn compress(tar: &[u8]) -> Result<Vec<u8>> {
    Ok(zstd::encode_all(tar, 3)?)
}

fn hex_digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
