//! `install`: the order of the steps. Runs on the host, as root; trusts the keys that were given.

use crate::cli::{DEFAULT_DAEMON_JSON, Docker, Install};
use crate::docker_config::RuntimeEntry;
use crate::docker_daemon::DEFAULT_HOST;
use crate::layout::Layout;
use crate::lock::Lock;
use crate::plan::{Step, plan};
use crate::preflight;
use crate::receipt::{self, DockerReceipt, Receipt};
use crate::registration::Registration;
use crate::report::Report;
use crate::transaction;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use runq_bundle::archive::BundleReader;
use runq_bundle::manifest::Manifest;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What to do about Docker.
enum DockerMode {
    /// Nothing, for this reason.
    LeaveAlone(&'static str),
    /// Register in this file.
    Register { daemon_json: PathBuf, no_reload: bool },
}

/// Installs a bundle, or finds that it is installed.
pub(crate) fn install(options: &Install) -> Result<Report> {
    let keys = preflight::public_keys(&options.keys.public_keys)?;
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let runtime = layout.runtime().display().to_string();
    preflight::check_name(&options.name)?;
    preflight::check_words(
        [runtime.as_str()].into_iter().chain(options.runtime_args.iter().map(String::as_str)),
    )?;
    let path = bundle_path(options)?;
    let _lock = if options.dry_run { None } else { Some(prepare_prefix(&layout)?) };

    let cannot_verify = || format!("cannot verify {}", path.display());
    let (file, progress) = open_bundle(&path)?;
    let bundle = BundleReader::open(file, &keys).with_context(cannot_verify)?;
    let manifest = bundle.manifest().clone();
    preflight::check_arch(&manifest, &options.arch)?;
    let id = manifest.version_id(bundle.manifest_bytes());
    let signed_by = bundle.verified().key.to_string();

    let found = transaction::inspect(&layout, &id, &bundle)?;
    let mode = docker_mode(options, &manifest);
    let docker = match &mode {
        // An entry that an earlier run has made is still ours.
        DockerMode::LeaveAlone(_) => found.receipt.as_ref().and_then(|receipt| receipt.docker.clone()),
        DockerMode::Register { daemon_json, .. } => Some(DockerReceipt {
            daemon_json: std::path::absolute(daemon_json)?,
            name: options.name.clone(),
            path: runtime.clone(),
        }),
    };
    let wanted = Receipt { format: receipt::FORMAT, version: id.clone(), signed_by, docker };
    let steps = plan(&found, &wanted);
    let registration = registration(options, &mode, runtime)?;

    let mut report = Report {
        facts: vec![
            ("version", id.clone()),
            ("arch", preflight::arch_label(&manifest)),
            ("prefix", layout.prefix().display().to_string()),
            ("bundle", path.display().to_string()),
            ("signed by", wanted.signed_by.clone()),
        ],
        ..Report::default()
    };
    if let DockerMode::LeaveAlone(reason) = mode {
        report.notes.push(format!("Docker was left alone: {reason}"));
    }
    report.changes.extend(steps.iter().map(|step| step.describe(&id)));
    if options.dry_run {
        return Ok(dry_run(report, registration.as_ref()));
    }

    if steps.iter().any(|step| matches!(step, Step::Stage | Step::Restage { .. })) {
        preflight::check_space(layout.prefix(), &manifest)?;
    }
    let mut bundle = Some(bundle);
    for step in &steps {
        transaction::perform(&layout, step, &wanted, &mut bundle).with_context(|| match step {
            Step::Stage | Step::Restage { .. } => cannot_install(&path),
            _ => format!("cannot {}", step.describe(&id)),
        })?;
    }
    progress.finish_and_clear();
    if let Some(registration) = registration {
        registration.apply(&mut report)?;
        report.next = Some(next(options));
    }
    let state =
        if report.changes.is_empty() { "is installed already: nothing to do" } else { "is installed" };
    report.summary = format!("runq {} ({}) {state}", manifest.version, options.arch);
    Ok(report)
}

fn cannot_install(path: &Path) -> String {
    format!("cannot install {}", path.display())
}

fn bundle_path(options: &Install) -> Result<PathBuf> {
    if let Some(path) = &options.bundle {
        return Ok(path.clone());
    }
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let directory = program.parent().context("this program's own file is in no directory")?;
    Ok(preflight::bundle_beside(directory, &options.arch)?)
}

fn prepare_prefix(layout: &Layout) -> Result<Lock> {
    transaction::create_directories(layout)?;
    preflight::check_owner(layout.prefix())?;
    preflight::check_owner(&layout.versions())?;
    let lock = Lock::acquire(&layout.lock())?;
    transaction::remove_leftovers(layout)?;
    Ok(lock)
}

/// The one open file that everything is read from, with a bar on a terminal.
pub(crate) fn open_bundle(path: &Path) -> Result<(impl Read, ProgressBar)> {
    let file = fs_err::File::open(path)?;
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}");
    let progress = ProgressBar::new(file.metadata()?.len()).with_message("verifying");
    progress.set_style(style.context("the template of the progress bar is wrong")?);
    Ok((progress.wrap_read(file), progress))
}

fn docker_mode(options: &Install, manifest: &Manifest) -> DockerMode {
    let foreign = manifest.host_arch != std::env::consts::ARCH;
    if options.no_docker {
        return DockerMode::LeaveAlone("--no-docker");
    }
    match &options.daemon_json {
        None if foreign => DockerMode::LeaveAlone("the bundle is for a machine of another architecture"),
        // dockerd would run the runtime to ask for its features.
        Some(path) => {
            DockerMode::Register { daemon_json: path.clone(), no_reload: options.docker.no_reload || foreign }
        }
        None => DockerMode::Register {
            daemon_json: DEFAULT_DAEMON_JSON.into(),
            no_reload: options.docker.no_reload,
        },
    }
}

fn registration(options: &Install, mode: &DockerMode, path: String) -> Result<Option<Registration>> {
    let DockerMode::Register { daemon_json, no_reload } = mode else { return Ok(None) };
    let args = (!options.runtime_args.is_empty()).then(|| options.runtime_args.clone());
    let docker = Docker { docker_host: options.docker.docker_host.clone(), no_reload: *no_reload };
    Registration::add(daemon_json, &options.name, &RuntimeEntry { path, args }, &docker).map(Some)
}

fn dry_run(mut report: Report, registration: Option<&Registration>) -> Report {
    report.changes.extend(registration.and_then(Registration::change));
    report.diff = registration.and_then(Registration::diff);
    report.summary = if report.changes.is_empty() {
        "nothing to do".into()
    } else {
        "nothing was changed; this would be done".into()
    };
    report
}

fn next(options: &Install) -> String {
    let host = options.docker.host();
    let host = if host == DEFAULT_HOST { String::new() } else { format!("DOCKER_HOST={host} ") };
    format!("{host}docker run --rm --runtime {} busybox uname -a", options.name)
}

#[cfg(test)]
mod tests;
