//! An Ubuntu archive in small: the packages of the Debian bundle, repacked in Ubuntu's layout and signed with a key of
//! the test's own. On the host, served on loopback; trusts the cache of the asset builder, which verified the packages.
//!
//! `ubuntu/` and `ubuntu-ports/` are apart; suites are the release, `-updates` and `-security`, components `main` and
//! `universe`; indices are xz and gz, by hash and by name. QEMU is newer in `-updates` and GnuTLS in `-security` than
//! in the release, whose packages are empty: who takes the wrong one gets no bundle.

mod kernel;
mod pool;
mod suite;

pub use suite::Suite;

use crate::http_server::{Answer, HttpServer};
use crate::open_pgp::{Keyring, Signer};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(300);

/// The release that the archive has.
pub const RELEASE: &str = "noble";

/// The archive, served until this value goes.
pub struct UbuntuArchive {
    /// Where it is served.
    pub server: HttpServer,
    /// Has the key that signs.
    pub keyring: Keyring,
    /// Of the key that the test's recipe pins.
    pub fingerprint: String,
    /// By directory (`ubuntu`, `ubuntu-ports`) and name.
    pub suites: BTreeMap<(String, String), Suite>,
    root: PathBuf,
    recipes: TempDir,
}

impl UbuntuArchive {
    /// Serves the archive with all that it needs in order; the packages are made once and kept in the target directory.
    ///
    /// # Errors
    /// When the Debian bundle is not built, or a package cannot be repacked.
    pub fn serve() -> Result<Self> {
        let root = pool::made()?;
        let keyring = Keyring::new()?;
        let fingerprint = keyring.generate("Test Archive <archive@runq.test>", "", "never")?;
        let suites = suite::read_all(&root)?;
        let recipes = tempfile::tempdir()?;
        let archive = Self { server: HttpServer::start(&root)?, keyring, fingerprint, suites, root, recipes };
        for suite in archive.suites.values() {
            archive.publish(suite)?;
        }
        Ok(archive)
    }

    /// The directory that is served.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The mirror to name on the command line.
    #[must_use]
    pub fn mirror(&self) -> String {
        format!("{}/ubuntu", self.server.url())
    }

    /// A suite of `ubuntu/`, to be changed and published again.
    ///
    /// # Errors
    /// When there is none of the name.
    pub fn suite(&self, name: &str) -> Result<Suite> {
        let key = ("ubuntu".to_owned(), name.to_owned());
        self.suites.get(&key).cloned().with_context(|| format!("no suite {name}"))
    }

    /// Signs a suite and serves it with its indices.
    ///
    /// # Errors
    /// When GnuPG fails.
    pub fn publish(&self, suite: &Suite) -> Result<()> {
        for (path, content) in suite.files()? {
            self.server.answer(&path, [Answer::Body(content)]);
        }
        self.publish_signed(suite, &Signer::now(&self.fingerprint))
    }

    /// Signs a suite like this and serves its InRelease.
    ///
    /// # Errors
    /// When GnuPG fails.
    pub fn publish_signed(&self, suite: &Suite, signer: &Signer<'_>) -> Result<()> {
        self.publish_text(suite, &self.keyring.clear_sign(&suite.release()?, signer)?);
        Ok(())
    }

    /// Serves a text as the InRelease of a suite.
    pub fn publish_text(&self, suite: &Suite, text: &str) {
        self.server.answer(&suite.path("InRelease"), [Answer::Body(text.as_bytes().to_vec())]);
    }

    /// The recipe of Ubuntu for this machine's architecture, with a key of ours instead of Ubuntu's.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn recipe(&self, fingerprint: &str) -> Result<PathBuf> {
        let real = crate::workspace::root().join(format!("arch/{}/ubuntu.toml", crate::workspace::ARCH));
        let mut recipe: toml::Table = fs_err::read_to_string(real)?.parse()?;
        let archives = recipe.get_mut("archive").and_then(toml::Value::as_array_mut);
        for archive in archives.context("the recipe has no archives")? {
            let archive = archive.as_table_mut().context("an archive is a table")?;
            archive.insert("fingerprints".into(), toml::Value::from(vec![fingerprint]));
            archive.insert("key_file".into(), format!("{fingerprint}.asc").into());
        }
        let file = self.recipes.path().join(format!("{fingerprint}.toml"));
        fs_err::write(file.with_extension("asc"), self.keyring.public_key(fingerprint)?)?;
        fs_err::write(&file, recipe.to_string())?;
        Ok(file)
    }

    /// Path of a package's .deb on the server.
    ///
    /// # Errors
    /// When no suite has the package.
    pub fn deb(&self, package: &str) -> Result<String> {
        let found = self.suites.values().filter_map(|suite| suite.field(package, "Filename")).next_back();
        Ok(format!("/ubuntu/{}", found.with_context(|| format!("no suite has {package}"))?))
    }
}

/// Makes a .deb of a directory with `DEBIAN/control`, compressed like this (`zstd`, `none`).
fn pack(dir: &Path, compression: &str, deb: &Path) -> Result<()> {
    fs_err::create_dir_all(deb.parent().context("a package needs a directory")?)?;
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", &format!("-Z{compression}"), "-z3", "--build"]).arg(dir).arg(deb);
    crate::command::output(&mut pack, LIMIT)?;
    Ok(())
}
