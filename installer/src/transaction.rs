//! Carries out a plan in the prefix. Runs on the host, as root, under the lock.
//!
//! Promise: whatever moment the process is killed or the power fails at, `current` leads to a complete version, the old or
//! the new one, and running the command again arrives at the end. For this, the files of a version are on the disk (one
//! `syncfs`, which also covers the directories) before the version gets its name by a rename; each rename is on the disk
//! (`fsync` of the directory) before the next step relies on it; links and the receipt are replaced by renames of new ones.
//!
//! Not covered: disks that lose what they have confirmed; containers that still use a damaged version, which is exchanged
//! as a whole and removed.

use crate::layout::{CURRENT, Layout, STABLE_LINKS, STAGING_PREFIX};
use crate::lock::Lock;
use crate::machine_code::check_elf_files;
use crate::plan::{Found, Step, Tree};
use crate::preflight::check_owner;
use crate::receipt::{self, Receipt};
use anyhow::{Context, Result, bail};
use fs_err as fs;
use runq_bundle::archive::BundleReader;
use runq_bundle::manifest::{MANIFEST_NAME, Manifest, SIGNATURE_NAME};
use runq_bundle::tree::{mend_tree, verify_tree};
use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};
use std::fs::Permissions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::SystemTime;

/// What names of links and files in the prefix begin with before they are renamed.
pub(crate) const TEMPORARY_PREFIX: &str = ".new-";

const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// How many differences of a damaged tree are worth naming.
const DAMAGE_SHOWN: usize = 5;

/// Where the files of a version come from.
pub(crate) enum Source<R: Read> {
    /// A bundle, which can be extracted once.
    Bundle(Option<BundleReader<R>>),
    /// They are there already.
    Tree(Manifest),
}

/// Looks at what is there beside the version's tree, which the caller has looked at. Changes nothing.
pub(crate) fn inspect(layout: &Layout, tree: Tree) -> Result<Found> {
    let mut stable = [const { None }; STABLE_LINKS.len()];
    for (found, (name, _)) in stable.iter_mut().zip(STABLE_LINKS) {
        *found = read_link(&layout.stable(name))?;
    }
    Ok(Found { tree, current: read_link(&layout.current())?, stable, receipt: read_receipt(layout)? })
}

/// The receipt, if there is one that this program wrote.
pub(crate) fn read_receipt(layout: &Layout) -> Result<Option<Receipt>> {
    let bytes = match fs::read(layout.receipt()) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // One that cannot be read is written anew.
    Ok(serde_json::from_slice(&bytes).ok().filter(|receipt: &Receipt| receipt.format == receipt::FORMAT))
}

/// Target of a link; `None` for anything else.
pub(crate) fn read_link(path: &Path) -> Result<Option<String>> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Compares a version's tree with the bundle that it should come from.
pub(crate) fn inspect_tree<R: Read>(directory: &Path, bundle: &BundleReader<R>) -> Result<Tree> {
    match directory.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Tree::Absent),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", directory.display())),
        Ok(metadata) if !metadata.is_dir() => return Ok(Tree::Damaged(vec!["not a directory".into()])),
        Ok(_) => {}
    }
    let differences = verify_tree(directory, bundle.manifest())?;
    let mut damage: Vec<String> = differences.iter().take(DAMAGE_SHOWN).map(ToString::to_string).collect();
    for (name, bytes) in
        [(MANIFEST_NAME, bundle.manifest_bytes()), (SIGNATURE_NAME, bundle.signature().as_bytes())]
    {
        if std::fs::read(directory.join(name)).ok().as_deref() != Some(bytes) {
            damage.push(format!("{name:?} is not the bundle's"));
        }
    }
    Ok(if damage.is_empty() { Tree::Complete } else { Tree::Damaged(damage) })
}

/// Extracts the bundle into a directory of its own, checks it, and gives it its name.
fn stage<R: Read + Send>(layout: &Layout, id: &str, bundle: BundleReader<R>, exchange: bool) -> Result<()> {
    let (staging, version) = (layout.staging(), layout.version(id));
    fs::create_dir(&staging)?;
    let extracted = extract(bundle, &staging).and_then(|()| {
        sync_file_system(&staging)?;
        let flags = if exchange { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, &staging, CWD, &version, flags)
            .with_context(|| format!("cannot rename {} to {}", staging.display(), version.display()))?;
        sync_directory(&layout.versions())
    });
    // What is left of a failure, or the damaged tree. Its own error must not hide the first one.
    let removed = remove_any(&staging);
    extracted.and(removed)
}

fn extract<R: Read + Send>(bundle: BundleReader<R>, staging: &Path) -> Result<()> {
    let manifest: Manifest = bundle.manifest().clone();
    bundle.extract(staging)?;
    // mkdir obeys the umask; dockerd and its containers have to get in.
    fs::set_permissions(staging, Permissions::from_mode(DIRECTORY_MODE))?;
    Ok(check_elf_files(staging, &manifest)?)
}

/// Carries out a step.
pub(crate) fn perform<R: Read + Send>(
    layout: &Layout,
    step: &Step,
    receipt: &Receipt,
    source: &mut Source<R>,
) -> Result<()> {
    let id = &receipt.version;
    match (step, source) {
        (Step::Stage | Step::Restage { .. }, Source::Bundle(bundle)) => {
            let bundle = bundle.take().context("the bundle was extracted before")?;
            stage(layout, id, bundle, matches!(step, Step::Restage { .. }))
        }
        (Step::Mend { .. }, Source::Tree(manifest)) => {
            mend_tree(&layout.version(id), manifest)?;
            sync_file_system(&layout.version(id))
        }
        (Step::Activate { .. }, _) => {
            // A run that was killed may not have come to this.
            sync_directory(&layout.versions())?;
            replace_link(layout.prefix(), CURRENT, &Layout::current_target(id))
        }
        (Step::Link { name, target }, _) => replace_link(layout.prefix(), name, target),
        (Step::WriteReceipt, _) => write_receipt(layout, receipt),
        (Step::Stage | Step::Restage { .. } | Step::Mend { .. }, _) => {
            bail!("{} needs another source of files", step.describe(id))
        }
    }
}

/// Creates the prefix and the directory of its versions, where they are missing, open to everybody whatever the umask.
pub(crate) fn create_directories(layout: &Layout) -> Result<()> {
    for directory in [layout.prefix().to_owned(), layout.versions()] {
        if !directory.exists() {
            fs::create_dir_all(&directory)?;
            fs::set_permissions(&directory, Permissions::from_mode(DIRECTORY_MODE))?;
        }
        // One after the other: nothing is created in a directory that is somebody else's.
        check_owner(&directory)?;
    }
    Ok(())
}

/// Makes the directories of a copied tree ours.
pub(crate) fn own_directories(layout: &Layout) -> Result<()> {
    for directory in [layout.prefix().to_owned(), layout.versions()] {
        if check_owner(&directory).is_err() {
            let us = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            fs_err::os::unix::fs::lchown(&directory, Some(us.0), Some(us.1))?;
            fs::set_permissions(&directory, Permissions::from_mode(DIRECTORY_MODE))?;
        }
    }
    Ok(())
}

/// Takes the lock, and removes what killed runs have left.
pub(crate) fn lock(layout: &Layout) -> Result<Lock> {
    let lock = Lock::acquire(&layout.lock())?;
    remove_leftovers(layout)?;
    Ok(lock)
}

/// Removes what killed runs have left. Under the lock nobody else is at work here.
fn remove_leftovers(layout: &Layout) -> Result<()> {
    for (directory, prefix) in
        [(layout.versions(), STAGING_PREFIX), (layout.prefix().to_owned(), TEMPORARY_PREFIX)]
    {
        // An uninstall may have come that far.
        if !directory.exists() {
            continue;
        }
        for item in fs::read_dir(&directory)? {
            let item = item?;
            let name = item.file_name().to_string_lossy().into_owned();
            match name.strip_prefix(prefix) {
                None => {}
                // No directory of ours has such a name: `replace_link` was stopped before it put this one aside.
                Some(name) if prefix == TEMPORARY_PREFIX && item.file_type()?.is_dir() => {
                    put_aside(&item.path(), layout.prefix(), name)?;
                }
                Some(_) => remove_any(&item.path())?,
            }
        }
    }
    Ok(())
}

/// Replaces what has the name by a link. A directory (of another product, or of a copy that followed links) is not ours
/// to remove: it is put aside.
fn replace_link(directory: &Path, name: &str, target: &str) -> Result<()> {
    let (new, link) = (directory.join(format!("{TEMPORARY_PREFIX}{name}")), directory.join(name));
    symlink(target, &new).with_context(|| format!("cannot create the link {}", new.display()))?;
    if link.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        renameat_with(CWD, &new, CWD, &link, RenameFlags::EXCHANGE)
            .with_context(|| format!("cannot replace {}", link.display()))?;
        put_aside(&new, directory, name)?;
    } else {
        fs::rename(&new, &link)?;
    }
    sync_directory(directory)
}

fn put_aside(path: &Path, directory: &Path, name: &str) -> Result<()> {
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace([':', '-'], "");
    Ok(fs::rename(path, directory.join(format!("{name}.replaced-{time}")))?)
}

pub(crate) fn write_receipt(layout: &Layout, receipt: &Receipt) -> Result<()> {
    let mut new = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(layout.prefix())?;
    new.write_all(format!("{}\n", serde_json::to_string_pretty(receipt)?).as_bytes())?;
    new.as_file().set_permissions(Permissions::from_mode(FILE_MODE))?;
    new.as_file().sync_all()?;
    new.persist(layout.receipt()).with_context(|| format!("cannot write {}", layout.receipt().display()))?;
    sync_directory(layout.prefix())
}

/// Removes a file, a link or a whole directory, if it is there.
pub(crate) fn remove_any(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        Ok(metadata) if metadata.is_dir() => Ok(fs::remove_dir_all(path)?),
        Ok(_) => Ok(fs::remove_file(path)?),
    }
}

/// Makes the names in a directory survive a power loss.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    Ok(fs::File::open(directory)?.sync_all()?)
}

/// Makes everything survive that was written so far, by whomever.
pub(crate) fn sync_file_system(path: &Path) -> Result<()> {
    let directory = fs::File::open(path)?;
    syncfs(directory.file()).with_context(|| format!("cannot write {} to the disk", path.display()))
}
