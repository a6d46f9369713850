//! The manifest: the one description of a bundle, which decides everything that is read or extracted.
//! Written on the build machine, read on the host; a parsed manifest is well-formed, and true once its signature
//! was verified.

mod entry;
mod validate;

pub use entry::{Entry, EntryKind};
pub use validate::ManifestError;

use crate::digest::{Sha256Digest, sha256};
use serde::{Deserialize, Serialize};

/// The format that this library writes and reads.
pub const FORMAT: u32 = 1;

/// Value of [`Manifest::product`].
pub const PRODUCT: &str = "runq";

/// Name of the manifest in the archive and in the installed tree.
pub const MANIFEST_NAME: &str = "manifest.json";

/// Name of the manifest's signature in the archive and in the installed tree.
pub const SIGNATURE_NAME: &str = "manifest.json.minisig";

/// Everything about a bundle. See [`Manifest::validate`] for what holds between the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// [`PRODUCT`].
    pub product: String,
    /// Product version, fit for a directory name.
    pub version: String,
    /// Grows with every release; a smaller one is a downgrade.
    pub sequence: u64,
    /// Architecture that QEMU and our host binaries run on.
    pub host_arch: String,
    /// Architecture of the kernel, of `init` and of the images.
    pub guest_arch: String,
    /// Identifies the build of the runtime contract.
    pub build_id: String,
    /// Where the packages come from (`debian-trixie`).
    pub distribution: String,
    /// Seconds since the epoch; the modification time of every member of the archive.
    pub created: u64,
    /// Origin of the files that are not ours.
    pub packages: Vec<Package>,
    /// All files, sorted by the bytes of their paths.
    pub files: Vec<Entry>,
    /// The `[machine]` data of the architecture; meaningless to this library.
    pub machine: serde_json::Value,
}

/// A package that files were taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name in the archive.
    pub name: String,
    /// Version in the archive's own notation.
    pub version: String,
    /// Architecture in the archive's own notation.
    pub arch: String,
    /// Of the package file.
    pub sha256: Sha256Digest,
}

impl Manifest {
    /// The canonical bytes: what is signed, hashed and stored.
    ///
    /// # Errors
    /// When the manifest is not valid.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        self.validate()?;
        let mut bytes = serde_json::to_vec_pretty(self).map_err(ManifestError::Malformed)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The manifest of these bytes, valid.
    ///
    /// # Errors
    /// When the format is not ours, or the manifest is not valid.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(bytes).map_err(ManifestError::Malformed)?;
        if format != FORMAT {
            return Err(ManifestError::Format { found: format });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Malformed)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Checks the names, the paths, the modes, the links, the order and the sizes.
    ///
    /// # Errors
    /// Names the first rule that is broken, and by what.
    pub fn validate(&self) -> Result<(), ManifestError> {
        validate::manifest(self)
    }

    /// Name of the installed version: `<version>-<first 8 digits of the manifest's digest>`.
    #[must_use]
    pub fn version_id(&self, manifest_bytes: &[u8]) -> String {
        format!("{}-{}", self.version, sha256(manifest_bytes).short())
    }

    /// Sum of the sizes of all files in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(Entry::bytes).fold(0, u64::saturating_add)
    }

    /// The entry of a path.
    #[must_use]
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        let position = self.files.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        self.files.get(position)
    }
}

#[cfg(test)]
#[path = "manifest/tests.rs"]
mod tests;
