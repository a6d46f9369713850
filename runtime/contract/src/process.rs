//! A process to run in the guest: what OCI's `process` object says, without what only the host needs.
//! `runq` writes it, `proxy` carries it, `init` obeys it.

use serde::{Deserialize, Serialize};

/// Chosen by the host. 0 is the entrypoint; every `exec` gets the next number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub u32);

impl ProcessId {
    /// The image's entrypoint.
    pub const ENTRYPOINT: Self = Self(0);
}

/// What to execute, as whom and with which rights. Mirrors the OCI runtime spec's `process`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `argv`; never empty.
    pub args: Vec<String>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// Working directory, absolute. Created when it is missing, as runc does.
    pub cwd: String,
    /// Whether the process gets a pseudo-terminal.
    pub terminal: bool,
    /// Numeric identity.
    pub user: User,
    /// The five capability sets, names as in OCI (`CAP_CHOWN`).
    pub capabilities: Capabilities,
    /// Limits, set before the user is changed.
    pub rlimits: Vec<Rlimit>,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// `/proc/self/oom_score_adj`, when the spec has one.
    pub oom_score_adj: Option<i32>,
}

/// Numeric user, groups and umask; names are resolved by dockerd.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub additional_gids: Vec<u32>,
    /// File mode creation mask; 0o022 when absent.
    pub umask: Option<u32>,
}

/// Capability names by set, as in OCI's `process.capabilities`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// What no execve may exceed.
    pub bounding: Vec<String>,
    /// In force at the start.
    pub effective: Vec<String>,
    /// Kept over execve of files with inheritable sets.
    pub inheritable: Vec<String>,
    /// What may be made effective.
    pub permitted: Vec<String>,
    /// Kept over execve by users other than root.
    pub ambient: Vec<String>,
}

/// One resource limit, `kind` as in OCI (`RLIMIT_NOFILE`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_…`
    #[serde(rename = "type")]
    pub kind: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}
