//! Writes bundles. Runs on the build machine; checks what it is given against the manifest, so that a bundle that
//! was written can be read.

use super::header::Member;
use super::{ArchiveError, END_BYTES, padding_bytes};
use crate::digest::HashingReader;
use crate::manifest::{Entry, EntryKind, MANIFEST_NAME, Manifest, SIGNATURE_NAME};
use std::io::{self, Read, Write};
use zstd::zstd_safe::CParameter;

/// Most of a bundle is compressed kernel modules: of a tree of 229 MB, level 12 makes 128 MB in 3 s, level 19
/// 124 MB in 35 s.
const LEVEL: i32 = 12;

/// Of 8 MiB, twice the level's own: libraries have much in common, and a bundle is 0.3 % smaller.
const WINDOW_LOG: u32 = 23;

/// Workers do not change the result, as long as there is one: zstd cuts the input by its size alone.
const WORKERS: u32 = 2;

/// Writes the archive of a manifest. `open` gives the content of each file in turn.
/// The same arguments give the same bytes.
///
/// # Errors
/// When the manifest is not valid, the signature is too large, the content is not the manifest's, or the output fails.
pub fn write_bundle(
    out: impl Write,
    manifest: &Manifest,
    signature: &str,
    mut open: impl FnMut(&Entry) -> io::Result<Box<dyn Read>>,
) -> Result<(), ArchiveError> {
    let manifest_bytes = manifest.to_json().map_err(ArchiveError::Manifest)?;
    let mut out = encoder(out).map_err(ArchiveError::Write)?;
    for (path, bytes, allowed) in [
        (MANIFEST_NAME, manifest_bytes.as_slice(), super::MAX_MANIFEST_BYTES),
        (SIGNATURE_NAME, signature.as_bytes(), super::MAX_SIGNATURE_BYTES),
    ] {
        let found = bytes.len() as u64;
        if found > allowed {
            return Err(ArchiveError::TooLarge { path: path.to_owned(), found, allowed });
        }
        write_front(&mut out, &Member::front(path, found, manifest.created), bytes)
            .map_err(ArchiveError::Write)?;
    }
    for entry in &manifest.files {
        out.write_all(&Member::of(entry, manifest.created).blocks()).map_err(ArchiveError::Write)?;
        if let EntryKind::File { .. } = entry.kind {
            let content =
                open(entry).map_err(|source| ArchiveError::Open { path: entry.path.clone(), source })?;
            write_content(&mut out, entry, content)?;
        }
    }
    out.write_all(&[0; END_BYTES]).and_then(|()| out.finish()?.flush()).map_err(ArchiveError::Write)
}

/// What a worker gets at once. zstd's own choice takes 218 MiB with two workers instead of 168, and makes the bundle 0.03 %
/// smaller.
const JOB_BYTES: u32 = 8 << 20;

fn encoder<W: Write>(out: W) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.multithread(WORKERS)?;
    encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
    Ok(encoder)
}

fn write_front(out: &mut impl Write, member: &Member<'_>, bytes: &[u8]) -> io::Result<()> {
    out.write_all(&member.blocks())?;
    out.write_all(bytes)?;
    out.write_all(&vec![0; padding_bytes(member.size)])
}

fn write_content(out: &mut impl Write, entry: &Entry, content: Box<dyn Read>) -> Result<(), ArchiveError> {
    let EntryKind::File { size, sha256: expected } = entry.kind else { return Ok(()) };
    // One byte more than there should be, to notice a file that has grown.
    let mut content = HashingReader::new(content.take(size.saturating_add(1)));
    io::copy(&mut content, out).map_err(ArchiveError::Write)?;
    let (found, bytes) = content.finish();
    let path = || entry.path.clone();
    if bytes != size {
        let (expected, found) = (size.to_string(), bytes.to_string());
        return Err(ArchiveError::Differs { path: path(), property: "size", expected, found });
    }
    if found != expected {
        return Err(ArchiveError::Content { path: path(), expected, found });
    }
    out.write_all(&vec![0; padding_bytes(size)]).map_err(ArchiveError::Write)
}
