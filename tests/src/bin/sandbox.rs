//! The test bed's command: what the Makefile's targets call when more is to do than a line or two.
//! On the host as root.

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use runq_tests::bare_qemu::Accel;
use runq_tests::bed::Bed;
use runq_tests::bundle::Bundle;
use runq_tests::distribution::Distribution;
use runq_tests::docker_release::DockerRelease;
use runq_tests::sandbox::Sandbox;
use runq_tests::{asset_bench, bench, command, demo, images, installer_bench, report, sbom, soak};
use std::process::{Command, ExitCode};

/// A private Docker with runq in it.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build and sign the asset bundle.
    Bundle {
        /// Whose packages.
        #[arg(long, value_enum, default_value = "auto")]
        distro: Distribution,
    },
    /// Start the sandbox and leave it running.
    Up(Choices),
    /// End the sandbox and remove every trace of it.
    Down,
    /// Start the sandbox and show what runq does.
    Demo(Choices),
    /// Start the sandbox and measure.
    Bench(Choices),
    /// Measure the installer alone, with the bundle that is there
    BenchInstaller,
    /// Measure the asset builder alone
    BenchAssets,
    /// Validate the bill of materials of the asset bundle.
    Sbom {
        /// Whose packages.
        #[arg(long, value_enum, default_value = "auto")]
        distro: Distribution,
    },
    /// Start the sandbox, run many containers, expect nothing to be left, and end the sandbox.
    Soak {
        #[command(flatten)]
        choices: Choices,
        /// One after the other.
        #[arg(long, default_value_t = 500)]
        sequential: u32,
        /// At once.
        #[arg(long, default_value_t = 20)]
        parallel: u32,
        /// MiB through standard output and error of one more, first.
        #[arg(long, default_value_t = 1024)]
        mib: usize,
    },
    /// Run a command with the sandbox up, and end the sandbox whatever comes of it.
    Run {
        #[command(flatten)]
        choices: Choices,
        /// Program and arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Args)]
struct Choices {
    /// Whose packages.
    #[arg(long, value_enum, default_value = "auto")]
    distro: Distribution,
    /// How QEMU executes guest code.
    #[arg(long, value_enum, default_value = "auto")]
    accel: Accel,
    /// Also a runtime for guests of this architecture, emulated: runq-ARCH, with the image busybox-ARCH.
    #[arg(long, value_name = "ARCH")]
    guest: Option<String>,
    /// Instead of this host's Docker that of a newer Debian, in a root directory of its own.
    #[arg(long)]
    newer_docker: bool,
}

fn main() -> ExitCode {
    match act(Cli::parse().action) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::step(format_args!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> Result<()> {
    let sandbox = Sandbox::chosen();
    match action {
        Action::Bundle { distro } => Bundle::build(distro.recipe()).map(drop),
        Action::Up(choices) => {
            up(&sandbox, &choices)?;
            say(&demo::next_steps(&sandbox.docker_host()));
            Ok(())
        }
        Action::Down => sandbox.down(),
        Action::Demo(choices) => {
            up(&sandbox, &choices)?;
            say(&demo::run(&sandbox.docker(), &sandbox.docker_host())?);
            Ok(())
        }
        Action::Bench(choices) => {
            let accel = up(&sandbox, &choices)?;
            say(&bench::run(&sandbox, accel)?);
            if let Some(guest) = &choices.guest {
                say(&bench::run_foreign(&sandbox.docker(), &sandbox.foreign_prefix(guest), guest)?);
            }
            say(&installer_bench::run()?);
            say(&asset_bench::run()?);
            Ok(())
        }
        Action::BenchAssets => {
            say(&asset_bench::run()?);
            Ok(())
        }
        Action::Sbom { distro } => {
            say(&sbom::validate(&Bundle::build(distro.recipe())?)?);
            Ok(())
        }
        Action::BenchInstaller => {
            say(&installer_bench::run()?);
            Ok(())
        }
        Action::Soak { choices, sequential, parallel, mib } => {
            let result = up(&sandbox, &choices).and_then(|_| {
                let bed = Bed::alone()?;
                soak::streams(&bed, mib)?;
                soak::run(&bed, sequential, parallel)
            });
            let end = sandbox.down();
            result.and(end)
        }
        Action::Run { choices, command } => run(&sandbox, &choices, &command),
    }
}

/// Gives the accelerator that was chosen.
fn up(sandbox: &Sandbox, choices: &Choices) -> Result<&'static str> {
    if !rustix::process::geteuid().is_root() {
        bail!("the sandbox needs root: it starts a Docker daemon");
    }
    let bundle = Bundle::build(choices.distro.recipe())?;
    sandbox.up(choices.newer_docker.then(DockerRelease::newer).transpose()?)?;
    report::step("installing the bundle");
    sandbox.install(&bundle, None)?;
    let accel = choices.accel.choose(&sandbox.prefix());
    report::step(format_args!("registering runq with --accel {accel}"));
    sandbox.install(&bundle, Some(accel))?;
    images::load(&sandbox.docker())?;
    if let Some(guest) = &choices.guest {
        sandbox.install_foreign(&Bundle::build_foreign(guest)?, guest)?;
        images::load_foreign(&sandbox.docker(), guest)?;
    }
    Ok(accel)
}

fn run(sandbox: &Sandbox, choices: &Choices, words: &[String]) -> Result<()> {
    let (program, args) = words.split_first().context("no command")?;
    let result = up(sandbox, choices).and_then(|_| {
        let mut command = Command::new(program);
        command::show(command.args(args).env("RUNQ_SANDBOX", sandbox.dir()))
    });
    let end = sandbox.down();
    result.and(end)
}

#[expect(clippy::print_stdout, reason = "the result is for the user")]
fn say(text: &str) {
    print!("{text}");
}
