//! Copies a tree of files with owners, modes, times, links and attributes. In the guest, as root, while nothing else changes
//! the tree. The files are hostile: links are copied and never followed.

use anyhow::{Context, bail};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a new file system has, and keeps as its own.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// What is copied where; paths are relative to both roots.
pub(crate) struct Copy {
    /// A directory.
    pub(crate) source: PathBuf,
    /// Another one.
    pub(crate) target: PathBuf,
    /// What is left out.
    pub(crate) excluded: HashSet<PathBuf>,
    /// What is copied without its content.
    pub(crate) empty: HashSet<PathBuf>,
    /// Where files with several names were copied first, by device and inode.
    pub(crate) links: HashMap<(u64, u64), PathBuf>,
}

impl Copy {
    /// Copies everything, over what is there.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        self.directory(Path::new(""))
    }

    /// What is in a directory, then its own properties: to write into it changes its times.
    fn directory(&mut self, path: &Path) -> anyhow::Result<()> {
        let source = self.source.join(path);
        if !self.empty.contains(path) {
            let entries =
                std::fs::read_dir(&source).with_context(|| format!("cannot list /{}", path.display()))?;
            for entry in entries {
                let entry = entry.with_context(|| format!("cannot list /{}", path.display()))?;
                let inside = path.join(entry.file_name());
                // The disk's own.
                if inside == Path::new(LOST_AND_FOUND) || self.excluded.contains(&inside) {
                    continue;
                }
                self.entry(&inside).with_context(|| format!("cannot copy /{}", inside.display()))?;
            }
        }
        let metadata = std::fs::symlink_metadata(&source)?;
        self.properties(path, &metadata)
            .with_context(|| format!("cannot copy the properties of /{}", path.display()))
    }

    fn entry(&mut self, path: &Path) -> anyhow::Result<()> {
        let (source, target) = (self.source.join(path), self.target.join(path));
        let metadata = std::fs::symlink_metadata(&source)?;
        let kind = FileType::from_raw_mode(metadata.mode());
        if kind == FileType::Directory {
            match std::fs::create_dir(&target) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
                _ => return self.directory(path),
            }
        }
        match std::fs::remove_file(&target) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        if metadata.nlink() > 1 {
            let key = (metadata.dev(), metadata.ino());
            if let Some(first) = self.links.get(&key) {
                return Ok(std::fs::hard_link(self.target.join(first), &target)?);
            }
            self.links.insert(key, path.to_owned());
        }
        match kind {
            FileType::RegularFile if self.empty.contains(path) => drop(std::fs::File::create(&target)?),
            FileType::RegularFile => drop(std::fs::copy(&source, &target)?),
            FileType::Symlink => std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?,
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {
                let mode = Mode::from_raw_mode(metadata.mode());
                rustix::fs::mknodat(CWD, &target, kind, mode, metadata.rdev())?;
            }
            _ => bail!("it is of no known kind"),
        }
        self.properties(path, &metadata)
    }

    /// Owner first: to change it takes the set-user-id bit and capabilities away.
    fn properties(&self, path: &Path, metadata: &std::fs::Metadata) -> anyhow::Result<()> {
        let (source, target) = (self.source.join(path), self.target.join(path));
        let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
        rustix::fs::chownat(CWD, &target, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(metadata.mode()) != FileType::Symlink {
            rustix::fs::chmod(&target, Mode::from_raw_mode(metadata.mode()))?;
        }
        attributes(&source, &target)?;
        let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps {
            last_access: time(metadata.atime(), metadata.atime_nsec()),
            last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
        };
        Ok(rustix::fs::utimensat(CWD, &target, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// Extended attributes, file capabilities among them. A file system that has none has nothing to copy.
fn attributes(source: &Path, target: &Path) -> anyhow::Result<()> {
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::llistxattr(source, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error).context("cannot list its attributes"),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 * 1024];
        let length =
            rustix::fs::lgetxattr(source, name, &mut value[..]).context("cannot read an attribute")?;
        match rustix::fs::lsetxattr(target, name, &value[..length], XattrFlags::empty()) {
            // Not every file system has every kind.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error).context("cannot write an attribute"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn copies_all_but_what_is_excluded_or_mounted() {
        let dir = std::env::temp_dir().join(format!("runq-tree-copy-{}", std::process::id()));
        let (source, target) = (dir.join("from"), dir.join("to"));
        for path in ["a/b", "proc/1", "skip/x"] {
            std::fs::create_dir_all(source.join(path)).unwrap();
        }
        std::fs::create_dir_all(&target).unwrap();
        std::fs::write(source.join("a/file"), "text").unwrap();
        std::fs::set_permissions(source.join("a/file"), std::fs::Permissions::from_mode(0o4751)).unwrap();
        std::fs::hard_link(source.join("a/file"), source.join("a/second")).unwrap();
        symlink("/nowhere", source.join("link")).unwrap();
        std::fs::write(source.join("hosts"), "bound").unwrap();
        // Left by a copy that was interrupted.
        std::fs::create_dir(target.join("a")).unwrap();
        std::fs::write(target.join("a/file"), "half").unwrap();
        let set = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        let copy = Copy {
            source,
            target: target.clone(),
            excluded: set(&["skip"]),
            empty: set(&["proc", "hosts"]),
            links: HashMap::new(),
        };
        copy.run().unwrap();
        let metadata = std::fs::metadata(target.join("a/file")).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.nlink()), (0o4751, 2));
        assert_eq!(std::fs::read_to_string(target.join("a/second")).unwrap(), "text");
        assert_eq!(std::fs::read_link(target.join("link")).unwrap(), Path::new("/nowhere"));
        assert_eq!(std::fs::read_to_string(target.join("hosts")).unwrap(), "");
        assert!(target.join("proc").is_dir() && target.join("a/b").is_dir());
        assert!(!target.join("proc/1").exists() && !target.join("skip").exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
