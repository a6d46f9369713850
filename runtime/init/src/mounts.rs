//! The guest's own mounts, before it knows anything of the container.

use anyhow::Context;
use rustix::mount::MountFlags;

/// Where the container's root file system is mounted.
pub(crate) const ROOT: &str = "/rootfs";

/// Where the container's pseudo-terminals are made; every process gets a view of it at `/dev/pts`.
pub(crate) const DEVPTS: &str = "/run/devpts";

/// Source, target, type, flags, data.
const TABLE: [(&str, &str, &str, MountFlags, &std::ffi::CStr); 4] = [
    ("devtmpfs", "/dev", "devtmpfs", MountFlags::NOSUID, c""),
    ("proc", "/proc", "proc", MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC), c""),
    ("sysfs", "/sys", "sysfs", MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC), c""),
    ("tmpfs", "/run", "tmpfs", MountFlags::NOSUID.union(MountFlags::NODEV), c"mode=0700"),
];

/// Mounts the table.
pub(crate) fn mount_all() -> anyhow::Result<()> {
    for (source, target, kind, flags, data) in TABLE {
        rustix::mount::mount(source, target, kind, flags, data)
            .with_context(|| format!("cannot mount {kind} at {target}"))?;
    }
    Ok(())
}
