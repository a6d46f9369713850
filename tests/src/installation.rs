//! A small installation in a directory of its own: bundles, a key, a daemon.json and a prefix, all of which is compared as a whole.
//! On the host; no dockerd is told of it.

use crate::command::{self, Finished};
use crate::small_bundle::{Signer, SmallBundle};
use crate::workspace;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long an installer may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What daemon.json holds before anything is done.
pub const DAEMON_JSON: &str =
    "{\n\t\"debug\" : true,\r\n  \"runtimes\": {\"crun\": {\"path\": \"/usr/bin/crun\"}}\n}";

/// Where one installer works.
pub struct Installation {
    directory: tempfile::TempDir,
    /// Whose bundles it takes.
    pub signer: Signer,
}

impl Installation {
    /// Nothing installed yet, and bundles of 1.0.0 and 1.1.0.
    ///
    /// # Errors
    /// When minisign fails.
    pub fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let signer = Signer::generate(&directory.path().join("key"))?;
        for (version, sequence) in [("1.0.0", 10), ("1.1.0", 11)] {
            SmallBundle::new(version, sequence).write(directory.path(), &signer)?;
        }
        let installation = Self { directory, signer };
        fs_err::create_dir(installation.world())?;
        fs_err::create_dir(installation.world().join("etc"))?;
        fs_err::create_dir(installation.world().join("lib"))?;
        fs_err::write(installation.daemon_json(), DAEMON_JSON)?;
        Ok(installation)
    }

    /// All that an installer may change.
    #[must_use]
    pub fn world(&self) -> PathBuf {
        self.directory.path().join("world")
    }

    /// A file beside the world.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The configuration.
    #[must_use]
    pub fn daemon_json(&self) -> PathBuf {
        self.world().join("etc/daemon.json")
    }

    /// Where runq is installed.
    #[must_use]
    pub fn prefix(&self) -> PathBuf {
        self.world().join("lib/runq")
    }

    /// A bundle that was made.
    #[must_use]
    pub fn bundle(&self, version: &str) -> PathBuf {
        self.path(&format!("runq-{version}-{}.tar.zst", workspace::ARCH))
    }

    /// Arguments of `runq-install` for a command of its; `install VERSION` names a bundle.
    #[must_use]
    pub fn arguments(&self, words: &[&str]) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        let mut arguments: Vec<String> = Vec::new();
        match words {
            ["install", version, rest @ ..] => {
                arguments.extend(["install", "--arch", workspace::ARCH, "--bundle"].map(str::to_owned));
                arguments.push(text(self.bundle(version)));
                arguments.extend(rest.iter().map(|word| (*word).to_owned()));
            }
            words => arguments.extend(words.iter().map(|word| (*word).to_owned())),
        }
        let action = words.first().copied().unwrap_or_default();
        if matches!(action, "install" | "adopt") && !words.contains(&"--no-docker") {
            arguments.extend(["--daemon-json".to_owned(), text(self.daemon_json())]);
        }
        if matches!(action, "install" | "uninstall" | "register" | "unregister" | "adopt") {
            arguments.extend(["--docker-host", "unix:///nonexistent/docker.sock"].map(str::to_owned));
        }
        if matches!(action, "install" | "verify" | "adopt" | "rollback" | "export") {
            arguments.extend(["--public-key".to_owned(), text(self.signer.public_key())]);
        }
        arguments.extend(["--prefix".to_owned(), text(self.prefix())]);
        arguments
    }

    /// The command, for a caller who adds to it.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(self.arguments(words)).env_remove("DOCKER_HOST");
        command
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn run(&self, words: &[&str]) -> Result<Finished> {
        command::run(&mut self.command(words), &[], LIMIT)
    }

    /// Runs it, and it has to succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn must(&self, words: &[&str]) -> Result<String> {
        let finished = self.run(words)?;
        ensure!(finished.code == 0, "{words:?} ended with {}: {}", finished.code, finished.stderr_text());
        Ok(finished.stdout_text())
    }

    /// The whole world.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::of(&self.world())
    }

    /// Makes the world what it was.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        fs_err::remove_dir_all(self.world())?;
        snapshot.write(&self.world())
    }
}

/// The program under test.
#[must_use]
pub fn program() -> PathBuf {
    workspace::dist().join("runq-install")
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory and its mode.
    Directory(u32),
    /// A file, its mode and its bytes.
    File(u32, Vec<u8>),
    /// A link and its target.
    Link(PathBuf),
}

/// All that is in a directory, by relative path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(pub BTreeMap<PathBuf, Node>);

impl Snapshot {
    /// Reads a directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(root: &Path) -> Result<Self> {
        let mut nodes = BTreeMap::new();
        let mut due = vec![root.to_owned()];
        while let Some(directory) = due.pop() {
            for item in fs_err::read_dir(&directory)? {
                let path = item?.path();
                let metadata = fs_err::symlink_metadata(&path)?;
                let mode = metadata.mode() & 0o7777;
                let node = if metadata.is_symlink() {
                    Node::Link(fs_err::read_link(&path)?)
                } else if metadata.is_dir() {
                    due.push(path.clone());
                    Node::Directory(mode)
                } else {
                    Node::File(mode, fs_err::read(&path)?)
                };
                nodes.insert(path.strip_prefix(root)?.to_owned(), node);
            }
        }
        Ok(Self(nodes))
    }

    /// Creates it all in a directory that is not there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, root: &Path) -> Result<()> {
        fs_err::create_dir(root)?;
        for (path, node) in &self.0 {
            let path = root.join(path);
            let mode = match node {
                Node::Directory(mode) => {
                    fs_err::create_dir(&path)?;
                    mode
                }
                Node::File(mode, bytes) => {
                    fs_err::write(&path, bytes)?;
                    mode
                }
                Node::Link(target) => {
                    symlink(target, &path)?;
                    continue;
                }
            };
            fs_err::set_permissions(&path, PermissionsExt::from_mode(*mode))?;
        }
        Ok(())
    }

    /// What is at a path and below it, and the rest.
    #[must_use]
    pub fn split(self, path: &Path) -> (Self, Self) {
        let (below, rest) = self.0.into_iter().partition(|(found, _)| found.starts_with(path));
        (Self(below), Self(rest))
    }

    /// The same without what no two runs have in common: the lock's holder, and the times in the names of backups.
    #[must_use]
    pub fn comparable(&self) -> Self {
        let nodes = self.0.iter().filter(|(path, _)| !path.ends_with(".lock")).map(|(path, node)| {
            let name = path.to_string_lossy();
            let name = name.split_once(".runq-backup-").map_or(&*name, |(start, _)| start);
            let backup = if name.len() < path.as_os_str().len() { ".runq-backup" } else { "" };
            (PathBuf::from(format!("{name}{backup}")), node.clone())
        });
        Self(nodes.collect())
    }

    /// How many backups of daemon.json there are.
    #[must_use]
    pub fn backups(&self) -> usize {
        self.0.keys().filter(|path| path.to_string_lossy().contains(".runq-backup-")).count()
    }

    /// Names that only work in progress has.
    #[must_use]
    pub fn leftovers(&self) -> Vec<&Path> {
        let is_temporary = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            [".staging-", ".new-"].iter().any(|prefix| name.starts_with(prefix))
                || name.ends_with(".runq-new")
        };
        self.0.keys().filter(is_temporary).map(PathBuf::as_path).collect()
    }

    /// Bytes of a file; `None` when it is none.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match self.0.get(Path::new(path)) {
            Some(Node::File(_, bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The first path in which two differ, for messages.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let paths = self.0.keys().chain(other.0.keys());
        let path = paths.into_iter().find(|path| self.0.get(*path) != other.0.get(*path))?;
        let shown = |node: Option<&Node>| match node {
            Some(Node::File(mode, bytes)) => format!("file {mode:o} {}", String::from_utf8_lossy(bytes)),
            other => format!("{other:?}"),
        };
        Some(format!("{}: {} against {}", path.display(), shown(self.0.get(path)), shown(other.0.get(path))))
    }
}
