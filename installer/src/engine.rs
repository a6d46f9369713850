//! Other engines than Docker: podman gets a drop-in file of its own, containerd a marked block at the end of its configuration. Each file
//! is replaced as a whole or not at all, and stays as it is, to the byte, outside of what is ours. Runs on the host, as
//! root; trusts neither the files nor that nobody else writes them.

mod containerd;
mod podman;

use crate::cli::{EngineName, Register, Unregister};
use crate::docker_config::ConfigFile;
use crate::installed;
use crate::layout::Layout;
use crate::preflight;
use crate::receipt::{EngineReceipt, Receipt};
use crate::report::Report;
use crate::transaction::{lock, read_receipt, write_receipt};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// An engine's configuration is not edited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("not valid TOML")]
    Syntax(#[source] toml::de::Error),
    #[error("configurations of version {found} are not known, but 2 and 3")]
    Version { found: i64 },
    #[error("the runtime {name} is there already, and not by runq-install")]
    Taken { name: String },
    #[error("the file was not written by runq-install")]
    Foreign,
    #[error("{engine} passes no arguments to a runtime")]
    Arguments { engine: EngineName },
    #[error("the edited text would not mean what was intended")]
    Edit,
}

impl EngineName {
    /// The file that our entry stands in when nobody says otherwise.
    fn default_file(self) -> PathBuf {
        match self {
            Self::Docker => crate::cli::DEFAULT_DAEMON_JSON.into(),
            Self::Podman => "/etc/containers/containers.conf.d/50-runq.conf".into(),
            Self::Containerd => "/etc/containerd/config.toml".into(),
        }
    }

    fn set(self, text: Option<&str>, name: &str, path: &str) -> Result<String, EngineError> {
        match self {
            Self::Podman => podman::set(text, name, path),
            Self::Docker | Self::Containerd => containerd::set(text.unwrap_or_default(), name, path),
        }
    }

    /// `None` when no file is left.
    fn remove(self, text: &str, name: &str) -> Result<Option<String>, EngineError> {
        match self {
            Self::Podman => podman::remove(text, name),
            Self::Docker | Self::Containerd => containerd::remove(text, name),
        }
    }

    /// What the user has to know and may not expect.
    fn note(self) -> &'static str {
        match self {
            Self::Docker => "",
            Self::Podman => "settings go to podman's --runtime-flag, as in --runtime-flag accel=tcg",
            Self::Containerd => {
                "containerd reads its configuration when it is restarted; running containers go on"
            }
        }
    }
}

/// Adds the installed runtime to an engine.
pub(crate) fn register(options: &Register, engine: EngineName) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let path = layout.runtime().display().to_string();
    let name = &options.runtime.name;
    preflight::check_runtime(name, &path, &options.runtime.runtime_args)?;
    ensure!(options.runtime.runtime_args.is_empty(), EngineError::Arguments { engine });
    let id = installed::chosen_or_active(&layout, None)?;
    let _lock = if options.runtime.trial.dry_run { None } else { Some(lock(&layout)?) };
    let receipt = receipt(&layout)?;

    let file = options.config_file.clone().unwrap_or_else(|| engine.default_file());
    let mut config = ConfigFile::read(&std::path::absolute(file)?)?;
    let cannot_edit = || format!("cannot edit {}", config.path().display());
    let text = engine.set(config.text(), name, &path).with_context(cannot_edit)?;
    let entry = EngineReceipt { engine, file: config.path().to_owned(), name: name.clone() };
    let mut wanted = receipt.clone();
    if !wanted.engines.contains(&entry) {
        wanted.engines.push(entry);
    }

    let mut report = Report::new(vec![("version", id), ("prefix", layout.prefix().display().to_string())]);
    if config.text() != Some(&text) {
        config.check_replaceable()?;
        report.changes.push(format!("set runtime {name} in {}", config.path().display()));
        report.notes.push(engine.note().to_owned());
    }
    if options.runtime.trial.dry_run {
        report.diff = difference(&config, Some(&text));
        return Ok(report.of_dry_run());
    }
    // First: an entry that no receipt knows would stay for ever.
    if wanted != receipt {
        write_receipt(&layout, &wanted)?;
    }
    replace(&mut config, engine, Some(&text))?;
    let state =
        if report.changes.is_empty() { "was registered before: nothing to do" } else { "is registered" };
    report.summary = format!("runtime {name} {state} with {engine}");
    Ok(report)
}

/// Takes our entries out of an engine's configuration.
pub(crate) fn unregister(options: &Unregister, engine: EngineName) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let _lock = if options.trial.dry_run { None } else { Some(lock(&layout)?) };
    let receipt = receipt(&layout)?;
    let is_meant = |entry: &EngineReceipt| {
        entry.engine == engine && options.name.as_ref().is_none_or(|name| *name == entry.name)
    };
    let (meant, engines): (Vec<_>, Vec<_>) = receipt.engines.iter().cloned().partition(is_meant);
    let mut report = Report::new(vec![("prefix", layout.prefix().display().to_string())]);
    for entry in &meant {
        remove(entry, options.trial.dry_run, &mut report)?;
    }
    if options.trial.dry_run {
        return Ok(report.of_dry_run());
    }
    if !meant.is_empty() {
        write_receipt(&layout, &Receipt { engines, ..receipt })?;
    }
    let state =
        if meant.is_empty() { "no runtime is registered" } else { "no runtime is registered any more" };
    report.summary = format!("{state} with {engine}");
    Ok(report)
}

/// Whether the entry that a receipt speaks of is there and ours.
pub(crate) fn is_registered(entry: &EngineReceipt) -> bool {
    let Ok(config) = ConfigFile::read(&entry.file) else { return false };
    let after = |text: &str| entry.engine.remove(text, &entry.name).ok();
    config.text().is_some_and(|text| after(text).is_some_and(|after| after.as_deref() != Some(text)))
}

/// Takes one entry out again. One that is not there any more is no error.
pub(crate) fn remove(entry: &EngineReceipt, dry_run: bool, report: &mut Report) -> Result<()> {
    let mut config = ConfigFile::read(&entry.file)?;
    let Some(text) = config.text() else { return Ok(()) };
    let cannot_edit = || format!("cannot edit {}", config.path().display());
    let after = entry.engine.remove(text, &entry.name).with_context(cannot_edit)?;
    if after.as_deref() == Some(text) {
        return Ok(());
    }
    config.check_replaceable()?;
    report.changes.push(format!("remove runtime {} from {}", entry.name, config.path().display()));
    if dry_run {
        report.diff = difference(&config, after.as_deref());
        return Ok(());
    }
    replace(&mut config, entry.engine, after.as_deref())
}

/// A file that is ours as a whole needs no backup.
fn replace(config: &mut ConfigFile, engine: EngineName, text: Option<&str>) -> Result<()> {
    if engine == EngineName::Podman {
        return Ok(config.replace_own(text)?);
    }
    Ok(config.replace(text).map(drop)?)
}

fn difference(config: &ConfigFile, after: Option<&str>) -> Option<String> {
    let (before, after) = (config.text().unwrap_or_default(), after.unwrap_or_default());
    let name = config.path().display().to_string();
    let diff = similar::TextDiff::from_lines(before, after);
    (before != after).then(|| diff.unified_diff().header(&name, &name).to_string())
}

fn receipt(layout: &Layout) -> Result<Receipt> {
    let prefix: &Path = layout.prefix();
    read_receipt(layout)?
        .with_context(|| format!("there is no receipt in {}: adopt the tree first", prefix.display()))
}

#[cfg(test)]
mod tests;
