//! The file system of an image: its layers, one over the other, with their whiteouts. Runs on the build machine; a layer
//! counts only when all of it has the size and the digests that the image pins.

use crate::base_image::store::Store;
use crate::deb::{self, DebError, Member, MemberKind};
use crate::tree;
use flate2::read::MultiGzDecoder;
use runq_bundle::digest::{HashingReader, Sha256Digest};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// As much as an image may unpack to: these files are kept in memory.
const MAX_IMAGE_BYTES: u64 = 4 << 30;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// As many bytes as tell the compression.
pub(crate) const MAGIC_BYTES: usize = ZSTD.len();

/// A layer and what it has to be.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// In the image's store.
    pub(crate) path: String,
    /// Digest and size as it is stored. Archives of `docker save` in the old form do not say.
    pub(crate) stored: Option<(Sha256Digest, u64)>,
    /// Digest of the plain tar archive, from the image's configuration.
    pub(crate) plain: Sha256Digest,
}

/// Why a layer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayerError {
    #[error("cannot read layer {path}")]
    Read { path: String, source: io::Error },
    #[error("cannot read layer {path}")]
    Tar { path: String, source: DebError },
    #[error("layer {path} is not what the image pins: expected {expected}, found {found}")]
    Mismatch { path: String, expected: String, found: String },
    #[error("layer {path} makes the image larger than {MAX_IMAGE_BYTES} bytes")]
    TooLarge { path: String },
}

/// Files and links by path; directories exist through what they contain.
#[derive(Default)]
pub(crate) struct Files {
    nodes: BTreeMap<String, MemberKind>,
    bytes: u64,
}

impl Files {
    /// Reads a layer to its end and lays it over what is there.
    pub(crate) fn add(&mut self, store: &dyn Store, layer: &Layer) -> Result<(), LayerError> {
        let path = || layer.path.clone();
        let read = |source| LayerError::Read { path: path(), source };
        let mut stored = HashingReader::new(store.open(&layer.path).map_err(read)?);
        let mut plain = HashingReader::new(decoder(&mut stored).map_err(read)?);
        let members = self.members(&mut plain, &layer.path)?;
        io::copy(&mut plain, &mut io::sink()).map_err(read)?;
        let (found, _) = plain.finish();
        io::copy(&mut stored, &mut io::sink()).map_err(read)?;
        let (found_stored, size) = stored.finish();
        let mismatch =
            |expected: String, found: String| LayerError::Mismatch { path: path(), expected, found };
        if let Some((expected, expected_size)) = layer.stored
            && (expected, expected_size) != (found_stored, size)
        {
            let text = |digest, size| format!("{size} bytes, SHA-256 {digest}");
            return Err(mismatch(text(expected, expected_size), text(found_stored, size)));
        }
        if found != layer.plain {
            return Err(mismatch(format!("diff id {}", layer.plain), found.to_string()));
        }
        self.apply(members);
        Ok(())
    }

    /// Devices, sockets and names that are not UTF-8 are no package's files.
    fn members(&mut self, plain: impl Read, path: &str) -> Result<Vec<Member>, LayerError> {
        let tar = |source| LayerError::Tar { path: path.to_owned(), source };
        let mut archive = tar::Archive::new(plain);
        let mut members = Vec::new();
        for entry in archive.entries().map_err(DebError::Tar).map_err(tar)? {
            let entry = entry.map_err(DebError::Tar).map_err(tar)?;
            self.bytes = self.bytes.saturating_add(entry.size());
            if self.bytes > MAX_IMAGE_BYTES {
                return Err(LayerError::TooLarge { path: path.to_owned() });
            }
            match deb::member(entry) {
                Ok(member) => members.extend(member),
                Err(DebError::Kind { .. } | DebError::Path { .. }) => {}
                Err(error) => return Err(tar(error)),
            }
        }
        Ok(members)
    }

    /// Whiteouts hide what lower layers have, wherever they stand in this one (OCI image spec, "Image Layer Filesystem
    /// Changeset").
    fn apply(&mut self, layer: Vec<Member>) {
        let mut added = BTreeMap::new();
        for member in layer {
            let Some(path) = tree::normalise(&member.path) else { continue };
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            match name.strip_prefix(".wh.") {
                Some(".wh..opq") => self.remove_below(folder),
                Some(hidden) => self.remove(format!("{folder}/{hidden}").trim_start_matches('/')),
                None => {
                    let Some(kind) = self.resolve(member.kind, &added) else { continue };
                    added.insert(path, kind);
                }
            }
        }
        for (path, kind) in added {
            // A file in the place of a directory, and the reverse.
            self.remove_below(&path);
            for (end, _) in path.match_indices('/') {
                self.nodes.remove(&path[..end]);
            }
            self.nodes.insert(path, kind);
        }
    }

    /// Directories need no node, and a hard link is what it leads to.
    fn resolve(&self, kind: MemberKind, added: &BTreeMap<String, MemberKind>) -> Option<MemberKind> {
        match kind {
            MemberKind::Directory => None,
            MemberKind::HardLink { target } => {
                let target = tree::normalise(&target)?;
                added.get(&target).or_else(|| self.nodes.get(&target)).cloned()
            }
            kind => Some(kind),
        }
    }

    fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        self.remove_below(path);
    }

    fn remove_below(&mut self, folder: &str) {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let below = self.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let paths: Vec<String> = below.map(|(path, _)| path.clone()).collect();
        for path in paths {
            self.nodes.remove(&path);
        }
    }

    /// What is at a path; no links are followed.
    pub(crate) fn get(&self, path: &str) -> Option<&MemberKind> {
        self.nodes.get(path)
    }

    /// Content of a text file; empty when there is none.
    pub(crate) fn text(&self, path: &str) -> String {
        match self.nodes.get(path) {
            Some(MemberKind::File { content, .. }) => String::from_utf8_lossy(content).into_owned(),
            _ => String::new(),
        }
    }

    /// All paths, for tests.
    #[cfg(test)]
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }
}

/// Whether the first bytes of a file are those of gzip or zstd.
pub(crate) fn is_compressed(magic: &[u8]) -> bool {
    magic.starts_with(&GZIP) || magic.starts_with(&ZSTD)
}

/// The plain bytes of a file that is gzip, zstd or plain, as its first bytes say.
pub(crate) fn decoder<'a>(mut data: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::new();
    data.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut magic)?;
    let (is_gzip, is_zstd) = (magic.starts_with(&GZIP), magic.starts_with(&ZSTD));
    let data = io::Cursor::new(magic).chain(data);
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(MultiGzDecoder::new(data)),
        (_, true) => Box::new(zstd::Decoder::new(data)?),
        _ => Box::new(data),
    })
}
