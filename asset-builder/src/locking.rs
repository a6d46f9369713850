//! `runq-assets lock` and `fetch`: follow the closure through the newest packages, write down what it led to, and what
//! changed since the last time. Runs on the build machine.

use crate::assembly::{Assembly, MachinePaths};
use crate::base_image::BaseImage;
use crate::cli::{FetchArgs, LockArgs, LockedArgs, SourceArgs};
use crate::lock::{self, Lock, LockedPackage};
use crate::packages::Packages;
use crate::progress::Progress;
use crate::sides::{Side, Sides};
use crate::sources::Sources;
use crate::version;
use crate::workshop::Workshop;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What `lock` did.
#[derive(Debug, Serialize)]
pub(crate) struct LockReport {
    pub(crate) file: PathBuf,
    pub(crate) packages: usize,
    /// Sum of the .debs.
    pub(crate) bytes: u64,
    pub(crate) changes: Vec<Change>,
}

/// A difference between two locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) package: String,
    pub(crate) index: String,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
    /// The version is smaller than before, or the same with other content.
    pub(crate) warning: Option<&'static str>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let package = format!("{}:{}", self.package, self.index);
        match (&self.old, &self.new) {
            (None, Some(new)) => write!(f, "+ {package} {new}"),
            (Some(old), None) => write!(f, "- {package} {old}"),
            (old, new) => {
                let version = |version: &Option<String>| version.clone().unwrap_or_default();
                write!(f, "~ {package} {} -> {}", version(old), version(new))
            }
        }?;
        self.warning.map_or(Ok(()), |warning| write!(f, "  WARNING: {warning}"))
    }
}

/// What `fetch` did.
#[derive(Debug, Serialize)]
pub(crate) struct FetchReport {
    pub(crate) arch: String,
    pub(crate) packages: usize,
    /// Sum of the .debs.
    pub(crate) bytes: u64,
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
    let new = follow(&args.source, &sides, &newest, progress)?;
    fs_err::write(&file, new.to_text()?)?;
    Ok(LockReport {
        file,
        packages: new.package.len(),
        bytes: new.package.iter().map(|package| package.size).sum(),
        changes: changes(old.as_ref(), &new),
    })
}

/// Fills the cache for each architecture.
pub(crate) fn fetch_all(args: &FetchArgs, progress: &Progress) -> anyhow::Result<Vec<FetchReport>> {
    let fetch = |arch: &String| {
        let sides = Sides::load(&args.source, arch)?;
        let lock = follow(&args.source, &sides, &args.locked, progress)?;
        let bytes = lock.package.iter().map(|package| package.size).sum();
        Ok(FetchReport { arch: arch.clone(), packages: lock.package.len(), bytes })
    };
    args.source.arch.iter().map(fetch).collect()
}

/// Loads what a build would load.
fn follow(
    args: &SourceArgs,
    sides: &Sides,
    locked: &LockedArgs,
    progress: &Progress,
) -> anyhow::Result<Lock> {
    let workshop = Workshop::open(args, sides, false, progress)?;
    let fetcher = workshop.fetcher(progress)?;
    let sources = Sources::read(sides, locked, &fetcher, progress)?;
    let machine = MachinePaths::deserialize(sides.machine()?)?;
    let base_image = workshop.base_image.as_ref();

    let names = &sides.guest.recipe.packages;
    let packages = |index| Packages::new(index, &fetcher, base_image);
    let mut host = Assembly::new(&sides.host, names, packages(sources.host()), progress);
    host.add_programs(&machine, &sides.guest.architecture.build.firmware)?;
    let mut package = locked_packages(&host.packages, &sides.host)?;
    let mut guest = Assembly::new(&sides.guest, names, packages(sources.guest()), progress);
    guest.load_kernel()?;
    package.extend(locked_packages(&guest.packages, &sides.guest)?);
    Ok(Lock::new(sides, base_image.map(BaseImage::digest), sources.suites, package))
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

/// By index and name.
fn changes(old: Option<&Lock>, new: &Lock) -> Vec<Change> {
    let key = |package: &LockedPackage| (package.index.clone(), package.name.clone());
    let mut pairs: BTreeMap<_, Pair<'_>> = BTreeMap::new();
    for package in old.iter().flat_map(|lock| &lock.package) {
        pairs.entry(key(package)).or_default().0 = Some(package);
    }
    for package in &new.package {
        pairs.entry(key(package)).or_default().1 = Some(package);
    }
    pairs.into_iter().filter_map(|((index, package), pair)| change(package, index, pair)).collect()
}

/// A package in the old lock and in the new one.
type Pair<'a> = (Option<&'a LockedPackage>, Option<&'a LockedPackage>);

fn change(package: String, index: String, (old, new): Pair<'_>) -> Option<Change> {
    let warning = match (old, new) {
        (Some(old), Some(new)) if old.sha256 == new.sha256 && old.version == new.version => return None,
        (Some(old), Some(new)) if old.version == new.version => Some("same version, other content"),
        (Some(old), Some(new)) if version::compare(&old.version, &new.version).is_gt() => Some("downgrade"),
        _ => None,
    };
    let version = |package: &LockedPackage| package.version.clone();
    Some(Change { package, index, old: old.map(version), new: new.map(version), warning })
}

#[cfg(test)]
#[path = "locking/tests.rs"]
mod tests;
