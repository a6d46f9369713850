//! A file system in memory that knows what of it is on the disk. Trusts the recording.

use super::Operation;
use crate::installation::{Node, Snapshot};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

type Names = BTreeMap<OsString, usize>;

/// A value as programs see it, and as the disk has it.
#[derive(Debug, Clone, Default)]
struct Kept<T> {
    now: T,
    flushed: T,
}

impl<T: Clone> Kept<T> {
    fn on_disk(value: T) -> Self {
        Self { now: value.clone(), flushed: value }
    }

    fn flush(&mut self) {
        self.flushed = self.now.clone();
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Directory(Kept<Names>),
    File(Kept<Vec<u8>>),
    Link(PathBuf),
}

#[derive(Debug, Clone)]
struct Inode {
    kind: Kind,
    mode: Kept<u32>,
}

/// Names that change together: directory, name, and what it leads to then.
type Change = Vec<(usize, OsString, Option<usize>)>;

/// The disk.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The first is the root.
    inodes: Vec<Inode>,
    /// Those that no flush has covered, in their order.
    pending: Vec<Change>,
}

impl Disk {
    /// All of this is on the disk.
    ///
    /// # Errors
    /// When a path has no parent.
    pub fn holding(snapshot: &Snapshot) -> Result<Self> {
        let root = Inode { kind: Kind::Directory(Kept::default()), mode: Kept::on_disk(0o755) };
        let mut disk = Self { inodes: vec![root], pending: Vec::new() };
        for operation in Operation::that_make(snapshot) {
            disk.carry_out(&operation)?;
        }
        disk.flush_all();
        Ok(disk)
    }

    /// How many changes of names no flush has covered.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        self.pending.len()
    }

    /// Does what the program did.
    ///
    /// # Errors
    /// When that is not possible: then the recording is not complete.
    pub fn carry_out(&mut self, operation: &Operation) -> Result<()> {
        self.try_to(operation).with_context(|| format!("cannot replay {operation}"))
    }

    fn try_to(&mut self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::MakeDirectory { path, mode } => {
                let inode = self.add(Kind::Directory(Kept::default()), *mode);
                self.name(path, inode)
            }
            Operation::Open { path, mode, create, truncate } => match self.find(path) {
                Err(_) if *create => {
                    let inode = self.add(Kind::File(Kept::default()), *mode);
                    self.name(path, inode)
                }
                Ok(_) if *truncate => self.content(path).map(Vec::clear),
                found => found.map(drop),
            },
            Operation::Write { path, offset, bytes } => {
                let content = self.content(path)?;
                content.resize(content.len().max(offset + bytes.len()), 0);
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
                Ok(())
            }
            Operation::Resize { path, length } => {
                self.content(path).map(|content| content.resize(*length, 0))
            }
            Operation::SetMode { path, mode } => {
                let inode = self.find(path)?;
                self.inodes[inode].mode.now = *mode;
                Ok(())
            }
            Operation::Link { target, path } => {
                let inode = self.add(Kind::Link(target.clone()), 0o777);
                self.name(path, inode)
            }
            Operation::HardLink { from, to } => self.find(from).and_then(|inode| self.name(to, inode)),
            Operation::Rename { from, to, exchange } => {
                let (moved, replaced) = (self.find(from)?, self.find(to).ok());
                let (from, to) = (self.place(from)?, self.place(to)?);
                let back = if *exchange { replaced } else { None };
                self.change(vec![(from.0, from.1, back), (to.0, to.1, Some(moved))])
            }
            Operation::Remove { path } => {
                self.find(path)?;
                let (directory, name) = self.place(path)?;
                self.change(vec![(directory, name, None)])
            }
            Operation::Flush { path } => self.find(path).map(|inode| self.flush(inode)),
            Operation::FlushAll => {
                self.flush_all();
                Ok(())
            }
        }
    }

    fn add(&mut self, kind: Kind, mode: u32) -> usize {
        self.inodes.push(Inode { kind, mode: Kept::on_disk(mode) });
        self.inodes.len() - 1
    }

    fn name(&mut self, path: &Path, inode: usize) -> Result<()> {
        let (directory, name) = self.place(path)?;
        self.change(vec![(directory, name, Some(inode))])
    }

    fn change(&mut self, change: Change) -> Result<()> {
        for (directory, name, inode) in &change {
            set(&mut self.names(*directory)?.now, name, *inode);
        }
        self.pending.push(change);
        Ok(())
    }

    fn flush(&mut self, inode: usize) {
        self.inodes[inode].mode.flush();
        if let Kind::File(content) = &mut self.inodes[inode].kind {
            content.flush();
        }
        let concerns = |change: &Change| change.iter().any(|(directory, ..)| *directory == inode);
        let (flushed, pending): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(concerns);
        self.pending = pending;
        for (directory, name, inode) in flushed.into_iter().flatten() {
            if let Kind::Directory(names) = &mut self.inodes[directory].kind {
                set(&mut names.flushed, &name, inode);
            }
        }
    }

    fn flush_all(&mut self) {
        for inode in 0..self.inodes.len() {
            self.flush(inode);
        }
    }

    fn names(&mut self, directory: usize) -> Result<&mut Kept<Names>> {
        match &mut self.inodes[directory].kind {
            Kind::Directory(names) => Ok(names),
            other => bail!("{other:?} is no directory"),
        }
    }

    fn content(&mut self, path: &Path) -> Result<&mut Vec<u8>> {
        let inode = self.find(path)?;
        match &mut self.inodes[inode].kind {
            Kind::File(content) => Ok(&mut content.now),
            other => bail!("{other:?} is no file"),
        }
    }

    fn place(&self, path: &Path) -> Result<(usize, OsString)> {
        let (parent, name) = path.parent().zip(path.file_name()).context("the root has no name")?;
        Ok((self.find(parent)?, name.to_owned()))
    }

    /// Follows no links: the product does not either where it writes, or this fails.
    fn find(&self, path: &Path) -> Result<usize> {
        path.iter().try_fold(0, |inode, name| match &self.inodes[inode].kind {
            Kind::Directory(names) => {
                names.now.get(name).copied().with_context(|| format!("{} is not there", path.display()))
            }
            _ => bail!("{} leads through no directory", path.display()),
        })
    }

    /// As programs see it.
    ///
    /// # Errors
    /// When the model is broken.
    pub fn now(&self) -> Result<Snapshot> {
        self.after_power_loss(|_| true, true)
    }

    /// As it is when the power has failed, with these of the pending changes, and with or without what was written and
    /// not flushed.
    ///
    /// # Errors
    /// When the model is broken.
    pub fn after_power_loss(&self, keep: impl Fn(usize) -> bool, contents: bool) -> Result<Snapshot> {
        let mut directories: BTreeMap<usize, Names> = BTreeMap::new();
        for (inode, found) in self.inodes.iter().enumerate() {
            if let Kind::Directory(names) = &found.kind {
                directories.insert(inode, names.flushed.clone());
            }
        }
        for (number, change) in self.pending.iter().enumerate().filter(|(number, _)| keep(*number)) {
            for (directory, name, inode) in change {
                let names = directories.get_mut(directory).with_context(|| format!("change {number}"))?;
                set(names, name, *inode);
            }
        }
        let mut nodes = BTreeMap::new();
        let mut due = vec![(PathBuf::new(), 0)];
        while let Some((path, directory)) = due.pop() {
            for (name, inode) in &directories[&directory] {
                let (path, Inode { kind, mode }) = (path.join(name), &self.inodes[*inode]);
                let mode = if contents { mode.now } else { mode.flushed };
                let node = match kind {
                    Kind::Directory(_) => {
                        due.push((path.clone(), *inode));
                        Node::Directory(mode)
                    }
                    Kind::File(bytes) => {
                        Node::File(mode, if contents { &bytes.now } else { &bytes.flushed }.clone())
                    }
                    Kind::Link(target) => Node::Link(target.clone()),
                };
                nodes.insert(path, node);
            }
        }
        Ok(Snapshot(nodes))
    }
}

fn set(names: &mut Names, name: &OsString, inode: Option<usize>) {
    match inode {
        Some(inode) => names.insert(name.clone(), inode),
        None => names.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(disk: &mut Disk, path: &str) {
        let path = PathBuf::from(path);
        let open = Operation::Open { path: path.clone(), mode: 0o644, create: true, truncate: false };
        disk.carry_out(&open).unwrap();
        disk.carry_out(&Operation::Write { path, offset: 0, bytes: b"new".to_vec() }).unwrap();
    }

    fn rename(disk: &mut Disk) {
        let (from, to) = ("temporary".into(), "file".into());
        disk.carry_out(&Operation::Rename { from, to, exchange: false }).unwrap();
    }

    fn contents(disk: &Disk) -> Vec<String> {
        let shown = |found: &Snapshot| {
            let bytes = found.file("file").map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            bytes.unwrap_or_else(|| "none".into())
        };
        let mut all: Vec<String> = disk.wrecks("").unwrap().iter().map(|wreck| shown(&wreck.found)).collect();
        all.sort();
        all.dedup();
        all
    }

    fn with_a_file() -> Disk {
        Disk::holding(&Snapshot([("file".into(), Node::File(0o644, b"old".to_vec()))].into())).unwrap()
    }

    #[test]
    fn a_rename_without_a_flush_may_leave_an_empty_file() {
        let mut disk = with_a_file();
        file(&mut disk, "temporary");
        rename(&mut disk);
        assert_eq!(contents(&disk), ["", "new", "old"]);
    }

    #[test]
    fn a_rename_after_a_flush_leaves_the_old_or_the_new_and_after_another_the_new() {
        let mut disk = with_a_file();
        file(&mut disk, "temporary");
        disk.carry_out(&Operation::Flush { path: "temporary".into() }).unwrap();
        rename(&mut disk);
        assert_eq!(contents(&disk), ["new", "old"]);
        disk.carry_out(&Operation::Flush { path: "".into() }).unwrap();
        assert_eq!(contents(&disk), ["new"]);
    }

    #[test]
    fn operations_without_a_flush_between_them_may_change_places() {
        let mut disk = with_a_file();
        file(&mut disk, "second");
        disk.carry_out(&Operation::Remove { path: "file".into() }).unwrap();
        let wrecks = disk.wrecks("").unwrap();
        let names = |wreck: &super::super::Wreck| wreck.found.0.keys().cloned().collect::<Vec<_>>();
        assert!(wrecks.iter().any(|wreck| names(wreck).is_empty()));
        assert!(wrecks.iter().any(|wreck| names(wreck).len() == 2));
    }
}
