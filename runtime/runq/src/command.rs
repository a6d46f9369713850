//! Finds the container's command in its root file system before the VM starts, so that `docker run` fails with runc's
//! message and exit code. The image is hostile: it is looked at with `RESOLVE_IN_ROOT`, and nothing of it is opened for
//! reading. What a volume hides is left to the guest.

use anyhow::{Context, bail};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// Search path of a container without one, as in runc.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What can be said of a path.
enum Found {
    Executable,
    Unknown,
    Denied,
    Missing(Errno),
}

/// Fails as runc does when the command cannot be executed.
pub(crate) fn check(spec: &Value, bundle: &Path) -> anyhow::Result<()> {
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str);
    let name = text("/process/args/0").unwrap_or_default();
    let root_path = bundle.join(text("/root/path").unwrap_or("rootfs"));
    let root =
        rustix::fs::open(&root_path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open the container's root {}", root_path.display()))?;
    let image = Image { root, volumes: volumes(spec) };
    let cwd = Path::new(text("/process/cwd").unwrap_or("/"));
    if name.contains('/') {
        return match image.find(&cwd.join(name)) {
            Found::Executable | Found::Unknown => Ok(()),
            Found::Denied => fail(name, "permission denied"),
            Found::Missing(error) => fail(name, &format!("stat {name}: {}", describe(error))),
        };
    }
    let env = super::spec::environment(spec);
    let path = env.iter().rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let mut denied = false;
    for directory in path.split(':').filter(|_| !name.is_empty()) {
        match image.find(&cwd.join(directory).join(name)) {
            Found::Executable | Found::Unknown => return Ok(()),
            Found::Denied => denied = true,
            Found::Missing(_) => {}
        }
    }
    fail(name, if denied { "permission denied" } else { "executable file not found in $PATH" })
}

fn fail(name: &str, text: &str) -> anyhow::Result<()> {
    bail!("runc create failed: unable to start container process: exec: {name:?}: {text}")
}

/// runc's words, by which Docker tells 126 from 127.
fn describe(error: Errno) -> &'static str {
    match error {
        Errno::NOTDIR => "not a directory",
        _ => "no such file or directory",
    }
}

/// Destinations of binds, but for the files that Docker itself puts into /etc.
fn volumes(spec: &Value) -> Vec<PathBuf> {
    let mounts = spec.pointer("/mounts").and_then(Value::as_array);
    let binds = mounts.into_iter().flatten().filter(|mount| mount["type"] == "bind");
    binds.filter_map(|mount| mount["destination"].as_str()).map(PathBuf::from).collect()
}

struct Image {
    root: OwnedFd,
    volumes: Vec<PathBuf>,
}

impl Image {
    /// Looks a path up as a process in the container would.
    fn find(&self, path: &Path) -> Found {
        let path = lexically_clean(path);
        if self.volumes.iter().any(|volume| path.starts_with(volume)) {
            return Found::Unknown;
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = match rustix::fs::openat2(&self.root, &path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
            Ok(file) => file,
            Err(Errno::ACCESS) => return Found::Denied,
            Err(error @ (Errno::NOENT | Errno::NOTDIR)) => return Found::Missing(error),
            // A link that leads somewhere else, or a kernel without openat2.
            Err(_) => return Found::Unknown,
        };
        let Ok(stat) = rustix::fs::fstat(&file) else { return Found::Unknown };
        let is_program =
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o111 != 0;
        if is_program { Found::Executable } else { Found::Denied }
    }
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
        bundle
    }

    fn message(bundle: &Path, command: &str) -> Option<String> {
        let spec = json!({"process": {"args": [command], "cwd": "/", "env": ["PATH=/sbin:/bin"]}, "mounts":
                          [{"type": "bind", "destination": "/vol"}]});
        let found = check(&spec, bundle).err().map(|error| error.to_string());
        found.map(|text| text.replace("runc create failed: unable to start container process: exec: ", ""))
    }

    #[test]
    fn finds_what_the_container_would_find() {
        let bundle = image("finds");
        for command in ["tool", "/bin/tool", "bin/tool", "./bin/tool", "inside", "/vol/anything"] {
            assert_eq!(message(&bundle, command), None, "{command}");
        }
        fs_err::remove_dir_all(bundle).unwrap();
    }

    #[test]
    fn fails_with_the_words_of_runc() {
        let bundle = image("fails");
        let missing = "\"nosuch\": executable file not found in $PATH";
        assert_eq!(message(&bundle, "nosuch").as_deref(), Some(missing));
        assert_eq!(message(&bundle, "").as_deref(), Some("\"\": executable file not found in $PATH"));
        assert_eq!(message(&bundle, "/bin/data").as_deref(), Some("\"/bin/data\": permission denied"));
        assert_eq!(message(&bundle, "/bin").as_deref(), Some("\"/bin\": permission denied"));
        let stat = "\"/bin/no\": stat /bin/no: no such file or directory";
        assert_eq!(message(&bundle, "/bin/no").as_deref(), Some(stat));
        assert!(message(&bundle, "/bin/data/x").unwrap().ends_with("not a directory"));
        fs_err::remove_dir_all(bundle).unwrap();
    }

    #[test]
    fn links_do_not_leave_the_image() {
        let bundle = image("links");
        assert!(message(&bundle, "outside").unwrap().ends_with("not found in $PATH"));
        fs_err::remove_dir_all(bundle).unwrap();
    }
}
