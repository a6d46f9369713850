//! The real registry, `docker-registry`, on a free port of this machine, empty, for the length of a test. On the host; spoken to without TLS.

use crate::command;
use anyhow::{Context, Result};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A registry that ends when this value goes.
pub struct Registry {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Registry {
    /// Starts it.
    ///
    /// # Errors
    /// When the program is not installed, or does not come up in time.
    pub fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        // Between here and the start somebody else may take the port: then the registry ends, and says so.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = directory.path().join("config.yml");
        let storage = directory.path().join("storage").display().to_string();
        fs_err::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {storage}}}, delete: {{enabled: true}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n"
            ),
        )?;
        let log = fs_err::File::create(directory.path().join("log"))?.into_parts().0;
        let mut serve = Command::new("docker-registry");
        serve.arg("serve").arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = serve.spawn().context("cannot start docker-registry: run `make deps`")?;
        let registry = Self { process, port, _directory: directory };
        let answers = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        command::wait_until("docker-registry", Duration::from_secs(60), answers)?;
        Ok(registry)
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
