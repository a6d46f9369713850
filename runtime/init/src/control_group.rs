//! The container's control group in the guest: Docker's limit of processes holds there, and the guest's kernel tells what
//! it killed. One hierarchy (cgroup2), whatever the host has.

use anyhow::Context;
use nix::sched::{CloneFlags, unshare};
use runq_contract::guest::Guest;
use rustix::mount::MountFlags;

/// Where the guest mounts it for itself.
const HIERARCHY: &str = "/sys/fs/cgroup";

/// The container's group.
const GROUP: &str = "/sys/fs/cgroup/container";

/// Makes the container's group with its limits.
pub(crate) fn set_up(guest: &Guest) -> anyhow::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("cgroup2", HIERARCHY, "cgroup2", flags, c"")
        .with_context(|| format!("cannot mount cgroup2 at {HIERARCHY}"))?;
    std::fs::create_dir(GROUP).with_context(|| format!("cannot make {GROUP}"))?;
    if let Some(pids) = guest.pids {
        write(&format!("{HIERARCHY}/cgroup.subtree_control"), "+pids")?;
        write(&format!("{GROUP}/pids.max"), &pids.to_string())?;
    }
    Ok(())
}

/// Moves the calling process into the container's group, which is the root of the hierarchy from then on. Before it leaves
/// the guest's own root.
pub(crate) fn enter() -> anyhow::Result<()> {
    write(&format!("{GROUP}/cgroup.procs"), "0")?;
    unshare(CloneFlags::CLONE_NEWCGROUP).context("cannot make a control group namespace")
}

/// How many processes the kernel has killed so far because the guest's memory was used up.
pub(crate) fn killed_for_memory() -> u32 {
    // A kernel that does not count has killed none that we know of.
    std::fs::read_to_string("/proc/vmstat").ok().and_then(|vmstat| oom_kill(&vmstat)).unwrap_or(0)
}

/// `oom_kill` of `/proc/vmstat`.
fn oom_kill(vmstat: &str) -> Option<u32> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

fn write(path: &str, value: &str) -> anyhow::Result<()> {
    std::fs::write(path, value).with_context(|| format!("cannot write {value} to {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_counter() {
        assert_eq!(oom_kill("nr_free_pages 7\noom_kill 2\ndrop_slab 0\n"), Some(2));
        assert_eq!(oom_kill("nr_free_pages 7\n"), None);
    }
}
