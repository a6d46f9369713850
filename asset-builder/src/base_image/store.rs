//! Where the parts of an image are: a directory, a tar archive or the cache. Runs on the build machine; gives bytes that
//! nobody has checked.

use crate::base_image::layers;
use crate::cache::Cache;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Parts of an image by path.
pub(crate) trait Store {
    /// Opens a part.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>>;
}

/// An OCI layout directory.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Store for Folder {
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(fs_err::File::open(self.0.join(path))?))
    }
}

/// What was pulled from a registry: `blobs/sha256/<hex>` alone.
pub(crate) struct Pulled<'a>(pub(crate) &'a Cache);

impl Store for Pulled<'_> {
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        let hex = path.rsplit('/').next().unwrap_or(path);
        let digest = hex.parse().map_err(io::Error::other)?;
        Ok(Box::new(self.0.open_file(digest)?))
    }
}

/// A tar archive of which parts are read in any order.
pub(crate) struct TarFile {
    path: PathBuf,
    file: File,
    /// Path → (first byte, size).
    parts: HashMap<String, (u64, u64)>,
}

impl TarFile {
    /// Reads where everything is. A compressed archive is first written plain to an unnamed file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file: File = fs_err::File::open(path)?.into();
        let mut magic = [0; layers::MAGIC_BYTES];
        let count = file.read(&mut magic)?;
        file.seek(SeekFrom::Start(0))?;
        if layers::is_compressed(&magic[..count]) {
            let mut plain = tempfile::tempfile()?;
            io::copy(&mut layers::decoder(&file)?, &mut plain)?;
            plain.seek(SeekFrom::Start(0))?;
            file = plain;
        }
        let mut parts = HashMap::new();
        let mut links = Vec::new();
        for entry in tar::Archive::new(&file).entries_with_seek()? {
            let entry = entry?;
            let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            match entry.link_name()? {
                // Archives in the old form share equal layers by links between their directories.
                Some(target) => links.push((name, target.to_string_lossy().into_owned())),
                None => drop(parts.insert(name, (entry.raw_file_position(), entry.size()))),
            }
        }
        for (name, target) in links {
            let known = crate::tree::link_destination(&name, &target)
                .and_then(|path| parts.get(&path))
                .or_else(|| parts.get(&target));
            if let Some(part) = known.copied() {
                parts.insert(name, part);
            }
        }
        Ok(Self { path: path.to_owned(), file, parts })
    }

    /// Whether it has a part of this name.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.parts.contains_key(path)
    }
}

impl Store for TarFile {
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        let Some(&(start, size)) = self.parts.get(path) else {
            let message = format!("{} has no {path}", self.path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        };
        Ok(Box::new(Part { file: &self.file, position: start, end: start.saturating_add(size) }))
    }
}

/// Bytes of a file from a position to another; the file's own position does not matter.
struct Part<'a> {
    file: &'a File,
    position: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..left], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
