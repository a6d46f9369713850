//! Registers the runtime with Docker and takes it out again: daemon.json, reload, confirmation, and the way back when
//! dockerd refuses. Runs on the host; everything is looked at before anything is changed.

use crate::cli::Docker;
use crate::docker_config::{
    ConfigFile, RuntimeEntry, default_runtime, remove_runtime, runtime_entry, set_default_runtime,
    set_runtime,
};
use crate::docker_daemon::{Daemon, Wanted, installed_program, validate};
use crate::receipt::{DockerReceipt, ReplacedDefault};
use crate::report::Report;
use anyhow::{Context, Error, Result};
use std::path::Path;

/// The runtime that dockerd has built in, and takes when nobody names one.
const BUILT_IN: &str = "runc";

/// An edit of daemon.json that is decided and not yet made.
pub(crate) struct Registration {
    file: ConfigFile,
    /// `None` is no file.
    before: Option<String>,
    /// The texts that the file gets, one after the other; dockerd takes each before the next is written.
    stages: Vec<Stage>,
    replaced_default: Option<ReplacedDefault>,
    daemon: DaemonState,
}

/// A text, and what dockerd knows when it has read it.
struct Stage {
    text: Option<String>,
    wanted: Wanted,
}

enum DaemonState {
    LeftAlone,
    NotRunning,
    Running(Daemon),
}

/// Whether the entry that a receipt speaks of is there and still ours.
pub(crate) fn is_registered(receipt: &DockerReceipt) -> bool {
    let Ok(file) = ConfigFile::read(&receipt.daemon_json) else { return false };
    is_ours(file.text().unwrap_or_default(), receipt).unwrap_or(false)
}

fn is_ours(text: &str, receipt: &DockerReceipt) -> Result<bool> {
    Ok(runtime_entry(text, &receipt.name)?.is_some_and(|entry| entry.path == receipt.path))
}

impl Registration {
    /// Decides how the entry gets into the file, and whether it becomes the default.
    pub(crate) fn add(
        daemon_json: &Path,
        name: &str,
        entry: &RuntimeEntry,
        set_default: bool,
        docker: &Docker,
    ) -> Result<Self> {
        Self::prepare(daemon_json, docker, |text, _| {
            let text = text.unwrap_or_default();
            let mut after = set_runtime(text, name, entry)?;
            let default = default_runtime(text)?;
            let replaced = (set_default && default.as_deref() != Some(name))
                .then_some(ReplacedDefault { name: default });
            if set_default {
                after = set_default_runtime(&after, Some(name))?;
            }
            Ok((vec![stage(Some(after), name, set_default.then(|| name.to_owned()))?], replaced))
        })
    }

    /// Decides how the entry gets out of the file, and the default that it has replaced back in. One with another path has
    /// become somebody else's and stays.
    pub(crate) fn remove(receipt: &DockerReceipt, docker: &Docker) -> Result<Self> {
        Self::prepare(&receipt.daemon_json, docker, |text, daemon| {
            let name = &receipt.name;
            let Some(text) = text else { return Ok((vec![stage(None, name, None)?], None)) };
            if !is_ours(text, receipt)? {
                return Ok((vec![stage(Some(text.to_owned()), name, None)?], None));
            }
            let mut stages = Vec::new();
            let mut after = text.to_owned();
            let mut default = None;
            if default_runtime(text)?.as_ref() == Some(name)
                && let Some(replaced) = &receipt.replaced_default
            {
                after = set_default_runtime(text, replaced.name.as_deref())?;
                default = Some(replaced.name.clone().unwrap_or_else(|| BUILT_IN.to_owned()));
                // dockerd keeps the old default on reload when the new text names none.
                if replaced.name.is_none() && matches!(daemon, DaemonState::Running(_)) {
                    let explicit = set_default_runtime(text, Some(BUILT_IN))?;
                    stages.push(stage(Some(explicit), name, default.clone())?);
                }
            }
            stages.push(stage(Some(remove_runtime(&after, name)?), name, default)?);
            Ok((stages, None))
        })
    }

    fn prepare(
        daemon_json: &Path,
        docker: &Docker,
        edit: impl FnOnce(Option<&str>, &DaemonState) -> Result<(Vec<Stage>, Option<ReplacedDefault>)>,
    ) -> Result<Self> {
        let file = ConfigFile::read(daemon_json)?;
        let daemon = if docker.no_reload {
            DaemonState::LeftAlone
        } else {
            match Daemon::find(docker.host())? {
                None => DaemonState::NotRunning,
                Some(daemon) => {
                    daemon.check_config_file(file.path())?;
                    DaemonState::Running(daemon)
                }
            }
        };
        let before = file.text().map(str::to_owned);
        let (stages, replaced_default) =
            edit(file.text(), &daemon).with_context(|| format!("cannot edit {}", file.path().display()))?;
        let registration = Self { file, before, stages, replaced_default, daemon };
        if registration.is_change() {
            registration.file.check_replaceable()?;
        }
        Ok(registration)
    }

    /// The default runtime that makes way.
    pub(crate) fn replaced_default(&self) -> Option<&ReplacedDefault> {
        self.replaced_default.as_ref()
    }

    fn is_change(&self) -> bool {
        self.stages.last().is_some_and(|last| last.text != self.before)
    }

    /// What would change, for people; `None` when the file is as it should be.
    pub(crate) fn change(&self) -> Option<String> {
        let last = self.stages.last().filter(|_| self.is_change())?;
        let verb = if last.wanted.entry.is_some() { "set" } else { "remove" };
        let default = last.wanted.default.as_ref().map(|default| format!(", default runtime is {default}"));
        let (name, path) = (&last.wanted.name, self.file.path().display());
        Some(format!("{verb} runtime {name} in {path}{}", default.unwrap_or_default()))
    }

    /// The change as `diff -u` shows it.
    pub(crate) fn diff(&self) -> Option<String> {
        let before = self.before.as_deref().unwrap_or_default();
        let after = self.stages.last().and_then(|last| last.text.as_deref()).unwrap_or_default();
        let name = self.file.path().display().to_string();
        let diff = similar::TextDiff::from_lines(before, after);
        (before != after).then(|| diff.unified_diff().header(&name, &name).to_string())
    }

    /// Says what would be done. Of several entries the last difference is shown; each is from the file as it is.
    pub(crate) fn show(&self, report: &mut Report) {
        report.changes.extend(self.change());
        report.diff = self.diff().or(report.diff.take());
    }

    /// Writes the file, has dockerd read it, and confirms that it did. When dockerd does not take it, the file gets
    /// its old text again.
    pub(crate) fn apply(mut self, report: &mut Report) -> Result<()> {
        let change = self.change();
        if change.is_some() {
            self.validate()?;
        }
        for position in 0..self.stages.len() {
            self.apply_stage(position, report)?;
        }
        match &self.daemon {
            DaemonState::LeftAlone if change.is_some() => {
                report.notes.push("dockerd was not told: it reads daemon.json when it is reloaded".into());
            }
            DaemonState::LeftAlone => {}
            DaemonState::NotRunning => {
                report.notes.push("dockerd is not running: it reads daemon.json when it starts".into());
            }
            DaemonState::Running(_) => report.facts.push(("docker", "confirmed by dockerd".into())),
        }
        Ok(())
    }

    fn apply_stage(&mut self, position: usize, report: &mut Report) -> Result<()> {
        let Some(Stage { text, wanted }) = self.stages.get(position) else { return Ok(()) };
        let changes = self.file.text() != text.as_deref();
        let backup = self.file.replace(text.as_deref())?;
        if position == 0 {
            report.facts.extend(backup.map(|backup| ("backup", backup.display().to_string())));
        }
        if position + 1 == self.stages.len() {
            report.changes.extend(self.change());
        }
        let DaemonState::Running(daemon) = &self.daemon else { return Ok(()) };
        if changes || !daemon.knows(wanted)? {
            if let Err(error) = daemon.reload(wanted) {
                let error = Error::from(error);
                return Err(if self.file.text() != self.before.as_deref() {
                    self.revert(error)
                } else {
                    error
                });
            }
            report.changes.push("reload dockerd".into());
        }
        Ok(())
    }

    /// Asks dockerd itself, where it can tell, before the file is touched.
    fn validate(&self) -> Result<()> {
        let program = match &self.daemon {
            DaemonState::LeftAlone => None,
            DaemonState::NotRunning => installed_program(),
            DaemonState::Running(daemon) => Some(daemon.program()),
        };
        let Some(program) = program else { return Ok(()) };
        for text in self.stages.iter().filter_map(|stage| stage.text.as_deref()) {
            validate(&program, text)?;
        }
        Ok(())
    }

    /// The error, with what became of the file.
    fn revert(&mut self, error: Error) -> Error {
        let path = self.file.path().display().to_string();
        if let Err(second) = self.file.replace(self.before.as_deref()) {
            return error.context(format!("cannot restore {path} ({second})"));
        }
        if let DaemonState::Running(daemon) = &self.daemon
            && let Err(second) = daemon.hang_up()
        {
            return error.context(format!("cannot reload dockerd with the old {path} ({second})"));
        }
        error.context(format!("{path} is as it was before"))
    }
}

fn stage(text: Option<String>, name: &str, default: Option<String>) -> Result<Stage> {
    let entry = runtime_entry(text.as_deref().unwrap_or_default(), name)?;
    Ok(Stage { text, wanted: Wanted { name: name.to_owned(), entry, default } })
}
