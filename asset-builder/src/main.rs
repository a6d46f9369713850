//! `runq-assets`: builds signed asset bundles. Runs on the build machine; trusts its command line, the recipes in
//! `arch/` and the OpenPGP keys that these pin.

mod archive;
mod assembly;
mod base_image;
mod binaries;
mod build;
mod cache;
mod chain;
mod chunks;
mod cli;
mod closure;
mod control;
mod copyright;
mod cpio;
mod deb;
mod depmod;
mod diff;
mod documents;
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
mod maintainer_scripts;
mod module_closure;
mod module_index;
mod network;
mod openpgp;
mod output;
mod package_changes;
mod package_index;
mod packages;
mod parallel;
mod progress;
mod provenance;
mod push;
mod qemu_modules;
mod recipe;
mod release_file;
mod resolution;
mod sbom;
mod seen_suites;
mod sides;
mod sources;
mod tree;
mod version;
mod workshop;

use clap::Parser;
use cli::{Cli, Command};
use progress::Progress;
use runq_bundle::registry::MemoryBound;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code of our own errors, as Docker has it.
const FAILURE: u8 = 125;

/// Exit code of `diff` for bundles that differ, as diff(1) has it.
const DIFFERENT: u8 = 1;

#[allow(clippy::print_stderr, reason = "the one place that prints errors")]
fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print();
            return if error.use_stderr() || printed.is_err() { FAILURE.into() } else { ExitCode::SUCCESS };
        }
    };
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("runq-assets: {error:#}");
            if let Some(hint) = hint::hint(&error) {
                eprintln!("\nhint: {hint}");
            }
            FAILURE.into()
        }
    }
}

/// Four times what a build takes.
const MEMORY_BYTES: u64 = 2 << 30;

/// glibc's own to begin with. As it raises it, a build takes 610 MiB instead of 445.
const MAPPED_ALLOCATION_BYTES: i32 = 128 << 10;

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let _bound = MemoryBound::set(MEMORY_BYTES);
    runq_sys::memory::map_allocations_from(MAPPED_ALLOCATION_BYTES);
    let mut out = io::stdout().lock();
    let progress = Progress::new(cli.quiet);
    match &cli.command {
        Command::Build(args) => {
            show(&build::build_all(args, &progress)?, (args.source.json, cli.quiet), &mut out)?;
        }
        Command::Lock(args) => {
            show(&locking::lock_all(args, &progress)?, (args.source.json, cli.quiet), &mut out)?;
        }
        Command::Fetch(args) => {
            show(&locking::fetch_all(args, &progress)?, (args.source.json, cli.quiet), &mut out)?;
        }
        Command::Push(args) => {
            let digest = push::push(args, &progress)?;
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
        Command::Documents { output } => documents::write(output)?,
        Command::Diff(args) if diff::diff(args, &mut out)? => return Ok(DIFFERENT.into()),
        Command::Diff(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what was done.
fn show<R: Serialize + Display>(
    reports: &[R],
    (json, quiet): (bool, bool),
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match (json, quiet) {
        (true, _) => print_json(out, &reports),
        (false, true) => Ok(()),
        (false, false) => Ok(reports.iter().try_for_each(|report| writeln!(out, "{report}"))?),
    }
}

/// For programs that read what we did.
fn print_json(out: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}
