//! What a command does about Docker: whether, in which file, with which entry. Decided before anything is changed, done
//! after everything else. Runs on the host.

use crate::cli::{DEFAULT_DAEMON_JSON, Docker, Registering, Runtime};
use crate::docker_config::RuntimeEntry;
use crate::docker_daemon::{DEFAULT_HOST, Daemon};
use crate::receipt::{DockerReceipt, with_entry};
use crate::registration::Registration;
use crate::report::Report;
use anyhow::Result;
use std::path::PathBuf;

/// The entry that is going to stand in daemon.json, or why none is.
pub(crate) enum DockerPlan {
    /// Nothing is done, for this reason.
    LeaveAlone(&'static str),
    /// This is done.
    Register { registration: Box<Registration>, receipt: DockerReceipt, next: String },
}

impl DockerPlan {
    /// Decides, for programs of `host_arch` and a runtime that is found at `path`.
    pub(crate) fn make(options: &Registering, host_arch: &str, path: &str) -> Result<Self> {
        let foreign = host_arch != std::env::consts::ARCH;
        if options.no_docker {
            return Ok(Self::LeaveAlone("--no-docker"));
        }
        if foreign && options.runtime.daemon_json.is_none() {
            return Ok(Self::LeaveAlone("the bundle is for a machine of another architecture"));
        }
        // dockerd would run the foreign runtime to ask for its features.
        Self::register(&options.runtime, foreign, path)
    }

    /// Decides to register.
    pub(crate) fn register(options: &Runtime, no_reload: bool, path: &str) -> Result<Self> {
        let docker = Docker { no_reload: no_reload || options.docker.no_reload, ..options.docker.clone() };
        let daemon_json = daemon_json(options, &docker)?;
        let args = (!options.runtime_args.is_empty()).then(|| options.runtime_args.clone());
        let entry = RuntimeEntry { path: path.to_owned(), args };
        let registration =
            Registration::add(&daemon_json, &options.name, &entry, options.set_default, &docker)?;
        let receipt = DockerReceipt {
            daemon_json,
            name: options.name.clone(),
            path: entry.path,
            replaced_default: registration.replaced_default().cloned(),
        };
        Ok(Self::Register { registration: Box::new(registration), receipt, next: next(options) })
    }

    /// The entries that are ours afterwards. One that an earlier run has made still is.
    pub(crate) fn receipts(&self, known: Vec<DockerReceipt>) -> Vec<DockerReceipt> {
        match self {
            Self::LeaveAlone(_) => known,
            Self::Register { receipt, .. } => with_entry(known, Some(receipt)),
        }
    }

    /// Says what would be done.
    pub(crate) fn show(&self, report: &mut Report) {
        match self {
            Self::LeaveAlone(reason) => report.notes.push(format!("Docker was left alone: {reason}")),
            Self::Register { registration, .. } => registration.show(report),
        }
    }

    /// Does it.
    pub(crate) fn apply(self, report: &mut Report) -> Result<()> {
        match self {
            Self::LeaveAlone(reason) => report.notes.push(format!("Docker was left alone: {reason}")),
            Self::Register { registration, next, .. } => {
                registration.apply(report)?;
                report.next = Some(next);
            }
        }
        Ok(())
    }
}

/// The file that was named; else the one that the running dockerd reads; else its default.
fn daemon_json(options: &Runtime, docker: &Docker) -> Result<PathBuf> {
    if let Some(path) = &options.daemon_json {
        return Ok(std::path::absolute(path)?);
    }
    let running = if docker.no_reload { None } else { Daemon::find(docker.host())? };
    Ok(running.map_or_else(|| DEFAULT_DAEMON_JSON.into(), |daemon| daemon.config_file()))
}

fn next(options: &Runtime) -> String {
    let host = options.docker.host();
    let host = if host == DEFAULT_HOST { String::new() } else { format!("DOCKER_HOST={host} ") };
    format!("{host}docker run --rm --runtime {} busybox uname -a", options.name)
}
