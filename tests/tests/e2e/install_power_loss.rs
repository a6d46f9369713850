//! The power fails after each file operation of the installer, and of what no flush has promised to keep the disk holds all,
//! nothing, all but one, or one alone, whatever the order. After each: what is active is whole, daemon.json is the old or the new
//! one, and the same command again arrives at the end.
//!
//! `RUNQ_TEST_FAULTS=all` tries every state (`make test-faults`); without it some.

use anyhow::{Context, Result, ensure};
use runq_tests::installation::{Installation, Snapshot};
use runq_tests::power_loss::{Disk, Operation, Wreck, record};
use runq_tests::report;
use runq_tests::trial::{FRESH, GC, ROLLBACK, Scenario, Trial, UNINSTALL, UPGRADE, everything};
use std::path::Path;
use std::process::Command;

/// What a disk has seen.
struct History {
    /// It held this.
    flushed: Snapshot,
    /// This came after it, before the command.
    unflushed: Vec<Operation>,
    /// And this is the command.
    command: Vec<Operation>,
}

/// Replays it, with the power failing after each operation of the command.
fn replay(
    history: &History,
    stride: usize,
    trial: &Trial,
    check: impl Fn(&Wreck) -> Result<()>,
) -> Result<()> {
    let mut disk = Disk::holding(&history.flushed)?;
    for operation in &history.unflushed {
        disk.carry_out(operation)?;
    }
    let (mut tried, mut met) = (0, 0);
    for operation in &history.command {
        disk.carry_out(operation)?;
        for wreck in disk.wrecks(&operation.to_string())? {
            met += 1;
            if everything() || met % stride == 0 {
                trial.installation.restore(&wreck.found)?;
                check(&wreck).with_context(|| wreck.story.clone())?;
                tried += 1;
            }
        }
    }
    report::detail(format_args!("{tried} of {met} states after {} operations", history.command.len()));
    let (model, real) = (disk.now()?.comparable(), trial.after.comparable());
    ensure!(model == real, "the model arrives elsewhere: {:?}", model.difference(&real));
    Ok(())
}

fn recorded(installation: &Installation, command: &Command, inject: Option<&str>) -> Result<Vec<Operation>> {
    record(command, &installation.world(), &installation.path("strace.log"), inject)
}

fn survives(scenario: &Scenario, stride: usize) -> Result<()> {
    let (trial, command) =
        Trial::new(scenario, |installation, command| recorded(installation, command, None))?;
    let history = History { flushed: trial.before.clone(), unflushed: Vec::new(), command };
    replay(&history, stride, &trial, |_| trial.check())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_first_install_survives_a_power_loss_at_any_point() -> Result<()> {
    survives(&FRESH, 9)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn an_upgrade_survives_a_power_loss_at_any_point() -> Result<()> {
    survives(&UPGRADE, 9)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_rollback_survives_a_power_loss_at_any_point() -> Result<()> {
    survives(&ROLLBACK, 2)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn garbage_collection_survives_a_power_loss_at_any_point() -> Result<()> {
    survives(&GC, 9)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn an_uninstall_survives_a_power_loss_at_any_point() -> Result<()> {
    survives(&UNINSTALL, 9)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn what_a_killed_run_has_not_flushed_the_next_one_does() -> Result<()> {
    // Between the version's rename and its flush.
    let kill = Some("fsync:signal=SIGKILL:when=1");
    let (trial, (unflushed, command)) = Trial::new(&UPGRADE, |installation, command| {
        Ok((recorded(installation, command, kill)?, recorded(installation, command, None)?))
    })?;
    ensure!(matches!(unflushed.last(), Some(Operation::Rename { .. })), "{:?}", unflushed.last());
    let history = History { flushed: trial.before.clone(), unflushed, command };
    replay(&history, 3, &trial, |_| trial.check())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn an_adopted_copy_is_on_the_disk_before_docker_is_told() -> Result<()> {
    const ADOPT: Scenario =
        Scenario { before: &[&["install", "1.0.0"], &["unregister"]], command: &["adopt"] };
    let (trial, command) = Trial::new(&ADOPT, |installation, command| recorded(installation, command, None))?;
    let (copied, flushed) = trial.before.clone().split(Path::new("lib/runq"));
    let history = History { flushed, unflushed: Operation::that_make(&copied), command };
    // Before, an unfinished copy is nobody's fault but the copier's.
    replay(&history, 3, &trial, |wreck| {
        let told = wreck.found.file("etc/daemon.json") == trial.after.file("etc/daemon.json");
        if told { trial.check() } else { Ok(()) }
    })
}
