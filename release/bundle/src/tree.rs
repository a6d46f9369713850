//! Compares an installed tree with its manifest. Runs on the host; trusts the manifest, not the tree.

use crate::digest::{HashingReader, Sha256Digest};
use crate::dirfd::{open_directory, open_root};
use crate::manifest::{Entry, EntryKind, MANIFEST_NAME, Manifest, SIGNATURE_NAME};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// One way in which a tree is not what its manifest says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// Of the manifest, but not there.
    #[error("{path:?} is missing")]
    Missing {
        /// Relative to the tree.
        path: String,
    },
    /// There, but not of the manifest.
    #[error("{path:?} does not belong there")]
    Extra {
        /// Relative to the tree.
        path: String,
    },
    /// A property is not the manifest's.
    #[error("{path:?} has {property} {found}, the manifest has {expected}")]
    Property {
        /// Relative to the tree.
        path: String,
        /// Name of the property.
        property: &'static str,
        /// By the manifest.
        expected: String,
        /// In the tree.
        found: String,
    },
}

/// The tree cannot be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path:?}")]
pub struct TreeError {
    /// Relative to the tree.
    pub path: String,
    /// Why.
    pub source: io::Error,
}

/// All differences between the tree in `directory` and its manifest, by path. The manifest and its signature, which lie
/// in the same directory, are left to the caller; no link is followed, and nothing is changed.
///
/// # Errors
/// When a directory or a file of the tree cannot be read.
pub fn verify_tree(directory: &Path, manifest: &Manifest) -> Result<Vec<Difference>, TreeError> {
    let root = open_root(directory).map_err(|source| TreeError { path: ".".into(), source })?;
    let mut comparison = Comparison { manifest, seen: BTreeSet::new(), differences: Vec::new() };
    comparison.directory(root.as_fd(), "")?;
    let Comparison { seen, mut differences, .. } = comparison;
    let missing = manifest.files.iter().filter(|entry| !seen.contains(entry.path.as_str()));
    differences.extend(missing.map(|entry| Difference::Missing { path: entry.path.clone() }));
    Ok(differences)
}

struct Comparison<'m> {
    manifest: &'m Manifest,
    seen: BTreeSet<&'m str>,
    differences: Vec<Difference>,
}

impl Comparison<'_> {
    fn directory(&mut self, directory: BorrowedFd<'_>, path: &str) -> Result<(), TreeError> {
        let failed = |source: rustix::io::Errno| TreeError { path: path.to_owned(), source: source.into() };
        let mut names = BTreeSet::new();
        for item in Dir::read_from(directory).map_err(failed)? {
            let name = item.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.insert(name);
            }
        }
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            if path != MANIFEST_NAME && path != SIGNATURE_NAME {
                self.item(directory, &name, path)?;
            }
        }
        Ok(())
    }

    fn item(&mut self, parent: BorrowedFd<'_>, name: &str, path: String) -> Result<(), TreeError> {
        let Some(entry) = self.manifest.entry(&path) else {
            self.differences.push(Difference::Extra { path });
            return Ok(());
        };
        self.seen.insert(&entry.path);
        let differences =
            compare(parent, name, entry).map_err(|source| TreeError { path: path.clone(), source })?;
        let is_directory = entry.kind == EntryKind::Directory && !differences.iter().any(is_kind);
        self.differences.extend(differences);
        if is_directory {
            let directory =
                open_directory(parent, name).map_err(|source| TreeError { path: path.clone(), source })?;
            self.directory(directory.as_fd(), &path)?;
        }
        Ok(())
    }
}

fn is_kind(difference: &Difference) -> bool {
    matches!(difference, Difference::Property { property: "kind", .. })
}

fn compare(parent: BorrowedFd<'_>, name: &str, entry: &Entry) -> io::Result<Vec<Difference>> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mut differences = Vec::new();
    let mut property = |property, expected: String, found: String| {
        if expected != found {
            differences.push(Difference::Property { path: entry.path.clone(), property, expected, found });
        }
    };
    let found_kind = kind_noun(&stat);
    if found_kind != entry.kind.noun() {
        property("kind", entry.kind.noun().into(), found_kind.into());
        return Ok(differences);
    }
    match &entry.kind {
        EntryKind::Symlink { target } => {
            let found = readlinkat(parent, name, Vec::new())?;
            property("target", target.clone(), found.to_string_lossy().into_owned());
        }
        EntryKind::Directory => property("mode", octal(entry.mode), octal(stat.st_mode & 0o7777)),
        EntryKind::File { size, sha256 } => {
            property("mode", octal(entry.mode), octal(stat.st_mode & 0o7777));
            let found_size = u64::try_from(stat.st_size).unwrap_or_default();
            property("size", size.to_string(), found_size.to_string());
            // What has another size has another content, and may be endless.
            if found_size == *size {
                property("SHA-256", sha256.to_string(), content_digest(parent, name)?.to_string());
            }
        }
    }
    Ok(differences)
}

fn content_digest(parent: BorrowedFd<'_>, name: &str) -> io::Result<Sha256Digest> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut content = HashingReader::new(File::from(openat(parent, name, flags, Mode::empty())?));
    io::copy(&mut content, &mut io::sink())?;
    Ok(content.finish().0)
}

fn kind_noun(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        _ => "special file",
    }
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}
