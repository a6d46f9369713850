//! The lock: which packages a bundle is made of, by URL, size and SHA-256, and the suites that vouched for them when it was
//! written. Runs on the build machine; a lock is trusted like the recipe that it belongs to.

use crate::archive::SuiteRecord;
use crate::package_index::{PackageRecord, Relation, Weight};
use crate::recipe::{self, Recipe};
use crate::release_file::IndexFile;
use crate::sides::{Side, Sides};
use anyhow::{Context, bail, ensure};
use runq_bundle::digest::Sha256Digest;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The format that this program writes and reads.
const FORMAT: u32 = 1;

const HEADER: &str = "# Written by `runq-assets lock`, not by hand. `runq-assets build --locked` takes exactly these packages.\n\n";

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    pub(crate) format: u32,
    pub(crate) distribution: String,
    pub(crate) host_arch: String,
    pub(crate) guest_arch: String,
    /// Digest of what the recipe says about packages and whom it trusts.
    pub(crate) recipe: Sha256Digest,
    /// Digest of the base image's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base_image: Option<String>,
    /// Of all that the recipe's programs and firmware depend on, for comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) depends: Option<Weight>,
    pub(crate) suite: Vec<SuiteRecord>,
    /// By architecture of the index and name.
    pub(crate) package: Vec<LockedPackage>,
}

/// A package of a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedPackage {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) arch: String,
    /// Architecture in whose index it was found; differs from `arch` for `all`.
    pub(crate) index: String,
    pub(crate) suite: String,
    /// Name and version of the source package.
    pub(crate) source: (String, String),
    /// At the archive itself, not at a mirror.
    pub(crate) url: String,
    pub(crate) size: u64,
    pub(crate) sha256: Sha256Digest,
    /// Names of the packages of this lock that it depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) depends: Vec<String>,
}

impl Lock {
    /// A lock of these packages for these sides.
    pub(crate) fn new(
        sides: &Sides,
        base_image: Option<String>,
        suite: Vec<SuiteRecord>,
        mut package: Vec<LockedPackage>,
    ) -> Self {
        package.sort_by(|a, b| (&a.index, &a.name).cmp(&(&b.index, &b.name)));
        package.dedup_by(|a, b| (&a.index, &a.name) == (&b.index, &b.name));
        Self {
            format: FORMAT,
            distribution: sides.guest.recipe.distribution.clone(),
            host_arch: sides.host.architecture.arch.clone(),
            guest_arch: sides.guest.architecture.arch.clone(),
            recipe: sides.digest(),
            base_image,
            depends: None,
            suite,
            package,
        }
    }

    /// The lock of a build: the one in the file, or else the one that belongs to the recipe.
    pub(crate) fn load(sides: &Sides, file: Option<&Path>) -> anyhow::Result<Self> {
        let beside = sides.recipe_file().map(|recipe| recipe.with_extension("lock"));
        let (name, text) = match file.map(Path::to_owned).or(beside) {
            Some(file) => (file.display().to_string(), fs_err::read_to_string(file)?),
            None => embedded(sides)?,
        };
        Self::parse(&text)
            .and_then(|lock| lock.check(sides).map(|()| lock))
            .with_context(|| format!("cannot use the lock {name}"))
    }

    /// A lock from its text, whatever it is for.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let lock: Self = toml::from_str(text)?;
        ensure!(lock.format == FORMAT, "it has format {}, this program reads format {FORMAT}", lock.format);
        Ok(lock)
    }

    /// Refuses a lock that was made for something else than this recipe.
    fn check(&self, sides: &Sides) -> anyhow::Result<()> {
        let expected = (&sides.host.architecture.arch, &sides.guest.architecture.arch);
        let found = (&self.host_arch, &self.guest_arch);
        ensure!(
            found == expected,
            "it is for a guest of {} on {}, expected {} on {}",
            found.1,
            found.0,
            expected.1,
            expected.0
        );
        let (expected, found) = (sides.digest(), self.recipe);
        if found != expected {
            bail!(StaleLock { found, expected });
        }
        Ok(())
    }

    /// Refuses another base image than the one that the packages were resolved with.
    pub(crate) fn check_base_image(&self, found: Option<&str>) -> Result<(), OtherBaseImage> {
        let expected = self.base_image.as_deref();
        if expected == found {
            return Ok(());
        }
        let name = |digest: Option<&str>| digest.unwrap_or("none").to_owned();
        Err(OtherBaseImage { found: name(found), expected: name(expected) })
    }

    /// The packages of a side, as an index would have them.
    pub(crate) fn packages(&self, side: &Side) -> Vec<PackageRecord> {
        let of_side = self.package.iter().filter(|package| package.index == side.deb_arch());
        of_side.map(|package| package.record(&side.recipe)).collect()
    }

    /// The text of the file.
    pub(crate) fn to_text(&self) -> anyhow::Result<String> {
        Ok(format!("{HEADER}{}", toml::to_string(self)?))
    }
}

impl LockedPackage {
    /// A package of an index, and the names of those that it depends on.
    pub(crate) fn new(package: &PackageRecord, depends: Vec<String>, side: &Side) -> Self {
        Self {
            name: package.name.clone(),
            version: package.version.clone(),
            arch: package.arch.clone(),
            index: side.deb_arch().to_owned(),
            suite: package.suite.clone(),
            source: package.source.clone(),
            url: side.recipe.canonical(&package.url),
            size: package.deb.size,
            sha256: package.deb.sha256,
            depends,
        }
    }

    fn record(&self, recipe: &Recipe) -> PackageRecord {
        let depends = self.depends.iter().map(|name| vec![Relation { name: name.clone(), bound: None }]);
        PackageRecord {
            name: self.name.clone(),
            version: self.version.clone(),
            arch: self.arch.clone(),
            suite: self.suite.clone(),
            source: self.source.clone(),
            url: recipe.mirrored(&self.url),
            deb: IndexFile { size: self.size, sha256: self.sha256 },
            depends: depends.collect(),
        }
    }
}

/// The recipe was changed after the lock was written.
#[derive(Debug, thiserror::Error)]
#[error("it was made from another recipe: {found}, the recipe is {expected}")]
pub(crate) struct StaleLock {
    found: Sha256Digest,
    expected: Sha256Digest,
}

/// A lock is good for one base image.
#[derive(Debug, thiserror::Error)]
#[error("the base image is {found}, and the lock was made with {expected}")]
pub(crate) struct OtherBaseImage {
    found: String,
    expected: String,
}

/// The lock that is compiled in: name and text.
fn embedded(sides: &Sides) -> anyhow::Result<(String, String)> {
    let name = format!("{}/{}.lock", sides.guest.architecture.arch, sides.distro);
    let text = recipe::embedded(&name).filter(|_| !sides.is_foreign());
    let text = text.with_context(|| {
        let (guest, host) = (&sides.guest.architecture.arch, &sides.host.architecture.arch);
        format!("there is no lock of {} for a guest of {guest} on {host}: make one with `runq-assets lock` and name it with --lock", sides.distro)
    })?;
    Ok((format!("arch/{name}"), text.to_owned()))
}

/// Where `runq-assets lock` writes: beside the recipe.
pub(crate) fn default_path(sides: &Sides) -> anyhow::Result<PathBuf> {
    if let Some(recipe) = sides.recipe_file() {
        return Ok(recipe.with_extension("lock"));
    }
    let folder = Path::new("arch").join(&sides.guest.architecture.arch);
    let path = folder.join(format!("{}.lock", sides.distro));
    ensure!(!sides.is_foreign() && folder.is_dir(), "there is no place for the lock: name a file with -o");
    Ok(path)
}

#[cfg(test)]
#[path = "lock/tests.rs"]
mod tests;
