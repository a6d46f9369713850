//! `runq-install`: verifies an asset bundle, deploys it, and registers the runtime with Docker. Runs on the host, as
//! root; trusts the public keys that it is given, and neither the bundle nor daemon.json before they were checked.

mod adopt;
mod cli;
mod docker_config;
mod docker_daemon;
mod doctor;
mod documents;
mod engine;
mod exit;
mod export;
mod gc;
mod hint;
mod in_use;
mod inspect;
mod install;
mod installed;
mod keys;
mod layout;
mod lock;
mod machine_code;
mod plan;
mod preflight;
mod pull;
mod receipt;
mod register;
mod registering;
mod registration;
mod report;
mod rollback;
mod source;
#[cfg(test)]
mod test_host;
mod transaction;
mod uninstall;
mod usage;

use anyhow::{Error, Result};
use clap::Parser;
use cli::{Cli, Command, EngineName};
use report::Report;
use rustix::fs::Mode;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Directories on the way to ours are for everybody to enter and for nobody else to write.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let cli = Cli::parse();
    let json = cli.json;
    let (text, code) = match run(&cli.into_command()) {
        Ok(report) => {
            let code = exit::of_report(&report);
            (if json { report.json().to_string() } else { report.text() }, code)
        }
        Err(error) if json => (error_json(&error).to_string(), exit::of_error(&error)),
        Err(error) => {
            show(std::io::stderr(), &error_text(&error));
            return exit::of_error(&error).into();
        }
    };
    show(std::io::stdout(), &text);
    code.into()
}

fn run(command: &Command) -> Result<Report> {
    match command {
        Command::Install(options) => install::install(options),
        Command::Adopt(options) => adopt::adopt(options),
        Command::Verify(options) => inspect::verify(options),
        Command::List(options) => inspect::list(options),
        Command::Rollback(options) => rollback::rollback(options),
        Command::Gc(options) => gc::gc(options),
        Command::Export(options) => export::export(options),
        Command::Pull(options) => pull::pull(options),
        Command::Documents { output } => documents::write(output),
        Command::Register(options) if options.engine != EngineName::Docker => {
            engine::register(options, options.engine)
        }
        Command::Unregister(options) if options.engine != EngineName::Docker => {
            engine::unregister(options, options.engine)
        }
        Command::Register(options) => register::register(options),
        Command::Unregister(options) => register::unregister(options),
        Command::Doctor(options) => doctor::doctor(options),
        Command::Uninstall(options) => uninstall::uninstall(options),
    }
}

fn error_text(error: &Error) -> String {
    let hint = hint::hint(error).map(|hint| format!("\n\nhint: {hint}")).unwrap_or_default();
    format!("runq-install: {error:#}{hint}")
}

fn error_json(error: &Error) -> serde_json::Value {
    serde_json::json!({ "ok": false, "error": format!("{error:#}"), "hint": hint::hint(error) })
}

/// A reader that has gone away is no reason to fail after the work is done.
fn show(mut stream: impl Write, text: &str) {
    writeln!(stream, "{text}").unwrap_or_default();
}
