//! A further runtime of the sandbox's Docker: runq with settings of the admin's. On the host as root, in a test that has the
//! host for itself, because it changes daemon.json.

use crate::command;
use crate::docker::LIMIT;
use crate::sandbox::Sandbox;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Registered until this value goes.
pub struct Runtime {
    /// For `docker run --runtime`.
    pub name: String,
    daemon_json: PathBuf,
    before: String,
    dockerd: Pid,
}

impl Runtime {
    /// Registers it with further runtimeArgs than the sandbox's own has, and waits until Docker knows it.
    ///
    /// # Errors
    /// When daemon.json is not the sandbox's, or Docker does not take it.
    pub fn with(sandbox: &Sandbox, args: &[&str]) -> Result<Self> {
        let daemon_json = sandbox.daemon_json();
        let before = fs_err::read_to_string(&daemon_json)?;
        let pid = sandbox.dockerd().pid().and_then(Pid::from_raw).context("dockerd does not run")?;
        let mut settings: Value = serde_json::from_str(&before)?;
        let mut entry = settings["runtimes"]["runq"].clone();
        let list = entry["runtimeArgs"].as_array_mut().context("runq has no runtimeArgs")?;
        list.extend(args.iter().map(|arg| json!(arg)));
        let name = crate::bed::unique_name();
        settings["runtimes"][&name] = entry;
        let runtime = Self { name, daemon_json, before, dockerd: pid };
        runtime.write(&settings.to_string())?;
        let docker = sandbox.docker();
        command::wait_until("Docker to know the runtime", LIMIT, || {
            docker
                .output(&["info", "--format", "{{json .Runtimes}}"])
                .is_ok_and(|known| known.contains(&runtime.name))
        })?;
        Ok(runtime)
    }

    fn write(&self, text: &str) -> Result<()> {
        fs_err::write(&self.daemon_json, text)?;
        kill_process(self.dockerd, Signal::HUP).context("cannot make dockerd read daemon.json")
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // A failure here would hide the one that ended the test.
        self.write(&self.before).ok();
    }
}
