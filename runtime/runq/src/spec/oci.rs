//! The parts of an OCI spec that the guest takes over, for reading only: unknown fields are ignored here and survive in
//! the generic value.

use runq_contract::guest::{Dns, Guest, GuestMount};
use runq_contract::process::{Capabilities, Process, Rlimit, User};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// `process`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OciProcess {
    args: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    env: Vec<String>,
    cwd: String,
    #[serde(default)]
    terminal: bool,
    user: OciUser,
    #[serde(default, deserialize_with = "nullable")]
    capabilities: Capabilities,
    #[serde(default, deserialize_with = "nullable")]
    rlimits: Vec<Rlimit>,
    #[serde(default)]
    no_new_privileges: bool,
    oom_score_adj: Option<i32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OciUser {
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default, deserialize_with = "nullable")]
    additional_gids: Vec<u32>,
    umask: Option<u32>,
}

impl OciProcess {
    pub(super) fn into_process(self) -> Process {
        Process {
            args: self.args,
            env: self.env,
            cwd: self.cwd,
            terminal: self.terminal,
            user: User {
                uid: self.user.uid,
                gid: self.user.gid,
                additional_gids: self.user.additional_gids,
                umask: self.user.umask,
            },
            capabilities: self.capabilities,
            rlimits: self.rlimits,
            no_new_privileges: self.no_new_privileges,
            oom_score_adj: self.oom_score_adj,
        }
    }
}

/// The top level.
#[derive(Debug, Deserialize)]
pub(super) struct OciGuest {
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    domainname: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) mounts: Vec<OciMount>,
    #[serde(default, deserialize_with = "nullable")]
    linux: OciLinux,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OciLinux {
    #[serde(default, deserialize_with = "nullable")]
    sysctl: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    masked_paths: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    readonly_paths: Vec<String>,
}

/// `mounts[]`
#[derive(Debug, Clone, Deserialize)]
pub(super) struct OciMount {
    pub(super) destination: String,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) source: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) options: Vec<String>,
}

impl OciGuest {
    /// Without what is not in the spec in this form.
    pub(super) fn into_guest(self, mounts: Vec<GuestMount>, dns: Option<Dns>) -> Guest {
        Guest {
            hostname: self.hostname,
            domainname: self.domainname,
            mounts,
            sysctl: self.linux.sysctl,
            masked_paths: self.linux.masked_paths,
            readonly_paths: self.linux.readonly_paths,
            dns,
            ..Guest::default()
        }
    }
}

/// Go writes an empty slice or map as null.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
