//! Finds the container's command in its root file system before the VM starts, so that `docker run` fails with runc's
//! message and exit code. Runs on the host. The image is hostile: it is looked at with `RESOLVE_IN_ROOT`, and nothing of
//! it is opened for reading. What a volume may hold is left to the guest.

use anyhow::Context;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// Search path of a container without one.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Files that Docker and podman bind into every container; no command lies there.
const BOUND_BY_ENGINES: [&str; 4] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv"];

/// In runc's words, by which Docker tells exit code 126 from 127 and which scripts look for.
#[derive(Debug, thiserror::Error)]
#[error("runc create failed: unable to start container process: exec: {name:?}: {reason}")]
pub(crate) struct CommandError {
    /// As given.
    name: String,
    /// One of three.
    reason: Reason,
}

/// Why a command cannot be executed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    /// 127
    #[error("executable file not found in $PATH")]
    NotInPath,
    /// 127
    #[error("stat {path}: {}", if *.error == Errno::NOTDIR { "not a directory" } else { "no such file or directory" })]
    Missing {
        /// As given.
        path: String,
        /// `NOENT` or `NOTDIR`.
        error: Errno,
    },
    /// 126
    #[error("permission denied")]
    Denied,
}

/// What can be said of a path.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Executable,
    Unknown,
    Denied,
    Missing(Errno),
}

/// Fails as runc does when the command cannot be executed. `elsewhere` are directories whose files only the guest has.
pub(crate) fn check(spec: &Value, bundle: &Path, elsewhere: &[&str]) -> anyhow::Result<()> {
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str);
    let name = text("/process/args/0").unwrap_or_default();
    let root_path = bundle.join(text("/root/path").unwrap_or("rootfs"));
    let root =
        rustix::fs::open(&root_path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open the container's root {}", root_path.display()))?;
    let image = Image { root, volumes: volumes(spec).chain(elsewhere.iter().map(PathBuf::from)).collect() };
    let cwd = Path::new(text("/process/cwd").unwrap_or("/"));
    let outcome = if name.contains('/') {
        image.check_path(cwd, name)
    } else {
        let env = crate::spec::environment(spec);
        let path = env.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
        image.search(cwd, path.unwrap_or(DEFAULT_PATH), name)
    };
    outcome.map_err(|reason| CommandError { name: name.to_owned(), reason }.into())
}

/// Where commands may lie that are not the image's.
fn volumes(spec: &Value) -> impl Iterator<Item = PathBuf> {
    let mounts = spec.pointer("/mounts").and_then(Value::as_array);
    let binds = mounts.into_iter().flatten().filter(|mount| mount["type"] == "bind");
    let destinations = binds.filter_map(|mount| mount["destination"].as_str());
    destinations.filter(|path| !BOUND_BY_ENGINES.contains(path)).map(PathBuf::from)
}

struct Image {
    root: OwnedFd,
    volumes: Vec<PathBuf>,
}

impl Image {
    /// A command with a slash in its name.
    fn check_path(&self, cwd: &Path, name: &str) -> Result<(), Reason> {
        match self.find(&cwd.join(name)) {
            Found::Executable | Found::Unknown => Ok(()),
            Found::Denied => Err(Reason::Denied),
            Found::Missing(error) => Err(Reason::Missing { path: name.to_owned(), error }),
        }
    }

    /// A command that is looked up in the directories of a search path. As in Go, whose library runc uses, a file
    /// there that cannot be executed counts as none.
    fn search(&self, cwd: &Path, path: &str, name: &str) -> Result<(), Reason> {
        let mut candidates = path.split(':').map(|directory| cwd.join(directory).join(name));
        let is_found = !name.is_empty()
            && candidates.any(|path| matches!(self.find(&path), Found::Executable | Found::Unknown));
        if is_found { Ok(()) } else { Err(Reason::NotInPath) }
    }

    /// Looks a path up as a process in the container would.
    fn find(&self, path: &Path) -> Found {
        let clean = lexically_clean(path);
        if self.volumes.iter().any(|volume| clean.starts_with(volume)) {
            return Found::Unknown;
        }
        let found = match self.open(path, ResolveFlags::empty()) {
            Ok(file) => judge(&file),
            Err(Errno::ACCESS) => Found::Denied,
            Err(error @ (Errno::NOENT | Errno::NOTDIR)) => Found::Missing(error),
            // Links in a circle, or a kernel without openat2.
            Err(_) => Found::Unknown,
        };
        // A link of the image can lead into a volume, of which the image has the mount point only.
        let may_leave = found != Found::Executable
            && !self.volumes.is_empty()
            && self.open(path, ResolveFlags::NO_SYMLINKS).is_err_and(|error| error == Errno::LOOP);
        if may_leave { Found::Unknown } else { found }
    }

    fn open(&self, path: &Path, flags: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | flags;
        rustix::fs::openat2(&self.root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
    }
}

fn judge(file: &OwnedFd) -> Found {
    let Ok(stat) = rustix::fs::fstat(file) else { return Found::Unknown };
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if is_file && stat.st_mode & 0o111 != 0 { Found::Executable } else { Found::Denied }
}

/// Without `.` and `..`, as far as that goes without following links.
fn lexically_clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// An image with a program, a file that is none, and links that try to leave it.
    fn image(test: &str) -> PathBuf {
        let bundle = std::env::temp_dir().join(format!("runq-command-{test}-{}", std::process::id()));
        let bin = bundle.join("rootfs/bin");
        fs_err::create_dir_all(&bin).unwrap();
        fs_err::create_dir_all(bundle.join("rootfs/vol")).unwrap();
        fs_err::write(bin.join("tool"), "").unwrap();
        fs_err::set_permissions(bin.join("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
        fs_err::write(bin.join("data"), "").unwrap();
        fs_err::set_permissions(bin.join("data"), std::fs::Permissions::from_mode(0o644)).unwrap();
        symlink("/bin/tool", bin.join("inside")).unwrap();
        symlink("/../../../../../../bin/sh", bin.join("outside")).unwrap();
        symlink("/vol/tool", bin.join("volume")).unwrap();
        symlink("/bin", bundle.join("rootfs/vol/up")).unwrap();
        bundle
    }

    fn message(bundle: &Path, command: &str) -> Option<String> {
        let spec = json!({"process": {"args": [command], "cwd": "/", "env": ["PATH=/sbin:/bin"]}, "mounts":
                          [{"type": "bind", "destination": "/vol"}]});
        message_for(&spec, bundle)
    }

    fn message_for(spec: &Value, bundle: &Path) -> Option<String> {
        let found = check(spec, bundle, &[]).err().map(|error| error.to_string());
        found.map(|text| text.replace("runc create failed: unable to start container process: exec: ", ""))
    }

    #[test]
    fn finds_what_the_container_would_find() {
        let bundle = image("finds");
        for command in [
            "tool",
            "/bin/tool",
            "bin/tool",
            "./bin/tool",
            "inside",
            "/vol/anything",
            "volume",
            "/bin/volume",
        ] {
            assert_eq!(message(&bundle, command), None, "{command}");
        }
        fs_err::remove_dir_all(bundle).unwrap();
    }

    #[test]
    fn fails_with_the_words_of_runc() {
        let bundle = image("fails");
        let missing = "\"nosuch\": executable file not found in $PATH";
        assert_eq!(message(&bundle, "nosuch").as_deref(), Some(missing));
        assert!(message(&bundle, "data").unwrap().ends_with("executable file not found in $PATH"));
        assert_eq!(message(&bundle, "").as_deref(), Some("\"\": executable file not found in $PATH"));
        assert_eq!(message(&bundle, "/bin/data").as_deref(), Some("\"/bin/data\": permission denied"));
        assert_eq!(message(&bundle, "/bin").as_deref(), Some("\"/bin\": permission denied"));
        let stat = "\"/bin/no\": stat /bin/no: no such file or directory";
        assert_eq!(message(&bundle, "/bin/no").as_deref(), Some(stat));
        assert!(message(&bundle, "/bin/data/x").unwrap().ends_with("not a directory"));
        fs_err::remove_dir_all(bundle).unwrap();
    }

    #[test]
    fn parent_directories_are_those_of_the_link_target() {
        let bundle = image("parents");
        let spec = json!({"process": {"args": ["/vol/up/../bin/tool"], "cwd": "/"}});
        assert_eq!(message_for(&spec, &bundle), None);
        fs_err::remove_dir_all(bundle).unwrap();
    }

    #[test]
    fn links_do_not_leave_the_image() {
        let bundle = image("links");
        let spec = json!({"process": {"args": ["outside"], "cwd": "/", "env": ["PATH=/bin"]}});
        assert!(message_for(&spec, &bundle).unwrap().ends_with("not found in $PATH"));
        fs_err::remove_dir_all(bundle).unwrap();
    }
}
