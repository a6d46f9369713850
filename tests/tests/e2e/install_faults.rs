//! The installer is killed, and the disk fails, at every system call that changes something. After each: what is active is
//! whole, daemon.json is the old or the new one, and the same command again arrives at the end.
//!
//! `RUNQ_TEST_FAULTS=all` tries every point with every fault (`make test-faults`); without it some points of each.

use anyhow::{Context, Result, ensure};
use runq_tests::faults::{self, Fault, Point};
use runq_tests::installation::{Installation, Snapshot};
use std::cell::Cell;
use std::process::Command;

/// A command, and what was done before it.
struct Scenario {
    before: &'static [&'static [&'static str]],
    command: &'static [&'static str],
}

const FRESH: Scenario = Scenario { before: &[], command: &["install", "1.0.0"] };
const UPGRADE: Scenario = Scenario {
    before: &[&["install", "1.0.0"]],
    command: &["install", "1.1.0", "--runtime-arg", "--accel", "--runtime-arg", "tcg"],
};
const ROLLBACK: Scenario =
    Scenario { before: &[&["install", "1.0.0"], &["install", "1.1.0"]], command: &["rollback"] };
const GC: Scenario =
    Scenario { before: &[&["install", "1.0.0"], &["install", "1.1.0"]], command: &["gc", "--all"] };
const UNINSTALL: Scenario = Scenario { before: &[&["install", "1.0.0"]], command: &["uninstall"] };

struct Trial {
    installation: Installation,
    command: &'static [&'static str],
    before: Snapshot,
    after: Snapshot,
    points: Vec<Point>,
    missed: Cell<usize>,
}

impl Trial {
    fn new(scenario: &Scenario) -> Result<Self> {
        let installation = Installation::new()?;
        for words in scenario.before {
            installation.must(words)?;
        }
        let before = installation.snapshot()?;
        let command = installation.command(scenario.command);
        let points = faults::points(&command, &installation.path("strace.log"))?;
        let after = installation.snapshot()?;
        ensure!(before.comparable() != after.comparable(), "{:?} changes nothing", scenario.command);
        Ok(Self { installation, command: scenario.command, before, after, points, missed: Cell::new(0) })
    }

    fn command(&self) -> Command {
        self.installation.command(self.command)
    }

    /// A fault at a point, and all that has to hold after it.
    fn suffer(&self, point: &Point, fault: Fault) -> Result<()> {
        self.installation.restore(&self.before)?;
        let log = self.installation.path("strace.log");
        let finished = faults::run(&self.command(), point, fault, &log)?;
        match fault {
            // Threads, and the files below /proc, are not the same each time: the point may not be reached.
            Fault::Kill => {
                ensure!([0, 137].contains(&finished.code), "ended with {}", finished.code);
                self.missed.set(self.missed.get() + usize::from(finished.code == 0));
            }
            // Where it does not matter, as in messages, success is right. Anything else is said, with the error.
            Fault::Error(_) => ensure!(
                finished.code == 0
                    || (finished.code == 125 && finished.stderr_text().starts_with("runq-install: ")),
                "ended with {}: {}",
                finished.code,
                finished.stderr_text()
            ),
        }
        self.check_state().context("right after it")?;
        // A rollback that was complete but for the last flush would go forth again.
        if self.command == ["rollback"]
            && self.installation.snapshot()?.comparable() == self.after.comparable()
        {
            return Ok(());
        }
        self.installation.must(self.command).context("again")?;
        let found = self.installation.snapshot()?;
        ensure!(found.leftovers().is_empty(), "left: {:?}", found.leftovers());
        ensure!(found.backups() <= self.after.backups(), "{} backups", found.backups());
        match self.after.comparable().difference(&found.comparable()) {
            Some(difference) => anyhow::bail!("the second run arrives elsewhere: {difference}"),
            None => Ok(()),
        }
    }

    /// The oracle, whatever has happened.
    fn check_state(&self) -> Result<()> {
        let found = self.installation.snapshot()?;
        let daemon_json = found.file("etc/daemon.json");
        let good = [&self.before, &self.after].map(|snapshot| snapshot.file("etc/daemon.json"));
        ensure!(good.contains(&daemon_json), "daemon.json is {daemon_json:?}");
        let current = self.installation.prefix().join("current");
        if current.is_symlink() {
            self.installation.must(&["verify"]).context("what is active is not whole")?;
        } else {
            let had_one = self.before.0.contains_key(std::path::Path::new("lib/runq/current"));
            ensure!(!had_one || self.command == ["uninstall"], "nothing is active any more");
            let named = String::from_utf8_lossy(daemon_json.unwrap_or_default()).contains("lib/runq/runq");
            ensure!(!named, "daemon.json names what is not there");
        }
        Ok(())
    }

    /// Tries the faults at all points, or at some.
    fn all(&self, faults: &[Fault], stride: usize) -> Result<()> {
        for (index, point) in self.points.iter().enumerate() {
            if index % stride == 0 || everything() {
                for fault in faults {
                    self.suffer(point, *fault).with_context(|| format!("{fault:?} at {}", point.shown))?;
                }
            }
        }
        let (missed, points) = (self.missed.get(), self.points.len());
        ensure!(missed * 5 < points, "{missed} of {points} points were not reached");
        Ok(())
    }
}

fn everything() -> bool {
    std::env::var("RUNQ_TEST_FAULTS").is_ok_and(|value| value == "all")
}

const ERRORS: [Fault; 2] = [Fault::Error("ENOSPC"), Fault::Error("EIO")];

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_first_install_survives_its_death_at_any_point() -> Result<()> {
    Trial::new(&FRESH)?.all(&[Fault::Kill], 2)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn an_upgrade_survives_its_death_at_any_point() -> Result<()> {
    Trial::new(&UPGRADE)?.all(&[Fault::Kill], 2)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_rollback_survives_its_death_at_any_point() -> Result<()> {
    Trial::new(&ROLLBACK)?.all(&[Fault::Kill], 2)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn garbage_collection_survives_its_death_at_any_point() -> Result<()> {
    Trial::new(&GC)?.all(&[Fault::Kill], 4)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn an_uninstall_survives_its_death_at_any_point() -> Result<()> {
    Trial::new(&UNINSTALL)?.all(&[Fault::Kill], 4)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_full_or_broken_disk_breaks_nothing() -> Result<()> {
    for scenario in [FRESH, UPGRADE] {
        Trial::new(&scenario)?.all(&ERRORS, 10)?;
    }
    if everything() {
        for scenario in [ROLLBACK, GC, UNINSTALL] {
            Trial::new(&scenario)?.all(&ERRORS, 1)?;
        }
    }
    Ok(())
}
