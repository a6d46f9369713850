//! Compares an installed tree with its manifest, and mends what the manifest alone can mend. Runs on the host; trusts
//! the manifest, not the tree.

mod content;
mod mend;

pub use mend::mend_tree;

use crate::dirfd::{open_directory, open_root};
use crate::manifest::{Entry, EntryKind, MANIFEST_NAME, Manifest, SIGNATURE_NAME};
use rustix::fs::{AtFlags, Dir, FileType, Stat, readlinkat, statat};
use std::collections::BTreeSet;
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

/// The tree cannot be read or mended to its end.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path:?}")]
pub struct TreeError {
    /// What was attempted.
    pub action: &'static str,
    /// Relative to the tree.
    pub path: String,
    /// Why.
    pub source: io::Error,
}

/// All differences between the tree in `directory` and its manifest, by path, the content of every file included, which all
/// processors read. Owner is the administrator, or whoever runs this. The manifest and its signature, which lie in the same
/// directory, are left to the caller; no link is followed, and nothing is changed.
///
/// # Errors
/// When a directory or a file of the tree cannot be read.
pub fn verify_tree(directory: &Path, manifest: &Manifest) -> Result<Vec<Difference>, TreeError> {
    let (mut differences, unread) = walk(directory, manifest)?;
    differences.extend(content::differences(directory, unread)?);
    differences.sort_by(|one, other| one.path().cmp(other.path()));
    Ok(differences)
}

/// The same without reading any file: kinds, sizes, modes, owners, targets and names.
///
/// # Errors
/// When a directory of the tree cannot be read.
pub fn survey_tree(directory: &Path, manifest: &Manifest) -> Result<Vec<Difference>, TreeError> {
    let (mut differences, _) = walk(directory, manifest)?;
    differences.sort_by(|one, other| one.path().cmp(other.path()));
    Ok(differences)
}

impl Difference {
    /// Where it is, relative to the tree.
    #[must_use]
    pub fn path(&self) -> &str {
        let (Self::Missing { path } | Self::Extra { path } | Self::Property { path, .. }) = self;
        path
    }
}

/// Who may own a tree: root, and the user who looks.
fn may_own(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Differences, and the files whose content may still differ.
fn walk<'m>(
    directory: &Path,
    manifest: &'m Manifest,
) -> Result<(Vec<Difference>, Vec<&'m Entry>), TreeError> {
    let root = open_root(directory).map_err(|source| TreeError::read(".", source))?;
    let mut comparison =
        Comparison { manifest, seen: BTreeSet::new(), differences: Vec::new(), unread: Vec::new() };
    comparison.directory(root.as_fd(), "")?;
    let Comparison { seen, mut differences, unread, .. } = comparison;
    let missing = manifest.files.iter().filter(|entry| !seen.contains(entry.path.as_str()));
    differences.extend(missing.map(|entry| Difference::Missing { path: entry.path.clone() }));
    Ok((differences, unread))
}

impl TreeError {
    fn read(path: &str, source: impl Into<io::Error>) -> Self {
        Self { action: "read", path: path.to_owned(), source: source.into() }
    }
}

struct Comparison<'m> {
    manifest: &'m Manifest,
    seen: BTreeSet<&'m str>,
    differences: Vec<Difference>,
    unread: Vec<&'m Entry>,
}

impl Comparison<'_> {
    fn directory(&mut self, directory: BorrowedFd<'_>, path: &str) -> Result<(), TreeError> {
        let failed = |source: rustix::io::Errno| TreeError::read(path, source);
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
        let differences = compare(parent, name, entry).map_err(|source| TreeError::read(&path, source))?;
        let is_other = differences.iter().any(|difference| has(difference, &["kind", "size"]));
        self.differences.extend(differences);
        // What has another size has another content, and may be endless.
        match entry.kind {
            EntryKind::Directory if !is_other => {
                let directory =
                    open_directory(parent, name).map_err(|source| TreeError::read(&path, source))?;
                self.directory(directory.as_fd(), &path)?;
            }
            EntryKind::File { .. } if !is_other => self.unread.push(entry),
            _ => {}
        }
        Ok(())
    }
}

fn has(difference: &Difference, properties: &[&str]) -> bool {
    matches!(difference, Difference::Property { property, .. } if properties.contains(property))
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
    if !may_own(stat.st_uid) {
        property("owner", "0".into(), stat.st_uid.to_string());
    }
    match &entry.kind {
        EntryKind::Symlink { target } => {
            let found = readlinkat(parent, name, Vec::new())?;
            property("target", target.clone(), found.to_string_lossy().into_owned());
        }
        EntryKind::Directory => property("mode", octal(entry.mode), octal(stat.st_mode & 0o7777)),
        EntryKind::File { size, .. } => {
            property("mode", octal(entry.mode), octal(stat.st_mode & 0o7777));
            property("size", size.to_string(), u64::try_from(stat.st_size).unwrap_or_default().to_string());
        }
    }
    Ok(differences)
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
