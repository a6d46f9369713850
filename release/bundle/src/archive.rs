//! The archive of a bundle: a tar file in one zstd frame. `manifest.json` comes first, its signature second, then
//! every entry of the manifest in its order, and nothing else.
//!
//! The archive has no freedom: each header block follows from the manifest, so writer and reader make it with the
//! same function, and the reader compares bytes instead of interpreting what it finds. Long names, links, devices, sparse
//! files, extended attributes and duplicates need no rules of their own: they are not what was expected.
//! `tar --zstd -x` reads it all the same.

mod extract;
mod frame;
mod header;
mod reader;
mod writer;

pub use reader::BundleReader;
pub use writer::write_bundle;

use crate::digest::Sha256Digest;
use crate::manifest::ManifestError;
use crate::signature::SignatureError;
use std::io;

/// Bound of the manifest in bytes, which holds before its signature is verified.
pub const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// Bound of the signature in bytes.
pub const MAX_SIGNATURE_BYTES: u64 = 4 << 10;

/// Binary logarithm of the memory that a frame may ask the reader for, in bytes.
const WINDOW_LOG_MAX: u32 = 27;

/// Mode of the manifest and of its signature.
const FRONT_MODE: u32 = 0o644;

/// Tar's unit.
const BLOCK_BYTES: usize = 512;

/// Two empty blocks end a tar file.
const END_BYTES: usize = 2 * BLOCK_BYTES;

/// A bundle that cannot be written, read or extracted.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The output does not take the bytes.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// The content of an entry cannot be had.
    #[error("cannot open the content of {path:?}")]
    Open {
        /// The entry.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The input ends too early, is no zstd frame, or fails.
    #[error("cannot read the archive at {at:?}")]
    Read {
        /// Member that was due.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// Manifest or signature are larger than any.
    #[error("{path:?} has {found} bytes, at most {allowed} are allowed")]
    TooLarge {
        /// Which of them.
        path: String,
        /// Bytes announced.
        found: u64,
        /// The bound.
        allowed: u64,
    },
    /// Nobody whom the caller trusts has signed this.
    #[error("manifest is not trusted")]
    Signature(#[source] SignatureError),
    /// Signed, but not usable.
    #[error("manifest is not valid")]
    Manifest(#[source] ManifestError),
    /// Another member than the one that is due.
    #[error("archive has {found:?} where {expected:?} is due")]
    Unexpected {
        /// What the manifest has.
        expected: String,
        /// What the archive has.
        found: String,
    },
    /// The right member with other properties than the manifest's.
    #[error("{path:?} has {property} {found}, the manifest has {expected}")]
    Differs {
        /// The member.
        path: String,
        /// Name of the property.
        property: &'static str,
        /// By the manifest.
        expected: String,
        /// In the archive.
        found: String,
    },
    /// The content is not the manifest's.
    #[error("{path:?} has SHA-256 {found}, the manifest has {expected}")]
    Content {
        /// The member.
        path: String,
        /// By the manifest.
        expected: Sha256Digest,
        /// Of what was read.
        found: Sha256Digest,
    },
    /// Bytes where there should be none.
    #[error("archive has stray bytes after {after:?}")]
    Stray {
        /// The last member.
        after: String,
    },
    /// What the caller does with a member failed.
    #[error("cannot extract {path:?}")]
    Extract {
        /// The member.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Bytes that fill a member's last block.
fn padding_bytes(size: u64) -> usize {
    let block = BLOCK_BYTES as u64;
    usize::try_from((block - size % block) % block).unwrap_or_default()
}

#[cfg(test)]
#[path = "archive/tests.rs"]
mod tests;
