//! The versions below a prefix, and their signed manifests. Runs on the host; reads only, and believes a manifest when
//! a trusted key has signed it.

use crate::layout::{Layout, STAGING_PREFIX};
use crate::transaction::{read_link, read_receipt};
use anyhow::{Context, Result};
use fs_err as fs;
use runq_bundle::archive::{MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES};
use runq_bundle::manifest::{MANIFEST_NAME, Manifest, SIGNATURE_NAME};
use runq_bundle::signature::{PublicKey, Verified, verify};
use runq_bundle::tree::{Difference, verify_tree};
use std::io::Read;
use std::path::{Path, PathBuf};

/// How many differences are worth naming in a message.
const SHOWN: usize = 5;

/// The tree is not what a command needs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstalledError {
    #[error("runq is not installed in {prefix}")]
    NotInstalled { prefix: PathBuf },
    #[error("there is no version below {prefix}")]
    NoTree { prefix: PathBuf },
    #[error("{prefix} has no version {id}, it has {}", list(found))]
    NoVersion { prefix: PathBuf, id: String, found: Vec<String> },
    #[error("it is not clear which version is meant: {}", list(found))]
    Choice { found: Vec<String> },
    #[error("{path} is larger than {allowed} bytes")]
    TooLarge { path: PathBuf, allowed: u64 },
    #[error("{directory} holds the version {id}, which its name does not say")]
    Name { directory: PathBuf, id: String },
    #[error("{directory} is not what was signed: {count} differences: {}", shown.join(", "))]
    Differs { directory: PathBuf, count: usize, shown: Vec<String> },
}

fn list(ids: &[String]) -> String {
    if ids.is_empty() { "none".into() } else { ids.join(", ") }
}

impl InstalledError {
    pub(crate) fn differs(directory: &Path, differences: &[&Difference]) -> Self {
        Self::Differs {
            directory: directory.to_owned(),
            count: differences.len(),
            shown: differences.iter().take(SHOWN).map(ToString::to_string).collect(),
        }
    }
}

/// A version's manifest, signed by a key that is trusted.
pub(crate) struct SignedVersion {
    pub(crate) directory: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) manifest_bytes: Vec<u8>,
    pub(crate) verified: Verified,
}

impl SignedVersion {
    /// Of a version by its name, which has to be the right one.
    pub(crate) fn open(layout: &Layout, id: &str, keys: &[PublicKey]) -> Result<Self> {
        let directory = layout.version(id);
        let (manifest, manifest_bytes) = read_manifest(&directory)?;
        let verified = verify(&manifest_bytes, &read_signature(&directory)?, keys)
            .with_context(|| format!("cannot verify {}", directory.join(MANIFEST_NAME).display()))?;
        let right = manifest.version_id(&manifest_bytes);
        if right != id {
            return Err(InstalledError::Name { directory, id: right }.into());
        }
        Ok(Self { directory, manifest, manifest_bytes, verified })
    }

    /// All differences of the tree, content included.
    pub(crate) fn differences(&self) -> Result<Vec<Difference>> {
        let name = || format!("cannot verify {}", self.directory.display());
        verify_tree(&self.directory, &self.manifest).with_context(name)
    }
}

/// The version that `current` leads to.
pub(crate) fn active(layout: &Layout) -> Result<Option<String>> {
    let target = read_link(&layout.current())?;
    Ok(target.as_deref().and_then(Layout::version_of_target).map(str::to_owned))
}

/// The version that is asked for, or the active one.
pub(crate) fn chosen_or_active(layout: &Layout, asked: Option<&str>) -> Result<String> {
    match asked {
        Some(id) => existing(layout, id),
        None => active(layout)?.ok_or_else(|| {
            let prefix = layout.prefix().to_owned();
            InstalledError::NotInstalled { prefix }.into()
        }),
    }
}

/// The version that is asked for; else the active one, the one of the receipt, or the only one.
pub(crate) fn chosen_or_obvious(layout: &Layout, asked: Option<&str>) -> Result<String> {
    let found = all(layout)?;
    let prefix = layout.prefix().to_owned();
    if found.is_empty() {
        return Err(InstalledError::NoTree { prefix }.into());
    }
    if let Some(id) = asked {
        return existing(layout, id);
    }
    let receipt = read_receipt(layout)?.map(|receipt| receipt.version);
    let named = active(layout)?.into_iter().chain(receipt).find(|id| found.contains(id));
    match (named, found.as_slice()) {
        (Some(id), _) => Ok(id),
        (None, [id]) => Ok(id.clone()),
        (None, _) => Err(InstalledError::Choice { found }.into()),
    }
}

/// The version of this name, if it is there.
pub(crate) fn existing(layout: &Layout, id: &str) -> Result<String> {
    let found = all(layout)?;
    if found.iter().any(|found| found == id) {
        return Ok(id.to_owned());
    }
    let prefix = layout.prefix().to_owned();
    Err(InstalledError::NoVersion { prefix, id: id.to_owned(), found }.into())
}

/// Names of all versions, sorted.
pub(crate) fn all(layout: &Layout) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    if layout.versions().exists() {
        for item in fs::read_dir(layout.versions())? {
            ids.push(item?.file_name().to_string_lossy().into_owned());
        }
    }
    ids.retain(|id| !id.starts_with(STAGING_PREFIX));
    ids.sort();
    Ok(ids)
}

/// The manifest of a version, whoever wrote it, and its bytes.
pub(crate) fn read_manifest(tree: &Path) -> Result<(Manifest, Vec<u8>)> {
    let path = tree.join(MANIFEST_NAME);
    let bytes = read(&path, MAX_MANIFEST_BYTES)?;
    let manifest = Manifest::parse(&bytes).with_context(|| format!("cannot use {}", path.display()))?;
    Ok((manifest, bytes))
}

/// The text of a version's signature, whoever wrote it.
pub(crate) fn read_signature(tree: &Path) -> Result<String> {
    let bytes = read(&tree.join(SIGNATURE_NAME), MAX_SIGNATURE_BYTES)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read(path: &Path, allowed: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(allowed + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > allowed {
        return Err(InstalledError::TooLarge { path: path.to_owned(), allowed }.into());
    }
    Ok(bytes)
}
