//! A download that grows in `TARGET.part` until it is complete, also over several runs. Runs on the host; the name is locked, so that
//! two runs do not write into one file.

use super::{MAX_BUNDLE_BYTES, SourceError, ZSTD_MAGIC};
use indicatif::{ProgressBar, ProgressStyle};
use runq_bundle::digest::{HashingReader, Sha256Digest};
use rustix::fs::{FlockOperation, OFlags, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How much of what is no bundle is shown.
const SHOWN_BYTES: usize = 40;

/// The file in the making.
pub(super) struct Partial {
    path: PathBuf,
    target: PathBuf,
    file: File,
    bytes: u64,
    progress: ProgressBar,
}

impl Partial {
    /// Takes up what an earlier run has left.
    pub(super) fn open(target: &Path) -> Result<Self, SourceError> {
        let mut name = target.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let keep = |source| SourceError::Keep { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let mut file =
            options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&path).map_err(keep)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| keep(errno.into()))?;
        let bytes = file.seek(SeekFrom::End(0)).map_err(keep)?;
        let progress = ProgressBar::new(0).with_message("fetching");
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}")
        {
            progress.set_style(style);
        }
        Ok(Self { path, target: target.to_owned(), file, bytes, progress })
    }

    /// How much there is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it will have in the end, as the server says.
    pub(super) fn expect(&self, bytes: u64) {
        self.progress.set_length(bytes);
        self.progress.set_position(self.bytes);
    }

    /// Forgets what there is.
    pub(super) fn restart(&mut self) -> Result<(), SourceError> {
        let keep = |source| SourceError::Keep { path: self.path.clone(), source };
        self.file.set_len(0).map_err(keep)?;
        self.file.seek(SeekFrom::Start(0)).map_err(keep)?;
        self.bytes = 0;
        Ok(())
    }

    /// Adds bytes; a file that does not begin as a bundle is refused at once, before its megabytes are fetched.
    pub(super) fn append(&mut self, source_name: &str, bytes: &[u8]) -> Result<(), SourceError> {
        self.file.write_all(bytes).map_err(|source| SourceError::Keep { path: self.path.clone(), source })?;
        let before = self.bytes;
        self.bytes += bytes.len() as u64;
        self.progress.set_position(self.bytes);
        if self.bytes > MAX_BUNDLE_BYTES {
            self.discard();
            return Err(SourceError::TooLarge { source_name: source_name.to_owned() });
        }
        if before < ZSTD_MAGIC.len() as u64 && self.bytes >= ZSTD_MAGIC.len() as u64 {
            self.check_begin(source_name)?;
        }
        Ok(())
    }

    /// Copies a file that is here already.
    pub(super) fn copy(&mut self, from: &Path) -> Result<(), SourceError> {
        self.restart()?;
        let read = |source| SourceError::Read { path: from.to_owned(), source };
        let mut from_file = File::open(from).map_err(read)?;
        self.bytes = io::copy(&mut from_file, &mut self.file).map_err(read)?;
        Ok(())
    }

    /// Digest of all that there is.
    pub(super) fn digest(&self) -> Result<Sha256Digest, SourceError> {
        let digest = || {
            let mut content = HashingReader::new(File::open(&self.path)?);
            io::copy(&mut content, &mut io::sink())?;
            Ok(content.finish().0)
        };
        digest().map_err(|source| SourceError::Keep { path: self.path.clone(), source })
    }

    /// Removes it: what it holds is not what was asked for.
    pub(super) fn discard(&self) {
        // What cannot be removed is refused again.
        std::fs::remove_file(&self.path).unwrap_or_default();
    }

    /// Gives it its name.
    pub(super) fn finish(self, source_name: &str) -> Result<(), SourceError> {
        self.check_begin(source_name)?;
        self.progress.finish_and_clear();
        let keep = |source| SourceError::Keep { path: self.target.clone(), source };
        self.file.sync_all().map_err(keep)?;
        std::fs::rename(&self.path, &self.target).map_err(keep)
    }

    fn check_begin(&self, source_name: &str) -> Result<(), SourceError> {
        let mut begin = vec![0; SHOWN_BYTES];
        let count = self.file.read_at(&mut begin, 0).unwrap_or_default();
        begin.truncate(count);
        if begin.starts_with(&ZSTD_MAGIC) {
            return Ok(());
        }
        self.discard();
        let begins = String::from_utf8_lossy(&begin).into_owned();
        Err(SourceError::NotABundle { source_name: source_name.to_owned(), begins })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Of a download that has not begun nothing is worth keeping.
        if self.bytes == 0 {
            self.discard();
        }
    }
}

/// Reads a body into the file until it ends.
pub(super) fn pour(body: &mut impl Read, url: &str, partial: &mut Partial) -> Result<(), SourceError> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => partial.append(url, &buffer[..count])?,
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(SourceError::Interrupted { url: url.to_owned(), bytes: partial.bytes(), source });
            }
        }
    }
}
