//! The receipt: what was installed, and which entry of which file is ours to remove. Written and read on the host.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The format that this program writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// `PREFIX/receipt.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receipt {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// The active version.
    pub(crate) version: String,
    /// Key that signed it.
    pub(crate) signed_by: String,
    /// Our entry; absent when Docker was left alone.
    pub(crate) docker: Option<DockerReceipt>,
}

/// Our entry of one `daemon.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DockerReceipt {
    /// As it was given.
    pub(crate) daemon_json: PathBuf,
    /// Name of the runtime.
    pub(crate) name: String,
    /// Path of the runtime; an entry with another path is not ours any more.
    pub(crate) path: String,
}
