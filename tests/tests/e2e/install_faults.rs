//! The installer is killed, and the disk fails, at every system call that changes something. After each: what is active is
//! whole, daemon.json is the old or the new one, and the same command again arrives at the end.
//!
//! `RUNQ_TEST_FAULTS=all` tries every point with every fault (`make test-faults`); without it some points of each.

use anyhow::{Context, Result, ensure};
use runq_tests::faults::{self, Fault, Point};
use runq_tests::report;
use runq_tests::trial::{FRESH, GC, ROLLBACK, Scenario, Trial, UNINSTALL, UPGRADE, everything};

/// A fault at a point, and all that has to hold after it. Says whether the point was reached.
fn suffer(trial: &Trial, point: &Point, fault: Fault) -> Result<bool> {
    trial.installation.restore(&trial.before)?;
    let log = trial.installation.path("strace.log");
    let finished = faults::run(&trial.command(), point, fault, &log)?;
    match fault {
        // Threads, and the files below /proc, are not the same each time.
        Fault::Kill => ensure!([0, 137].contains(&finished.code), "ended with {}", finished.code),
        // Where it does not matter, as in messages, success is right. Anything else is said, with the error.
        Fault::Error(_) => ensure!(
            finished.code == 0
                || (finished.code == 125 && finished.stderr_text().starts_with("runq-install: ")),
            "ended with {}: {}",
            finished.code,
            finished.stderr_text()
        ),
    }
    trial.check()?;
    Ok(fault != Fault::Kill || finished.code != 0)
}

/// Tries the faults at all points, or at some.
fn try_all(scenario: &Scenario, faults: &[Fault], stride: usize) -> Result<()> {
    let (trial, points) = Trial::new(scenario, |installation, command| {
        faults::points(command, &installation.path("strace.log"))
    })?;
    let (mut missed, mut tried) = (0, 0);
    for point in points.iter().step_by(if everything() { 1 } else { stride }) {
        for fault in faults {
            let reached =
                suffer(&trial, point, *fault).with_context(|| format!("{fault:?} at {}", point.shown))?;
            missed += usize::from(!reached);
            tried += 1;
        }
    }
    report::detail(format_args!("{tried} faults at {} points of {:?}", points.len(), scenario.command));
    ensure!(missed * 5 < tried, "{missed} of {tried} points were not reached");
    Ok(())
}

const ERRORS: [Fault; 2] = [Fault::Error("ENOSPC"), Fault::Error("EIO")];

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_first_install_survives_its_death_at_any_point() -> Result<()> {
    try_all(&FRESH, &[Fault::Kill], 2)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn an_upgrade_survives_its_death_at_any_point() -> Result<()> {
    try_all(&UPGRADE, &[Fault::Kill], 2)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_rollback_survives_its_death_at_any_point() -> Result<()> {
    try_all(&ROLLBACK, &[Fault::Kill], 2)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn garbage_collection_survives_its_death_at_any_point() -> Result<()> {
    try_all(&GC, &[Fault::Kill], 4)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn an_uninstall_survives_its_death_at_any_point() -> Result<()> {
    try_all(&UNINSTALL, &[Fault::Kill], 4)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_full_or_broken_disk_breaks_nothing() -> Result<()> {
    for scenario in [FRESH, UPGRADE] {
        try_all(&scenario, &ERRORS, 10)?;
    }
    if everything() {
        for scenario in [ROLLBACK, GC, UNINSTALL] {
            try_all(&scenario, &ERRORS, 1)?;
        }
    }
    Ok(())
}
