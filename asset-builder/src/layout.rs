//! The content of a bundle: where our programs, the kernel, the initrd and the files of packages go.
//! Runs on the build machine; the tree that comes out is mounted read-only into every container.

use crate::parallel;
use crate::tree::{self, Node, NodeKind, Tree, USR_LINKS};
use bytes::Bytes;
use runq_bundle::digest::{Sha256Digest, sha256};
use runq_bundle::manifest::{Entry, EntryKind};
use sha1::{Digest, Sha1};
use std::collections::HashMap;

/// What every container sees as `/.runq-assets`.
const ASSETS: &str = "qemu";

/// Mount points for the proxy, and for QEMU's root.
const EMPTY_DIRECTORIES: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// Path in the bundle of a path in the asset tree.
pub(crate) fn asset_path(path: &str) -> String {
    format!("{ASSETS}/{path}")
}

/// Files of a bundle, by path.
#[derive(Default)]
pub(crate) struct Layout {
    tree: Tree,
    /// Of the files, as far as they are known.
    digests: HashMap<String, Digests>,
}

/// What manifest and bill of materials say of a file's content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digests {
    pub(crate) sha256: Sha256Digest,
    pub(crate) sha1: [u8; 20],
}

impl Layout {
    /// Mount points and links, no files yet.
    pub(crate) fn new() -> Self {
        let mut layout = Self::default();
        for folder in EMPTY_DIRECTORIES {
            layout.put(&format!("{ASSETS}/{folder}"), NodeKind::Directory);
        }
        // Paths below /.runq-assets stay valid when the proxy has made the tree its root.
        layout.link(&format!("{ASSETS}/.runq-assets"), ".");
        for (link, target) in USR_LINKS {
            layout.link(&format!("{ASSETS}/{link}"), target);
            layout.put(&format!("{ASSETS}/{target}"), NodeKind::Directory);
        }
        layout.asset("etc/runq/vm.json", 0o444, Bytes::new());
        layout
    }

    /// Adds a program beside the asset tree.
    pub(crate) fn program(&mut self, name: &str, content: Bytes) {
        self.put(name, NodeKind::File { content, mode: 0o755 });
    }

    /// Adds a file about the bundle, beside the asset tree.
    pub(crate) fn document(&mut self, name: &str, content: Bytes) {
        self.put(name, NodeKind::File { content, mode: 0o644 });
    }

    /// Adds a file that we made to the asset tree.
    pub(crate) fn asset(&mut self, path: &str, mode: u32, content: Bytes) {
        self.put(&format!("{ASSETS}/{path}"), NodeKind::File { content, mode });
    }

    /// Adds a file or link of a package to the asset tree, links made relative.
    pub(crate) fn add_from_package(&mut self, path: &str, node: &Node) {
        let mut node = node.clone();
        if let NodeKind::Symlink { target } = &node.kind {
            let destination = tree::link_destination(path, target).unwrap_or_default();
            node.kind = NodeKind::Symlink { target: tree::relative_target(path, &destination) };
        }
        self.put_node(&format!("{ASSETS}/{path}"), node);
    }

    /// Adds all that another one has.
    pub(crate) fn add_all(&mut self, other: &Self) {
        other.tree.below("").for_each(|(path, node)| self.put_node(path, node.clone()));
    }

    /// The digests of a file, from the last [`Self::entries`].
    pub(crate) fn digests(&self, path: &str) -> Option<Digests> {
        self.digests.get(path).copied()
    }

    /// The manifest's entries: every node, and the directories that lead to it; sorted by path.
    pub(crate) fn entries(&mut self) -> Vec<Entry> {
        self.hash();
        let mut entries: Vec<Entry> = Vec::new();
        let mut known = std::collections::HashSet::new();
        for (path, node) in self.tree.below("") {
            for (end, _) in path.match_indices('/') {
                if known.insert(&path[..end]) {
                    entries.push(entry(&path[..end], EntryKind::Directory, 0o755, None));
                }
            }
            let (kind, mode) = match &node.kind {
                NodeKind::Directory if !known.insert(path) => continue,
                NodeKind::Directory => (EntryKind::Directory, 0o755),
                NodeKind::File { content, mode } => {
                    let sha256 = self.digests[path].sha256;
                    (EntryKind::File { size: content.len() as u64, sha256 }, *mode)
                }
                NodeKind::Symlink { target } => (EntryKind::Symlink { target: target.clone() }, 0o777),
            };
            entries.push(entry(path, kind, mode, node.package.clone()));
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries
    }

    /// Names of the packages that gave something, more than once.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &str> {
        self.tree.below("").filter_map(|(_, node)| node.package.as_deref())
    }

    /// Gives a file's content away: what is written does not have to stay in memory.
    pub(crate) fn take(&mut self, path: &str) -> Option<Bytes> {
        self.tree.take_file(path)
    }

    /// Of what is new, on all processors.
    fn hash(&mut self) {
        let unknown: Vec<_> = self
            .tree
            .below("")
            .filter(|(path, _)| !self.digests.contains_key(*path))
            .filter_map(|(path, _)| Some((path, self.tree.file(path)?)))
            .collect();
        let digests = parallel::map(&unknown, parallel::processors(), |(_, content)| Digests {
            sha256: sha256(content),
            sha1: Sha1::digest(content).into(),
        });
        self.digests.extend(unknown.iter().map(|(path, _)| (*path).to_owned()).zip(digests));
    }

    fn link(&mut self, path: &str, target: &str) {
        self.put(path, NodeKind::Symlink { target: target.to_owned() });
    }

    fn put(&mut self, path: &str, kind: NodeKind) {
        self.put_node(path, Node { kind, package: None });
    }

    fn put_node(&mut self, path: &str, node: Node) {
        self.digests.remove(path);
        self.tree.put(path, node);
    }
}

fn entry(path: &str, kind: EntryKind, mode: u32, package: Option<String>) -> Entry {
    Entry { path: path.to_owned(), kind, mode, package }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_its_directories_and_the_order_of_adding_leaves_no_trace() {
        let node = |kind| Node { kind, package: Some("libz".to_owned()) };
        let link = node(NodeKind::Symlink { target: "/lib/x/libz.so.1.3".to_owned() });
        let file = node(NodeKind::File { content: Bytes::from_static(b"z"), mode: 0o644 });
        let mut layouts = [Layout::new(), Layout::new()];
        for (layout, order) in layouts.iter_mut().zip([[0, 1], [1, 0]]) {
            for position in order {
                let (path, node) =
                    [("usr/lib/x/libz.so.1", &link), ("usr/lib/x/libz.so.1.3", &file)][position];
                layout.add_from_package(path, node);
            }
            layout.program("runq", Bytes::from_static(b"r"));
        }
        let entries = layouts[0].entries();
        assert_eq!(entries, layouts[1].entries());
        let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
        for path in &paths {
            if let Some((folder, _)) = path.rsplit_once('/') {
                assert_eq!(paths.iter().filter(|other| **other == folder).count(), 1, "{path}");
            }
        }
        let link = entries.iter().find(|entry| entry.path == "qemu/usr/lib/x/libz.so.1").unwrap();
        assert_eq!(link.kind, EntryKind::Symlink { target: "libz.so.1.3".to_owned() });
        assert_eq!(link.package.as_deref(), Some("libz"));
    }
}
