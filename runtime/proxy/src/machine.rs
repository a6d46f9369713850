//! The machine data of the guest's architecture: `machine.json` of the asset tree, which the asset builder makes
//! from `arch/<arch>/machine.toml`. Trusted: it comes from the verified bundle.

use anyhow::Context;
use serde::Deserialize;
use std::path::Path;

/// What QEMU needs to know about an architecture. One struct per table `[machine]`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Machine {
    /// Path of the QEMU binary, relative to the asset tree.
    pub(crate) qemu: String,
    /// Path of virtiofsd, that in Rust, relative to the asset tree.
    pub(crate) virtiofsd: String,
    /// Where QEMU looks for firmware (`-L`), relative to the asset tree.
    pub(crate) firmware_dirs: Vec<String>,
    /// `-machine` type.
    pub(crate) machine_type: String,
    /// Further `-machine` options.
    pub(crate) machine_options: Vec<String>,
    /// `-cpu` under KVM.
    pub(crate) cpu_kvm: String,
    /// `-cpu` under TCG.
    pub(crate) cpu_tcg: String,
    /// Features of `-cpu` by which guests run virtual machines.
    pub(crate) cpu_nesting: Vec<String>,
    /// Whether `-smp` must spell out one socket per vCPU.
    pub(crate) smp_sockets: bool,
    /// Whether QEMU has to emulate as if there were several vCPUs, each in a thread of its own, even for one: before version 8.1
    /// it leaves the guest's memory barriers out otherwise, and a virtio device's interrupt gets lost now and then.
    #[serde(default)]
    pub(crate) tcg_always_parallel: bool,
    /// Suffix of virtio devices: `pci` or `ccw`.
    pub(crate) virtio_suffix: String,
    /// Device that shows the kernel's console.
    pub(crate) console_device: String,
    /// Random number device, without suffix.
    pub(crate) random_device: String,
    /// Further options of network devices, such as the absence of an option ROM.
    pub(crate) net_device_options: Vec<String>,
    /// Kernel command line, word by word.
    pub(crate) kernel_command_line: Vec<String>,
}

impl Machine {
    /// Reads the machine data.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let json = fs_err::read(path)?;
        serde_json::from_slice(&json)
            .with_context(|| format!("{} is not the machine data of this build", path.display()))
    }
}
