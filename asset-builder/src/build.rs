//! Builds bundles: the order of the steps. Runs on the build machine, without root and without running anything of
//! the target architecture.

use crate::assembly::{Assembly, MachinePaths};
use crate::base_image::BaseImage;
use crate::binaries::Binaries;
use crate::cli::BuildArgs;
use crate::copyright::ExtractedLicense;
use crate::layout::Layout;
use crate::output::{Output, Report};
use crate::packages::Packages;
use crate::parallel;
use crate::progress::Progress;
use crate::provenance::{Need, PROVENANCE_NAME, PackageOrigin, Provenance};
use crate::sbom::{self, SBOM_NAME};
use crate::sides::Sides;
use crate::sources::Sources;
use crate::workshop::Workshop;
use anyhow::{Context, ensure};
use runq_bundle::manifest::{FORMAT, Manifest, PRODUCT, Package};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Builds the bundles that the command line asks for and writes them.
pub(crate) fn build_all(args: &BuildArgs, progress: &Progress) -> anyhow::Result<Vec<Report>> {
    let many = args.source.arch.len() > 1;
    ensure!(
        !many || args.output.is_dir(),
        "{} is not a directory: several bundles need one",
        args.output.display()
    );
    args.source.arch.iter().map(|arch| build(args, arch, progress)).collect()
}

fn build(args: &BuildArgs, arch: &str, progress: &Progress) -> anyhow::Result<Report> {
    let sides = Sides::load(&args.source, arch)?;
    let (host, guest) = (&sides.host, &sides.guest);
    let machine = sides.machine()?;
    let paths = MachinePaths::deserialize(machine.clone())?;
    let output = Output::prepare(&sides.output(&args.output), &args.key)?;
    let epoch = source_date_epoch()?;
    let binaries = Binaries::read(&host.built(&args.binaries), &guest.built(&args.binaries))?;
    let workshop = Workshop::open(&args.source, &sides, args.offline, progress)?;
    let fetcher = workshop.fetcher(progress)?;
    let base_image = workshop.base_image.as_ref().map(BaseImage::digest);
    let sources = Sources::read(&sides, (&args.locked, base_image.as_deref()), &fetcher, progress)?;

    let names = &guest.recipe.packages;
    let packages = |index| Packages::new(index, &fetcher, workshop.base_image.as_ref());
    let mut of_host = Assembly::new(host, names, packages(sources.host()), progress);
    let mut of_guest = Assembly::new(guest, names, packages(sources.guest()), progress);
    of_host.resolution.depends = sources.depends;
    // Most of the work is to unpack two packages: QEMU's, and the kernel's.
    let (loaded, added) = parallel::both(
        || of_guest.load_kernel(),
        || of_host.add_programs(&paths, &guest.architecture.build.firmware),
    );
    added.and(loaded)?;
    of_host.check_scripts()?;
    let mut provenance = Provenance::new(&sides, base_image, sources.suites.clone());
    let (origins, mut extracted) = of_host.origins();
    provenance.packages = origins;
    provenance.needs.append(&mut of_host.needs);
    let resolution = of_host.resolution.clone();
    of_guest.layout.add_all(&of_host.into_layout());
    of_guest.add_kernel(&binaries.init, &paths)?;
    of_guest.check_scripts()?;
    let (origins, of_guest_alone) = of_guest.origins();
    provenance.packages.extend(origins);
    extracted.extend(of_guest_alone);
    provenance.packages.sort_by(|a, b| (&a.name, &a.arch).cmp(&(&b.name, &b.arch)));
    provenance.needs.append(&mut of_guest.needs);
    provenance.initrd_modules = std::mem::take(&mut of_guest.initrd_modules);

    let mut layout = of_guest.into_layout();
    let programs = [
        ("runq", "the runtime that Docker calls"),
        ("runq-install", "adopts a copied tree, rolls back, uninstalls"),
        ("qemu/proxy", "the container's first process, which starts QEMU"),
        ("qemu/machine.json", "what the proxy has to know of the machine"),
    ];
    let needs = programs.map(|(path, how)| (path.to_owned(), Need::of_itself(how)));
    provenance.needs.extend(needs);
    layout.program("runq", binaries.runq);
    layout.program("runq-install", binaries.runq_install);
    layout.asset("proxy", 0o755, binaries.proxy);
    layout.asset("machine.json", 0o644, json(&machine)?.into());

    progress.step("hash and sign");
    let created = epoch.unwrap_or(sources.date());
    document(&mut layout, (&provenance, &extracted), &sides, created)?;
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
        packages: provenance.packages.iter().map(manifest_package).collect(),
        files: layout.entries(),
        machine,
    };
    output.write(&manifest, (layout, resolution), progress)
}

/// Adds what the bundle says about itself.
fn document(
    layout: &mut Layout,
    (provenance, extracted): (&Provenance, &BTreeMap<String, ExtractedLicense>),
    sides: &Sides,
    created: u64,
) -> anyhow::Result<()> {
    let provenance_json = json(provenance)?;
    layout.document(PROVENANCE_NAME, provenance_json.clone().into());
    let sbom =
        sbom::document((&sides.bundle_name(), created), provenance, &provenance_json, extracted, layout);
    layout.document(SBOM_NAME, json(&sbom)?.into());
    Ok(())
}

fn manifest_package(origin: &PackageOrigin) -> Package {
    let PackageOrigin { name, version, arch, sha256, .. } = origin;
    Package { name: name.clone(), version: version.clone(), arch: arch.clone(), sha256: *sha256 }
}

fn json(value: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(value)?;
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
