//! `runq`: the OCI runtime that Docker calls. Runs on the host as root; trusts dockerd and the admin's settings, not the
//! image. Rewrites the OCI bundle of a new container so that runc starts the proxy, and becomes runc for all else.

mod bundle;
mod cli;
mod command;
mod host;
mod settings;
mod spec;

use anyhow::{Context, bail};
use bundle::Bundle;
use cli::CommandLine;
use settings::Settings;
use spec::Host;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// The host's own runtime, found through `PATH`.
const RUNC: &str = "runc";

const HELP: &str = "\
runq runs each container in a virtual machine of its own. Docker calls it; its settings are runtimeArgs in
/etc/docker/daemon.json, and variables of a container override them.

Usage: runq [SETTINGS] [RUNC FLAGS] COMMAND [ARGUMENTS]

  --cpu N              vCPUs, 1 to 64 (default 1)                      RUNQ_CPU
  --mem MIB            memory in MiB, 64 to 1048576 (default 256)      RUNQ_MEM
  --accel kvm|tcg      hardware virtualisation or emulation (kvm)      RUNQ_ACCEL
  --dns IP,…           name servers instead of Docker's                RUNQ_DNS
  --dns-opts WORD,…    resolver options                                RUNQ_DNS_OPT
  --dns-search NAME,…  search domains                                  RUNQ_DNS_SEARCH
  --tmpfs PATH[:OPTS]  a further tmpfs in every container; repeatable

Every command but create, run and exec goes to runc unchanged.

Examples:
  docker run --runtime runq -ti busybox sh
  docker run --runtime runq -e RUNQ_MEM=512 -e RUNQ_CPU=2 -ti busybox sh
";

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (log, outcome) = match CommandLine::parse(args) {
        Ok(line) => (log_of(&line), run(line)),
        Err(error) => (None, Err(error.into())),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let message = format!("{error:#}");
    if let Some((path, is_json)) = log {
        let entry = if is_json {
            format!("{}\n", serde_json::json!({"level": "error", "msg": message}))
        } else {
            format!("level=error msg={message:?}\n")
        };
        let file = fs_err::OpenOptions::new().append(true).create(true).open(path);
        // The message goes to standard error, too.
        file.and_then(|mut file| file.write_all(entry.as_bytes())).ok();
    }
    writeln!(std::io::stderr(), "runq: {message}").ok();
    ExitCode::FAILURE
}

fn log_of(line: &CommandLine) -> Option<(std::path::PathBuf, bool)> {
    Some((line.log.clone()?, line.log_is_json))
}

/// Returns only on errors and after printing; otherwise the process has become runc.
fn run(line: CommandLine) -> anyhow::Result<()> {
    if line.build_id {
        return print(&format!("{}\n", runq_contract::BUILD_ID));
    }
    match line.command.as_deref() {
        None if line.help => return print(HELP),
        None if line.version => return version(),
        Some("create" | "run") => rewrite(&line)?,
        Some("exec") => {
            bail!("exec is not supported yet: the process would run beside the virtual machine, not in it")
        }
        _ => {}
    }
    let error = Command::new(RUNC).args(&line.runc_args).exec();
    Err(error).context("cannot execute runc: install it, or put it into dockerd's PATH")
}

/// Validates everything, then writes the bundle.
fn rewrite(line: &CommandLine) -> anyhow::Result<()> {
    let directory = line.bundle();
    let bundle = Bundle::open(&directory)?;
    let spec = bundle.read()?;
    if spec::is_rewritten(&spec) {
        return Ok(());
    }
    let settings = Settings::resolve(&line.settings, spec::environment(&spec))?;
    let host = Host {
        assets: host::assets()?.display().to_string(),
        vm_config: bundle.vm_config.display().to_string(),
        macvtap_major: host::macvtap_major()?,
        has_tun: host::has_tun(),
    };
    host::check_accel(settings.hardware.accel)?;
    let original = spec.clone();
    let rewritten = spec::rewrite(spec, &settings, &host, &line.container_id())?;
    command::check(&original, &directory)?;
    bundle.write(&rewritten.spec, &rewritten.config)
}

/// runc's version, by which Docker knows the runtime, and ours.
fn version() -> anyhow::Result<()> {
    let runc = Command::new(RUNC).arg("--version").output().context("cannot execute runc")?;
    print(&format!(
        "{}runq version {} (build {})\n",
        String::from_utf8_lossy(&runc.stdout),
        env!("CARGO_PKG_VERSION"),
        runq_contract::BUILD_ID
    ))
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}
