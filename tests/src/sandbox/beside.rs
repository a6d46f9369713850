//! A second bundle in the sandbox, as a runtime of its own beside runq. On the host as root.

use super::{LIMIT, Sandbox, runq_install};
use crate::bundle::Bundle;
use crate::{command, workspace};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// An installation that is removed when this value goes.
pub struct Beside {
    sandbox: Sandbox,
    prefix: PathBuf,
    /// Name of the runtime.
    pub runtime: String,
}

impl Sandbox {
    /// Installs a bundle for this machine's architecture, emulated, as runtime `name`.
    ///
    /// # Errors
    /// When runq-install refuses.
    pub fn install_beside(&self, bundle: &Bundle, name: &str) -> Result<Beside> {
        let prefix = self.dir().join("var/lib").join(name);
        let beside = Beside { sandbox: self.clone(), prefix, runtime: name.to_owned() };
        let mut install = runq_install(workspace::ARCH, bundle, &beside.prefix);
        command::output(self.register(&mut install, name, "tcg"), LIMIT)?;
        Ok(beside)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let mut uninstall = Command::new(workspace::dist().join("runq-install"));
        uninstall.arg("uninstall").arg("--prefix").arg(&self.prefix);
        uninstall.arg("--daemon-json").arg(self.sandbox.daemon_json());
        uninstall.args(["--docker-host", &self.sandbox.docker_host()]);
        // `make sandbox-down` removes what is left.
        drop(command::run(&mut uninstall, &[], LIMIT));
    }
}
