//! Content-addressed cache of downloads and derived data: `sha256/<hex>` below the cache directory, unfinished downloads
//! in `partial/<hex>`. Several builders may share it. Runs on the build machine; trusts nothing in the directory: content
//! is hashed whenever it is used.

use crate::chunks::Chunks;
use bytes::Bytes;
use runq_bundle::digest::{HashingReader, Sha256Digest, sha256};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The cache in one directory.
pub(crate) struct Cache {
    root: PathBuf,
    folder: PathBuf,
}

impl Cache {
    /// Opens the cache below `root`, which is created when it is missing.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let folder = root.join("sha256");
        fs_err::create_dir_all(&folder)?;
        fs_err::create_dir_all(root.join("partial"))?;
        Ok(Self { root: root.to_owned(), folder })
    }

    /// The cache directory itself.
    pub(crate) fn root(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// Content with this hash. A damaged file is removed and counts as absent.
    pub(crate) fn get(&self, digest: Sha256Digest) -> io::Result<Option<Bytes>> {
        self.hashed(digest, |file| {
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            Ok(content.into())
        })
    }

    /// The same, to be read once.
    pub(crate) fn chunks(&self, digest: Sha256Digest) -> io::Result<Option<Chunks>> {
        self.hashed(digest, Chunks::of)
    }

    /// What is read of the whole file with this hash, under the same rule.
    fn hashed<T>(
        &self,
        digest: Sha256Digest,
        read: impl FnOnce(&mut HashingReader<fs_err::File>) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let path = self.path(digest);
        let file = match fs_err::File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut reader = HashingReader::new(file);
        let content = read(&mut reader)?;
        if reader.finish().0 == digest { Ok(Some(content)) } else { remove(&path).map(|()| None) }
    }

    /// What is in the file of this name, good or damaged.
    pub(crate) fn read(&self, digest: Sha256Digest) -> io::Result<Vec<u8>> {
        fs_err::read(self.path(digest))
    }

    /// Whether there is a file of this name, good or damaged.
    pub(crate) fn has(&self, digest: Sha256Digest) -> bool {
        self.path(digest).exists()
    }

    /// A file whose content the caller hashes while reading it.
    pub(crate) fn open_file(&self, digest: Sha256Digest) -> io::Result<File> {
        Ok(fs_err::File::open(self.path(digest))?.into())
    }

    /// Stores content under its hash. Complete or absent, also after a crash: written beside, then renamed.
    pub(crate) fn put(&self, content: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(content)?;
        file.persist(self.path(sha256(content)))?;
        Ok(())
    }

    /// The download of content with this hash, as far as an earlier attempt came; `None` when it is complete. Whoever
    /// else downloads the same is waited for.
    pub(crate) fn partial(&self, digest: Sha256Digest) -> io::Result<Option<Partial>> {
        let path = self.root.join("partial").join(digest.to_string());
        loop {
            let file = fs_err::OpenOptions::new().read(true).append(true).create(true).open(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            if self.is_complete(digest)? {
                remove(&path)?;
                return Ok(None);
            }
            // Whoever was waited for has renamed or removed the file.
            let ours = file.metadata()?;
            if std::fs::metadata(&path)
                .is_ok_and(|found| (found.dev(), found.ino()) == (ours.dev(), ours.ino()))
            {
                return Ok(Some(Partial { path, complete: self.path(digest), file, digest }));
            }
        }
    }

    /// Whether content with this hash is there, and undamaged.
    fn is_complete(&self, digest: Sha256Digest) -> io::Result<bool> {
        Ok(self.hashed(digest, |file| io::copy(file, &mut io::sink()))?.is_some())
    }

    fn path(&self, digest: Sha256Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }
}

/// An unfinished download, locked against other builders.
pub(crate) struct Partial {
    path: PathBuf,
    complete: PathBuf,
    file: fs_err::File,
    digest: Sha256Digest,
}

impl Partial {
    /// How many bytes are there.
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Forgets them.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// Adds bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes the download content of the cache when it has this size and the right hash. Otherwise it is removed, and the
    /// hash and size that were found are returned.
    pub(crate) fn finish(mut self, size: u64) -> io::Result<Option<(Sha256Digest, u64)>> {
        self.file.seek(SeekFrom::Start(0))?;
        let (found, found_size) = hash(&self.file)?;
        if (found, found_size) != (self.digest, size) {
            remove(&self.path)?;
            return Ok(Some((found, found_size)));
        }
        fs_err::rename(&self.path, &self.complete)?;
        Ok(None)
    }
}

fn hash(file: impl io::Read) -> io::Result<(Sha256Digest, u64)> {
    let mut reader = HashingReader::new(file);
    io::copy(&mut reader, &mut io::sink())?;
    Ok(reader.finish())
}

/// Another builder may have removed it.
fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
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

    #[test]
    fn an_unfinished_download_goes_on_and_a_wrong_one_is_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path()).unwrap();
        let digest = sha256(b"content");
        let mut partial = cache.partial(digest).unwrap().unwrap();
        partial.append(b"con").unwrap();
        drop(partial);
        let mut partial = cache.partial(digest).unwrap().unwrap();
        assert_eq!(partial.len().unwrap(), 3);
        partial.append(b"tenT").unwrap();
        assert_eq!(partial.finish(7).unwrap(), Some((sha256(b"contenT"), 7)));
        let mut partial = cache.partial(digest).unwrap().unwrap();
        assert_eq!(partial.len().unwrap(), 0);
        partial.append(b"content").unwrap();
        assert_eq!(partial.finish(7).unwrap(), None);
        assert!(cache.partial(digest).unwrap().is_none());
        assert_eq!(cache.get(digest).unwrap().as_deref(), Some(&b"content"[..]));
        assert_eq!(fs_err::read_dir(root.path().join("partial")).unwrap().count(), 0);
    }

    #[test]
    fn one_of_many_downloads_and_the_others_wait_for_it() {
        let root = tempfile::tempdir().unwrap();
        let digest = sha256(b"content");
        let download = || {
            // A cache of its own for each, as other processes have.
            let cache = Cache::open(root.path()).unwrap();
            let Some(mut partial) = cache.partial(digest).unwrap() else { return 0 };
            for byte in b"content" {
                partial.append(&[*byte]).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            assert_eq!(partial.finish(7).unwrap(), None);
            1
        };
        let downloads: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(download)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(downloads, 1);
    }
}
