//! One installer at a time per prefix. Runs on the host; the kernel drops the lock of a process that dies.

use rustix::fs::{FlockOperation, OFlags, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const MAX_PID_BYTES: u64 = 32;

/// The lock is not ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("cannot open {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("another installer, process {holder}, is at work in {path}")]
    Held { path: PathBuf, holder: String },
}

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn acquire(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Open { path: path.to_owned(), source };
        loop {
            let mut file = open(path).map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let mut holder = String::new();
                    file.take(MAX_PID_BYTES).read_to_string(&mut holder).map_err(failed)?;
                    let path = path.parent().unwrap_or(path).to_owned();
                    return Err(LockError::Held { path, holder: holder.trim().to_owned() });
                }
                Err(errno) => return Err(failed(errno.into())),
            }
            // An uninstall may have removed the file that was opened: a lock on it is no lock.
            let locked = file.metadata().map_err(failed)?;
            if path.symlink_metadata().is_ok_and(|found| found.ino() == locked.ino()) {
                file.set_len(0).map_err(failed)?;
                writeln!(file, "{}", std::process::id()).map_err(failed)?;
                return Ok(Self { _file: file });
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_its_holder_and_ends_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".lock");
        let lock = Lock::acquire(&path).unwrap();
        let error = Lock::acquire(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("process {},", std::process::id())), "{error}");
        drop(lock);
        Lock::acquire(&path).unwrap();
    }
}
