//! The two sides of a bundle: the host that QEMU runs on, and the guest that it runs; each an architecture and a recipe.
//! Runs on the build machine.

use crate::binaries::Built;
use crate::cli::SourceArgs;
use crate::recipe::{Architecture, Recipe, Share};
use runq_bundle::digest::{Sha256Digest, sha256};
use runq_bundle::manifest::PRODUCT;
use serde_json::json;
use std::path::{Path, PathBuf};

/// An architecture and where its packages come from.
pub(crate) struct Side {
    pub(crate) architecture: Architecture,
    pub(crate) recipe: Recipe,
}

impl Side {
    pub(crate) fn deb_arch(&self) -> &str {
        &self.architecture.build.deb_arch
    }

    /// Our programs for it: in a directory of its own, or in the only one that there is.
    pub(crate) fn built(&self, folder: &Path) -> Built<'_> {
        let own = folder.join(&self.architecture.arch);
        let folder = if own.is_dir() { own } else { folder.to_owned() };
        Built { folder, rules: &self.architecture.build }
    }
}

/// The host, whose QEMU and programs run on the bare machine, and the guest, whose kernel and init run in it. Usually
/// they are of one architecture.
pub(crate) struct Sides {
    pub(crate) host: Side,
    pub(crate) guest: Side,
    /// As the command line names it; means nothing with a recipe from a file.
    pub(crate) distro: String,
    recipe_file: Option<PathBuf>,
    /// Whether a mirror may be older than it was.
    pub(crate) allow_older: bool,
}

impl Sides {
    pub(crate) fn load(args: &SourceArgs, arch: &str) -> anyhow::Result<Self> {
        let host = args.host.as_deref().unwrap_or(arch);
        let side =
            |arch| anyhow::Ok(Side { architecture: Architecture::load(arch)?, recipe: recipe(args, arch)? });
        Ok(Self {
            host: side(host)?,
            guest: side(arch)?,
            distro: args.distro.clone(),
            recipe_file: recipe_file(args, arch),
            allow_older: args.allow_older,
        })
    }

    pub(crate) fn is_foreign(&self) -> bool {
        self.host.architecture.arch != self.guest.architecture.arch
    }

    /// Of a recipe that is not compiled in.
    pub(crate) fn recipe_file(&self) -> Option<&Path> {
        self.recipe_file.as_deref()
    }

    /// Digest of what decides about packages and whom to trust with them: not of comments, mirrors and the machine.
    pub(crate) fn digest(&self) -> Sha256Digest {
        let side = |side: &Side| {
            let archive = side.recipe.archive.iter().map(|archive| {
                json!([archive.url, archive.suites, archive.components, archive.fingerprints])
            });
            json!([side.deb_arch(), archive.collect::<Vec<_>>()])
        };
        let names = &self.guest.recipe.packages;
        let names = json!([names.programs, names.opened_files, names.firmware, names.kernel]);
        sha256(json!([side(&self.host), side(&self.guest), names]).to_string().as_bytes())
    }

    /// What the proxy gets: the guest's machine, what the recipe replaces of it, for whom it is, and a share that both
    /// sides understand: virtiofs is in the guest's byte order, which the host must have, too.
    pub(crate) fn machine(&self) -> anyhow::Result<serde_json::Value> {
        let (host, guest) = (&self.host.architecture, &self.guest.architecture);
        let mut machine = guest.machine.clone();
        machine.extend(self.guest.recipe.machine.clone());
        machine.insert("host_arch".to_owned(), host.arch.clone().into());
        machine.insert("guest_arch".to_owned(), guest.arch.clone().into());
        if host.build.elf_data != guest.build.elf_data {
            machine.insert("share".to_owned(), serde_json::to_value(Share::NineP)?);
        }
        Ok(machine.into())
    }

    /// The bundle's path; in a directory it gets its standard name.
    pub(crate) fn output(&self, path: &Path) -> PathBuf {
        if !path.is_dir() {
            return path.to_owned();
        }
        path.join(format!("{}.tar.zst", self.bundle_name()))
    }

    /// `runq-VERSION-ARCH`.
    pub(crate) fn bundle_name(&self) -> String {
        let (host, guest) = (&self.host.architecture.arch, &self.guest.architecture.arch);
        let arch = if self.is_foreign() { format!("{host}+{guest}") } else { guest.clone() };
        format!("{PRODUCT}-{}-{arch}", env!("CARGO_PKG_VERSION"))
    }
}

/// The file of the recipe for an architecture, when there is one.
fn recipe_file(args: &SourceArgs, arch: &str) -> Option<PathBuf> {
    args.recipe.as_ref().map(|path| path.replace("{arch}", arch).into())
}

/// The recipe with the mirrors that the command line names.
fn recipe(args: &SourceArgs, arch: &str) -> anyhow::Result<Recipe> {
    let mut recipe = match recipe_file(args, arch) {
        Some(path) => Recipe::read(&path)?,
        None => Recipe::load(arch, &args.distro)?,
    };
    for mirror in &args.mirror {
        recipe.use_mirror(mirror)?;
    }
    if let Some(timestamp) = &args.snapshot {
        recipe.use_snapshot(timestamp)?;
    }
    Ok(recipe)
}
