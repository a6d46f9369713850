//! Our entry in dockerd's `daemon.json`: how the text changes, and how the file does.
//! Runs on the host; trusts neither the text nor that nobody else is writing the file meanwhile.

mod edit;
mod file;
mod strict;

pub(crate) use edit::{remove_runtime, set_default_runtime, set_runtime};
pub(crate) use file::{ConfigFile, ConfigFileError};
pub(crate) use strict::{ConfigError, default_runtime, runtime_entry, text_member};

use serde::{Deserialize, Serialize};

/// An entry of `runtimes`, as far as we write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuntimeEntry {
    /// The runtime's binary.
    pub(crate) path: String,
    /// Arguments that come before Docker's own; `None` leaves those that are there.
    #[serde(rename = "runtimeArgs", skip_serializing_if = "Option::is_none")]
    pub(crate) args: Option<Vec<String>>,
}

/// dockerd puts path and arguments unquoted into a script for `/bin/sh`.
pub(crate) fn is_safe_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod world_tests;

#[cfg(test)]
mod default_tests;
