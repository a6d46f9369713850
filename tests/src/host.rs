//! What containers and daemons leave on the host: processes, mounts, links, control groups.
//! Reads /proc and /sys of the host; trusts the kernel.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// All traces of containers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces(BTreeSet<String>);

impl Traces {
    /// Looks at mounts and links of the host, and at the processes and control groups below `cgroup`.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn now(cgroup: &str) -> Result<Self> {
        let mut traces = BTreeSet::new();
        traces.extend(mount_points()?.into_iter().map(|mount| format!("mount {}", mount.display())));
        traces.extend(links()?.into_iter().map(|link| format!("link {link}")));
        traces.extend(processes_in(cgroup)?.iter().map(|process| format!("process {process}")));
        traces.extend(cgroups_below(cgroup).into_iter().map(|dir| format!("cgroup {}", dir.display())));
        Ok(Self(traces))
    }

    /// What is here and was not there.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

/// A process of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Name as the kernel has it, at most 15 bytes.
    pub name: String,
    /// Argument vector.
    pub args: Vec<String>,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.pid, self.name)
    }
}

/// All processes.
///
/// # Errors
/// When /proc cannot be read.
pub fn processes() -> Result<Vec<Process>> {
    let entries = fs_err::read_dir("/proc")?.filter_map(std::result::Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(process).collect())
}

/// The process with this id, if there is one.
#[must_use]
pub fn process(pid: i32) -> Option<Process> {
    let name = fs_err::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let args = fs_err::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    let args = args.split_terminator('\0').map(str::to_owned).collect();
    Some(Process { pid, name: name.trim_end().to_owned(), args })
}

/// Processes in the control group `cgroup` (as in `/proc/PID/cgroup`) or below it, in any hierarchy.
///
/// # Errors
/// When /proc cannot be read.
pub fn processes_in(cgroup: &str) -> Result<Vec<Process>> {
    let mut found = processes()?;
    found.retain(|process| {
        let membership = fs_err::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
        membership.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| is_below(path, cgroup))
    });
    Ok(found)
}

fn is_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Directories of the control group `cgroup` and below, in all hierarchies, parents first.
#[must_use]
pub fn cgroups_below(cgroup: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs_err::read_dir(root).into_iter().flatten().filter_map(std::result::Result::ok);
    let mut dirs: Vec<PathBuf> = hierarchies.map(|entry| entry.path()).chain([root.to_owned()]).collect();
    // Hierarchies that are mounted together have links to one directory: count that once.
    dirs.retain(|dir| !dir.is_symlink());
    dirs.iter_mut().for_each(|dir| dir.push(cgroup.trim_start_matches('/')));
    dirs.retain(|dir| dir.is_dir());
    let mut next = 0;
    while let Some(dir) = dirs.get(next) {
        let children = fs_err::read_dir(dir).into_iter().flatten().filter_map(std::result::Result::ok);
        let children: Vec<_> = children.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        dirs.extend(children);
        next += 1;
    }
    dirs
}

/// Names of all network interfaces.
///
/// # Errors
/// When /sys cannot be read.
pub fn links() -> Result<Vec<String>> {
    let entries = fs_err::read_dir("/sys/class/net")?.filter_map(std::result::Result::ok);
    Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// All mount points, in the order in which they were mounted.
///
/// # Errors
/// When /proc cannot be read.
pub fn mount_points() -> Result<Vec<PathBuf>> {
    let table = fs_err::read_to_string("/proc/self/mountinfo").context("cannot list mounts")?;
    let fields = table.lines().filter_map(|line| line.split(' ').nth(4));
    // The kernel writes space as \040; the other escapes do not occur below the directories we look at.
    Ok(fields.map(|path| PathBuf::from(path.replace("\\040", " "))).collect())
}
