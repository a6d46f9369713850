//! The file that `runq` leaves in the OCI bundle for `proxy`: the VM's hardware, the guest, the entrypoint.
//! JSON, UTF-8; written by one build and read by the same build, which the build id makes sure of.

use crate::disk::Drive;
use crate::guest::{Guest, Share, VirtiofsCache};
use crate::process::Process;
use serde::{Deserialize, Serialize};

/// What both sides agreed on, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmConfig {
    /// [`crate::BUILD_ID`] of the `runq` that wrote the file.
    pub build_id: String,
    /// OCI container id, for messages and process names.
    pub container_id: String,
    /// Users of the host that are nobody else's, one for each program of the container that needs no root.
    pub users: Users,
    /// Virtual hardware.
    pub hardware: Hardware,
    /// How long the guest may take, from the start of QEMU to that of the entrypoint.
    pub boot_timeout_seconds: u32,
    /// How the container's files get into the guest.
    pub share: Share,
    /// What the guest keeps of them when that is [`Share::Virtiofs`].
    pub virtiofs_cache: VirtiofsCache,
    /// Disks, in the order of the guest's list.
    pub drives: Vec<Drive>,
    /// Whether `docker exec` is refused whatever the host can do.
    pub no_exec: bool,
    /// What the guest sets up.
    pub guest: Guest,
    /// What the guest runs.
    pub entrypoint: Process,
}

/// User ids on the host, and group ids of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// The proxy, once everything is set up.
    pub proxy: u32,
    /// QEMU.
    pub qemu: u32,
}

/// Size and kind of the virtual machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// Number of vCPUs, at least 1.
    pub vcpus: u32,
    /// Guest RAM in MiB.
    pub memory_mib: u32,
    /// How guest code is executed.
    pub accel: Accel,
    /// Further features of QEMU's `-cpu`: letters, digits, `.`, `_`, `+`, `-` and `=`.
    pub cpu_features: Vec<String>,
    /// Whether the guest may run virtual machines of its own.
    pub nested: bool,
    /// Mediated device with AP adapters, a UUID in lower case.
    pub ap_uuid: Option<String>,
}

/// QEMU's accelerator. There is no fallback from one to the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    #[default]
    /// Hardware virtualisation through `/dev/kvm`.
    Kvm,
    /// Emulation: slow, and not a security boundary by QEMU's own policy.
    Tcg,
}
