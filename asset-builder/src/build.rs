//! Builds a bundle: the order of the steps. Runs on the build machine, without root and without running anything of
//! the target architecture.

use crate::archive::{self, Snapshot};
use crate::assembly::{Assembly, MachinePaths};
use crate::base_image::BaseImage;
use crate::binaries::Binaries;
use crate::cache::Cache;
use crate::cli::BuildArgs;
use crate::fetch::Fetcher;
use crate::layout::Layout;
use crate::output::{Output, Report};
use crate::packages::Packages;
use crate::progress::Progress;
use crate::recipe::{Architecture, Recipe};
use anyhow::Context;
use runq_bundle::manifest::{FORMAT, Manifest, PRODUCT};
use serde::Deserialize;
use std::path::PathBuf;

/// Builds what the command line asks for and writes it.
pub(crate) fn build(args: &BuildArgs, progress: &Progress) -> anyhow::Result<Report> {
    let architecture = Architecture::load(&args.arch)?;
    let rules = &architecture.build;
    let recipe = recipe(args)?;
    let machine = machine(&architecture, &recipe);
    let output = Output::prepare(&args.output, &args.key)?;
    let epoch = source_date_epoch()?;
    let binaries = Binaries::read(&args.binaries, rules)?;
    let base_image = args.base_image.as_ref().map(|layout| {
        BaseImage::read(layout, &rules.deb_arch)
            .with_context(|| format!("cannot use the base image {}", layout.display()))
    });
    let base_image = base_image.transpose()?;

    let cache = Cache::open(&args.cache.clone().map_or_else(default_cache, Ok)?)?;
    let fetcher = Fetcher::new(&cache, progress)?;
    let Snapshot { index, date } = archive::snapshot(&recipe, &rules.deb_arch, &fetcher, progress)?;
    let packages = Packages::new(&index, &fetcher, base_image.as_ref());
    let names = &recipe.packages;
    let mut assembly = Assembly { rules, names, packages, layout: Layout::new(), progress };
    assembly.add_programs(&MachinePaths::deserialize(machine.clone())?)?;
    assembly.add_kernel(&binaries.init)?;
    let packages = assembly.origins();
    let mut layout = assembly.layout;
    layout.program("runq", binaries.runq);
    layout.program("runq-install", binaries.runq_install);
    layout.asset("proxy", 0o755, binaries.proxy);
    layout.asset("machine.json", 0o644, machine_json(&machine)?.into());

    progress.step("hash and sign");
    let created = epoch.unwrap_or(date);
    let manifest = Manifest {
        format: FORMAT,
        product: PRODUCT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sequence: created,
        host_arch: args.arch.clone(),
        guest_arch: args.arch.clone(),
        build_id: binaries.build_id,
        distribution: recipe.distribution,
        created,
        packages,
        files: layout.entries(),
        machine,
    };
    output.write(&manifest, &layout, progress)
}

/// The recipe with the mirrors that the command line names.
fn recipe(args: &BuildArgs) -> anyhow::Result<Recipe> {
    let mut recipe = match &args.recipe {
        Some(path) => Recipe::read(path)?,
        None => Recipe::load(&args.arch, &args.distro)?,
    };
    for mirror in &args.mirror {
        recipe.use_mirror(mirror)?;
    }
    Ok(recipe)
}

/// What the proxy gets: the architecture's data, what the recipe replaces of it, and for whom it is.
fn machine(architecture: &Architecture, recipe: &Recipe) -> serde_json::Value {
    let mut machine = architecture.machine.clone();
    machine.extend(recipe.machine.clone());
    for key in ["host_arch", "guest_arch"] {
        machine.insert(key.to_owned(), architecture.arch.clone().into());
    }
    machine.into()
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
