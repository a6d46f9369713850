//! `verify`: follows the chain that a bundle's provenance tells of once more, from the keys that the recipe pins to the
//! bundle's files. What the bundle alone can prove is always followed, the rest with the downloads in a cache. Runs anywhere,
//! without a network; trusts the recipe, and of bundle and cache nothing that does not follow from it.

mod replay;

pub(crate) use replay::ReplayError;

use crate::archive::SuiteRecord;
use crate::cache::Cache;
use crate::diff::Contents;
use crate::provenance::{PackageOrigin, Provenance};
use crate::recipe::{self, Archive, Recipe};
use anyhow::Context;
use runq_bundle::manifest::{Manifest, Package};
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// A link of the chain that does not hold, within the bundle itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainError {
    #[error("{path} is of package {package}, which the manifest does not list")]
    UnknownPackage { path: String, package: String },
    #[error("package {name}:{arch} is {found}, expected {expected} as in {PROVENANCE}", PROVENANCE = crate::provenance::PROVENANCE_NAME)]
    Package { name: String, arch: String, found: String, expected: String },
    #[error("package {name} is at {url}, and no suite {suite} with packages for {index} is recorded there")]
    NoSuite { name: String, url: String, suite: String, index: String },
    #[error("the recipe has no archive {archive}, which suite {suite} is of")]
    NoArchive { archive: String, suite: String },
    #[error("suite {suite} of {archive} was signed by {found}, pinned are {}", pinned.join(", "))]
    Signer { suite: String, archive: String, found: String, pinned: Vec<String> },
}

/// What was followed.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Followed {
    /// From a pinned key to the index of packages; without a cache only whom the bundle names as the signer.
    pub(crate) suites: usize,
    pub(crate) packages: usize,
    /// Files of packages.
    pub(crate) files: usize,
    /// Whether what the suites and packages say was read again, or only compared.
    pub(crate) replayed: bool,
    /// Packages whose files are those of the base image, whose digest alone vouches for them.
    pub(crate) of_base_image: Vec<String>,
    /// No recipe was at hand that says whose signatures count.
    pub(crate) unknown_recipe: bool,
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suites, packages, files, .. } = self;
        write!(f, "chain: {suites} suites, {packages} packages, {files} files of packages ")?;
        f.write_str(match self.replayed {
            true => "followed from the pinned keys to the last byte",
            false => "agree; --cache DIR follows it through InRelease, Packages and .deb",
        })?;
        if !self.of_base_image.is_empty() {
            write!(f, "; of the base image: {}", self.of_base_image.join(", "))?;
        }
        if self.unknown_recipe {
            f.write_str("; no recipe at hand says whose signatures count: name it with --recipe")?;
        }
        Ok(())
    }
}

/// Follows the chain of a bundle: as far as it goes without a cache, or to its end.
pub(crate) fn follow(
    contents: &Contents,
    recipe: Option<&Path>,
    cache: Option<&Path>,
) -> anyhow::Result<Followed> {
    let manifest = &contents.manifest;
    let Some(provenance) = &contents.provenance else {
        // Nothing came from an archive.
        check_files(manifest)?;
        anyhow::ensure!(manifest.packages.is_empty(), "the bundle does not say where its packages are from");
        return Ok(Followed::default());
    };
    let recipes = match recipe {
        Some(file) => vec![Recipe::read(file)?],
        None => recipe::of_distribution(&provenance.distribution)?,
    };
    let archives: Vec<_> = recipes.iter().flat_map(|recipe| &recipe.archive).collect();
    check(manifest, provenance, &archives)?;
    let mut followed = Followed {
        suites: provenance.suites.len(),
        packages: provenance.packages.len(),
        files: manifest.files.iter().filter(|entry| entry.package.is_some()).count(),
        unknown_recipe: archives.is_empty(),
        ..Followed::default()
    };
    if let Some(cache) = cache {
        anyhow::ensure!(
            !archives.is_empty(),
            "no recipe that is compiled in is for {}: name the one that pins the archive's keys with --recipe",
            provenance.distribution
        );
        let cache = Cache::open(cache).with_context(|| format!("cannot use {}", cache.display()))?;
        followed.of_base_image = replay::replay(contents, provenance, &archives, &cache)?;
        followed.replayed = true;
    }
    Ok(followed)
}

/// What the bundle says in several places has to be the same.
fn check(manifest: &Manifest, provenance: &Provenance, archives: &[&Archive]) -> Result<(), ChainError> {
    check_files(manifest)?;
    check_packages(&manifest.packages, &provenance.packages)?;
    for package in &provenance.packages {
        suite_of(package, provenance)?;
    }
    for suite in &provenance.suites {
        // Without a recipe nobody says whose signatures count.
        let Some(archive) = archive_of(suite, archives)? else { continue };
        if !archive.fingerprints.iter().any(|pinned| pinned.eq_ignore_ascii_case(&suite.signer)) {
            return Err(ChainError::Signer {
                suite: suite.suite.clone(),
                archive: suite.archive.clone(),
                found: suite.signer.clone(),
                pinned: archive.fingerprints.clone(),
            });
        }
    }
    Ok(())
}

fn check_files(manifest: &Manifest) -> Result<(), ChainError> {
    for entry in &manifest.files {
        if let Some(name) = &entry.package
            && !manifest.packages.iter().any(|package| package.name == *name)
        {
            return Err(ChainError::UnknownPackage { path: entry.path.clone(), package: name.clone() });
        }
    }
    Ok(())
}

/// The same packages in both lists.
fn check_packages(found: &[Package], expected: &[PackageOrigin]) -> Result<(), ChainError> {
    let title = |version: &str, sha256| format!("{version}, SHA-256 {sha256}");
    let found: Vec<_> = found.iter().map(|p| (&p.name, &p.arch, title(&p.version, p.sha256))).collect();
    let expected: Vec<_> = expected.iter().map(|p| (&p.name, &p.arch, title(&p.version, p.sha256))).collect();
    let absent = || "absent".to_owned();
    for (name, arch, title) in &expected {
        let same = found.iter().find(|(other, its_arch, _)| (other, its_arch) == (name, arch));
        let found = same.map_or_else(absent, |(_, _, title)| title.clone());
        if found != *title {
            let (name, arch) = ((*name).clone(), (*arch).clone());
            return Err(ChainError::Package { name, arch, found, expected: title.clone() });
        }
    }
    for (name, arch, title) in found {
        if !expected.iter().any(|(other, its_arch, _)| (*other, *its_arch) == (name, arch)) {
            let (name, arch) = (name.clone(), arch.clone());
            return Err(ChainError::Package { name, arch, found: title, expected: absent() });
        }
    }
    Ok(())
}

/// The suite that vouches for a package.
fn suite_of<'a>(package: &PackageOrigin, provenance: &'a Provenance) -> Result<&'a SuiteRecord, ChainError> {
    let folder = format!("/binary-{}/", package.index);
    // One mirror may stand for several archives, and the URL then names the first of them.
    let is_recorded = |suite: &SuiteRecord| {
        package.url.strip_prefix(&suite.archive).is_some_and(|rest| rest.starts_with('/'))
    };
    let recorded = provenance.suites.iter().any(is_recorded);
    let vouches = |suite: &&SuiteRecord| {
        recorded
            && suite.suite == package.suite
            && suite.index.iter().any(|index| index.path.contains(&folder))
    };
    provenance.suites.iter().find(vouches).ok_or_else(|| ChainError::NoSuite {
        name: package.name.clone(),
        url: package.url.clone(),
        suite: package.suite.clone(),
        index: package.index.clone(),
    })
}

/// What the recipes say about the archive of a suite; `None` when there is no recipe at all.
fn archive_of<'a>(suite: &SuiteRecord, archives: &[&'a Archive]) -> Result<Option<&'a Archive>, ChainError> {
    let found = archives.iter().find(|archive| archive.url == suite.archive).copied();
    if found.is_none() && !archives.is_empty() {
        let (archive, suite) = (suite.archive.clone(), suite.suite.clone());
        return Err(ChainError::NoArchive { archive, suite });
    }
    Ok(found)
}

#[cfg(test)]
#[path = "chain/tests.rs"]
mod tests;
