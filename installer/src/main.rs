//! `runq-install`: verifies an asset bundle, deploys it, and registers the runtime with Docker. Runs on the host, as
//! root; trusts the public keys that it is given, and neither the bundle nor daemon.json before they were checked.

mod adopt;
mod cli;
mod docker_config;
mod docker_daemon;
mod hint;
mod inspect;
mod install;
mod installed;
mod keys;
mod layout;
mod lock;
mod plan;
mod preflight;
mod receipt;
mod registering;
mod registration;
mod report;
#[cfg(test)]
mod test_host;
mod transaction;
mod uninstall;

use anyhow::{Error, Result};
use clap::Parser;
use cli::{Cli, Command};
use report::Report;
use rustix::fs::Mode;
use std::io::Write;
use std::process::ExitCode;

const EXIT_DIFFERENCES: u8 = 1;
const EXIT_FAILED: u8 = 125;

fn main() -> ExitCode {
    // Directories on the way to ours are for everybody to enter and for nobody else to write.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let cli = Cli::parse();
    let json = cli.json;
    let (text, code) = match run(&cli.into_command()) {
        Ok(report) => {
            let code =
                if report.differences.is_empty() { ExitCode::SUCCESS } else { EXIT_DIFFERENCES.into() };
            (if json { report.json().to_string() } else { report.text() }, code)
        }
        Err(error) if json => (error_json(&error).to_string(), EXIT_FAILED.into()),
        Err(error) => {
            show(std::io::stderr(), &error_text(&error));
            return EXIT_FAILED.into();
        }
    };
    show(std::io::stdout(), &text);
    code
}

fn run(command: &Command) -> Result<Report> {
    match command {
        Command::Install(options) => install::install(options),
        Command::Adopt(options) => adopt::adopt(options),
        Command::Verify(options) => inspect::verify(options),
        Command::List(options) => inspect::list(options),
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
