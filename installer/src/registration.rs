//! Registers the runtime with Docker and takes it out again: daemon.json, reload, confirmation, and the way back when
//! dockerd refuses. Runs on the host; everything is looked at before anything is changed.

use crate::cli::Docker;
use crate::docker_config::{ConfigFile, RuntimeEntry, remove_runtime, runtime_entry, set_runtime};
use crate::docker_daemon::Daemon;
use crate::receipt::DockerReceipt;
use crate::report::Report;
use anyhow::{Context, Error, Result};
use std::path::Path;

/// An edit of daemon.json that is decided and not yet made.
pub(crate) struct Registration {
    file: ConfigFile,
    name: String,
    /// Texts; `None` is no file.
    before: Option<String>,
    after: Option<String>,
    /// The entry that dockerd should know in the end.
    wanted: Option<RuntimeEntry>,
    daemon: DaemonState,
}

/// Whether the entry that a receipt speaks of is there and still ours.
pub(crate) fn is_registered(receipt: &DockerReceipt) -> bool {
    let Ok(file) = ConfigFile::read(&receipt.daemon_json) else { return false };
    runtime_entry(file.text().unwrap_or_default(), &receipt.name)
        .is_ok_and(|entry| entry.is_some_and(|entry| entry.path == receipt.path))
}

enum DaemonState {
    LeftAlone,
    NotRunning,
    Running(Daemon),
}

impl Registration {
    /// Decides how the entry gets into the file.
    pub(crate) fn add(daemon_json: &Path, name: &str, entry: &RuntimeEntry, docker: &Docker) -> Result<Self> {
        Self::prepare(daemon_json, name, docker, |text| {
            Ok(Some(set_runtime(text.unwrap_or_default(), name, entry)?))
        })
    }

    /// Decides how the entry gets out of the file. One with another path has become somebody else's and stays.
    pub(crate) fn remove(daemon_json: &Path, name: &str, path: &str, docker: &Docker) -> Result<Self> {
        Self::prepare(daemon_json, name, docker, |text| {
            let Some(text) = text else { return Ok(None) };
            let ours = runtime_entry(text, name)?.is_some_and(|entry| entry.path == path);
            Ok(Some(if ours { remove_runtime(text, name)? } else { text.to_owned() }))
        })
    }

    fn prepare(
        daemon_json: &Path,
        name: &str,
        docker: &Docker,
        edit: impl FnOnce(Option<&str>) -> Result<Option<String>>,
    ) -> Result<Self> {
        let file = ConfigFile::read(daemon_json)?;
        let before = file.text().map(str::to_owned);
        let after = edit(file.text()).with_context(|| format!("cannot edit {}", file.path().display()))?;
        if before != after {
            file.check_replaceable()?;
        }
        let wanted = runtime_entry(after.as_deref().unwrap_or_default(), name)?;
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
        Ok(Self { file, name: name.to_owned(), before, after, wanted, daemon })
    }

    /// What would change, for people; `None` when the file is as it should be.
    pub(crate) fn change(&self) -> Option<String> {
        let verb = match (&self.wanted, self.before == self.after) {
            (_, true) => return None,
            (Some(_), _) => "set",
            (None, _) => "remove",
        };
        Some(format!("{verb} runtime {} in {}", self.name, self.file.path().display()))
    }

    /// The change as `diff -u` shows it.
    pub(crate) fn diff(&self) -> Option<String> {
        let (before, after) =
            (self.before.as_deref().unwrap_or_default(), self.after.as_deref().unwrap_or_default());
        let name = self.file.path().display().to_string();
        let diff = similar::TextDiff::from_lines(before, after);
        (before != after).then(|| diff.unified_diff().header(&name, &name).to_string())
    }

    /// Writes the file, has dockerd read it, and confirms that it did. When dockerd does not take it, the file gets
    /// its old text again.
    pub(crate) fn apply(mut self, report: &mut Report) -> Result<()> {
        let change = self.change();
        let backup = self.file.replace(self.after.as_deref())?;
        report.changes.extend(change.clone());
        report.facts.extend(backup.map(|backup| ("backup", backup.display().to_string())));
        match &self.daemon {
            DaemonState::LeftAlone => {
                if change.is_some() {
                    report
                        .notes
                        .push("dockerd was not told: it reads daemon.json when it is reloaded".into());
                }
            }
            DaemonState::NotRunning => {
                report.notes.push("dockerd is not running: it reads daemon.json when it starts".into());
            }
            DaemonState::Running(daemon) => {
                if change.is_some() || !daemon.knows(&self.name, self.wanted.as_ref())? {
                    if let Err(error) = daemon.reload(&self.name, self.wanted.as_ref()) {
                        let error = Error::from(error);
                        return Err(if change.is_some() { self.revert(error) } else { error });
                    }
                    report.changes.push("reload dockerd".into());
                }
                report.facts.push(("docker", "confirmed by dockerd".into()));
            }
        }
        Ok(())
    }

    /// The error, with what became of the file.
    fn revert(mut self, error: Error) -> Error {
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
