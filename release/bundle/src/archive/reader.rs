//! Reads bundles in one pass over one open file. Runs on the host; trusts the given keys, and after them the manifest.

use super::frame::{Frame, TarInput};
use super::header::Member;
use super::{ArchiveError, BLOCK_BYTES, END_BYTES, padding_bytes};
use crate::digest::HashingReader;
use crate::manifest::{Entry, EntryKind, MANIFEST_NAME, Manifest, SIGNATURE_NAME};
use crate::signature::{PublicKey, Verified, verify};
use std::io::{self, Read};

/// A bundle whose signature is good and whose files are still to come.
pub struct BundleReader<R: Read> {
    stream: Stream<Frame<R>>,
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    signature: String,
    verified: Verified,
}

/// The tar file, and the member that it has arrived at.
struct Stream<T> {
    tar: T,
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
        self,
        mut visit: impl FnMut(&Entry, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), ArchiveError>
    where
        R: Send,
    {
        let Stream { tar, at } = self.stream;
        std::thread::scope(|scope| {
            let mut stream = Stream { tar: tar.ahead(scope), at };
            for entry in &self.manifest.files {
                stream.expect(&Member::of(entry, self.manifest.created))?;
                stream.content(entry, &mut visit)?;
            }
            stream.end()
        })
    }

    /// Reads everything and keeps nothing.
    ///
    /// # Errors
    /// As [`Self::read_entries`].
    pub fn verify_entries(self) -> Result<(), ArchiveError>
    where
        R: Send,
    {
        self.read_entries(|_, _| Ok(()))
    }
}

impl<R: Read> Stream<Frame<R>> {
    fn new(read: R) -> Result<Self, ArchiveError> {
        let at = MANIFEST_NAME.to_owned();
        match Frame::new(read) {
            Ok(tar) => Ok(Self { tar, at }),
            Err(source) => Err(ArchiveError::Read { at, source }),
        }
    }
}

impl<T: TarInput> Stream<T> {
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
        let is_at_end = self.tar.is_at_end();
        let is_at_end = is_at_end.map_err(|source| ArchiveError::Read { at: self.at.clone(), source })?;
        if is_at_end { Ok(()) } else { Err(self.stray()) }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        self.tar.read_exact(bytes).map_err(|source| ArchiveError::Read { at: self.at.clone(), source })
    }

    fn stray(&self) -> ArchiveError {
        ArchiveError::Stray { after: self.at.clone() }
    }
}
