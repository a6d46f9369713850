//! One file, directory or link of a bundle. Part of the manifest.

use crate::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

/// A member of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Relative to the version's directory, `/` between the names.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits; `"0755"` in JSON. A link's are 0777 and mean nothing.
    #[serde(with = "octal")]
    pub mode: u32,
    /// Name of the package that it was taken from; absent for what we made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

/// The kinds that a bundle can have: no hard links, no devices, no FIFOs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// In bytes.
        size: u64,
        /// Of the content.
        sha256: Sha256Digest,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Relative; leads to something inside of the bundle or to nothing.
        target: String,
    },
}

impl Entry {
    /// Size of the content in bytes; 0 for what is not a file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            EntryKind::Directory | EntryKind::Symlink { .. } => 0,
        }
    }
}

impl EntryKind {
    /// For messages.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Directory => "directory",
            Self::Symlink { .. } => "symbolic link",
        }
    }
}

/// Modes as people write them.
mod octal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{mode:04o}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
        u32::from_str_radix(&text, 8)
            .ok()
            .filter(|_| digits_only)
            .ok_or_else(|| D::Error::custom(format_args!("{text:?} is not an octal mode")))
    }
}
