//! Gives a copied tree back what copying loses: modes, owners, links, empty directories. Runs on the host; trusts the
//! manifest. The content of files cannot be mended, and is not looked at.

use super::{Difference, TreeError, has};
use crate::dirfd::{Parents, open_directory, open_root};
use crate::manifest::{Entry, EntryKind, MANIFEST_NAME, Manifest, SIGNATURE_NAME};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, mkdirat, openat, readlinkat,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Mode of the manifest and of its signature.
const FRONT_MODE: u32 = 0o644;

impl Difference {
    /// Whether [`mend_tree`] can mend it.
    #[must_use]
    pub fn is_mendable(&self, manifest: &Manifest) -> bool {
        let kind = manifest.entry(self.path()).map(|entry| &entry.kind);
        match self {
            Self::Extra { .. } => false,
            Self::Missing { .. } => matches!(kind, Some(EntryKind::Symlink { .. } | EntryKind::Directory)),
            Self::Property { property: "kind", .. } => matches!(kind, Some(EntryKind::Symlink { .. })),
            Self::Property { .. } => has(self, &["mode", "owner", "target"]),
        }
    }
}

/// Makes modes, owners, links and directories those of the manifest. Whatever lies in the place of a link is removed.
///
/// # Errors
/// When something cannot be changed, or a file is missing.
pub fn mend_tree(directory: &Path, manifest: &Manifest) -> Result<(), TreeError> {
    let failed = |path: &str| {
        let path = path.to_owned();
        move |source: io::Error| TreeError { action: "mend", path, source }
    };
    let root = open_root(directory).map_err(failed("."))?;
    own(root.as_fd(), 0o755).map_err(failed("."))?;
    for name in [MANIFEST_NAME, SIGNATURE_NAME] {
        own_file(root.as_fd(), name, FRONT_MODE).map_err(failed(name))?;
    }
    let mut parents = Parents::new(root.as_fd());
    // Directories come before what is in them: each can be entered when its turn has come.
    for entry in &manifest.files {
        mend(&mut parents, entry).map_err(failed(&entry.path))?;
    }
    Ok(())
}

fn mend(parents: &mut Parents<'_>, entry: &Entry) -> io::Result<()> {
    let (parent, name) = parents.of(&entry.path)?;
    match &entry.kind {
        EntryKind::File { .. } => own_file(parent, name, entry.mode),
        EntryKind::Directory => {
            match mkdirat(parent, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            own(open_directory(parent, name)?.as_fd(), entry.mode)
        }
        EntryKind::Symlink { target } => {
            let found = readlinkat(parent, name, Vec::new());
            if found.is_ok_and(|found| found.as_bytes() == target.as_bytes()) {
                let (uid, gid) = us();
                return Ok(chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?);
            }
            remove(parent, name)?;
            Ok(symlinkat(target.as_str(), parent, name)?)
        }
    }
}

fn own_file(parent: BorrowedFd<'_>, name: &str, mode: u32) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    own(openat(parent, name, flags, Mode::empty())?.as_fd(), mode)
}

/// The owner first: a former one could change the mode back.
fn own(file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    let (uid, gid) = us();
    fchown(file, uid, gid)?;
    Ok(fchmod(file, Mode::from_raw_mode(mode))?)
}

fn us() -> (Option<Uid>, Option<Gid>) {
    (Some(rustix::process::geteuid()), Some(rustix::process::getegid()))
}

/// Removes a name, and all that is below it.
fn remove(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(unlinkat(parent, name, AtFlags::empty())?);
    }
    let directory = open_directory(parent, name)?;
    let mut names = Vec::new();
    for item in Dir::read_from(&directory)? {
        let inner = item?.file_name().to_string_lossy().into_owned();
        if inner != "." && inner != ".." {
            names.push(inner);
        }
    }
    names.iter().try_for_each(|inner| remove(directory.as_fd(), inner))?;
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
