//! `runq-assets`: builds signed asset bundles. Runs on the build machine; trusts its command line, the recipes in
//! `arch/` and the OpenPGP keys that these pin.

mod archive;
mod assembly;
mod base_image;
mod binaries;
mod build;
mod cache;
mod cli;
mod closure;
mod control;
mod copyright;
mod cpio;
mod deb;
mod depmod;
mod elf;
mod fetch;
mod hint;
mod initrd;
mod inspect;
mod kernel;
mod kernel_modules;
mod keys;
mod layout;
mod lock;
mod locking;
mod module_closure;
mod module_index;
mod network;
mod openpgp;
mod output;
mod package_index;
mod packages;
mod progress;
mod provenance;
mod push;
mod recipe;
mod release_file;
mod sbom;
mod seen_suites;
mod sides;
mod sources;
mod tree;
mod version;
mod workshop;

use clap::Parser;
use cli::{Cli, Command};
use indicatif::DecimalBytes;
use progress::Progress;
use serde::Serialize;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code of our own errors, as Docker has it.
const FAILURE: u8 = 125;

#[allow(clippy::print_stderr, reason = "the one place that prints errors")]
fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print();
            return if error.use_stderr() || printed.is_err() { FAILURE.into() } else { ExitCode::SUCCESS };
        }
    };
    // What the HTTP client does TLS with; it cannot fail but for having been called before.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runq-assets: {error:#}");
            if let Some(hint) = hint::hint(&error) {
                eprintln!("\nhint: {hint}");
            }
            FAILURE.into()
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match command {
        Command::Build(args) => {
            let reports = build::build_all(args, &Progress::new())?;
            if args.source.json {
                return print_json(&mut out, &reports);
            }
            for report in reports {
                writeln!(
                    out,
                    "{}: {}, {} installed, {} files, {} packages of {}",
                    report.file.display(),
                    DecimalBytes(report.size),
                    DecimalBytes(report.installed_size),
                    report.files,
                    report.packages,
                    report.distribution
                )?;
            }
        }
        Command::Lock(args) => {
            let reports = locking::lock_all(args, &Progress::new())?;
            if args.source.json {
                return print_json(&mut out, &reports);
            }
            for report in reports {
                let (packages, bytes) = (report.packages, DecimalBytes(report.bytes));
                writeln!(out, "{}: {packages} packages, {bytes}", report.file.display())?;
                report.changes.iter().try_for_each(|change| writeln!(out, "  {change}"))?;
            }
        }
        Command::Fetch(args) => {
            let reports = locking::fetch_all(args, &Progress::new())?;
            if args.source.json {
                return print_json(&mut out, &reports);
            }
            for report in reports {
                let (packages, bytes) = (report.packages, DecimalBytes(report.bytes));
                writeln!(out, "{}: {packages} packages, {bytes} in the cache", report.arch)?;
            }
        }
        Command::Push(args) => {
            let digest = push::push(args, &Progress::new())?;
            writeln!(out, "{}@{digest}", args.target)?;
        }
        Command::Keygen { output } => {
            let (secret, public) = keys::generate(output)?;
            writeln!(out, "{}: secret key, keep it to yourself", secret.display())?;
            writeln!(out, "{}: public key, for runq-install --public-key", public.display())?;
        }
        Command::Verify(args) => inspect::verify(args, &mut out)?,
        Command::Why { file, bundle } => inspect::why(file, bundle, &mut out)?,
        Command::List(args) => inspect::list(args, &mut out)?,
    }
    Ok(())
}

/// For programs that read what we did.
fn print_json(out: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}
