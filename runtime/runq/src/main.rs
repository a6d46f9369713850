//! `runq`: the OCI runtime that Docker calls. Runs on the host as root; trusts dockerd and the admin's settings, not the
//! image. Rewrites the OCI bundle of a new container so that runc starts the proxy, and becomes runc for all else.

mod bundle;
mod cli;
mod command;
mod delegate;
mod features;
mod help;
mod host;
mod log;
mod seccomp;
mod settings;
mod spec;
mod update;

use anyhow::bail;
use bundle::Bundle;
use cli::CommandLine;
use command::CommandError;
use log::Log;
use settings::{Settings, Sources};
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (log, outcome) = match CommandLine::parse(args) {
        Ok(mut line) => (std::mem::take(&mut line.log), run(&line)),
        Err(error) => (Log::default(), Err(error.into())),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // The words of runc are left alone.
    let prefix = if error.is::<CommandError>() { "" } else { "runq: " };
    log.error(&format!("{prefix}{error:#}"));
    ExitCode::FAILURE
}

/// Returns only on errors and after printing; otherwise the process has become runc.
fn run(line: &CommandLine) -> anyhow::Result<()> {
    if line.build_id {
        return delegate::print(format!("{}\n", runq_contract::BUILD_ID).as_bytes());
    }
    if line.version {
        return delegate::version(&line.runc);
    }
    match line.command.as_deref() {
        _ if line.help => return delegate::print(help::text().as_bytes()),
        None => return delegate::print(help::text().as_bytes()),
        Some("features") => return delegate::features(&line.runc, &line.runc_args),
        Some("create" | "run") if !line.asks_for_help() => rewrite(line)?,
        Some("update") if !line.asks_for_help() => {
            match delegate::become_runc(&line.runc, &update::rewrite(line)?)? {}
        }
        // As it is, runc would start the process beside the VM, on the host's kernel.
        Some("exec") => bail!("docker exec is not supported yet"),
        Some("checkpoint" | "restore") => bail!("a container in a VM cannot be checkpointed"),
        Some(_) => {}
    }
    match delegate::become_runc(&line.runc, &line.runc_args)? {}
}

/// Validates everything, then writes the bundle.
fn rewrite(line: &CommandLine) -> anyhow::Result<()> {
    let directory = line.bundle();
    let bundle = Bundle::open(&directory)?;
    let original = bundle.read()?;
    if spec::is_marked(&original) && bundle.has_vm_config() {
        return Ok(());
    }
    let settings = Settings::resolve(&Sources {
        file: host::settings_file(line.config.as_deref())?,
        args: line.settings.clone(),
        limits: spec::limits(&original),
        annotations: spec::annotations(&original),
        env: spec::environment(&original),
    })?;
    let host = host::inspect(&bundle.vm_config, &original, &settings)?;
    host::check_accel(settings.hardware.accel)?;
    let filter = seccomp::compile(&original, &host.seccomp_archs)?;
    let rewritten = spec::rewrite(original.clone(), &settings, &host, (&line.container_id(), filter))?;
    let elsewhere: Vec<&str> = match settings.root_disk {
        Some(_) => vec!["/"],
        None => spec::mount_points(&host.disks).collect(),
    };
    command::check(&original, &directory, &elsewhere)?;
    if spec::wants_apparmor(&original) {
        host::load_apparmor()?;
    }
    bundle.write(&rewritten.spec, &rewritten.config)
}
