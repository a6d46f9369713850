//! Builds bundles: the order of the steps. Runs on the build machine, without root and without running anything of
//! the target architecture.

use crate::archive;
use crate::assembly::{Assembly, MachinePaths};
use crate::base_image::BaseImage;
use crate::binaries::{Binaries, Built};
use crate::cache::Cache;
use crate::cli::BuildArgs;
use crate::fetch::Fetcher;
use crate::layout::Layout;
use crate::output::{Output, Report};
use crate::packages::Packages;
use crate::progress::Progress;
use crate::recipe::{Architecture, Recipe, Share};
use anyhow::{Context, ensure};
use runq_bundle::manifest::{FORMAT, Manifest, PRODUCT};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Builds the bundles that the command line asks for and writes them.
pub(crate) fn build_all(args: &BuildArgs, progress: &Progress) -> anyhow::Result<Vec<Report>> {
    let many = args.arch.len() > 1;
    ensure!(
        !many || args.output.is_dir(),
        "{} is not a directory: several bundles need one",
        args.output.display()
    );
    args.arch.iter().map(|arch| build(args, arch, progress)).collect()
}

fn build(args: &BuildArgs, arch: &str, progress: &Progress) -> anyhow::Result<Report> {
    let sides = Sides::load(args, arch)?;
    let (host, guest) = (&sides.host, &sides.guest);
    let machine = sides.machine()?;
    let paths = MachinePaths::deserialize(machine.clone())?;
    let output = Output::prepare(&sides.output(&args.output), &args.key)?;
    let epoch = source_date_epoch()?;
    let binaries = Binaries::read(&host.built(&args.binaries), &guest.built(&args.binaries))?;
    let base_image = args.base_image.as_ref().map(|layout| {
        BaseImage::read(layout, &host.architecture.build.deb_arch)
            .with_context(|| format!("cannot use the base image {}", layout.display()))
    });
    let base_image = base_image.transpose()?;

    let cache = Cache::open(&args.cache.clone().map_or_else(default_cache, Ok)?)?;
    let fetcher = Fetcher::new(&cache, progress)?;
    let snapshot = |side: &Side| {
        archive::snapshot((&side.recipe, side.deb_arch()), args.allow_older, &fetcher, progress)
    };
    let of_host = snapshot(host)?;
    let of_guest = if sides.is_foreign() { Some(snapshot(guest)?) } else { None };
    let of_guest = of_guest.as_ref().unwrap_or(&of_host);

    let names = &guest.recipe.packages;
    let packages = Packages::new(&of_host.index, &fetcher, base_image.as_ref());
    let rules = &host.architecture.build;
    let mut assembly = Assembly { rules, names, packages, layout: Layout::new(), progress };
    assembly.add_programs(&paths, &guest.architecture.build.firmware)?;
    let mut origins = assembly.origins();
    let packages = Packages::new(&of_guest.index, &fetcher, base_image.as_ref());
    let rules = &guest.architecture.build;
    let mut assembly = Assembly { rules, names, packages, layout: assembly.layout, progress };
    assembly.add_kernel(&binaries.init, &paths)?;
    origins.extend(assembly.origins());
    origins.sort_by(|a, b| (&a.name, &a.arch).cmp(&(&b.name, &b.arch)));

    let mut layout = assembly.layout;
    layout.program("runq", binaries.runq);
    layout.program("runq-install", binaries.runq_install);
    layout.asset("proxy", 0o755, binaries.proxy);
    layout.asset("machine.json", 0o644, machine_json(&machine)?.into());

    progress.step("hash and sign");
    let created = epoch.unwrap_or(of_host.date.max(of_guest.date));
    let manifest = Manifest {
        format: FORMAT,
        product: PRODUCT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sequence: created,
        host_arch: host.architecture.arch.clone(),
        guest_arch: guest.architecture.arch.clone(),
        build_id: binaries.build_id,
        distribution: guest.recipe.distribution.clone(),
        created,
        packages: origins,
        files: layout.entries(),
        machine,
    };
    output.write(&manifest, &layout, progress)
}

/// An architecture and where its packages come from.
struct Side {
    architecture: Architecture,
    recipe: Recipe,
}

impl Side {
    fn deb_arch(&self) -> &str {
        &self.architecture.build.deb_arch
    }

    /// Our programs for it: in a directory of its own, or in the only one that there is.
    fn built(&self, folder: &Path) -> Built<'_> {
        let own = folder.join(&self.architecture.arch);
        let folder = if own.is_dir() { own } else { folder.to_owned() };
        Built { folder, rules: &self.architecture.build }
    }
}

/// The host, whose QEMU and programs run on the bare machine, and the guest, whose kernel and init run in it. Usually
/// they are of one architecture.
struct Sides {
    host: Side,
    guest: Side,
}

impl Sides {
    fn load(args: &BuildArgs, arch: &str) -> anyhow::Result<Self> {
        let host = args.host.as_deref().unwrap_or(arch);
        let side =
            |arch| anyhow::Ok(Side { architecture: Architecture::load(arch)?, recipe: recipe(args, arch)? });
        Ok(Self { host: side(host)?, guest: side(arch)? })
    }

    fn is_foreign(&self) -> bool {
        self.host.architecture.arch != self.guest.architecture.arch
    }

    /// What the proxy gets: the guest's machine, what the recipe replaces of it, for whom it is, and a share that both
    /// sides understand: virtiofs is in the guest's byte order, which the host must have, too.
    fn machine(&self) -> anyhow::Result<serde_json::Value> {
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
    fn output(&self, path: &Path) -> PathBuf {
        if !path.is_dir() {
            return path.to_owned();
        }
        let (host, guest) = (&self.host.architecture.arch, &self.guest.architecture.arch);
        let arch = if self.is_foreign() { format!("{host}+{guest}") } else { guest.clone() };
        path.join(format!("{PRODUCT}-{}-{arch}.tar.zst", env!("CARGO_PKG_VERSION")))
    }
}

/// The recipe with the mirrors that the command line names.
fn recipe(args: &BuildArgs, arch: &str) -> anyhow::Result<Recipe> {
    let mut recipe = match &args.recipe {
        Some(path) => Recipe::read(path)?,
        None => Recipe::load(arch, &args.distro)?,
    };
    for mirror in &args.mirror {
        recipe.use_mirror(mirror)?;
    }
    Ok(recipe)
}

fn machine_json(machine: &serde_json::Value) -> anyhow::Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(machine)?;
    json.push(b'\n');
    Ok(json)
}

/// <https://reproducible-builds.org/specs/source-date-epoch/>
fn source_date_epoch() -> anyhow::Result<Option<u64>> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = text.to_str().and_then(|text| text.parse().ok());
    seconds
        .map(Some)
        .with_context(|| format!("SOURCE_DATE_EPOCH is {text:?}, expected seconds since the epoch"))
}

/// `$XDG_CACHE_HOME/runq`, else `~/.cache/runq`.
fn default_cache() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(folder.context("neither XDG_CACHE_HOME nor HOME is set: name a directory with --cache")?.join("runq"))
}
