//! Writes what was built: manifest, signature and files as one archive, complete or not at all.
//! Runs on the build machine.

use crate::layout::Layout;
use crate::progress::Progress;
use anyhow::Context;
use indicatif::DecimalBytes;
use runq_bundle::archive::write_bundle;
use runq_bundle::digest::{HashingWriter, Sha256Digest};
use runq_bundle::manifest::{Entry, Manifest};
use runq_bundle::signature;
use serde::Serialize;
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What was written.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) file: PathBuf,
    /// Of the file, in bytes.
    pub(crate) size: u64,
    pub(crate) sha256: Sha256Digest,
    /// Of the files in it, in bytes.
    pub(crate) installed_size: u64,
    pub(crate) files: usize,
    pub(crate) packages: usize,
    pub(crate) version_id: String,
    pub(crate) distribution: String,
}

/// Signs the manifest and writes the bundle beside its final name, then renames it.
pub(crate) fn write(
    path: &Path,
    manifest: &Manifest,
    layout: &Layout,
    secret_key: &str,
    progress: &Progress,
) -> anyhow::Result<Report> {
    let manifest_bytes = manifest.to_json()?;
    let version_id = manifest.version_id(&manifest_bytes);
    let comment = format!("runq {version_id} {}", manifest.guest_arch);
    let signature =
        signature::sign(secret_key, &manifest_bytes, &comment).context("cannot sign the manifest")?;

    progress.step(&format!("compress {}", DecimalBytes(manifest.total_bytes())));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    let mut out = HashingWriter::new(BufWriter::new(file));
    write_bundle(&mut out, manifest, &signature, |entry| open(layout, entry))?;
    let (out, sha256, size) = out.finish();
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Report {
        file: path.to_owned(),
        size,
        sha256,
        installed_size: manifest.total_bytes(),
        files: manifest.files.len(),
        packages: manifest.packages.len(),
        version_id,
        distribution: manifest.distribution.clone(),
    })
}

fn open(layout: &Layout, entry: &Entry) -> io::Result<Box<dyn Read>> {
    let content = layout.content(&entry.path).cloned().ok_or(io::ErrorKind::NotFound)?;
    Ok(Box::new(io::Cursor::new(content)))
}
