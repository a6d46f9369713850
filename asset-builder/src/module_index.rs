//! The binary index of kmod (`modules.*.bin`): a radix tree of keys, as libkmod/libkmod-index.c reads it.
//! Runs on the build machine.
//!
//! A node is: its prefix and NUL, when there is one; first and last branching byte and an offset for each byte between
//! them, when it has children; the number of values, and priority, text and NUL of each, when it has values. The top
//! bits of a node's offset say which of the three are there. Numbers are 32 bits, big-endian.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xB007_F457;
const VERSION: u32 = 0x0002_0001;
const PREFIX: u32 = 0x8000_0000;
const VALUES: u32 = 0x4000_0000;
const CHILDREN: u32 = 0x2000_0000;

/// An index under construction. A key may have several values.
#[derive(Default)]
pub(crate) struct Index {
    keys: BTreeMap<Vec<u8>, Vec<(u32, String)>>,
}

impl Index {
    /// Adds a value. Values of a key are read in the order of their priorities.
    pub(crate) fn insert(&mut self, key: &str, priority: u32, value: &str) {
        // The reader has branches for 7-bit characters only, and so do the kernel's aliases.
        if key.is_ascii() {
            self.keys.entry(key.as_bytes().to_vec()).or_default().push((priority, value.to_owned()));
        }
    }

    /// The file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [MAGIC.to_be_bytes(), VERSION.to_be_bytes(), [0; 4]].concat();
        let entries: Vec<Entry<'_>> = self.keys.iter().map(|(key, values)| (&key[..], &values[..])).collect();
        let root = write_node(&mut bytes, &entries);
        bytes[8..12].copy_from_slice(&root.to_be_bytes());
        bytes
    }
}

/// The rest of a key, and its values.
type Entry<'a> = (&'a [u8], &'a [(u32, String)]);

/// Appends the node of sorted entries, after its children. Gives its offset with the bits of what it has.
fn write_node(bytes: &mut Vec<u8>, entries: &[Entry<'_>]) -> u32 {
    let prefix = common_prefix(entries);
    let mut entries: Vec<Entry<'_>> =
        entries.iter().map(|(key, values)| (&key[prefix.len()..], *values)).collect();
    let mut values: &[(u32, String)] = &[];
    if let Some((b"", own)) = entries.first() {
        values = own;
        entries.remove(0);
    }
    let mut children = BTreeMap::new();
    for branch in entries.chunk_by(|(a, _), (b, _)| a[0] == b[0]) {
        let rest: Vec<Entry<'_>> = branch.iter().map(|(key, values)| (&key[1..], *values)).collect();
        children.insert(branch[0].0[0], write_node(bytes, &rest));
    }

    let mut offset = number(bytes.len());
    if !prefix.is_empty() {
        offset |= PREFIX;
        bytes.extend(prefix.iter().chain(b"\0"));
    }
    if let (Some((&first, _)), Some((&last, _))) = (children.first_key_value(), children.last_key_value()) {
        offset |= CHILDREN;
        bytes.extend([first, last]);
        for byte in first..=last {
            bytes.extend(children.get(&byte).copied().unwrap_or(0).to_be_bytes());
        }
    }
    if !values.is_empty() {
        offset |= VALUES;
        bytes.extend(number(values.len()).to_be_bytes());
        for (priority, value) in values {
            bytes.extend(priority.to_be_bytes());
            bytes.extend(value.bytes().chain([0]));
        }
    }
    offset
}

/// In sorted entries, what the first and the last share is shared by all.
fn common_prefix<'a>(entries: &[Entry<'a>]) -> &'a [u8] {
    let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else { return &[] };
    let shared = first.iter().zip(*last).take_while(|(a, b)| a == b).count();
    &first[..shared]
}

/// An index has a few MB; the format ends at 256 MiB.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_kmod_reads() {
        let mut index = Index::default();
        index.insert("abc", 1, "x");
        index.insert("ab", 2, "y");
        index.insert("ab", 3, "z");
        let expected = [
            &b"\xb0\x07\xf4\x57\x00\x02\x00\x01\xe0\x00\x00\x16"[..],
            // "c" below "ab": no prefix, one value.
            b"\x00\x00\x00\x01\x00\x00\x00\x01x\0",
            b"ab\0cc\x40\x00\x00\x0c\x00\x00\x00\x02\x00\x00\x00\x02y\0\x00\x00\x00\x03z\0",
        ];
        assert_eq!(index.to_bytes(), expected.concat());
    }

    #[test]
    fn an_empty_index_has_a_root_without_anything() {
        assert_eq!(Index::default().to_bytes()[8..], 12u32.to_be_bytes());
    }
}
