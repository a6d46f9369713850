//! Provenance: the whole chain from the pinned keys to the files of a bundle, and which need led to each file; a file of the
//! bundle itself. Written on the build machine; its signature is that of the bundle's manifest.

use crate::archive::SuiteRecord;
use crate::package_index::PackageRecord;
use crate::sides::{Side, Sides};
use runq_bundle::digest::Sha256Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Its path in the bundle.
pub(crate) const PROVENANCE_NAME: &str = "provenance.json";

/// The format that this program writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// What `provenance.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provenance {
    pub(crate) format: u32,
    pub(crate) tool: String,
    pub(crate) distribution: String,
    /// Digest of what the recipe says about packages and whom it trusts.
    pub(crate) recipe: Sha256Digest,
    /// Digest of the base image's manifest.
    pub(crate) base_image: Option<String>,
    pub(crate) suites: Vec<SuiteRecord>,
    /// The packages that gave a file, by name and architecture.
    pub(crate) packages: Vec<PackageOrigin>,
    /// Path in the bundle → what needs it.
    pub(crate) needs: BTreeMap<String, Need>,
    /// In the order of loading.
    pub(crate) initrd_modules: Vec<InitrdModule>,
}

/// A package that gave a file. The first fields are those of a `LockedPackage`: serde cannot share them (flatten) between
/// files that refuse unknown fields, and both do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PackageOrigin {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) arch: String,
    /// Architecture in whose index it was found.
    pub(crate) index: String,
    pub(crate) suite: String,
    /// Name and version of the source package.
    pub(crate) source: (String, String),
    /// At the archive itself.
    pub(crate) url: String,
    pub(crate) size: u64,
    pub(crate) sha256: Sha256Digest,
    /// SPDX expression, when the package's copyright file says so in a form that programs read.
    pub(crate) license: Option<String>,
}

/// Why a file is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Need {
    /// The path, or for modules of the initrd the module, that asks for it; nothing for what the recipe or the machine names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// In which way.
    pub(crate) how: String,
}

/// A kernel module that the guest loads before it has a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InitrdModule {
    pub(crate) name: String,
    pub(crate) need: Need,
}

impl Need {
    /// Named by recipe or machine.
    pub(crate) fn of_itself(how: impl Into<String>) -> Self {
        Self { by: None, how: how.into() }
    }

    /// Asked for by something else.
    pub(crate) fn by(asker: &str, how: impl Into<String>) -> Self {
        Self { by: Some(asker.to_owned()), how: how.into() }
    }
}

impl Provenance {
    /// Of sides and suites; packages and needs are still to come.
    pub(crate) fn new(sides: &Sides, base_image: Option<String>, suites: Vec<SuiteRecord>) -> Self {
        Self {
            format: FORMAT,
            tool: concat!("runq-assets ", env!("CARGO_PKG_VERSION")).to_owned(),
            distribution: sides.guest.recipe.distribution.clone(),
            recipe: sides.digest(),
            base_image,
            suites,
            packages: Vec::new(),
            needs: BTreeMap::new(),
            initrd_modules: Vec::new(),
        }
    }

    /// The chain of needs from a path up to what the recipe or the machine names; empty for an unknown path.
    pub(crate) fn chain<'a>(&'a self, path: &'a str) -> Vec<(&'a str, &'a Need)> {
        let mut chain: Vec<(&str, &Need)> = Vec::new();
        let mut next = Some(path);
        while let Some((path, need)) = next.and_then(|path| Some((path, self.needs.get(path)?))) {
            // A signed bundle has no cycle; a file that claims one must not hang us.
            if chain.iter().any(|(known, _)| *known == path) {
                break;
            }
            chain.push((path, need));
            next = need.by.as_deref();
        }
        chain
    }
}

impl PackageOrigin {
    /// A package of a side.
    pub(crate) fn new(package: &PackageRecord, side: &Side, license: Option<String>) -> Self {
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
            license,
        }
    }
}
