//! A command of the installer that something goes wrong with, and what has to hold afterwards: what is active is whole,
//! daemon.json is the old or the new one, and the same command again arrives at the end. On the host.

use crate::installation::{Installation, Snapshot};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

/// Words of a command line, as [`Installation::command`] takes them.
pub type Words = &'static [&'static str];

/// A command, and what was done before it.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Done before, each to its end.
    pub before: &'static [Words],
    /// What is tried.
    pub command: Words,
}

/// The first version.
pub const FRESH: Scenario = Scenario { before: &[], command: &["install", "1.0.0"] };
/// The next, with other settings.
pub const UPGRADE: Scenario = Scenario {
    before: &[&["install", "1.0.0"]],
    command: &["install", "1.1.0", "--runtime-arg", "--accel", "--runtime-arg", "tcg"],
};
/// And back.
pub const ROLLBACK: Scenario =
    Scenario { before: &[&["install", "1.0.0"], &["install", "1.1.0"]], command: &["rollback"] };
/// Without the version before.
pub const GC: Scenario =
    Scenario { before: &[&["install", "1.0.0"], &["install", "1.1.0"]], command: &["gc", "--all"] };
/// All of it.
pub const UNINSTALL: Scenario = Scenario { before: &[&["install", "1.0.0"]], command: &["uninstall"] };

/// One scenario in a world of its own.
pub struct Trial {
    /// Where it happens.
    pub installation: Installation,
    /// The world before the command.
    pub before: Snapshot,
    /// And after it.
    pub after: Snapshot,
    command: Words,
}

impl Trial {
    /// Prepares the world; `run` then runs the command undisturbed, and what it learns is returned.
    ///
    /// # Errors
    /// When a command fails, or changes nothing.
    pub fn new<T>(
        scenario: &Scenario,
        run: impl FnOnce(&Installation, &Command) -> Result<T>,
    ) -> Result<(Self, T)> {
        let installation = Installation::new()?;
        for words in scenario.before {
            installation.must(words)?;
        }
        let before = installation.snapshot()?;
        let learned = run(&installation, &installation.command(scenario.command))?;
        let after = installation.snapshot()?;
        ensure!(before.comparable() != after.comparable(), "{:?} changes nothing", scenario.command);
        Ok((Self { installation, before, after, command: scenario.command }, learned))
    }

    /// The command.
    #[must_use]
    pub fn command(&self) -> Command {
        self.installation.command(self.command)
    }

    /// All that has to hold of the world as it is now.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self) -> Result<()> {
        self.check_state().context("right after it")?;
        // A rollback that was complete but for the last flush would go forth again.
        if self.command.first() == Some(&"rollback")
            && self.installation.snapshot()?.comparable() == self.after.comparable()
        {
            return Ok(());
        }
        self.installation.must(self.command).context("again")?;
        let found = self.installation.snapshot()?;
        ensure!(found.leftovers().is_empty(), "left: {:?}", found.leftovers());
        ensure!(found.backups() <= self.after.backups(), "{} backups", found.backups());
        match self.after.comparable().difference(&found.comparable()) {
            Some(difference) => bail!("the second run arrives elsewhere: {difference}"),
            None => Ok(()),
        }
    }

    fn check_state(&self) -> Result<()> {
        let found = self.installation.snapshot()?;
        let daemon_json = found.file("etc/daemon.json");
        let good = [&self.before, &self.after].map(|snapshot| snapshot.file("etc/daemon.json"));
        ensure!(good.contains(&daemon_json), "daemon.json is {daemon_json:?}");
        let current = self.installation.prefix().join("current");
        if current.is_symlink() {
            self.installation.must(&["verify"]).context("what is active is not whole")?;
        } else {
            let had_one = self.before.0.contains_key(Path::new("lib/runq/current"));
            ensure!(!had_one || self.command == ["uninstall"], "nothing is active any more");
            let named = String::from_utf8_lossy(daemon_json.unwrap_or_default()).contains("lib/runq/runq");
            ensure!(!named, "daemon.json names what is not there");
        }
        Ok(())
    }
}

/// Whether every point is tried, and not only some: `RUNQ_TEST_FAULTS=all`.
#[must_use]
pub fn everything() -> bool {
    std::env::var("RUNQ_TEST_FAULTS").is_ok_and(|value| value == "all")
}
