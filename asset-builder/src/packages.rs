//! The packages of a build: found in the index, downloaded or taken from the base image, and merged into one tree.
//! Runs on the build machine; trusts the index, and of a base image the digests that its manifest pins.

use crate::base_image::BaseImage;
use crate::closure::Library;
use crate::control::stanzas;
use crate::deb::{self, DebError, Member};
use crate::fetch::{FetchError, Fetcher};
use crate::maintainer_scripts::Deed;
use crate::package_index::{PackageIndex, PackageIndexError, PackageRecord};
use crate::parallel;
use crate::tree::{NodeKind, Tree, TreeError};
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Why a package cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    #[error(transparent)]
    Index(#[from] PackageIndexError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("cannot read {url}")]
    Deb { url: String, source: DebError },
    #[error("{url} is not the package that the index says: {field} is {found:?}, expected {expected:?}")]
    Contradiction { url: String, field: &'static str, found: String, expected: String },
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// What was read of a package.
struct Contents {
    members: Vec<Member>,
    deeds: Vec<Deed>,
}

/// Packages that are loaded, and the way to load more.
pub(crate) struct Packages<'a> {
    index: &'a PackageIndex,
    fetcher: &'a Fetcher<'a>,
    base_image: Option<&'a BaseImage>,
    loaded: BTreeMap<String, PackageRecord>,
    /// What the scripts of packages would do; those of the base image have done it.
    deeds: BTreeMap<String, Vec<Deed>>,
    /// Which package's dependency led to it; nothing for what the recipe names.
    asked_by: BTreeMap<String, String>,
    /// Read ahead of being loaded.
    ready: HashMap<String, Result<Contents, PackageError>>,
    tree: Tree,
}

impl<'a> Packages<'a> {
    /// Nothing is loaded yet.
    pub(crate) fn new(
        index: &'a PackageIndex,
        fetcher: &'a Fetcher<'a>,
        base_image: Option<&'a BaseImage>,
    ) -> Self {
        Self {
            index,
            fetcher,
            base_image,
            loaded: BTreeMap::new(),
            deeds: BTreeMap::new(),
            asked_by: BTreeMap::new(),
            ready: HashMap::new(),
            tree: Tree::default(),
        }
    }

    /// Loads a package, once.
    pub(crate) fn load(&mut self, name: &str) -> Result<&PackageRecord, PackageError> {
        if !self.loaded.contains_key(name) {
            let package = self.index.package(name)?;
            let contents = match self.ready.remove(name) {
                Some(contents) => contents?,
                None => self.read(package)?,
            };
            self.deeds.insert(name.to_owned(), contents.deeds);
            self.tree.add_package(name, contents.members)?;
            self.loaded.insert(name.to_owned(), package.clone());
        }
        Ok(self.index.package(name)?)
    }

    /// Fetches and reads packages that are going to be loaded, several at a time. What fails does so when it is loaded, and what
    /// is never loaded leaves no trace in the bundle.
    pub(crate) fn prepare<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) {
        let names: BTreeSet<&str> =
            names.into_iter().filter(|name| !self.loaded.contains_key(*name)).collect();
        let packages: Vec<_> = names.iter().filter_map(|name| self.index.package(name).ok()).collect();
        if packages.len() > 1 {
            let read = parallel::map(&packages, parallel::DOWNLOADS, |package| self.read(package));
            self.ready.extend(packages.iter().map(|package| package.name.clone()).zip(read));
        }
    }

    /// From the base image, or else from the archive.
    fn read(&self, package: &PackageRecord) -> Result<Contents, PackageError> {
        if let Some(members) = self.base_image.and_then(|image| image.members(package)) {
            return Ok(Contents { members, deeds: Vec::new() });
        }
        let content = self.fetcher.verified_chunks(&package.url, package.deb)?;
        let PackageRecord { name, version, arch, url, .. } = package;
        let deb = deb::read(content).map_err(|source| PackageError::Deb { url: url.clone(), source })?;
        agree(url, (name, version, arch), &deb.control.record)?;
        Ok(Contents { members: deb.members, deeds: deb.control.deeds })
    }

    /// Loads the first dependency of a package whose name starts with `prefix`, and gives its name.
    pub(crate) fn load_named(&mut self, name: &str, prefix: &str) -> Result<Option<String>, PackageError> {
        let dependencies = self.index.dependencies(self.index.package(name)?)?;
        let Some(found) = dependencies.into_iter().find(|package| package.name.starts_with(prefix)) else {
            return Ok(None);
        };
        Ok(Some(self.load(&found.name)?.name.clone()))
    }

    /// From what the recipe names down to what asked for this package, by titles. `found` knows who asked for what is not
    /// loaded yet.
    fn askers(&self, name: &str, found: &BTreeMap<&str, &str>) -> Vec<String> {
        let asker = |name: &str| {
            let loaded = || self.asked_by.get(name).map(String::as_str);
            found.get(name).copied().or_else(loaded)
        };
        let names = std::iter::successors(asker(name), |name| asker(name));
        let titles = names.filter_map(|name| Some(self.index.package(name).ok()?.title()));
        let mut titles: Vec<_> = titles.collect();
        titles.reverse();
        titles
    }

    /// The packages that one depends on directly.
    pub(crate) fn dependencies(
        &self,
        package: &PackageRecord,
    ) -> Result<Vec<&PackageRecord>, PackageIndexError> {
        self.index.dependencies(package)
    }

    /// What the scripts of a package would do.
    pub(crate) fn deeds(&self, name: &str) -> &[Deed] {
        self.deeds.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Loads the packages to whose documentation that of a loaded one links: they have its copyright file, unless another
    /// package of the same source has it.
    pub(crate) fn load_copyrights(&mut self) -> Result<(), PackageError> {
        let mut missing = BTreeSet::new();
        for package in self.loaded.values().filter(|package| self.copyright(package).is_none()) {
            let folder = self.tree.get(&format!("usr/share/doc/{}", package.name));
            let Some(NodeKind::Symlink { target }) = folder.map(|node| &node.kind) else { continue };
            let dependencies = self.index.dependencies(package)?;
            let owner = dependencies.into_iter().find(|owner| target.rsplit('/').next() == Some(&owner.name));
            missing.extend(owner.map(|owner| owner.name.clone()));
        }
        missing.iter().try_for_each(|name| self.load(name).map(drop))
    }

    /// The copyright file of a package, which may be in the directory of another one of the same source.
    pub(crate) fn copyright(&self, package: &PackageRecord) -> Option<&Bytes> {
        let file = |name: &str| {
            let resolved = self.tree.resolve(&format!("usr/share/doc/{name}/copyright"))?;
            self.tree.file(&resolved.path)
        };
        let relatives = self.loaded.values().filter(|other| other.source == package.source);
        file(&package.name).or_else(|| relatives.map(|other| &other.name).find_map(|name| file(name)))
    }

    /// The records of what was loaded, by name.
    pub(crate) fn loaded(&self) -> &BTreeMap<String, PackageRecord> {
        &self.loaded
    }
}

impl Library for Packages<'_> {
    type Error = PackageError;

    fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Only names that begin as those of the libraries do: a guess that is wrong is a download for nothing.
    fn prepare(&mut self, owner: &str, libraries: &[&str]) {
        const PREFIX: usize = "lib".len();
        let direct = self.index.package(owner).and_then(|owner| self.index.dependencies(owner));
        let likeliest = |library: &&str| {
            let candidates =
                direct.iter().flatten().filter(|package| !self.loaded.contains_key(&package.name));
            let best = candidates.min_by_key(|package| Reverse(likeness(&package.name, library)))?;
            (likeness(&best.name, library) > PREFIX).then_some(best.name.as_str())
        };
        let names: Vec<&str> = libraries.iter().filter_map(likeliest).collect();
        Packages::prepare(self, names);
    }

    /// Direct dependencies first, then those of the dependencies: a transitional package is empty and depends on the
    /// one that has the library.
    fn load_dependency(&mut self, owner: &str, library: &str) -> Result<bool, PackageError> {
        let index = self.index;
        let mut found: BTreeMap<&str, &str> = BTreeMap::new();
        let mut level = vec![index.package(owner)?];
        while !level.is_empty() {
            let mut next = Vec::new();
            for package in level {
                let dependencies = index.dependencies(package);
                let dependencies =
                    dependencies.map_err(|error| error.asked_by(self.askers(&package.name, &found)))?;
                for dependency in dependencies {
                    let name = dependency.name.as_str();
                    if name != owner && !found.contains_key(name) {
                        found.insert(name, &package.name);
                        next.push(dependency);
                    }
                }
            }
            let missing = next.iter().filter(|package| !self.loaded.contains_key(&package.name));
            // The first of the best: `max_by_key` would give the last.
            if let Some(best) = missing.min_by_key(|package| Reverse(likeness(&package.name, library))) {
                let asker = found.get(best.name.as_str()).map(|asker| (*asker).to_owned());
                let name = best.name.clone();
                self.asked_by.extend(asker.map(|asker| (name.clone(), asker)));
                self.load(&name)?;
                return Ok(true);
            }
            level = next;
        }
        Ok(false)
    }
}

/// What the package says of itself is what the index says of it. An archive that mixes these up would have us record
/// one version and ship another.
pub(crate) fn agree(
    url: &str,
    (name, version, arch): (&str, &str, &str),
    control: &str,
) -> Result<(), PackageError> {
    let stanza = stanzas(control).next();
    for (field, expected) in [("Package", name), ("Version", version), ("Architecture", arch)] {
        let found = stanza.as_ref().and_then(|stanza| stanza.get(field)).unwrap_or_default();
        if found != expected {
            let (url, found, expected) = (url.to_owned(), found.to_owned(), expected.to_owned());
            return Err(PackageError::Contradiction { url, field, found, expected });
        }
    }
    Ok(())
}

/// Package names follow the names of their libraries: `libglib-2.0.so.0` is in `libglib2.0-0t64`. Only the order in
/// which packages are tried depends on this: how many letters and digits agree from the start.
fn likeness(package: &str, library: &str) -> usize {
    let plain =
        |name: &str| name.replace(".so", "").bytes().filter(u8::is_ascii_alphanumeric).collect::<Vec<_>>();
    let (package, library) = (plain(package), plain(library));
    package.iter().zip(&library).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_point_to_their_packages() {
        let packages = ["libc6", "libglib2.0-0t64", "libgcc-s1", "libpixman-1-0", "qemu-system-common"];
        for (library, package) in [
            ("libglib-2.0.so.0", "libglib2.0-0t64"),
            ("libpixman-1.so.0", "libpixman-1-0"),
            ("libgcc_s.so.1", "libgcc-s1"),
            ("libc.so.6", "libc6"),
        ] {
            let best = packages.iter().max_by_key(|name| likeness(name, library)).unwrap();
            assert_eq!(*best, package);
        }
    }
}
