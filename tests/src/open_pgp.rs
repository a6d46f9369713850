//! OpenPGP keys of archives that the tests make, by GnuPG: another implementation than the one under test. On the host,
//! in a directory of its own.

use crate::command;
use anyhow::{Context, Result};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);

/// A GnuPG home directory; it and its agent end with this value.
pub struct Keyring {
    // Below /tmp: the path of the agent's socket must not have more than 108 bytes.
    home: TempDir,
}

impl Keyring {
    /// Without keys.
    ///
    /// # Errors
    /// When there is no place for temporary files.
    pub fn new() -> Result<Self> {
        Ok(Self { home: tempfile::Builder::new().prefix("runq-pgp-").tempdir()? })
    }

    /// Makes a signing key that was made at `time` (`20200101T000000`; empty: now) and expires after `lifetime` (`1y`,
    /// `never`), and gives its fingerprint.
    ///
    /// # Errors
    /// When GnuPG fails.
    pub fn generate(&self, user: &str, time: &str, lifetime: &str) -> Result<String> {
        let mut generate = self.gpg(time);
        generate.args(["--passphrase", "", "--quick-generate-key", user, "rsa2048", "sign", lifetime]);
        command::output(&mut generate, LIMIT)?;
        let listing = command::output(self.gpg("").args(["--with-colons", "--list-keys", user]), LIMIT)?;
        let line = listing.lines().find(|line| line.starts_with("fpr:")).context("no key was made")?;
        Ok(line.split(':').nth(9).context("no fingerprint")?.to_owned())
    }

    /// Revokes a key with the certificate that GnuPG made together with it.
    ///
    /// # Errors
    /// When GnuPG fails.
    pub fn revoke(&self, fingerprint: &str) -> Result<()> {
        let certificate = self.home.path().join(format!("openpgp-revocs.d/{fingerprint}.rev"));
        // A colon guards against use by accident.
        let text = fs_err::read_to_string(certificate)?.replace(":-----BEGIN", "-----BEGIN");
        let finished = command::run(self.gpg("").arg("--import"), text.as_bytes(), LIMIT)?;
        anyhow::ensure!(finished.code == 0, "cannot revoke {fingerprint}: {}", finished.stderr_text());
        Ok(())
    }

    /// The public key, armored.
    ///
    /// # Errors
    /// When there is none.
    pub fn public_key(&self, fingerprint: &str) -> Result<String> {
        command::output(self.gpg("").args(["--armor", "--export", fingerprint]), LIMIT)
    }

    /// `text`, clear-signed at `time` (empty: now) with this digest.
    ///
    /// # Errors
    /// When GnuPG fails.
    pub fn clear_sign(&self, text: &str, signer: &Signer<'_>) -> Result<String> {
        let mut sign = self.gpg(signer.time);
        sign.args(["--digest-algo", signer.digest, "--local-user", signer.fingerprint, "--clear-sign"]);
        let finished = command::run(&mut sign, text.as_bytes(), LIMIT)?;
        anyhow::ensure!(finished.code == 0, "cannot sign: {}", finished.stderr_text());
        Ok(String::from_utf8(finished.stdout)?)
    }

    fn gpg(&self, time: &str) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(self.home.path());
        gpg.args(["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback"]);
        if !time.is_empty() {
            gpg.arg(format!("--faked-system-time={time}!"));
        }
        gpg
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        end.arg("--homedir").arg(self.home.path()).args(["--kill", "all"]);
        // The agent also ends by itself when its directory is gone.
        drop(command::run(&mut end, &[], LIMIT));
    }
}

/// Who signs, and how.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    /// Of a key of the ring.
    pub fingerprint: &'a str,
    /// `20200101T000000`; empty: now.
    pub time: &'a str,
    /// `SHA512`.
    pub digest: &'a str,
}

impl<'a> Signer<'a> {
    /// Now, and as archives do it.
    #[must_use]
    pub fn now(fingerprint: &'a str) -> Self {
        Self { fingerprint, time: "", digest: "SHA512" }
    }
}
