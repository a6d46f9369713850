//! What the guest has to set up around its processes: host name, mounts, kernel parameters, DNS.
//! `runq` takes it from the OCI spec, `proxy` carries it, `init` applies it.

use crate::disk::{Disk, RootDisk};
use crate::seccomp::Seccomp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything about the guest that the OCI spec decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// UTS host name; empty leaves the kernel's.
    pub hostname: String,
    /// NIS domain name; empty leaves the kernel's.
    pub domainname: String,
    /// Mounts that the guest's kernel provides (proc, sysfs, tmpfs, devpts, mqueue, cgroup), in order.
    pub mounts: Vec<GuestMount>,
    /// `/proc/sys` keys with dots, and their values.
    pub sysctl: BTreeMap<String, String>,
    /// Paths that are hidden from the entrypoint.
    pub masked_paths: Vec<String>,
    /// Paths that the entrypoint may only read.
    pub readonly_paths: Vec<String>,
    /// Most processes and threads of the container; `None` is unlimited.
    pub pids: Option<u32>,
    /// The filter of every process of the container.
    pub seccomp: Option<Seccomp>,
    /// Destinations of what the host bound into the container, in order: they reach the guest through the share, and
    /// are put back on top of what the guest mounts over them.
    pub binds: Vec<String>,
    /// Disks, in the order of the host's drives.
    pub disks: Vec<Disk>,
    /// The disk to take as the root instead of the share.
    pub root_disk: Option<RootDisk>,
    /// SIGUSR1 and SIGUSR2 to the entrypoint run the programs of these names in [`crate::paths::SIGUSR`].
    pub sigusr: bool,
    /// The entrypoint's environment is written to `/.runqenv`.
    pub runqenv: bool,
    /// What the guest keeps of the share when that is [`Share::NineP`].
    pub nine_p_cache: NinePCache,
    /// When present, `/etc/resolv.conf` of the guest is made from it instead of from Docker's.
    pub dns: Option<Dns>,
}

/// A mount of a file system without a backing device. Options are OCI's (`nosuid`, `ro`, `size=64m`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestMount {
    /// Absolute path in the container.
    pub destination: String,
    /// File system type: `proc`, `sysfs`, `tmpfs`, `devpts`, `mqueue`, `cgroup`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Shown in `/proc/mounts`.
    pub source: String,
    /// Mount flags by name, and file system options.
    pub options: Vec<String>,
}

/// The protocol that carries the container's root file system, under the tag [`crate::paths::ROOT_TAG`]. Each bundle has one
/// by default: FUSE is in the guest's byte order, so virtiofs needs a host of the same; 9p is little-endian everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// FUSE over virtio, served by virtiofsd.
    #[serde(rename = "virtiofs")]
    Virtiofs,
    /// 9P2000.L over virtio, served by QEMU.
    #[serde(rename = "9p")]
    NineP,
}

impl Share {
    /// As the user and the guest's kernel call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Virtiofs => "virtiofs",
            Self::NineP => "9p",
        }
    }
}

/// Cache modes of the kernel's 9p client (kernel documentation, "v9fs: Plan 9 Resource Sharing for Linux").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NinePCache {
    /// Nothing; files cannot be mapped to be written.
    None,
    /// Data of open files, to read ahead.
    Readahead,
    /// Data of open files, so that files can be mapped.
    #[default]
    Mmap,
    /// Data and names, without asking whether the host has changed them.
    Loose,
    /// The same, and on a local disk where there is a cache daemon.
    Fscache,
}

impl NinePCache {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Readahead, Self::Mmap, Self::Loose, Self::Fscache];

    /// The kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Readahead => "readahead",
            Self::Mmap => "mmap",
            Self::Loose => "loose",
            Self::Fscache => "fscache",
        }
    }
}

/// Cache modes of virtiofsd.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VirtiofsCache {
    /// Names and attributes for a second, data while a file stays open: the guest sees what others change on the host.
    #[default]
    Auto,
    /// All of it for as long as memory lasts, without asking whether the host has changed it.
    Always,
}

impl VirtiofsCache {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Auto, Self::Always];

    /// virtiofsd's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
        }
    }
}

/// Resolver configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers, IP addresses.
    pub servers: Vec<String>,
    /// Resolver options (`ndots:2`).
    pub options: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
}
