//! Where a bundle comes from: a file, `https://…` or `oci://REGISTRY/REPOSITORY:TAG`. Whatever it is, it ends as one local file,
//! which is then verified like any other. Runs on the host; trusts no server, and opens no socket for a file.

mod https;
mod oci;
mod partial;

use crate::cli::Transport;
use anyhow::{Context, Result};
use oci_distribution::Reference;
use partial::Partial;
use runq_bundle::digest::{Sha256Digest, sha256};
use std::io;
use std::path::{Path, PathBuf};

/// Bound of a bundle in bytes, whoever serves it.
const MAX_BUNDLE_BYTES: u64 = 16 << 30;

/// What a zstd frame begins with (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A bundle cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error(
        "{source_name:?} is no source of a bundle: expected a file, https://… or oci://REGISTRY/REPOSITORY:TAG"
    )]
    Scheme { source_name: String },
    #[error("{reference:?} is no reference of an image")]
    Reference { reference: String, source: oci_distribution::ParseError },
    #[error("cannot use the certificates in {path}")]
    Certificates { path: PathBuf, source: reqwest::Error },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot set up HTTP")]
    Client(#[source] reqwest::Error),
    #[error("cannot fetch {url}")]
    Request { url: String, source: reqwest::Error },
    #[error("cannot fetch {url}: the server answers {status}")]
    Status { url: String, status: reqwest::StatusCode },
    #[error("the connection to {url} broke after {bytes} bytes")]
    Interrupted { url: String, bytes: u64, source: io::Error },
    #[error("{url} sends another part than the one that was asked for")]
    Range { url: String },
    #[error("cannot keep the download in {path}")]
    Keep { path: PathBuf, source: io::Error },
    #[error("{source_name} has more than {MAX_BUNDLE_BYTES} bytes")]
    TooLarge { source_name: String },
    #[error("{source_name} is not an asset bundle: it begins with {begins:?}")]
    NotABundle { source_name: String, begins: String },
    #[error("cannot use the credentials for the registry")]
    Credentials(#[from] runq_bundle::registry::CredentialsError),
    #[error("cannot pull {reference}")]
    Registry { reference: String, source: oci_distribution::errors::OciDistributionError },
    #[error("{reference} has no bundle for {arch}, but for {}", found.join(", "))]
    Platform { reference: String, arch: String, found: Vec<String> },
    #[error("{reference} is not an asset bundle: {reason}")]
    Artifact { reference: String, reason: String },
    #[error("{reference} has the digest {found}, its manifest says {expected}")]
    Digest { reference: String, expected: String, found: Sha256Digest },
}

/// Where a bundle comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    Https(String),
    Registry(Reference),
}

/// A bundle as a file. One that was fetched for this run alone goes with this value.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) path: PathBuf,
    temporary: bool,
}

impl Drop for Local {
    fn drop(&mut self) {
        if self.temporary {
            // What stays is taken for nothing, and overwritten by the next download.
            std::fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

impl Source {
    /// What a command line means.
    pub(crate) fn parse(text: &Path) -> Result<Self, SourceError> {
        let name = text.to_string_lossy();
        match name.split_once("://") {
            None => Ok(Self::File(text.to_owned())),
            Some(("https", _)) => Ok(Self::Https(name.into_owned())),
            Some(("oci", reference)) => match reference.parse() {
                Ok(reference) => Ok(Self::Registry(reference)),
                Err(source) => Err(SourceError::Reference { reference: reference.to_owned(), source }),
            },
            Some(_) => Err(SourceError::Scheme { source_name: name.into_owned() }),
        }
    }

    /// The bundle as a file, fetched for this run if need be. What was fetched before a connection broke stays in the
    /// download directory, and is not fetched again.
    pub(crate) fn local(&self, arch: &str, transport: &Transport) -> Result<Local> {
        if let Self::File(path) = self {
            return Ok(Local { path: path.clone(), temporary: false });
        }
        let directory = &transport.download_dir;
        fs_err::create_dir_all(directory)?;
        let name = format!("{}.tar.zst", sha256(format!("{self:?} {arch}").as_bytes()).short());
        let path = directory.join(name);
        self.fetch(arch, transport, &path)?;
        Ok(Local { path, temporary: true })
    }

    /// Fetches the bundle into a file, or copies it there. A file that is there is replaced in the end.
    pub(crate) fn fetch(&self, arch: &str, transport: &Transport, target: &Path) -> Result<()> {
        // Reads no environment and cannot fail but for having been called before.
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        let mut partial = Partial::open(target)?;
        match self {
            Self::File(path) => partial.copy(path)?,
            Self::Https(url) => https::download(url, transport, &mut partial)?,
            Self::Registry(reference) => oci::download(reference, arch, transport, &mut partial)?,
        }
        Ok(partial.finish(&self.to_string())?)
    }

    /// Name of a file for it in a directory.
    pub(crate) fn file_name(&self, arch: &str) -> String {
        let last = match self {
            Self::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Https(url) => {
                let path = url.split(['?', '#']).next().unwrap_or_default();
                path.rsplit('/').next().unwrap_or_default().to_owned()
            }
            Self::Registry(reference) => {
                format!("runq-{}-{arch}.tar.zst", reference.tag().unwrap_or("pulled"))
            }
        };
        if last.ends_with(".tar.zst") { last } else { format!("runq-{arch}.tar.zst") }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Https(url) => f.write_str(url),
            Self::Registry(reference) => write!(f, "oci://{reference}"),
        }
    }
}

/// The certificates of `--ca-file`, as they stand there.
fn certificates(transport: &Transport) -> Result<Option<(PathBuf, Vec<u8>)>, SourceError> {
    let Some(path) = &transport.ca_file else { return Ok(None) };
    let bytes = std::fs::read(path).map_err(|source| SourceError::Read { path: path.clone(), source })?;
    Ok(Some((path.clone(), bytes)))
}

/// Where `pull` writes to.
pub(crate) fn output(output: Option<&Path>, source: &Source, arch: &str) -> Result<PathBuf> {
    let output = output.unwrap_or(Path::new("."));
    let path = if output.is_dir() { output.join(source.file_name(arch)) } else { output.to_owned() };
    std::path::absolute(&path).with_context(|| format!("cannot use {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source, SourceError> {
        Source::parse(Path::new(text))
    }

    #[test]
    fn tells_the_sources_apart() {
        assert!(matches!(parse("/mnt/runq-1.0.0-s390x.tar.zst").unwrap(), Source::File(_)));
        assert!(matches!(parse("https://example.com/b.tar.zst").unwrap(), Source::Https(_)));
        let Source::Registry(reference) = parse("oci://localhost:5000/runq:1.0.0").unwrap() else {
            panic!("another source")
        };
        assert_eq!((reference.registry(), reference.tag()), ("localhost:5000", Some("1.0.0")));
        for bad in ["http://example.com/b", "ftp://x/y", "docker://x/y", "file:///x"] {
            assert!(matches!(parse(bad), Err(SourceError::Scheme { .. })), "{bad}");
        }
        assert!(matches!(parse("oci://UPPER/Case:tag"), Err(SourceError::Reference { .. })));
    }

    #[test]
    fn names_files_after_their_source() {
        let name = |text: &str| parse(text).unwrap().file_name("s390x");
        assert_eq!(name("https://example.com/a/runq-1-s390x.tar.zst?x=/y"), "runq-1-s390x.tar.zst");
        assert_eq!(name("https://example.com/latest/"), "runq-s390x.tar.zst");
        assert_eq!(name("oci://localhost:5000/runq:1.0.0"), "runq-1.0.0-s390x.tar.zst");
    }
}
