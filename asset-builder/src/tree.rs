//! Files of packages in memory, by their path in a merged-/usr root. Paths are relative, without `.`, `..` or empty
//! names; `bin`, `lib`, `lib64` and `sbin` are below `usr`. Runs on the build machine; nothing is unpacked to disk.

use crate::deb::{Member, MemberKind};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Links of a merged-/usr root: (path, target).
pub(crate) const USR_LINKS: [(&str, &str); 4] =
    [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("sbin", "usr/sbin")];

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// A directory tree. Directories exist through what they contain, but for those that were added empty.
#[derive(Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// A file, a link or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// Name of the package that it was taken from; `None` for what we made.
    pub(crate) package: Option<String>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Directory,
    File {
        content: Bytes,
        mode: u32,
    },
    /// The target as written.
    Symlink {
        target: String,
    },
}

/// Why a package does not fit into the tree.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    #[error("package {package} has the path {path:?}, which leads out of the root")]
    Path { package: String, path: String },
    #[error("{path:?} is in package {first} and in package {second}")]
    Conflict { path: String, first: String, second: String },
    #[error("package {package} has a hard link {path:?} to {target:?}, which is not there")]
    HardLink { package: String, path: String, target: String },
}

/// Where a path leads: the links that were followed, and the file or directory at the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) links: Vec<String>,
    pub(crate) path: String,
}

impl Tree {
    /// Adds a package. Two packages may share directories, nothing else.
    pub(crate) fn add_package(&mut self, package: &str, members: Vec<Member>) -> Result<(), TreeError> {
        for member in members {
            let leads_out =
                |path: &str| TreeError::Path { package: package.to_owned(), path: path.to_owned() };
            let path = normalise(&member.path).ok_or_else(|| leads_out(&member.path))?;
            let kind = match member.kind {
                MemberKind::Directory => continue,
                MemberKind::File { content, executable } => {
                    NodeKind::File { content, mode: if executable { 0o755 } else { 0o644 } }
                }
                MemberKind::Symlink { target } => NodeKind::Symlink { target },
                MemberKind::HardLink { target } => {
                    let original = normalise(&target).and_then(|original| self.nodes.get(&original));
                    let missing =
                        || TreeError::HardLink { package: package.to_owned(), path: path.clone(), target };
                    original.ok_or_else(missing)?.kind.clone()
                }
            };
            self.add_node(path, Node { kind, package: Some(package.to_owned()) })?;
        }
        Ok(())
    }

    fn add_node(&mut self, path: String, node: Node) -> Result<(), TreeError> {
        // The links of a root that is not merged yet, as packages like base-files have them.
        if path.is_empty() || USR_LINKS.iter().any(|(_, target)| *target == path) {
            return Ok(());
        }
        if let Some(known) = self.nodes.get(&path).filter(|known| **known != node) {
            let name = |node: &Node| node.package.clone().unwrap_or_default();
            return Err(TreeError::Conflict { first: name(known), second: name(&node), path });
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Puts something that we made, or a file under another path. Replaces what was there.
    pub(crate) fn put(&mut self, path: &str, node: Node) {
        self.nodes.insert(path.to_owned(), node);
    }

    /// The node at a path; no links are followed.
    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Content of the file at a path; no links are followed.
    pub(crate) fn file(&self, path: &str) -> Option<&Bytes> {
        match &self.nodes.get(path)?.kind {
            NodeKind::File { content, .. } => Some(content),
            NodeKind::Directory | NodeKind::Symlink { .. } => None,
        }
    }

    /// Removes the file at a path and gives its content.
    pub(crate) fn take_file(&mut self, path: &str) -> Option<Bytes> {
        let content = self.file(path).cloned()?;
        self.nodes.remove(path);
        Some(content)
    }

    /// Everything below a directory (all for `""`), in the order of the paths.
    pub(crate) fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.nodes
            .range(prefix.clone()..)
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .map(|(path, node)| (path.as_str(), node))
    }

    /// Follows links, in directories as well. `None` when there is nothing at the end.
    pub(crate) fn resolve(&self, path: &str) -> Option<Resolved> {
        let mut links = Vec::new();
        let mut path = normalise(path)?;
        while let Some((link, target, rest)) = self.first_link(&path) {
            if links.len() == MAX_LINKS {
                return None;
            }
            path = normalise(&format!("{}/{rest}", link_destination(&link, target)?))?;
            links.push(link);
        }
        let exists = self.nodes.contains_key(&path) || self.below(&path).next().is_some();
        exists.then_some(Resolved { links, path })
    }

    /// The first name of a path that is a link, its target, and the names after it.
    fn first_link(&self, path: &str) -> Option<(String, &str, String)> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        ends.filter_map(|end| match &self.nodes.get(&path[..end])?.kind {
            NodeKind::Symlink { target } => Some((
                path[..end].to_owned(),
                target.as_str(),
                path[end..].trim_start_matches('/').to_owned(),
            )),
            NodeKind::Directory | NodeKind::File { .. } => None,
        })
        .next()
    }
}

/// Removes `.`, `..` and empty names and moves the directories of a split root below `usr`. `None` when `..` leads
/// out of the root.
pub(crate) fn normalise(path: &str) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    if USR_LINKS.iter().any(|(link, _)| names.first() == Some(link)) {
        names.insert(0, "usr");
    }
    Some(names.join("/"))
}

/// Where a link leads, from the root; the names on the way are not looked up.
pub(crate) fn link_destination(link: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return normalise(target);
    }
    let folder = link.rsplit_once('/').map_or("", |(folder, _)| folder);
    normalise(&format!("{folder}/{target}"))
}

/// The target by which a link leads to a path from the root.
pub(crate) fn relative_target(link: &str, destination: &str) -> String {
    let folder: Vec<&str> = link.split('/').collect();
    let folder = &folder[..folder.len() - 1];
    let names: Vec<&str> = destination.split('/').collect();
    let shared = folder.iter().zip(&names).take_while(|(a, b)| a == b).count().min(names.len() - 1);
    let mut target = vec![".."; folder.len() - shared];
    target.extend(&names[shared..]);
    target.join("/")
}

#[cfg(test)]
#[path = "tree/tests.rs"]
mod tests;
