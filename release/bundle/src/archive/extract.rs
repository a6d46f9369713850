//! Extraction of a bundle into an empty directory. Runs on the host, as root; trusts the directory, not its content:
//! everything is created relative to descriptors, exclusively, and no link is followed.

use super::{ArchiveError, BundleReader};
use crate::dirfd::{Parents, open_directory, open_root};
use crate::manifest::{Entry, EntryKind, MANIFEST_NAME, SIGNATURE_NAME};
use rustix::fs::{Mode, OFlags, fchmod, mkdirat, openat, symlinkat};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// What is read and written at once.
const BUFFER_BYTES: usize = 128 << 10;

/// New files are private until they are complete.
const UNFINISHED_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

impl<R: Read + Send> BundleReader<R> {
    /// Creates the whole bundle, manifest and signature included, in an existing directory. Modes are exact whatever
    /// the umask; nothing is flushed to the disk. After an error the directory holds an unverified part of the bundle.
    ///
    /// # Errors
    /// As [`Self::read_entries`]; also when something is there already.
    pub fn extract(self, directory: &Path) -> Result<(), ArchiveError> {
        let failed = |path: &str| {
            let path = path.to_owned();
            move |source| ArchiveError::Extract { path, source }
        };
        let root = open_root(directory).map_err(failed("."))?;
        let mut buffer = vec![0; BUFFER_BYTES];
        for (name, bytes) in
            [(MANIFEST_NAME, self.manifest_bytes()), (SIGNATURE_NAME, self.signature().as_bytes())]
        {
            create_file(root.as_fd(), name, super::FRONT_MODE, (&mut &bytes[..], &mut buffer))
                .map_err(failed(name))?;
        }
        let mut parents = Parents::new(root.as_fd());
        self.read_entries(|entry, content| create(&mut parents, entry, (content, &mut buffer)))
    }
}

/// What a file is filled from, by way of a buffer.
type Content<'a> = (&'a mut dyn Read, &'a mut [u8]);

fn create(parents: &mut Parents<'_>, entry: &Entry, content: Content<'_>) -> io::Result<()> {
    let (parent, name) = parents.of(&entry.path)?;
    match &entry.kind {
        EntryKind::File { .. } => create_file(parent, name, entry.mode, content),
        EntryKind::Directory => {
            mkdirat(parent, name, Mode::RWXU)?;
            Ok(fchmod(open_directory(parent, name)?, Mode::from_raw_mode(entry.mode))?)
        }
        EntryKind::Symlink { target } => Ok(symlinkat(target.as_str(), parent, name)?),
    }
}

fn create_file(
    parent: BorrowedFd<'_>,
    name: &str,
    mode: u32,
    (content, buffer): Content<'_>,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(parent, name, flags, UNFINISHED_FILE)?);
    loop {
        match content.read(buffer) {
            Ok(0) => break,
            Ok(count) => file.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(fchmod(&file, Mode::from_raw_mode(mode))?)
}
