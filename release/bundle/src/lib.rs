//! The asset bundle: its manifest, its signature, its archive, and the tree that it becomes on disk.
//! Used on the build machine by `runq-assets` (writes) and on the host by `runq-install` (reads).
//!
//! Trust runs in one direction. The caller says which public keys it trusts; a key makes a signature good, the
//! signature makes the manifest good, and the manifest decides every byte of the rest: names, kinds, modes,
//! sizes, hashes and their order. Whatever an archive or a directory says about itself is compared, never believed.

pub mod archive;
pub mod digest;
pub mod manifest;
pub mod registry;
pub mod signature;
pub mod tree;

mod dirfd;
#[cfg(test)]
mod golden;
