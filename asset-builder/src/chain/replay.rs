//! The chain through the downloads that a cache kept: InRelease, Packages, .debs, files. Runs anywhere, without a network;
//! trusts the keys that the recipe pins, and nothing in the cache.

use super::{ChainError, archive_of, suite_of};
use crate::archive::{self, ArchiveError, IndexRecord, SuiteRecord};
use crate::cache::Cache;
use crate::cpio;
use crate::deb::{self, DebError};
use crate::diff::{Contents, INITRD};
use crate::kernel;
use crate::kernel_modules;
use crate::layout::{self, Layout};
use crate::openpgp::{OpenPgpError, PinnedKeys};
use crate::package_index::{PackageIndex, PackageIndexError};
use crate::packages::{self, PackageError};
use crate::provenance::{PackageOrigin, Provenance};
use crate::recipe::{Architecture, Archive};
use crate::release_file::{IndexFile, ReleaseError, ReleaseFile};
use crate::tree::{Tree, TreeError};
use bytes::Bytes;
use pgp::types::Timestamp;
use runq_bundle::digest::{Sha256Digest, sha256};
use runq_bundle::manifest::{Entry, EntryKind};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

/// A signature is made soon after the date of what it signs; later, keys expire.
const SIGNING_SECS: u64 = 86_400;

/// A link of the chain that cannot be followed, or does not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("the cache has no {what} ({digest})")]
    Absent { what: String, digest: Sha256Digest },
    #[error("the cache has an altered {what}: found SHA-256 {found}, expected {expected}")]
    Altered { what: String, found: Sha256Digest, expected: Sha256Digest },
    #[error("cannot read {what} from the cache")]
    Read { what: String, source: io::Error },
    #[error("cannot select the keys of {archive}")]
    Keys { archive: String, source: OpenPgpError },
    #[error("cannot verify {what}")]
    Signature { what: String, source: OpenPgpError },
    #[error("cannot use {what}")]
    Release { what: String, source: ReleaseError },
    #[error("{what}: {field} is {found}, and the bundle says {expected}")]
    Differs { what: String, field: String, found: String, expected: String },
    #[error("cannot read {what}")]
    Packages { what: String, source: Box<ArchiveError> },
    #[error("cannot read {what}")]
    Index { what: String, source: PackageIndexError },
    #[error("{what} does not list package {package} with SHA-256 {expected}")]
    Unlisted { what: String, package: String, expected: Sha256Digest },
    #[error("cannot read {url}")]
    Deb { url: String, source: DebError },
    #[error(transparent)]
    Package(Box<PackageError>),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("{path} is not as package {package} has it")]
    File { path: String, package: String },
    #[error("{path} is not what package {package} has: {reason}")]
    Derived { path: String, package: String, reason: String },
}

/// Follows everything, and gives the packages that are not in the cache because the base image has them.
pub(super) fn replay(
    contents: &Contents,
    provenance: &Provenance,
    archives: &[&Archive],
    cache: &Cache,
) -> anyhow::Result<Vec<String>> {
    for suite in &provenance.suites {
        if let Some(archive) = archive_of(suite, archives).map_err(ReplayError::Chain)? {
            in_release(suite, archive, cache)?;
            packages(suite, provenance, cache)?;
        }
    }
    let mut files = Files::of(contents);
    let mut of_base_image = Vec::new();
    for package in &provenance.packages {
        match read(cache, &package.url, package.sha256) {
            Err(ReplayError::Absent { .. }) if provenance.base_image.is_some() => {
                of_base_image.push(package.name.clone());
                files.forget(&package.name);
            }
            content => files.compare(package, &content?)?,
        }
    }
    files.expect_none_left()?;
    Ok(of_base_image)
}

/// Content of the cache that is what its name says. Nothing is removed: whoever asks wants to look at it.
fn read(cache: &Cache, what: &str, expected: Sha256Digest) -> Result<Bytes, ReplayError> {
    let what = || what.to_owned();
    let content = match cache.read(expected) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(ReplayError::Absent { what: what(), digest: expected });
        }
        content => content.map_err(|source| ReplayError::Read { what: what(), source })?,
    };
    let found = sha256(&content);
    if found != expected {
        return Err(ReplayError::Altered { what: what(), found, expected });
    }
    Ok(content.into())
}

/// Pinned key → InRelease → size and hash of each Packages file.
fn in_release(suite: &SuiteRecord, archive: &Archive, cache: &Cache) -> Result<(), ReplayError> {
    let what = format!("{}/dists/{}/InRelease", suite.archive, suite.suite);
    let content = read(cache, &what, suite.in_release)?;
    let keys = PinnedKeys::select(&archive.key_files(), &archive.fingerprints)
        .map_err(|source| ReplayError::Keys { archive: suite.archive.clone(), source })?;
    let at = u32::try_from(suite.date + SIGNING_SECS).unwrap_or(u32::MAX);
    let signed = keys
        .verify(&String::from_utf8_lossy(&content), Timestamp::from_secs(at))
        .map_err(|source| ReplayError::Signature { what: what.clone(), source })?;
    let release = ReleaseFile::parse(&signed.text, &suite.suite, 0)
        .map_err(|source| ReplayError::Release { what: what.clone(), source })?;
    let differs = |field: &str, found: String, expected: String| match found == expected {
        true => Ok(()),
        false => Err(ReplayError::Differs { what: what.clone(), field: field.to_owned(), found, expected }),
    };
    differs("the signer", signed.signer, suite.signer.clone())?;
    differs("the date", release.date.to_string(), suite.date.to_string())?;
    let text = |file: IndexFile| format!("{} bytes, SHA-256 {}", file.size, file.sha256);
    for IndexRecord { path, size, sha256 } in &suite.index {
        let found =
            release.index(path).map_err(|source| ReplayError::Release { what: what.clone(), source })?;
        differs(path, text(found), text(IndexFile { size: *size, sha256: *sha256 }))?;
    }
    Ok(())
}

/// Packages files → size and hash of each .deb of the suite.
fn packages(suite: &SuiteRecord, provenance: &Provenance, cache: &Cache) -> Result<(), ReplayError> {
    let mut index = PackageIndex::default();
    let folder = format!("{}/dists/{}", suite.archive, suite.suite);
    for record in &suite.index {
        let what = format!("{folder}/{}", record.path);
        let content = read(cache, &what, record.sha256)?;
        let text = archive::packages_text(&what, &content)
            .map_err(|source| ReplayError::Packages { what: what.clone(), source: Box::new(source) })?;
        index
            .add((&suite.archive, &suite.suite), &text)
            .map_err(|source| ReplayError::Index { what, source })?;
    }
    for package in &provenance.packages {
        if !std::ptr::eq(suite_of(package, provenance)?, suite) {
            continue;
        }
        let expected = (&package.version, package.size, package.sha256);
        let listed = index
            .package(&package.name)
            .is_ok_and(|found| (&found.version, found.deb.size, found.deb.sha256) == expected);
        if !listed {
            let (what, name) = (format!("{folder} ({})", package.index), package.name.clone());
            return Err(ReplayError::Unlisted { what, package: name, expected: package.sha256 });
        }
    }
    Ok(())
}

/// What of the bundle is from packages and was not found in one yet.
struct Files<'a> {
    contents: &'a Contents,
    left: BTreeMap<&'a str, &'a Entry>,
    /// Modules of the initrd, by their names.
    modules: BTreeMap<String, &'a [u8]>,
    has_kernel: bool,
}

impl<'a> Files<'a> {
    fn of(contents: &'a Contents) -> Self {
        let of_packages = contents.manifest.files.iter().filter(|entry| entry.package.is_some());
        let members = cpio::members(&contents.initrd).unwrap_or_default().into_iter();
        let modules = members.filter(|member| member.path.ends_with(".ko"));
        Self {
            contents,
            left: of_packages.map(|entry| (entry.path.as_str(), entry)).collect(),
            modules: modules
                .map(|member| (kernel_modules::module_name(member.path), member.content))
                .collect(),
            has_kernel: contents.manifest.entry(KERNEL).is_some(),
        }
    }

    /// Files that nothing in the cache can vouch for.
    fn forget(&mut self, package: &str) {
        self.left.retain(|_, entry| entry.package.as_deref() != Some(package));
    }

    /// Crosses out what a package has.
    fn compare(&mut self, package: &PackageOrigin, content: &[u8]) -> Result<(), ReplayError> {
        let failed = |source| ReplayError::Deb { url: package.url.clone(), source };
        let deb = deb::read(content).map_err(failed)?;
        packages::agree(&package.url, (&package.name, &package.version, &package.arch), &deb.control.record)
            .map_err(|source| ReplayError::Package(Box::new(source)))?;
        let mut tree = Tree::default();
        tree.add_package(&package.name, deb.members)?;
        let mut layout = Layout::default();
        for (path, node) in tree.below("") {
            let in_bundle = layout::asset_path(path);
            let entry = self.left.get(in_bundle.as_str());
            if entry.is_some_and(|entry| entry.package.as_ref() == Some(&package.name)) {
                layout.add_from_package(path, node);
            }
        }
        for found in layout.entries().iter().filter(|entry| entry.package.is_some()) {
            if self.left.get(found.path.as_str()).is_some_and(|expected| *expected == found) {
                self.left.remove(found.path.as_str());
            }
        }
        self.kernel(package, &tree)?;
        self.initrd(package, &tree)
    }

    /// The kernel is made of the package's image.
    fn kernel(&mut self, package: &PackageOrigin, tree: &Tree) -> Result<(), ReplayError> {
        let Some(image) = kernel::image(tree).filter(|_| self.has_kernel) else { return Ok(()) };
        let arch = &self.contents.manifest.guest_arch;
        let derived = |reason| {
            let (path, package) = (KERNEL.to_owned(), package.name.clone());
            ReplayError::Derived { path, package, reason }
        };
        let rules = Architecture::load(arch).map_err(|error| derived(format!("{error:#}")))?.build;
        let made = kernel::bootable(image, &rules).map_err(|error| derived(error.to_string()))?;
        let found = self.contents.manifest.entry(KERNEL).map(|entry| &entry.kind);
        if found != Some(&EntryKind::File { size: made.len() as u64, sha256: sha256(&made) }) {
            return Err(derived(format!("its image gives a kernel of SHA-256 {}", sha256(&made))));
        }
        self.has_kernel = false;
        Ok(())
    }

    /// The initrd's modules are those of the package, without their compression.
    fn initrd(&mut self, package: &PackageOrigin, tree: &Tree) -> Result<(), ReplayError> {
        for (path, _) in tree.below("usr/lib/modules") {
            let Some(content) = tree.file(path).filter(|_| path.contains(".ko")) else { continue };
            let name = kernel_modules::module_name(path);
            let Some(found) = self.modules.get(&name) else { continue };
            let derived = |reason| {
                let path = format!("module {name} of {INITRD}");
                ReplayError::Derived { path, package: package.name.clone(), reason }
            };
            let made =
                kernel_modules::decompress(path, content).map_err(|error| derived(error.to_string()))?;
            if made != *found {
                return Err(derived(format!("{path} has other content")));
            }
            self.modules.remove(&name);
        }
        Ok(())
    }

    fn expect_none_left(&self) -> Result<(), ReplayError> {
        if let Some((path, entry)) = self.left.first_key_value() {
            let package = entry.package.clone().unwrap_or_default();
            return Err(ReplayError::File { path: (*path).to_owned(), package });
        }
        Ok(())
    }
}

const KERNEL: &str = "qemu/kernel";
