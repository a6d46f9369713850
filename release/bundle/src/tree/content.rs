//! Hashes the files of a tree on all processors. Runs on the host; trusts the manifest, not the tree.

use super::{Difference, TreeError};
use crate::digest::{HashingReader, Sha256Digest};
use crate::dirfd::{Parents, open_root};
use crate::manifest::{Entry, EntryKind};
use rustix::fs::{Mode, OFlags, openat};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Large enough that system calls do not count, small enough for the second-level cache.
const BUFFER_BYTES: usize = 128 << 10;

/// The files whose content is not the manifest's. The largest go first, so that the processors finish together.
pub(super) fn differences(directory: &Path, mut entries: Vec<&Entry>) -> Result<Vec<Difference>, TreeError> {
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.bytes()));
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Ok(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(entries.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let part = hash_some(directory, &entries, &next);
                // A thread that panicked has not held the lock.
                let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match (part, found.as_mut()) {
                    (Ok(part), Ok(found)) => found.extend(part),
                    (Err(error), Ok(_)) => *found = Err(error),
                    (_, Err(_)) => {}
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn hash_some(directory: &Path, entries: &[&Entry], next: &AtomicUsize) -> Result<Vec<Difference>, TreeError> {
    let root = open_root(directory).map_err(|source| TreeError::read(".", source))?;
    let mut parents = Parents::new(root.as_fd());
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut differences = Vec::new();
    while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
        let EntryKind::File { sha256: expected, size } = entry.kind else { continue };
        let (found, bytes) = digest(&mut parents, &entry.path, &mut buffer)
            .map_err(|source| TreeError::read(&entry.path, source))?;
        let property = |property, expected, found| Difference::Property {
            path: entry.path.clone(),
            property,
            expected,
            found,
        };
        if bytes != size {
            differences.push(property("size", size.to_string(), bytes.to_string()));
        } else if found != expected {
            differences.push(property("SHA-256", expected.to_string(), found.to_string()));
        }
    }
    Ok(differences)
}

fn digest(parents: &mut Parents<'_>, path: &str, buffer: &mut [u8]) -> io::Result<(Sha256Digest, u64)> {
    let (parent, name) = parents.of(path)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(parent, name, flags, Mode::empty())?);
    let mut content = HashingReader::new(file);
    loop {
        match content.read(buffer) {
            Ok(0) => return Ok(content.finish()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
