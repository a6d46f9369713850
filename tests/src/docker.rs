//! A client of the sandbox's Docker: the ordinary `docker` command. On the host; trusts dockerd.

use crate::command::{self, Finished};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long one command may take: an emulated guest needs seconds to boot, and ten of them share two cores.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Where a Docker daemon listens.
#[derive(Debug, Clone)]
pub struct Docker {
    host: String,
    config: PathBuf,
}

impl Docker {
    /// The daemon at `host` (`unix://…`); `config` replaces the user's own client configuration.
    #[must_use]
    pub fn at(host: String, config: PathBuf) -> Self {
        Self { host, config }
    }

    /// A `docker` command without arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command
            .env("DOCKER_HOST", &self.host)
            .env("DOCKER_CONFIG", &self.config)
            .env_remove("DOCKER_CONTEXT");
        command
    }

    /// A shell in which `docker` is that of this daemon.
    #[must_use]
    pub fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-ec", script]);
        for (name, value) in self.command().get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell
    }

    /// Runs a command to its end, whatever that is.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn run(&self, args: &[&str]) -> Result<Finished> {
        command::run(self.command().args(args), &[], LIMIT)
    }

    /// Runs a command that has to succeed and gives what it prints.
    ///
    /// # Errors
    /// When it fails or does not end in time.
    pub fn output(&self, args: &[&str]) -> Result<String> {
        command::output(self.command().args(args), LIMIT)
    }

    /// Whether the daemon answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let mut version = self.command();
        version.args(["version", "--format", "{{.Server.Version}}"]);
        command::run(&mut version, &[], Duration::from_secs(10)).is_ok_and(|finished| finished.code == 0)
    }
}
