//! A container registry on loopback: Debian's docker-registry with a directory and a port of its own. On the host; ends
//! with its value.

use crate::command;
use crate::https_server::{Certificates, certificates};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
/// `htpasswd -Bbn runq secret`.
const HTPASSWD: &str = "runq:$2b$05$to2.CjB1dLNtc068XkFmIuqwvYH8./acACQbmYzeVBTfR9z6xOmie\n";

/// A registry that runs.
pub struct Registry {
    process: Child,
    host: String,
    port: u16,
    dir: TempDir,
    ca_file: Option<PathBuf>,
}

impl Registry {
    /// Starts one that serves everybody.
    ///
    /// # Errors
    /// When docker-registry is not installed or does not come up.
    pub fn start() -> Result<Self> {
        Self::serve("127.0.0.1", false, false)
    }

    /// Starts one that serves the user `runq` alone, whose password is `secret`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_password() -> Result<Self> {
        Self::serve("127.0.0.1", true, false)
    }

    /// The same with TLS, for clients that know this machine as `host`.
    ///
    /// # Errors
    /// As [`Self::start`], and when openssl fails.
    pub fn start_with_tls_and_password(host: &str) -> Result<Self> {
        Self::serve(host, true, true)
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The authority of its certificate, if it has one.
    #[must_use]
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.ca_file.clone()
    }

    fn serve(host: &str, with_password: bool, with_tls: bool) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        // Another program may take the port before the registry does; then the registry says so in its log.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let path = dir.path().display();
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {path}/storage\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n"
        );
        let mut ca_file = None;
        if with_tls {
            let Certificates { certificate, key, ca_file: file } = certificates(dir.path())?;
            let (certificate, key) = (certificate.display(), key.display());
            config += &format!("  tls:\n    certificate: {certificate}\n    key: {key}\n");
            ca_file = Some(file);
        }
        if with_password {
            fs_err::write(dir.path().join("htpasswd"), HTPASSWD)?;
            config += &format!("auth:\n  htpasswd:\n    realm: runq\n    path: {path}/htpasswd\n");
        }
        fs_err::write(dir.path().join("config.yml"), config)?;
        let log = fs_err::File::create(dir.path().join("log"))?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.file().try_clone()?)
            .stderr(log.into_file())
            .spawn()
            .context("cannot start docker-registry: run `make deps`")?;
        let registry = Self { process, host: host.to_owned(), port, dir, ca_file };
        let is_up = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        command::wait_until("docker-registry", LIMIT, is_up)
            .with_context(|| fs_err::read_to_string(registry.dir.path().join("log")).unwrap_or_default())?;
        Ok(registry)
    }

    /// The name of an image in it.
    #[must_use]
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address())
    }

    /// Pushes all architectures of an OCI layout.
    ///
    /// # Errors
    /// When skopeo fails.
    pub fn push(&self, layout: &Path, image: &str) -> Result<()> {
        let mut push = Command::new("skopeo");
        push.args([
            "--insecure-policy",
            "copy",
            "--all",
            "--dest-tls-verify=false",
            "--dest-creds=runq:secret",
        ]);
        push.arg(format!("oci:{}", layout.display())).arg(format!("docker://{}", self.name(image)));
        command::output(&mut push, LIMIT).map(drop)
    }

    /// The digest that a tag stands for: that of the index.
    ///
    /// # Errors
    /// When skopeo fails.
    pub fn digest(&self, image: &str) -> Result<String> {
        let mut inspect = Command::new("skopeo");
        inspect.args(["inspect", "--raw", "--tls-verify=false", "--creds=runq:secret"]);
        inspect.arg(format!("docker://{}", self.name(image)));
        let finished = command::run(&mut inspect, &[], LIMIT)?;
        Ok(format!("sha256:{:x}", Sha256::digest(&finished.stdout)))
    }

    /// A directory for `DOCKER_CONFIG` with these credentials (`user:password`).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn docker_config(&self, credentials: &str) -> Result<TempDir> {
        let dir = tempfile::tempdir()?;
        let finished = command::run(&mut Command::new("base64"), credentials.as_bytes(), LIMIT)?;
        let auth = finished.stdout_text();
        let config = serde_json::json!({ "auths": { self.address(): { "auth": auth } } });
        fs_err::write(dir.path().join("config.json"), config.to_string())?;
        Ok(dir)
    }

    /// Flips a bit in a stored blob.
    ///
    /// # Errors
    /// When the registry has no such blob.
    pub fn corrupt(&self, sha256: &str) -> Result<()> {
        let blobs = self.dir.path().join("storage/docker/registry/v2/blobs/sha256");
        let path = blobs.join(&sha256[..2]).join(sha256).join("data");
        let mut content = fs_err::read(&path)?;
        let middle = content.len() / 2;
        content[middle] ^= 1;
        Ok(fs_err::write(path, content)?)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It keeps nothing that an orderly end would save.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
