//! `install`: the order of the steps. Runs on the host, as root; trusts the keys that were given.

use crate::cli::Install;
use crate::installed;
use crate::keys;
use crate::layout::Layout;
use crate::lock::Lock;
use crate::plan::{Step, plan};
use crate::preflight;
use crate::receipt::{self, Receipt};
use crate::registering::DockerPlan;
use crate::report::Report;
use crate::source::Source;
use crate::transaction;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use runq_bundle::archive::BundleReader;
use runq_bundle::manifest::Manifest;
use std::io::Read;
use std::path::Path;

/// Installs a bundle, or finds that it is installed.
pub(crate) fn install(options: &Install) -> Result<Report> {
    let keys = keys::trusted(&options.keys.public_keys)?;
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let runtime = layout.runtime().display().to_string();
    let Install { registering, arch, .. } = options;
    preflight::check_runtime(&registering.runtime.name, &runtime, &registering.runtime.runtime_args)?;
    let executes = arch.split('+').next() == Some(std::env::consts::ARCH);
    preflight::check_mount(preflight::existing_part(layout.prefix()), executes)?;
    preflight::check_way_to(layout.prefix())?;
    let source = bundle_source(options)?;
    let dry_run = registering.runtime.trial.dry_run;
    let _lock = if dry_run { None } else { Some(prepare_prefix(&layout)?) };
    let local = source.local(arch, &options.transport)?;
    let path = &local.path;

    let cannot_verify = || format!("cannot verify {source}");
    let (file, progress) = open_bundle(path)?;
    let bundle = BundleReader::open(file, &keys).with_context(cannot_verify)?;
    let manifest = bundle.manifest().clone();
    preflight::check_arch(&manifest, arch)?;
    let id = manifest.version_id(bundle.manifest_bytes());
    if !options.allow_downgrade {
        check_sequence(&layout, &manifest)?;
    }

    let tree = transaction::inspect_tree(&layout.version(&id), &bundle)?;
    let found = transaction::inspect(&layout, tree)?;
    let docker = DockerPlan::make(registering, &manifest.host_arch, &runtime)?;
    let wanted = Receipt {
        format: receipt::FORMAT,
        version: id.clone(),
        signed_by: bundle.verified().key.to_string(),
        previous: found.previous(&id),
        docker: docker.receipts(found.docker()),
        engines: found.engines(),
    };
    let steps = plan(&found, &wanted);

    let mut report = Report::new(vec![
        ("version", id.clone()),
        ("arch", preflight::arch_label(&manifest)),
        ("prefix", layout.prefix().display().to_string()),
        ("bundle", source.to_string()),
        ("signed by", wanted.signed_by.clone()),
    ]);
    report.changes.extend(steps.iter().map(|step| step.describe(&id)));
    if dry_run {
        docker.show(&mut report);
        return Ok(report.of_dry_run());
    }

    if steps.iter().any(|step| matches!(step, Step::Stage | Step::Restage { .. })) {
        preflight::check_space(layout.prefix(), &manifest)?;
    }
    let mut payload = transaction::Source::Bundle(Some(bundle));
    for step in &steps {
        transaction::perform(&layout, step, &wanted, &mut payload).with_context(|| match step {
            Step::Stage | Step::Restage { .. } => format!("cannot install {source}"),
            _ => format!("cannot {}", step.describe(&id)),
        })?;
    }
    progress.finish_and_clear();
    docker.apply(&mut report)?;
    let state =
        if report.changes.is_empty() { "is installed already: nothing to do" } else { "is installed" };
    report.summary = format!("runq {} ({arch}) {state}", manifest.version);
    Ok(report)
}

/// Checks that the active version is not a later one. A manifest that cannot be read is no reason to keep a broken tree.
fn check_sequence(layout: &Layout, manifest: &Manifest) -> Result<()> {
    let Some(active) = installed::active(layout)? else { return Ok(()) };
    let Ok((later, _)) = installed::read_manifest(&layout.version(&active)) else { return Ok(()) };
    Ok(preflight::check_sequence(manifest, &later)?)
}

fn bundle_source(options: &Install) -> Result<Source> {
    if let Some(text) = &options.bundle {
        return Ok(Source::parse(text)?);
    }
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let directory = program.parent().context("this program's own file is in no directory")?;
    Ok(Source::File(preflight::bundle_beside(directory, &options.arch)?))
}

fn prepare_prefix(layout: &Layout) -> Result<Lock> {
    transaction::create_directories(layout)?;
    transaction::lock(layout)
}

/// The one open file that everything is read from, with a bar on a terminal.
pub(crate) fn open_bundle(path: &Path) -> Result<(impl Read + Send + 'static, ProgressBar)> {
    let file = fs_err::File::open(path)?;
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}");
    let progress = ProgressBar::new(file.metadata()?.len()).with_message("verifying");
    progress.set_style(style.context("the template of the progress bar is wrong")?);
    Ok((progress.wrap_read(file), progress))
}

#[cfg(test)]
mod tests;
