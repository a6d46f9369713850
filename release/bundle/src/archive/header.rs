//! Tar headers: the one way to write a member's, and what can be said about one that differs.
//! Runs on the build machine and on the host; trusts nobody.

use super::{ArchiveError, BLOCK_BYTES, padding_bytes};
use crate::manifest::{Entry, EntryKind};
use tar::{EntryType, Header};

/// Longest name that a header block itself can hold; longer ones get a GNU block before it.
const INLINE_BYTES: usize = 100;

/// What GNU tar calls the member that carries a long name.
const LONG_NAME_MEMBER: &str = "././@LongLink";

/// All that a header says about a member.
pub(super) struct Member<'a> {
    pub(super) path: &'a str,
    pub(super) entry_type: EntryType,
    pub(super) mode: u32,
    /// In bytes.
    pub(super) size: u64,
    /// Empty when the member is no link.
    pub(super) target: &'a str,
    /// Seconds since the epoch.
    pub(super) mtime: u64,
}

impl<'a> Member<'a> {
    /// Of an entry of the manifest.
    pub(super) fn of(entry: &'a Entry, mtime: u64) -> Self {
        let (entry_type, target) = match &entry.kind {
            EntryKind::File { .. } => (EntryType::Regular, ""),
            EntryKind::Directory => (EntryType::Directory, ""),
            EntryKind::Symlink { target } => (EntryType::Symlink, target.as_str()),
        };
        Self { path: &entry.path, entry_type, mode: entry.mode, size: entry.bytes(), target, mtime }
    }

    /// Of the manifest or its signature.
    pub(super) fn front(path: &'a str, size: u64, mtime: u64) -> Self {
        Self { path, entry_type: EntryType::Regular, mode: super::FRONT_MODE, size, target: "", mtime }
    }

    /// The blocks that come before the content.
    pub(super) fn blocks(&self) -> Vec<u8> {
        let mut blocks = Vec::with_capacity(BLOCK_BYTES);
        if self.target.len() > INLINE_BYTES {
            push_long_name(&mut blocks, EntryType::GNULongLink, self.target);
        }
        if self.path.len() > INLINE_BYTES {
            push_long_name(&mut blocks, EntryType::GNULongName, self.path);
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(self.entry_type);
        header.set_mode(self.mode);
        header.set_size(self.size);
        header.set_mtime(self.mtime);
        set_owner(&mut header);
        let names = header.as_old_mut();
        copy_name(&mut names.name, self.path);
        copy_name(&mut names.linkname, self.target);
        header.set_cksum();
        blocks.extend_from_slice(header.as_bytes());
        blocks
    }

    /// Says in which way the blocks that were found are not those of this member.
    pub(super) fn difference(&self, found: &[u8]) -> ArchiveError {
        let path = self.path.to_owned();
        let Some(block) = found.chunks_exact(BLOCK_BYTES).last() else {
            return ArchiveError::Unexpected { expected: path, found: String::new() };
        };
        let header = Header::from_byte_slice(block);
        let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        if name.as_bytes() != &self.path.as_bytes()[..self.path.len().min(INLINE_BYTES)] {
            return ArchiveError::Unexpected { expected: path, found: name };
        }
        let differs = |property, expected: String, found: String| {
            (expected != found).then(|| ArchiveError::Differs {
                path: path.clone(),
                property,
                expected,
                found,
            })
        };
        let shown =
            |field: std::io::Result<u64>| field.map_or_else(|_| "unreadable".into(), |n| n.to_string());
        let target = header.link_name_bytes().unwrap_or_default();
        differs("kind", format!("{:?}", self.entry_type), format!("{:?}", header.entry_type()))
            .or_else(|| differs("target", self.target.into(), String::from_utf8_lossy(&target).into_owned()))
            .or_else(|| {
                let found = header.mode().map_or_else(|_| "unreadable".into(), |mode| format!("{mode:04o}"));
                differs("mode", format!("{:04o}", self.mode), found)
            })
            .or_else(|| differs("size", self.size.to_string(), shown(header.size())))
            .or_else(|| differs("time", self.mtime.to_string(), shown(header.mtime())))
            .unwrap_or(ArchiveError::Differs {
                path: self.path.to_owned(),
                property: "header",
                expected: "no more fields than a bundle has".into(),
                found: "with other fields".into(),
            })
    }
}

fn push_long_name(blocks: &mut Vec<u8>, entry_type: EntryType, name: &str) {
    // GNU tar counts the terminating zero.
    let size = name.len() as u64 + 1;
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_mode(super::FRONT_MODE);
    header.set_size(size);
    header.set_mtime(0);
    set_owner(&mut header);
    copy_name(&mut header.as_old_mut().name, LONG_NAME_MEMBER);
    header.set_cksum();
    blocks.extend_from_slice(header.as_bytes());
    blocks.extend_from_slice(name.as_bytes());
    blocks.resize(blocks.len() + 1 + padding_bytes(size), 0);
}

fn set_owner(header: &mut Header) {
    header.set_uid(0);
    header.set_gid(0);
}

fn copy_name(field: &mut [u8; INLINE_BYTES], name: &str) {
    let count = name.len().min(INLINE_BYTES);
    field[..count].copy_from_slice(&name.as_bytes()[..count]);
}
