//! Containers of our runtimes, running or not. Runs on the host; believes dockerd where it runs, else the files that it has
//! left in its data directory.

use crate::cli::Docker;
use crate::docker_config::{ConfigFile, text_member};
use crate::docker_daemon::{Container, Daemon};
use crate::layout::Layout;
use crate::receipt::DockerReceipt;
use crate::usage;
use anyhow::Result;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where dockerd keeps its containers when nobody says otherwise.
const DEFAULT_DATA_ROOT: &str = "/var/lib/docker";

/// Why nothing is removed.
#[derive(Debug, thiserror::Error)]
#[error("runq is in use: {}", users.join("; "))]
pub(crate) struct InUse {
    pub(crate) users: Vec<String>,
}

/// Whoever uses the tree: containers of our runtimes, else whatever has a version mounted, or names it.
pub(crate) fn users(layout: &Layout, entries: &[DockerReceipt], docker: &Docker) -> Result<Vec<String>> {
    let containers = containers(entries, docker)?;
    if !containers.is_empty() {
        // What else would be found belongs to them, and has no other name.
        return Ok(containers);
    }
    let found = usage::find(layout, &crate::installed::all(layout)?)?;
    Ok(found.iter().map(|(id, user)| format!("version {id} is used by {user}")).collect())
}

/// Containers of these runtimes, for people.
pub(crate) fn containers(entries: &[DockerReceipt], docker: &Docker) -> Result<Vec<String>> {
    // With --no-reload dockerd is none of our business; --docker-host may not even name one.
    if docker.no_reload || entries.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let daemon = Daemon::find(docker.host())?;
    for entry in entries {
        found.extend(match &daemon {
            Some(daemon) => daemon.containers_of(&entry.name)?,
            None => of_stopped_daemon(entry),
        });
    }
    Ok(found.iter().map(|Container { name, state }| format!("container {name} ({state})")).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    runtime: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfig {
    name: String,
}

/// Containers that wait for dockerd to be started again. What cannot be read is not dockerd's.
fn of_stopped_daemon(entry: &DockerReceipt) -> Vec<Container> {
    let directories = data_root(&entry.daemon_json).join("containers").read_dir();
    directories
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|item| {
            let host: HostConfig = read(&item.path().join("hostconfig.json"))?;
            let name = read(&item.path().join("config.v2.json")).map_or_else(
                || item.file_name().to_string_lossy().into_owned(),
                |config: ContainerConfig| config.name,
            );
            let name = name.trim_start_matches('/').to_owned();
            (host.runtime == entry.name).then(|| Container { name, state: "dockerd is stopped".into() })
        })
        .collect()
}

fn data_root(daemon_json: &Path) -> PathBuf {
    let file = ConfigFile::read(daemon_json).ok();
    let named = file.and_then(|file| text_member(file.text().unwrap_or_default(), "data-root").ok()?);
    named.map_or_else(|| DEFAULT_DATA_ROOT.into(), PathBuf::from)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use crate::test_host::Host;
    use std::fs;

    #[test]
    fn containers_of_a_dockerd_that_is_stopped_are_in_the_way() {
        let host = Host::new();
        let root = host.path("docker");
        fs::write(host.path("daemon.json"), format!("{{\"data-root\": {root:?}}}")).unwrap();
        host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap();
        for (id, runtime) in [("1", "runc"), ("2", "runq")] {
            let directory = root.join("containers").join(id);
            fs::create_dir_all(&directory).unwrap();
            fs::write(
                directory.join("hostconfig.json"),
                format!("{{\"Runtime\":\"{runtime}\",\"Memory\":0}}"),
            )
            .unwrap();
            fs::write(directory.join("config.v2.json"), format!("{{\"Name\":\"/c{id}\"}}")).unwrap();
        }
        let line = "uninstall --prefix DIR/prefix --docker-host unix:///nonexistent/d.sock";
        let error = host.run(line).unwrap_err();
        assert_eq!(error.to_string(), "runq is in use: container c2 (dockerd is stopped)");
        assert_eq!(crate::exit::of_error(&error), 5);
        let report = host.run(&format!("{line} --force --dry-run")).unwrap();
        assert!(report.diff.is_some() && host.prefix("current").exists());
        let report = host.run(&format!("{line} --force")).unwrap();
        assert!(
            report.notes[0].starts_with("container c2 (dockerd is stopped): it cannot be started"),
            "{report:?}"
        );
        assert!(!host.path("prefix").exists());
    }
}
