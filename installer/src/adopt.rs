//! `adopt`: makes a tree that was copied here an installed one. Runs on the host, as root, without a network; trusts the
//! keys, and of the tree only what they have signed.

use crate::cli::Adopt;
use crate::engine;
use crate::installed::{InstalledError, SignedVersion, chosen_or_obvious};
use crate::keys;
use crate::layout::Layout;
use crate::lock::Lock;
use crate::machine_code::check_elf_files;
use crate::plan::{Tree, plan};
use crate::preflight;
use crate::receipt::{self, Receipt};
use crate::registering::DockerPlan;
use crate::registration::is_registered;
use crate::report::Report;
use crate::transaction::{self, Source};
use anyhow::{Context, Result};
use runq_bundle::tree::Difference;
use std::io::Empty;

/// Verifies a copied tree, mends it, activates and registers it.
pub(crate) fn adopt(options: &Adopt) -> Result<Report> {
    let keys = keys::trusted(&options.keys.public_keys)?;
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let runtime = layout.runtime().display().to_string();
    let registering = &options.registering;
    preflight::check_runtime(&registering.runtime.name, &runtime, &registering.runtime.runtime_args)?;
    preflight::check_way_to(layout.prefix())?;
    let id = chosen_or_obvious(&layout, options.version.as_deref())?;
    let dry_run = registering.runtime.trial.dry_run;
    let _lock = if dry_run { None } else { Some(take_over(&layout)?) };

    let version = SignedVersion::open(&layout, &id, &keys)?;
    let tree = inspect(&version)?;
    check_elf_files(&version.directory, &version.manifest)?;
    let found = transaction::inspect(&layout, tree)?;
    let docker = DockerPlan::make(registering, &version.manifest.host_arch, &runtime)?;
    // The receipt may have come with the tree: entries of the machine that it was copied from are not ours.
    let ours = found.docker().into_iter().filter(is_registered).collect();
    let wanted = Receipt {
        format: receipt::FORMAT,
        version: id.clone(),
        signed_by: version.verified.key.to_string(),
        previous: found.previous(&id).filter(|previous| layout.version(previous).exists()),
        docker: docker.receipts(ours),
        engines: found.engines().into_iter().filter(engine::is_registered).collect(),
    };
    let steps = plan(&found, &wanted);

    let manifest = version.manifest;
    let mut report = Report::new(vec![
        ("version", id.clone()),
        ("arch", preflight::arch_label(&manifest)),
        ("prefix", layout.prefix().display().to_string()),
        ("signed by", wanted.signed_by.clone()),
        ("verified", format!("{} files, {} bytes", manifest.files.len(), manifest.total_bytes())),
    ]);
    report.changes.extend(steps.iter().map(|step| step.describe(&id)));
    if dry_run {
        docker.show(&mut report);
        return Ok(report.of_dry_run());
    }

    let label = format!("runq {} ({})", manifest.version, preflight::arch_label(&manifest));
    // Whoever has copied the tree may not have waited for the disk.
    transaction::sync_file_system(layout.prefix())?;
    let mut source = Source::<Empty>::Tree(manifest);
    for step in &steps {
        transaction::perform(&layout, step, &wanted, &mut source)
            .with_context(|| format!("cannot {}", step.describe(&id)))?;
    }
    docker.apply(&mut report)?;
    let state = if report.changes.is_empty() { "was adopted before: nothing to do" } else { "is adopted" };
    report.summary = format!("{label} {state}");
    Ok(report)
}

fn take_over(layout: &Layout) -> Result<Lock> {
    transaction::own_directories(layout)?;
    transaction::lock(layout)
}

fn inspect(version: &SignedVersion) -> Result<Tree> {
    let differences = version.differences()?;
    let beyond: Vec<&Difference> =
        differences.iter().filter(|difference| !difference.is_mendable(&version.manifest)).collect();
    if !beyond.is_empty() {
        return Err(InstalledError::differs(&version.directory, &beyond).into());
    }
    let damage: Vec<String> = differences.iter().map(ToString::to_string).collect();
    Ok(if damage.is_empty() { Tree::Complete } else { Tree::Mendable(damage) })
}

#[cfg(test)]
mod tests;
