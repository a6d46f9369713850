//! `runq-assets lock` and `fetch`: follow the closure through the newest packages, write down what it led to, and what
//! changed since the last time. Runs on the build machine.

use crate::assembly::{Assembly, MachinePaths};
use crate::base_image::BaseImage;
use crate::cli::{FetchArgs, LockArgs, LockedArgs, SourceArgs};
use crate::lock::{self, Lock, LockedPackage};
use crate::package_changes::{self, Change, Listed};
use crate::packages::Packages;
use crate::progress::Progress;
use crate::resolution::Resolution;
use crate::sides::{Side, Sides};
use crate::sources::Sources;
use crate::workshop::Workshop;
use anyhow::Context;
use indicatif::DecimalBytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What `lock` did.
#[derive(Debug, Serialize)]
pub(crate) struct LockReport {
    pub(crate) file: PathBuf,
    pub(crate) packages: usize,
    /// Sum of the .debs.
    pub(crate) bytes: u64,
    /// What it took to complete the programs.
    pub(crate) resolution: Resolution,
    pub(crate) changes: Vec<Change>,
}

/// What `fetch` did.
#[derive(Debug, Serialize)]
pub(crate) struct FetchReport {
    pub(crate) arch: String,
    pub(crate) packages: usize,
    /// Sum of the .debs.
    pub(crate) bytes: u64,
    /// What it took to complete the programs.
    pub(crate) resolution: Resolution,
}

impl fmt::Display for LockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, packages, bytes, resolution, changes } = self;
        writeln!(f, "{}: {packages} packages, {}", file.display(), DecimalBytes(*bytes))?;
        write!(f, "  {resolution}")?;
        changes.iter().try_for_each(|change| write!(f, "\n  {change}"))
    }
}

impl fmt::Display for FetchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arch, packages, bytes, resolution } = self;
        writeln!(f, "{arch}: {packages} packages, {} in the cache", DecimalBytes(*bytes))?;
        write!(f, "  {resolution}")
    }
}

/// Writes the lock of each architecture.
pub(crate) fn lock_all(args: &LockArgs, progress: &Progress) -> anyhow::Result<Vec<LockReport>> {
    let many = args.source.arch.len() > 1 && args.output.is_some();
    anyhow::ensure!(
        !many,
        "-o names one file, and there is a lock for each architecture: leave one of them out"
    );
    args.source.arch.iter().map(|arch| lock(args, arch, progress)).collect()
}

fn lock(args: &LockArgs, arch: &str, progress: &Progress) -> anyhow::Result<LockReport> {
    let sides = Sides::load(&args.source, arch)?;
    let file = args.output.clone().map_or_else(|| lock::default_path(&sides), Ok)?;
    let old = match fs_err::read_to_string(&file) {
        Ok(text) => Some(Lock::parse(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let newest = LockedArgs { locked: false, lock: None };
    let (new, resolution) = follow(&args.source, &sides, &newest, progress)?;
    write(&file, &new.to_text()?).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(LockReport {
        file,
        packages: new.package.len(),
        bytes: new.package.iter().map(|package| package.size).sum(),
        resolution,
        changes: changes(old.as_ref(), &new),
    })
}

/// The old lock or the new one, also when the machine dies between them.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(Permissions::from_mode(0o644))?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

/// Fills the cache for each architecture.
pub(crate) fn fetch_all(args: &FetchArgs, progress: &Progress) -> anyhow::Result<Vec<FetchReport>> {
    let fetch = |arch: &String| {
        let sides = Sides::load(&args.source, arch)?;
        let (lock, resolution) = follow(&args.source, &sides, &args.locked, progress)?;
        let bytes = lock.package.iter().map(|package| package.size).sum();
        Ok(FetchReport { arch: arch.clone(), packages: lock.package.len(), bytes, resolution })
    };
    args.source.arch.iter().map(fetch).collect()
}

/// Loads what a build would load.
fn follow(
    args: &SourceArgs,
    sides: &Sides,
    locked: &LockedArgs,
    progress: &Progress,
) -> anyhow::Result<(Lock, Resolution)> {
    let workshop = Workshop::open(args, sides, false, progress)?;
    let fetcher = workshop.fetcher(progress)?;
    let base_image = workshop.base_image.as_ref();
    let digest = base_image.map(BaseImage::digest);
    let sources = Sources::read(sides, (locked, digest.as_deref()), &fetcher, progress)?;
    let machine = MachinePaths::deserialize(sides.machine()?)?;

    let names = &sides.guest.recipe.packages;
    let packages = |index| Packages::new(index, &fetcher, base_image);
    let mut host = Assembly::new(&sides.host, names, packages(sources.host()), progress);
    host.resolution.depends = sources.depends;
    host.add_programs(&machine, &sides.guest.architecture.build.firmware)?;
    let mut package = locked_packages(&host.packages, &sides.host)?;
    let mut guest = Assembly::new(&sides.guest, names, packages(sources.guest()), progress);
    guest.load_kernel()?;
    package.extend(locked_packages(&guest.packages, &sides.guest)?);
    let lock = Lock::new(sides, digest, sources.suites.clone(), package);
    Ok((Lock { depends: sources.depends, ..lock }, host.resolution))
}

fn locked_packages(packages: &Packages<'_>, side: &Side) -> anyhow::Result<Vec<LockedPackage>> {
    let loaded = packages.loaded();
    let mut locked = Vec::new();
    for package in loaded.values() {
        let dependencies = packages.dependencies(package)?;
        let mut names: Vec<String> = Vec::new();
        for dependency in dependencies.iter().filter(|dependency| loaded.contains_key(&dependency.name)) {
            if !names.contains(&dependency.name) {
                names.push(dependency.name.clone());
            }
        }
        locked.push(LockedPackage::new(package, names, side));
    }
    Ok(locked)
}

/// What `lock` changed.
fn changes(old: Option<&Lock>, new: &Lock) -> Vec<Change> {
    let old = old.iter().flat_map(|lock| &lock.package);
    package_changes::changes(old.map(listed), new.package.iter().map(listed))
}

fn listed(package: &LockedPackage) -> Listed<'_> {
    let LockedPackage { name, index, version, sha256, .. } = package;
    Listed { name, arch: index, version, sha256: *sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_lock_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("debian.lock");
        write(&path, "old and longer").unwrap();
        // Whoever has the old one open goes on reading the old one.
        let mut reader = std::fs::File::open(&path).unwrap();
        write(&path, "new").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(
            (text.as_str(), fs_err::read_to_string(&path).unwrap().as_str()),
            ("old and longer", "new")
        );
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }
}
