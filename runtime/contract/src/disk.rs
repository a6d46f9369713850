//! Disks of the VM: images and block devices of the host that the user attached. The host's half is a [`Drive`], the guest's
//! half a [`Disk`]; both lists have the same order, and the number in it is all that a disk is called between the two.

use serde::{Deserialize, Serialize};

/// What QEMU has to know of a disk. `runq` decides it on the host, before the guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drive {
    /// How the host caches it.
    pub cache: Cache,
    /// How its bytes are laid out. Never found out by looking at them later: the guest writes them.
    pub format: Format,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// QEMU's cache modes (qemu(1), `-drive cache=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// The host's page cache, flushed when the guest flushes.
    Writeback,
    /// The host's page cache, flushed after every write.
    Writethrough,
    /// Past the host's page cache.
    None,
    /// The host's page cache, never flushed.
    Unsafe,
}

/// Layout of a disk's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One to one.
    Raw,
    /// QEMU's, without a backing file.
    Qcow2,
}

/// What the guest does with a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Name below `/dev/disk/by-runq-id`, chosen by the user: letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// Whether the device is read-only.
    pub read_only: bool,
    /// The file system on it; without one it is a device only.
    pub file_system: Option<FileSystem>,
    /// Where it is mounted in the container: absolute, without `..`, not the root.
    pub mount_point: Option<String>,
}

/// File systems that the guest mounts, by the kernel's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSystem {
    /// ext2
    Ext2,
    /// ext3
    Ext3,
    /// ext4
    Ext4,
    /// xfs
    Xfs,
    /// btrfs
    Btrfs,
}

impl FileSystem {
    /// The kernel's name, as in mount(2).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }
}

/// The disk that becomes the container's root, and what of the image is not copied onto it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootDisk {
    /// Number of the disk.
    pub disk: usize,
    /// Absolute paths in the image.
    pub exclude: Vec<String>,
    /// Whether the container may only read it (`--read-only`), once it has been filled.
    pub read_only: bool,
}

/// Where the proxy finds a disk in the container, a bind of the file or a node of the device.
#[must_use]
pub fn host_node(number: usize) -> String {
    format!("/dev/runq-disk-{number}")
}

/// By which the guest recognises a disk, in `/sys/block/*/serial`; at most 20 bytes.
#[must_use]
pub fn serial(number: usize) -> String {
    format!("runq-disk-{number}")
}
