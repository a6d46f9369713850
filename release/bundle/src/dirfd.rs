//! Walking a directory tree by descriptors, so that no link is ever followed, whoever puts one there meanwhile.
//! Runs on the host; trusts the directory that it starts from and nothing below it.

use rustix::fs::{CWD, Mode, OFlags, openat};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory of this path, which the caller has chosen: links on the way to it are followed, a link in its
/// place is not.
pub(crate) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, DIRECTORY, Mode::empty())?)
}

/// A directory in a directory.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    Ok(openat(parent, name, DIRECTORY, Mode::empty())?)
}

/// The directories above the paths of a manifest. It remembers the last one: neighbours share it.
pub(crate) struct Parents<'a> {
    root: BorrowedFd<'a>,
    last: Option<(String, OwnedFd)>,
}

impl<'a> Parents<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, last: None }
    }

    /// Directory and name of a clean relative path.
    pub(crate) fn of<'p>(&mut self, path: &'p str) -> io::Result<(BorrowedFd<'_>, &'p str)> {
        let Some((parent, name)) = path.rsplit_once('/') else {
            return Ok((self.root, path));
        };
        let known = self.last.take().filter(|(path, _)| path == parent);
        let last = match known {
            Some(known) => known,
            None => (parent.to_owned(), self.walk(parent)?),
        };
        Ok((self.last.insert(last).1.as_fd(), name))
    }

    fn walk(&self, path: &str) -> io::Result<OwnedFd> {
        let mut names = path.split('/');
        let first = open_directory(self.root, names.next().unwrap_or_default())?;
        names.try_fold(first, |directory, name| open_directory(directory.as_fd(), name))
    }
}
