//! What `down` has to know about the host as it was before `up`: kept in `state.json` of the sandbox.

use super::Slot;
use crate::docker_release::DockerRelease;
use crate::firewall::Firewall;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

/// Directories that dockerd and containerd make outside of all directories that they are told.
const STRAY_DIRS: [&str; 7] = [
    "/run/containerd/s",
    "/run/containerd",
    "/run/docker/plugins",
    "/run/docker",
    "/etc/docker",
    "/opt/containerd",
    "/var/lib/docker",
];

/// A file that older versions of dockerd write there.
const STRAY_FILE: &str = "/etc/docker/key.json";

/// The host before the sandbox, and the sandbox's slot on it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) slot: Slot,
    pub(super) firewall: Firewall,
    /// The daemons, when they are not the host's own.
    pub(super) release: Option<DockerRelease>,
    /// Stray files and directories that did not exist.
    absent: Vec<String>,
}

impl State {
    pub(super) fn new(slot: Slot, release: Option<DockerRelease>) -> Result<Self> {
        let strays = STRAY_DIRS.iter().chain([&STRAY_FILE]);
        let absent = strays.filter(|path| !Path::new(path).exists()).map(|path| (*path).to_owned()).collect();
        Ok(Self { slot, firewall: Firewall::now()?, release, absent })
    }

    pub(super) fn load(file: &Path) -> Result<Option<Self>> {
        let text = match fs_err::read(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let value: Value =
            serde_json::from_slice(&text).with_context(|| format!("cannot parse {}", file.display()))?;
        let slot = value["slot"].as_u64().and_then(|slot| u8::try_from(slot).ok()).map(Slot);
        let texts = |value: &Value| Some(value.as_str()?.to_owned());
        let absent = value["absent"].as_array().and_then(|paths| paths.iter().map(texts).collect());
        let (slot, absent) = slot.zip(absent).with_context(|| format!("malformed {}", file.display()))?;
        let release = value["docker_root"].as_str().map(|root| DockerRelease::at(root.into()));
        Ok(Some(Self { slot, firewall: Firewall::from_json(&value["firewall"])?, release, absent }))
    }

    pub(super) fn save(&self, file: &Path) -> Result<()> {
        let value = json!({
            "slot": self.slot.0,
            "firewall": self.firewall.to_json(),
            "docker_root": self.release.as_ref().map(DockerRelease::root),
            "absent": self.absent,
        });
        Ok(fs_err::write(file, value.to_string())?)
    }

    /// Removes the stray file and the stray directories that came since and are empty.
    pub(super) fn remove_strays(&self) -> Result<()> {
        let came = |path: &str| self.absent.iter().any(|absent| absent == path) && Path::new(path).exists();
        if came(STRAY_FILE) {
            fs_err::remove_file(STRAY_FILE)?;
        }
        for dir in STRAY_DIRS.into_iter().filter(|dir| came(dir)) {
            if fs_err::read_dir(dir)?.next().is_none() {
                fs_err::remove_dir(dir)?;
            }
        }
        Ok(())
    }
}
