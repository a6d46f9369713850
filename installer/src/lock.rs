//! One installer at a time per prefix. Runs on the host; the kernel drops the lock of a process that dies.

use rustix::fs::{FlockOperation, OFlags, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Of what the holder says about itself.
const MAX_HOLDER_BYTES: u64 = 256;

/// The lock is not ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("cannot open {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("another installer is at work in {path}: process {holder}")]
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
                    let mut holder = Vec::new();
                    file.take(MAX_HOLDER_BYTES).read_to_end(&mut holder).map_err(failed)?;
                    let holder = String::from_utf8_lossy(&holder).trim().to_owned();
                    let path = path.parent().unwrap_or(path).to_owned();
                    return Err(LockError::Held { path, holder });
                }
                Err(errno) => return Err(failed(errno.into())),
            }
            // An uninstall may have removed the file that was opened: a lock on it is no lock.
            let locked = file.metadata().map_err(failed)?;
            if path.symlink_metadata().is_ok_and(|found| found.ino() == locked.ino()) {
                // What is known of us is for messages alone, and gc has to work on a full disk.
                let _said = file.set_len(0).and_then(|()| file.write_all(ourselves().as_bytes()));
                return Ok(Self { _file: file });
            }
        }
    }
}

/// Number and command of this process, on one line.
fn ourselves() -> String {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let command: String = words.join(" ").chars().filter(|c| !c.is_control()).take(160).collect();
    format!("{} ({command})\n", std::process::id())
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
        assert!(error.contains(&format!("process {} (", std::process::id())), "{error}");
        drop(lock);
        // What a dead process has left there says nothing.
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(&std::process::id().to_string()));
        Lock::acquire(&path).unwrap();
    }
}
