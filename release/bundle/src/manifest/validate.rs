//! The rules of a manifest. They make extraction safe before the first file is created: a path that passes
//! here can be followed from directory to directory without ever meeting a link or leaving the tree.

use super::{Entry, EntryKind, FORMAT, MANIFEST_NAME, Manifest, PRODUCT, SIGNATURE_NAME};
use std::collections::HashSet;

const MAX_FILES: usize = 200_000;
const MAX_PACKAGES: usize = 20_000;
const MAX_TOTAL_BYTES: u64 = 16 << 30;
const MAX_PATH_BYTES: usize = 1024;
const MAX_NAME_BYTES: usize = 255;
const MAX_WORD_BYTES: usize = 128;

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not the JSON of a manifest.
    #[error("manifest is malformed")]
    Malformed(#[source] serde_json::Error),
    /// Made for another version of this library.
    #[error("manifest has format {found}, this program reads format {FORMAT}")]
    Format {
        /// What it says.
        found: u32,
    },
    /// A bundle of something else.
    #[error("manifest is of product {found:?}, not of {PRODUCT:?}")]
    Product {
        /// What it says.
        found: String,
    },
    /// A word that becomes part of a file name has other characters than `[A-Za-z0-9.+~_-]`, or no end.
    #[error("{field} of the manifest is {found:?}, which is not a plain word")]
    Word {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: String,
    },
    /// More of something than any bundle has.
    #[error("manifest has {found} {what}, at most {allowed} are allowed")]
    TooMany {
        /// The unit.
        what: &'static str,
        /// The count.
        found: u64,
        /// The bound.
        allowed: u64,
    },
    /// A path is absolute, empty, unclean, too long or reserved.
    #[error("path {path:?} is {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Entries are not in ascending order of their paths, or one is there twice.
    #[error("path {path:?} is not in order after {previous:?}")]
    Order {
        /// The path.
        path: String,
        /// The one before.
        previous: String,
    },
    /// The directory above is missing, or is no directory.
    #[error("path {path:?} is not inside of a directory of the manifest")]
    Parent {
        /// The path.
        path: String,
    },
    /// Special bits, write permission for others, or not even readable.
    #[error("{path:?} has mode {mode:04o}, which is not allowed for a {kind}")]
    Mode {
        /// The path.
        path: String,
        /// Its mode.
        mode: u32,
        /// Its kind.
        kind: &'static str,
    },
    /// A link is absolute, unclean or leads out of the tree.
    #[error("link {path:?} to {target:?} is {reason}")]
    Link {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry names a package that the manifest does not list.
    #[error("{path:?} is from package {package:?}, which the manifest does not list")]
    Package {
        /// The path.
        path: String,
        /// The package.
        package: String,
    },
}

pub(super) fn manifest(manifest: &Manifest) -> Result<(), ManifestError> {
    if manifest.format != FORMAT {
        return Err(ManifestError::Format { found: manifest.format });
    }
    if manifest.product != PRODUCT {
        return Err(ManifestError::Product { found: manifest.product.clone() });
    }
    word("version", &manifest.version)?;
    word("host_arch", &manifest.host_arch)?;
    word("guest_arch", &manifest.guest_arch)?;
    word("build_id", &manifest.build_id)?;
    word("distribution", &manifest.distribution)?;
    at_most("files", manifest.files.len() as u64, MAX_FILES as u64)?;
    at_most("packages", manifest.packages.len() as u64, MAX_PACKAGES as u64)?;
    at_most("bytes", manifest.total_bytes(), MAX_TOTAL_BYTES)?;

    let packages: HashSet<&str> = manifest.packages.iter().map(|package| package.name.as_str()).collect();
    let mut directories = HashSet::new();
    let mut previous = None;
    for entry in &manifest.files {
        clean_path(&entry.path)?;
        in_order(previous.replace(entry), entry)?;
        match entry.path.rsplit_once('/') {
            Some((parent, _)) if !directories.contains(parent) => {
                return Err(ManifestError::Parent { path: entry.path.clone() });
            }
            _ => {}
        }
        if entry.kind == EntryKind::Directory {
            directories.insert(entry.path.as_str());
        }
        plain_mode(entry)?;
        if let EntryKind::Symlink { target } = &entry.kind {
            inner_link(&entry.path, target)?;
        }
        match &entry.package {
            Some(package) if !packages.contains(package.as_str()) => {
                return Err(ManifestError::Package { path: entry.path.clone(), package: package.clone() });
            }
            _ => {}
        }
    }
    Ok(())
}

fn word(field: &'static str, text: &str) -> Result<(), ManifestError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+~_-".contains(&byte);
    if text.is_empty()
        || text.len() > MAX_WORD_BYTES
        || text.starts_with(['.', '-'])
        || !text.bytes().all(plain)
    {
        return Err(ManifestError::Word { field, found: text.to_owned() });
    }
    Ok(())
}

fn at_most(what: &'static str, found: u64, allowed: u64) -> Result<(), ManifestError> {
    if found > allowed { Err(ManifestError::TooMany { what, found, allowed }) } else { Ok(()) }
}

fn clean_path(path: &str) -> Result<(), ManifestError> {
    let names_are = |bad: fn(&str) -> bool| path.split('/').any(bad);
    let reason = if path.is_empty() {
        "empty"
    } else if path.starts_with('/') {
        "absolute"
    } else if names_are(|name| name == "..") {
        "leading upwards"
    } else if names_are(|name| name.is_empty() || name == ".") {
        "not clean"
    } else if path.chars().any(char::is_control) {
        "with control characters"
    } else if path.len() > MAX_PATH_BYTES || names_are(|name| name.len() > MAX_NAME_BYTES) {
        "too long"
    } else if path == MANIFEST_NAME || path == SIGNATURE_NAME {
        "reserved"
    } else {
        return Ok(());
    };
    Err(ManifestError::Path { path: path.to_owned(), reason })
}

/// Ascending by bytes: no duplicates, and a directory comes before all that is in it, being a prefix of it.
fn in_order(previous: Option<&Entry>, entry: &Entry) -> Result<(), ManifestError> {
    match previous {
        Some(previous) if previous.path >= entry.path => {
            Err(ManifestError::Order { path: entry.path.clone(), previous: previous.path.clone() })
        }
        _ => Ok(()),
    }
}

/// Readable by the owner, writable by nobody else, no setuid, setgid or sticky bit.
fn plain_mode(entry: &Entry) -> Result<(), ManifestError> {
    let mode = entry.mode;
    let allowed = match entry.kind {
        EntryKind::File { .. } => mode & !0o755 == 0 && mode & 0o400 != 0,
        EntryKind::Directory => mode & !0o755 == 0 && mode & 0o700 == 0o700,
        EntryKind::Symlink { .. } => mode == 0o777,
    };
    if allowed {
        return Ok(());
    }
    Err(ManifestError::Mode { path: entry.path.clone(), mode, kind: entry.kind.noun() })
}

/// `..` may stand only at the start of a target. The steps upwards then begin at the link's own directory, which
/// is a real one, so that counting them is exact; in `x/../y` they would depend on where `x` leads.
fn inner_link(path: &str, target: &str) -> Result<(), ManifestError> {
    let depth = path.matches('/').count();
    let upwards = target.split('/').take_while(|name| *name == "..").count();
    let mut rest = target.split('/').skip(upwards);
    let reason = if target.is_empty() {
        "empty"
    } else if target.starts_with('/') {
        "absolute"
    } else if upwards > depth {
        "leading out of the tree"
    } else if target != "." && rest.any(|name| matches!(name, "" | "." | "..")) {
        "not clean"
    } else if target.chars().any(char::is_control) {
        "with control characters"
    } else if target.len() > MAX_PATH_BYTES {
        "too long"
    } else {
        return Ok(());
    };
    Err(ManifestError::Link { path: path.to_owned(), target: target.to_owned(), reason })
}
