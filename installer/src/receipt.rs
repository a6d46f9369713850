//! The receipt: what was installed, and which entry of which file is ours to remove. Written and read on the host.

use crate::cli::EngineName;
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
    /// The version that was active before, for `rollback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<String>,
    /// Our entries; none when Docker was left alone.
    #[serde(default)]
    pub(crate) docker: Vec<DockerReceipt>,
    /// Our entries in the configurations of other engines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) engines: Vec<EngineReceipt>,
}

/// Our entry in the configuration of another engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EngineReceipt {
    /// Whose configuration it is.
    pub(crate) engine: EngineName,
    /// The file that it stands in.
    pub(crate) file: PathBuf,
    /// Name of the runtime.
    pub(crate) name: String,
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
    /// The default runtime that ours has replaced; absent when it has replaced none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaced_default: Option<ReplacedDefault>,
}

/// A default runtime that has to come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplacedDefault {
    /// Its name; `None` when the file named none.
    pub(crate) name: Option<String>,
}

impl DockerReceipt {
    /// Whether both speak of the same entry of the same file.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        (&self.daemon_json, &self.name) == (&other.daemon_json, &other.name)
    }
}

/// The entries with one more, in the place of its earlier self, whose memory of the default it keeps.
pub(crate) fn with_entry(mut entries: Vec<DockerReceipt>, new: Option<&DockerReceipt>) -> Vec<DockerReceipt> {
    if let Some(new) = new {
        match entries.iter_mut().find(|entry| entry.is_of(new)) {
            Some(entry) => {
                let replaced_default = entry.replaced_default.take().or(new.replaced_default.clone());
                *entry = DockerReceipt { replaced_default, ..new.clone() };
            }
            None => entries.push(new.clone()),
        }
    }
    entries
}
