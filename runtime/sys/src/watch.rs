//! Descriptors in tokio's event loop.

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor for reading and writing. It has to be non-blocking to be of use.
///
/// # Errors
/// `EPERM` when it cannot be polled: regular files, directories, `/dev/null`.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd owns an open descriptor for as long as it lives and returns the same number each time; the
    // AsyncFd takes it over and removes it from the event loop before it is closed.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
