//! Content-addressed cache of downloads and derived data: `sha256/<hex>` below the cache directory.
//! Runs on the build machine; trusts nothing in the directory: content is hashed whenever it is used.

use bytes::Bytes;
use runq_bundle::digest::{Sha256Digest, sha256};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The cache in one directory.
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens the cache below `root`, which is created when it is missing.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let folder = root.join("sha256");
        fs_err::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// The cache directory itself.
    pub(crate) fn root(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// Content with this hash. A damaged file is removed and counts as absent.
    pub(crate) fn get(&self, digest: Sha256Digest) -> io::Result<Option<Bytes>> {
        let path = self.path(digest);
        match fs_err::read(&path) {
            Ok(content) if sha256(&content) == digest => Ok(Some(content.into())),
            Ok(_) => fs_err::remove_file(&path).map(|()| None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is a file of this name, good or damaged.
    pub(crate) fn has(&self, digest: Sha256Digest) -> bool {
        self.path(digest).exists()
    }

    /// Stores content under its hash. Complete or absent, also after a crash: written beside, then renamed.
    pub(crate) fn put(&self, content: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(content)?;
        file.persist(self.path(sha256(content)))?;
        Ok(())
    }

    fn path(&self, digest: Sha256Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_and_never_a_damaged_file() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path()).unwrap();
        let digest = sha256(b"content");
        assert_eq!(cache.get(digest).unwrap(), None);
        cache.put(b"content").unwrap();
        assert_eq!(cache.get(digest).unwrap().as_deref(), Some(&b"content"[..]));
        fs_err::write(cache.path(digest), b"contenT").unwrap();
        assert_eq!(cache.get(digest).unwrap(), None);
        assert!(!cache.path(digest).exists());
    }
}
