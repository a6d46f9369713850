//! Replaces `daemon.json` as a whole or not at all. Runs on the host, as root; another writer may come in between,
//! and is noticed.
//!
//! Promise: whoever opens the file sees the old or the new text, also after a power loss; a link to it stays a link; owner
//! and mode stay; what a killed run leaves is cleared by the next change. Not covered: extended attributes and ACLs, which go with the old file; a writer in the instant between
//! the last look and the rename.

use rustix::fs::{
    Access, AtFlags, CWD, FlockOperation, Gid, Mode, StatxAttributes, StatxFlags, Uid, access, fchmod,
    fchown, flock, statx,
};
use rustix::io::Errno;
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
    #[error("{path} is not UTF-8: line {line} column {column}")]
    Encoding { path: PathBuf, line: usize, column: usize, source: std::string::FromUtf8Error },
    #[error("{path} {reason}")]
    Fixed { path: PathBuf, reason: &'static str },
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

/// What holds the old text.
struct Backup {
    path: PathBuf,
    is_new: bool,
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
        let text = String::from_utf8(std::fs::read(&path).map_err(read_error)?)
            .map_err(|source| encoding_error(path.clone(), source))?;
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
        let _lock = self.lock(&directory)?;
        let backup = match &self.text {
            Some(old) => Some(self.backup(&directory, old).map_err(self.failed("back up"))?),
            None => None,
        };
        if let Err(error) = self.exchange(&directory, text) {
            // Without a change there is nothing to go back to. The first error is the one that counts.
            if let Some(Backup { path, is_new: true }) = backup {
                std::fs::remove_file(path).unwrap_or_default();
            }
            return Err(error);
        }
        sync(&directory).map_err(self.failed("sync the directory of"))?;
        self.text = text.map(str::to_owned);
        Ok(backup.map(|backup| backup.path))
    }

    /// The same for a file that is ours as a whole: without a backup.
    pub(crate) fn replace_own(&mut self, text: Option<&str>) -> Result<(), ConfigFileError> {
        if self.text.as_deref() == text {
            return Ok(());
        }
        let directory = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        let _lock = self.lock(&directory)?;
        self.exchange(&directory, text)?;
        sync(&directory).map_err(self.failed("sync the directory of"))?;
        self.text = text.map(str::to_owned);
        Ok(())
    }

    /// One of us at a time, so that what lies under the temporary name is a leftover.
    fn lock(&self, directory: &Path) -> Result<File, ConfigFileError> {
        std::fs::create_dir_all(directory).map_err(self.failed("create the directory of"))?;
        let locked = File::open(directory).map_err(self.failed("open the directory of"))?;
        flock(&locked, FlockOperation::LockExclusive)
            .map_err(io::Error::from)
            .map_err(self.failed("lock the directory of"))?;
        Ok(locked)
    }

    fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> ConfigFileError + use<> {
        let path = self.path.clone();
        move |source| ConfigFileError::Write { action, path: path.clone(), source }
    }

    /// Checks that the file can be replaced, before anything is done that relies on it.
    pub(crate) fn check_replaceable(&self) -> Result<(), ConfigFileError> {
        let fixed = |reason| Err(ConfigFileError::Fixed { path: self.path.clone(), reason });
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        match access(directory, Access::WRITE_OK) {
            Err(Errno::ROFS) => return fixed("is on a read-only file system"),
            Err(Errno::ACCESS | Errno::PERM) => return fixed("is in a directory that cannot be written"),
            _ => {}
        }
        // Kernels before 5.8 do not know all attributes, and rename(2) tells the same later.
        let Ok(status) = statx(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE) else {
            return Ok(());
        };
        if status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return fixed("is a mount of its own and cannot be replaced");
        }
        if status.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND) {
            return fixed("is immutable");
        }
        Ok(())
    }

    fn exchange(&self, directory: &Path, text: Option<&str>) -> Result<(), ConfigFileError> {
        let new = match text {
            Some(text) => {
                Some(self.write_beside(directory, text).map_err(self.failed("write a new version of"))?)
            }
            None => None,
        };
        if Self::read(&self.path)?.text != self.text {
            return Err(ConfigFileError::Changed { path: self.path.clone() });
        }
        match new {
            Some(new) => {
                new.persist(&self.path).map_err(|error| error.error).map(drop).map_err(self.failed("replace"))
            }
            None => std::fs::remove_file(&self.path).map_err(self.failed("remove")),
        }
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

    /// The newest backup where it has the text already, as after a run that was killed; else a new one.
    fn backup(&self, directory: &Path, old: &str) -> io::Result<Backup> {
        let prefix = format!("{}.runq-backup-", self.name());
        let mut backups = Vec::new();
        for item in directory.read_dir()? {
            backups.push(item?.path());
        }
        backups
            .retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)));
        let newest = backups.into_iter().max();
        if let Some(path) = newest.filter(|path| std::fs::read(path).is_ok_and(|text| text == old.as_bytes()))
        {
            return Ok(Backup { path, is_new: false });
        }
        let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string().replace([':', '-'], "");
        let path = directory.join(format!("{prefix}{time}"));
        let new = self.write_beside(directory, old)?;
        new.persist_noclobber(&path).map_err(|error| error.error)?;
        // Before the text that it is the backup of is gone.
        sync(directory)?;
        Ok(Backup { path, is_new: true })
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Makes the names in a directory survive a power loss.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Counts columns in bytes, as the messages about JSON do.
fn encoding_error(path: PathBuf, source: std::string::FromUtf8Error) -> ConfigFileError {
    let good = &source.as_bytes()[..source.utf8_error().valid_up_to()];
    let line_start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
    let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
    ConfigFileError::Encoding { path, line, column: good.len() - line_start + 1, source }
}

#[cfg(test)]
#[path = "file/tests.rs"]
mod tests;
