//! Who uses which version: processes that have it mounted, and OCI bundles that name it. Runs on the host, as root; reads
//! /proc and the state of the engines, and when in doubt counts a version as used.

use crate::layout::Layout;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where containerd keeps the OCI bundles of its containers, below its state directory: namespace, then container.
const CONTAINERD_TASKS: &str = "io.containerd.runtime.v2.task";

/// State directories of containerd on its own and below dockerd, when nobody says otherwise.
const CONTAINERD_STATES: [&str; 2] = ["/run/containerd", "/run/docker/containerd/daemon"];

/// Where podman keeps them: container, then `userdata`.
const PODMAN_CONTAINERS: [&str; 2] =
    ["/var/lib/containers/storage/overlay-containers", "/var/lib/containers/storage/vfs-containers"];

/// Bound of a configuration in bytes; larger ones are not runc's.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Somebody who uses a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum User {
    /// A process of this number has it mounted.
    Process(u32),
    /// This `config.json` names it: a container that is stopped, or was given up.
    OciBundle(PathBuf),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::OciBundle(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The versions that somebody uses, each with its first user.
pub(crate) fn find(layout: &Layout, versions: &[String]) -> Result<BTreeMap<String, User>> {
    let mut users = of_processes(layout, versions)?;
    for path in oci_configs() {
        let Some(text) = read_config(&path) else { continue };
        for id in versions {
            if !users.contains_key(id) && names(&text, &layout.version(id)) {
                users.insert(id.clone(), User::OciBundle(path.clone()));
            }
        }
    }
    Ok(users)
}

fn of_processes(layout: &Layout, versions: &[String]) -> Result<BTreeMap<String, User>> {
    let mut users = BTreeMap::new();
    let mut namespaces = HashSet::new();
    for pid in process_ids()? {
        let process = Path::new("/proc").join(pid.to_string());
        // All processes of a namespace have the same mounts.
        let namespace = fs::read_link(process.join("ns/mnt"));
        if namespace.is_ok_and(|namespace| !namespaces.insert(namespace)) {
            continue;
        }
        let mounts = match fs::read_to_string(process.join("mountinfo")) {
            Ok(mounts) => mounts,
            Err(error) if uses_nothing(&error) => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot see the mounts of process {pid}"));
            }
        };
        let root = process.join("root");
        for id in versions {
            let version = layout.version(id);
            if !users.contains_key(id) && mounts.lines().any(|mount| is_mount_of(mount, &version, id, &root))
            {
                users.insert(id.clone(), User::Process(pid));
            }
        }
    }
    Ok(users)
}

/// A process that has ended, perhaps between two looks at it; or, unless we are root, one of another user.
fn uses_nothing(error: &io::Error) -> bool {
    let root = rustix::process::geteuid().is_root();
    let ended = [rustix::io::Errno::SRCH, rustix::io::Errno::INVAL].map(rustix::io::Errno::raw_os_error);
    error.kind() == ErrorKind::NotFound
        || error.raw_os_error().is_some_and(|code| ended.contains(&code))
        || (error.kind() == ErrorKind::PermissionDenied && !root)
}

fn process_ids() -> Result<Vec<u32>> {
    let names = fs::read_dir("/proc").context("cannot read /proc")?.flatten();
    Ok(names.filter_map(|item| item.file_name().to_str()?.parse().ok()).collect())
}

/// Whether a line of a process's `mountinfo` (proc_pid_mountinfo(5)) shows a directory of this version. The same version
/// may be installed below another prefix: the two are told apart by what the mount point is, seen through `root`.
fn is_mount_of(mount: &str, version: &Path, id: &str, root: &Path) -> bool {
    let mut fields = mount.split(' ').skip(3);
    let (Some(source), Some(target)) = (fields.next(), fields.next()) else { return false };
    let Some((_, inside)) = source.split_once(&format!("versions/{id}/")) else { return false };
    let identity = |path: PathBuf| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    match (identity(version.join(inside)), identity(root.join(target.trim_start_matches('/')))) {
        (Ok(ours), Ok(mounted)) => ours == mounted,
        _ => false,
    }
}

/// All `config.json` of containers that the engines of this host know.
fn oci_configs() -> Vec<PathBuf> {
    let mut states: Vec<PathBuf> = CONTAINERD_STATES.iter().map(PathBuf::from).collect();
    for pid in process_ids().unwrap_or_default() {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        states.extend(containerd_state(&String::from_utf8_lossy(&arguments)));
    }
    states.sort();
    states.dedup();
    let tasks = states.iter().flat_map(|state| children(&state.join(CONTAINERD_TASKS)));
    let of_containerd = tasks.flat_map(|namespace| children(&namespace));
    let of_podman = PODMAN_CONTAINERS.iter().flat_map(|directory| children(Path::new(directory)));
    let bundles = of_containerd.chain(of_podman.map(|container| container.join("userdata")));
    bundles.map(|bundle| bundle.join("config.json")).collect()
}

/// The state directory that a containerd or a dockerd with these arguments uses, when it is told which.
fn containerd_state(arguments: &str) -> Option<PathBuf> {
    let mut arguments = arguments.split('\0');
    let program = arguments.next()?.rsplit('/').next()?;
    let (flag, below) = match program {
        "containerd" => ("--state", ""),
        "dockerd" => ("--exec-root", "containerd/daemon"),
        _ => return None,
    };
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix(flag) {
            Some("") => return Some(Path::new(arguments.next()?).join(below)),
            Some(rest) if rest.starts_with('=') => return Some(Path::new(&rest[1..]).join(below)),
            _ => {}
        }
    }
    None
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(items) = fs::read_dir(directory) else { return Vec::new() };
    items.flatten().map(|item| item.path()).collect()
}

fn read_config(path: &Path) -> Option<String> {
    let metadata = path.metadata().ok()?;
    let bytes = (metadata.is_file() && metadata.len() <= MAX_CONFIG_BYTES).then(|| fs::read(path).ok())??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn names(config: &str, version: &Path) -> bool {
    config.contains(&format!("\"{}/", version.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_version_elsewhere_is_not_ours() {
        let ours = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(ours.path().join("qemu")).unwrap();
        fs::create_dir_all(root.path().join("mnt")).unwrap();
        let line =
            |target: &str| format!("9 1 0:3 /var/lib/runq/versions/1-ab/qemu {target} ro - ext4 /dev/vda rw");
        assert!(!is_mount_of(&line("/mnt"), ours.path(), "1-ab", root.path()));
        std::os::unix::fs::symlink(ours.path().join("qemu"), root.path().join("same")).unwrap();
        assert!(is_mount_of(&line("/same"), ours.path(), "1-ab", root.path()));
        assert!(!is_mount_of(&line("/same"), ours.path(), "2-cd", root.path()));
    }

    #[test]
    fn finds_the_state_of_engines_in_their_arguments() {
        let state = |arguments: &str| containerd_state(&arguments.replace(' ', "\0"));
        assert_eq!(state("/usr/bin/containerd --state /x --root /y"), Some("/x/".into()));
        assert_eq!(state("dockerd -D --exec-root=/x"), Some("/x/containerd/daemon".into()));
        assert_eq!(state("dockerd -D"), None);
        assert_eq!(state("sleep --state /x"), None);
    }

    #[test]
    fn a_configuration_names_a_version_by_its_whole_name() {
        let config = r#"{"mounts":[{"source":"/var/lib/runq/versions/1-ab/qemu"}]}"#;
        assert!(names(config, Path::new("/var/lib/runq/versions/1-ab")));
        assert!(!names(config, Path::new("/var/lib/runq/versions/1-a")));
        assert!(!names(config, Path::new("/lib/runq/versions/1-ab")));
    }
}
