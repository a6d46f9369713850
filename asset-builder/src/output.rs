//! Writes what was built: manifest, signature and files as one archive, complete or not at all.
//! Runs on the build machine.

use crate::layout::Layout;
use crate::progress::Progress;
use crate::resolution::Resolution;
use anyhow::Context;
use indicatif::DecimalBytes;
use runq_bundle::archive::write_bundle;
use runq_bundle::digest::{HashingWriter, Sha256Digest};
use runq_bundle::manifest::{Entry, Manifest};
use runq_bundle::signature;
use serde::Serialize;
use std::fmt;
use std::fs::Permissions;
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

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
    /// What it took to complete the programs.
    pub(crate) resolution: Resolution,
    pub(crate) version_id: String,
    pub(crate) distribution: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, files, packages, distribution, resolution, .. } = self;
        let (size, installed) = (DecimalBytes(self.size), DecimalBytes(self.installed_size));
        writeln!(
            f,
            "{}: {size}, {installed} installed, {files} files, {packages} packages of {distribution}",
            file.display()
        )?;
        write!(f, "  {resolution}")
    }
}

/// A bundle that is not written yet: what would make that fail was tried before the long work.
pub(crate) struct Output {
    path: PathBuf,
    /// Beside the final name.
    file: NamedTempFile,
    secret_keys: Vec<String>,
}

impl Output {
    /// Checks that the keys can sign and that the directory can be written to.
    pub(crate) fn prepare(path: &Path, keys: &[PathBuf]) -> anyhow::Result<Self> {
        let mut secret_keys = Vec::new();
        for key in keys {
            let secret_key = fs_err::read_to_string(key)?;
            signature::sign(&secret_key, b"", "")
                .with_context(|| format!("cannot sign with {}", key.display()))?;
            secret_keys.push(secret_key);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file =
            NamedTempFile::new_in(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(Self { path: path.to_owned(), file, secret_keys })
    }

    /// Signs the manifest, writes the bundle and gives it its name.
    pub(crate) fn write(
        self,
        manifest: &Manifest,
        (mut layout, resolution): (Layout, Resolution),
        progress: &Progress,
    ) -> anyhow::Result<Report> {
        let manifest_bytes = manifest.to_json()?;
        let version_id = manifest.version_id(&manifest_bytes);
        let comment = format!("runq {version_id} {}", manifest.guest_arch);
        let signature = signature::sign_with_all(&self.secret_keys, &manifest_bytes, &comment)?;

        progress.step(&format!("compress {}", DecimalBytes(manifest.total_bytes())));
        let mut out = HashingWriter::new(BufWriter::new(self.file));
        write_bundle(&mut out, manifest, &signature, |entry| open(&mut layout, entry))?;
        let (out, sha256, size) = out.finish();
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(&self.path).with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(Report {
            file: self.path,
            size,
            sha256,
            installed_size: manifest.total_bytes(),
            files: manifest.files.len(),
            packages: manifest.packages.len(),
            resolution,
            version_id,
            distribution: manifest.distribution.clone(),
        })
    }
}

fn open(layout: &mut Layout, entry: &Entry) -> io::Result<Box<dyn Read>> {
    let content = layout.take(&entry.path).ok_or(io::ErrorKind::NotFound)?;
    Ok(Box::new(io::Cursor::new(content)))
}
