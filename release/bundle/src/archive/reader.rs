//! Reads bundles in one pass over one open file. Runs on the host; trusts the given keys, and after them the manifest.

use super::header::Member;
use super::{ArchiveError, BLOCK_BYTES, END_BYTES, WINDOW_LOG_MAX, padding_bytes};
use crate::digest::HashingReader;
use crate::manifest::{Entry, EntryKind, MANIFEST_NAME, Manifest, SIGNATURE_NAME};
use crate::signature::{PublicKey, Verified, verify};
use std::io::{self, BufReader, Read};

/// A bundle whose signature is good and whose files are still to come.
pub struct BundleReader<R: Read> {
    stream: Stream<R>,
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    signature: String,
    verified: Verified,
}

/// The tar file, and the member that it has arrived at.
struct Stream<R: Read> {
    tar: zstd::Decoder<'static, BufReader<R>>,
    at: String,
}

impl<R: Read> BundleReader<R> {
    /// Reads manifest and signature, and verifies them before anything of the manifest is used.
    ///
    /// # Errors
    /// When the input is no bundle, or none of the keys has signed it.
    pub fn open(read: R, keys: &[PublicKey]) -> Result<Self, ArchiveError> {
        let mut stream = Stream::new(read)?;
        let (manifest_bytes, mtime) = stream.front(MANIFEST_NAME, super::MAX_MANIFEST_BYTES)?;
        let (signature_bytes, _) = stream.front(SIGNATURE_NAME, super::MAX_SIGNATURE_BYTES)?;
        // A signature is ASCII; what is not cannot be decoded and is refused as malformed.
        let signature = String::from_utf8_lossy(&signature_bytes).into_owned();
        let verified = verify(&manifest_bytes, &signature, keys).map_err(ArchiveError::Signature)?;
        let manifest = Manifest::parse(&manifest_bytes).map_err(ArchiveError::Manifest)?;
        if mtime != manifest.created {
            return Err(ArchiveError::Differs {
                path: MANIFEST_NAME.to_owned(),
                property: "time",
                expected: manifest.created.to_string(),
                found: mtime.to_string(),
            });
        }
        Ok(Self { stream, manifest, manifest_bytes, signature, verified })
    }

    /// The manifest, verified.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes that were signed.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// Text of the signature.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// Who signed, and with which comment.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// Hands every entry and its content to `visit`, in order, and then makes sure that nothing follows.
    /// What `visit` does not read is read and checked all the same.
    ///
    /// The content of a file is checked when `visit` has returned: until all of this has succeeded, what was made of
    /// it must not be used.
    ///
    /// # Errors
    /// At the first byte that is not what the manifest says, naming the member; and when `visit` fails.
    pub fn read_entries(
        mut self,
        mut visit: impl FnMut(&Entry, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), ArchiveError> {
        for entry in &self.manifest.files {
            self.stream.expect(&Member::of(entry, self.manifest.created))?;
            self.stream.content(entry, &mut visit)?;
        }
        self.stream.end()
    }

    /// Reads everything and keeps nothing.
    ///
    /// # Errors
    /// As [`Self::read_entries`].
    pub fn verify_entries(self) -> Result<(), ArchiveError> {
        self.read_entries(|_, _| Ok(()))
    }
}

impl<R: Read> Stream<R> {
    fn new(read: R) -> Result<Self, ArchiveError> {
        let at = MANIFEST_NAME.to_owned();
        let decoder = zstd::Decoder::new(read).and_then(|mut decoder| {
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Ok(decoder.single_frame())
        });
        match decoder {
            Ok(tar) => Ok(Self { tar, at }),
            Err(source) => Err(ArchiveError::Read { at, source }),
        }
    }

    /// Manifest or signature: the only members whose size comes from the archive, and therefore has a bound.
    /// Also gives the modification time that it claims.
    fn front(&mut self, name: &str, allowed: u64) -> Result<(Vec<u8>, u64), ArchiveError> {
        name.clone_into(&mut self.at);
        let mut block = [0; BLOCK_BYTES];
        self.fill(&mut block)?;
        let header = tar::Header::from_byte_slice(&block);
        let size = header.size().unwrap_or_default();
        let mtime = header.mtime().unwrap_or_default();
        let member = Member::front(name, size, mtime);
        if member.blocks() != block {
            return Err(member.difference(&block));
        }
        if size > allowed {
            return Err(ArchiveError::TooLarge { path: name.to_owned(), found: size, allowed });
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.fill(&mut bytes)?;
        self.padding(size)?;
        Ok((bytes, mtime))
    }

    /// Reads the header of a member and compares it to the byte.
    fn expect(&mut self, member: &Member<'_>) -> Result<(), ArchiveError> {
        let expected = member.blocks();
        let mut found = vec![0; expected.len()];
        // Block by block: a wrong member is noticed, and named, before reading beyond its header.
        for (position, block) in found.chunks_exact_mut(BLOCK_BYTES).enumerate() {
            self.fill(block)?;
            let start = position * BLOCK_BYTES;
            if block[..] != expected[start..start + BLOCK_BYTES] {
                return Err(member.difference(block));
            }
        }
        member.path.clone_into(&mut self.at);
        Ok(())
    }

    fn content(
        &mut self,
        entry: &Entry,
        visit: &mut impl FnMut(&Entry, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), ArchiveError> {
        let path = || entry.path.clone();
        let EntryKind::File { size, sha256: expected } = entry.kind else {
            return visit(entry, &mut io::empty())
                .map_err(|source| ArchiveError::Extract { path: path(), source });
        };
        let mut content = HashingReader::new(Read::by_ref(&mut self.tar).take(size));
        visit(entry, &mut content).map_err(|source| ArchiveError::Extract { path: path(), source })?;
        io::copy(&mut content, &mut io::sink())
            .map_err(|source| ArchiveError::Read { at: path(), source })?;
        let (found, bytes) = content.finish();
        if bytes != size {
            return Err(ArchiveError::Read { at: path(), source: io::ErrorKind::UnexpectedEof.into() });
        }
        if found != expected {
            return Err(ArchiveError::Content { path: path(), expected, found });
        }
        self.padding(size)
    }

    fn padding(&mut self, size: u64) -> Result<(), ArchiveError> {
        self.zeros(padding_bytes(size))
    }

    fn zeros(&mut self, count: usize) -> Result<(), ArchiveError> {
        let mut bytes = vec![0; count];
        self.fill(&mut bytes)?;
        if bytes.iter().any(|byte| *byte != 0) { Err(self.stray()) } else { Ok(()) }
    }

    /// The end of the tar file, of the frame and of the input, each at once.
    fn end(mut self) -> Result<(), ArchiveError> {
        let mut bytes = [0; END_BYTES];
        self.fill(&mut bytes)?;
        if bytes != [0; END_BYTES] {
            let header =
                tar::Header::from_byte_slice(&bytes[..BLOCK_BYTES].try_into().unwrap_or([0; BLOCK_BYTES]))
                    .path_bytes()
                    .into_owned();
            let found = String::from_utf8_lossy(&header).into_owned();
            return Err(ArchiveError::Unexpected { expected: "the end".into(), found });
        }
        let mut byte = [0];
        let at = self.at.clone();
        let read_error = |source| ArchiveError::Read { at: at.clone(), source };
        let in_frame = self.tar.read(&mut byte).map_err(read_error)?;
        let after_frame =
            if in_frame == 0 { self.tar.get_mut().read(&mut byte).map_err(read_error)? } else { 0 };
        if in_frame + after_frame > 0 { Err(self.stray()) } else { Ok(()) }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        self.tar.read_exact(bytes).map_err(|source| ArchiveError::Read { at: self.at.clone(), source })
    }

    fn stray(&self) -> ArchiveError {
        ArchiveError::Stray { after: self.at.clone() }
    }
}
