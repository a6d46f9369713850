//! A later release of a bundle: the same files under another version, signed with the same key. For upgrades with real
//! containers. On the host; trusts minisign.

use crate::bundle::Bundle;
use crate::small_bundle::{Scheme, Signer};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use tar::Header;

const BLOCK_BYTES: usize = 512;

/// Writes the successor of a bundle into a directory.
///
/// # Errors
/// When the bundle cannot be read, or minisign fails.
pub fn write(bundle: &Bundle, version: &str, directory: &Path) -> Result<Bundle> {
    let tar = zstd::decode_all(fs_err::File::open(&bundle.file)?)?;
    let manifest = Member::at(&tar, 0)?;
    let signature = Member::at(&tar, manifest.end)?;
    let mut value: Value = serde_json::from_slice(manifest.content)?;
    let sequence = value["sequence"].as_u64().context("the manifest has no sequence")?;
    value["version"] = json!(version);
    value["sequence"] = json!(sequence + 1);
    let text = format!("{value:#}\n").into_bytes();
    let signer = Signer::at(&directory.join("signer"));
    fs_err::copy(bundle.public_key.with_extension("key"), signer.secret_key())?;
    let signed = signer.sign(&text, Scheme::Prehashed)?;

    let mut out = manifest.with_content(&text);
    out.extend(signature.with_content(signed.as_bytes()));
    out.extend_from_slice(&tar[signature.end..]);
    let file = directory.join(format!("runq-{version}-{}.tar.zst", crate::workspace::ARCH));
    fs_err::write(&file, zstd::encode_all(&out[..], 1)?)?;
    Ok(Bundle { file, public_key: bundle.public_key.clone() })
}

/// A file of a tar file.
struct Member<'a> {
    header: &'a [u8],
    content: &'a [u8],
    end: usize,
}

impl<'a> Member<'a> {
    fn at(tar: &'a [u8], start: usize) -> Result<Self> {
        let header = tar.get(start..start + BLOCK_BYTES).context("the tar file is too short")?;
        let size = usize::try_from(Header::from_byte_slice(header).size()?)?;
        let begin = start + BLOCK_BYTES;
        let content = tar.get(begin..begin + size).context("the tar file is too short")?;
        Ok(Self { header, content, end: begin + size.next_multiple_of(BLOCK_BYTES) })
    }

    /// The same file with another content.
    fn with_content(&self, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(self.header);
        header.set_size(content.len() as u64);
        header.set_cksum();
        let mut member = [header.as_bytes(), content].concat();
        member.resize(BLOCK_BYTES + content.len().next_multiple_of(BLOCK_BYTES), 0);
        member
    }
}
