//! Replaces `daemon.json` as a whole or not at all. Runs on the host, as root; another writer may come in between,
//! and is noticed.
//!
//! Promise: whoever opens the file sees the old or the new text, also after a power loss; a link to it stays a link; owner
//! and mode stay; what a killed run leaves is cleared by the next change. Not covered: extended attributes and ACLs, which go with the old file; a writer in the instant between
//! the last look and the rename.

use rustix::fs::{FlockOperation, Gid, Mode, Uid, fchmod, fchown, flock};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Of a file that we create: dockerd's packages use the same.
const NEW_FILE_MODE: u32 = 0o644;

/// Bound of a configuration in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The file cannot be read or replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigFileError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not a regular file of at most {MAX_BYTES} bytes")]
    Kind { path: PathBuf },
    #[error("{path} is not UTF-8 from byte {position} on")]
    Encoding { path: PathBuf, position: usize, source: std::string::FromUtf8Error },
    #[error("{path} was changed by somebody else in the meantime")]
    Changed { path: PathBuf },
    #[error("cannot {action} {path}")]
    Write { action: &'static str, path: PathBuf, source: io::Error },
}

/// The file as it was read.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    /// Behind all links.
    path: PathBuf,
    /// `None` when there is no file.
    text: Option<String>,
}

impl ConfigFile {
    /// Reads the file, if there is one.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigFileError> {
        let read_error = |source| ConfigFileError::Read { path: path.to_owned(), source };
        let path = match path.canonicalize() {
            Ok(path) => path,
            // A link to nothing is not ours to fill.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
                return Ok(Self { path: std::path::absolute(path).map_err(read_error)?, text: None });
            }
            Err(error) => return Err(read_error(error)),
        };
        let metadata = path.metadata().map_err(read_error)?;
        if !metadata.is_file() || metadata.len() > MAX_BYTES {
            return Err(ConfigFileError::Kind { path });
        }
        let text = String::from_utf8(std::fs::read(&path).map_err(read_error)?).map_err(|source| {
            ConfigFileError::Encoding {
                path: path.clone(),
                position: source.utf8_error().valid_up_to(),
                source,
            }
        })?;
        Ok(Self { path, text: Some(text) })
    }

    /// The file behind all links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `None` when there is no file.
    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Replaces the text and leaves a backup of the old one beside it, whose path is returned. Nothing is written when
    /// nothing changes. `None` as text removes the file: the way back for one that we created.
    pub(crate) fn replace(&mut self, text: Option<&str>) -> Result<Option<PathBuf>, ConfigFileError> {
        if self.text.as_deref() == text {
            return Ok(None);
        }
        let directory = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        let failed = |action| {
            let path = self.path.clone();
            move |source| ConfigFileError::Write { action, path, source }
        };
        std::fs::create_dir_all(&directory).map_err(failed("create the directory of"))?;
        // One of us at a time, so that what lies under the temporary name is a leftover.
        let locked = File::open(&directory).map_err(failed("open the directory of"))?;
        flock(&locked, FlockOperation::LockExclusive)
            .map_err(io::Error::from)
            .map_err(failed("lock the directory of"))?;
        let backup = match &self.text {
            Some(old) => Some(self.write_backup(&directory, old).map_err(failed("back up"))?),
            None => None,
        };
        let new = match text {
            Some(text) => {
                Some(self.write_beside(&directory, text).map_err(failed("write a new version of"))?)
            }
            None => None,
        };
        if Self::read(&self.path)?.text != self.text {
            return Err(ConfigFileError::Changed { path: self.path.clone() });
        }
        match new {
            Some(new) => {
                new.persist(&self.path).map_err(|error| error.error).map(drop).map_err(failed("replace"))?;
            }
            None => std::fs::remove_file(&self.path).map_err(failed("remove"))?,
        }
        File::open(&directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed("sync the directory of"))?;
        self.text = text.map(str::to_owned);
        Ok(backup)
    }

    /// A new file with the owner and mode of the old one, on the disk.
    fn write_beside(&self, directory: &Path, text: &str) -> io::Result<tempfile::NamedTempFile> {
        let name = format!(".{}.runq-new", self.name());
        match std::fs::remove_file(directory.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut new = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempfile_in(directory)?;
        new.write_all(text.as_bytes())?;
        match self.path.metadata() {
            Ok(old) => {
                fchown(&new, Some(Uid::from_raw(old.uid())), Some(Gid::from_raw(old.gid())))?;
                fchmod(&new, Mode::from_raw_mode(old.mode() & 0o7777))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fchmod(&new, Mode::from_raw_mode(NEW_FILE_MODE))?;
            }
            Err(error) => return Err(error),
        }
        new.as_file().sync_all()?;
        Ok(new)
    }

    fn write_backup(&self, directory: &Path, old: &str) -> io::Result<PathBuf> {
        let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string().replace([':', '-'], "");
        let backup = directory.join(format!("{}.runq-backup-{time}", self.name()));
        let new = self.write_beside(directory, old)?;
        new.persist_noclobber(&backup).map_err(|error| error.error)?;
        Ok(backup)
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(directory: &Path) -> Vec<String> {
        let names = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = names.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn keeps_the_link_the_mode_and_a_backup() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real.json"), directory.path().join("daemon.json"));
        std::fs::write(&real, "old").unwrap();
        std::fs::set_permissions(&real, PermissionsExt::from_mode(0o640)).unwrap();
        symlink("real.json", &link).unwrap();

        let mut file = ConfigFile::read(&link).unwrap();
        let backup = file.replace(Some("new")).unwrap().unwrap();

        assert_eq!(std::fs::read_to_string(&link).unwrap(), "new");
        assert_eq!(std::fs::read_to_string(backup).unwrap(), "old");
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(real.metadata().unwrap().mode() & 0o7777, 0o640);
    }

    #[test]
    fn creates_a_file_and_its_directory_without_a_backup() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("etc/docker/daemon.json");
        let mut file = ConfigFile::read(&path).unwrap();
        assert_eq!(file.text(), None);
        assert_eq!(file.replace(Some("{}")).unwrap(), None);
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o644);
        assert_eq!(names(path.parent().unwrap()), ["daemon.json"]);
        file.replace(None).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn writes_nothing_when_nothing_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.json");
        std::fs::write(&path, "same").unwrap();
        let inode = path.metadata().unwrap().ino();
        assert_eq!(ConfigFile::read(&path).unwrap().replace(Some("same")).unwrap(), None);
        assert_eq!(path.metadata().unwrap().ino(), inode);
        assert_eq!(names(directory.path()), ["daemon.json"]);
    }

    #[test]
    fn clears_what_a_killed_run_has_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.json");
        std::fs::write(directory.path().join(".daemon.json.runq-new"), "half").unwrap();
        ConfigFile::read(&path).unwrap().replace(Some("{}")).unwrap();
        assert_eq!(names(directory.path()), ["daemon.json"]);
    }

    #[test]
    fn refuses_to_overwrite_what_somebody_else_has_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.json");
        std::fs::write(&path, "old").unwrap();
        let mut file = ConfigFile::read(&path).unwrap();
        std::fs::write(&path, "theirs").unwrap();
        assert!(matches!(file.replace(Some("ours")), Err(ConfigFileError::Changed { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "theirs");
    }

    #[test]
    fn refuses_other_encodings_dangling_links_and_directories() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("utf16"), b"\xff\xfe{\0}\0").unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        assert!(matches!(
            ConfigFile::read(&path("utf16")),
            Err(ConfigFileError::Encoding { position: 0, .. })
        ));
        assert!(matches!(ConfigFile::read(&path("dangling")), Err(ConfigFileError::Read { .. })));
        assert!(matches!(ConfigFile::read(directory.path()), Err(ConfigFileError::Kind { .. })));
    }
}
