//! A suite of the archive: its packages, the indices of them and the Release text. Pure, but for reading the packages'
//! records and for calling xz and gzip.

use crate::command;
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LIMIT: Duration = Duration::from_secs(60);

/// A suite before it is signed.
#[derive(Debug, Clone)]
pub struct Suite {
    /// `ubuntu` or `ubuntu-ports`.
    pub archive: String,
    /// `noble-updates`.
    pub name: String,
    /// Component and architecture → text of Packages.
    pub packages: BTreeMap<(String, String), String>,
    /// When it was published, seconds from now.
    pub age_secs: u64,
    /// Further fields of the Release text, each with its line end.
    pub fields: String,
}

/// Reads `<archive>/dists/<suite>/<component>/binary-<arch>/Packages` of all suites below `root`.
pub(super) fn read_all(root: &Path) -> Result<BTreeMap<(String, String), Suite>> {
    let mut suites = BTreeMap::new();
    for archive in ["ubuntu", "ubuntu-ports"] {
        let dists = root.join(archive).join("dists");
        for name in names(&dists)? {
            let mut packages = BTreeMap::new();
            for component in names(&dists.join(&name))? {
                for folder in names(&dists.join(&name).join(&component))? {
                    let path = dists.join(&name).join(&component).join(&folder).join("Packages");
                    let arch = folder.trim_start_matches("binary-").to_owned();
                    packages.insert((component.clone(), arch), fs_err::read_to_string(path)?);
                }
            }
            let (archive, fields) = (archive.to_owned(), String::new());
            let suite =
                Suite { archive: archive.clone(), name: name.clone(), packages, age_secs: 60, fields };
            suites.insert((archive, name), suite);
        }
    }
    Ok(suites)
}

impl Suite {
    /// Path on the server of a file of the suite.
    #[must_use]
    pub fn path(&self, file: &str) -> String {
        format!("/{}/dists/{}/{file}", self.archive, self.name)
    }

    /// The paths of Packages.xz of the component `main`: by hash, and by name.
    ///
    /// # Errors
    /// When the suite has no such component.
    pub fn main_index(&self) -> Result<(String, String)> {
        let ((component, arch), text) = self.packages.first_key_value().context("no component")?;
        let folder = format!("{component}/binary-{arch}");
        let digest = hex(&compressed("xz", text)?);
        let by_hash = format!("{folder}/by-hash/SHA256/{digest}");
        Ok((self.path(&by_hash), self.path(&format!("{folder}/Packages.xz"))))
    }

    /// Every index by its path on the server: named, and by its hash.
    ///
    /// # Errors
    /// When xz or gzip fail.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        for (path, content) in self.indices()? {
            let (folder, _) = path.rsplit_once('/').context("an index is in a directory")?;
            files.push((self.path(&format!("{folder}/by-hash/SHA256/{}", hex(&content))), content.clone()));
            files.push((self.path(&path), content));
        }
        Ok(files)
    }

    /// The Release text. Like Ubuntu's it lists architectures that the host does not serve.
    ///
    /// # Errors
    /// When xz or gzip fail.
    pub fn release(&self) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let (name, release) = (&self.name, super::RELEASE);
        let mut text = format!(
            "Origin: Ubuntu\nLabel: Ubuntu\nSuite: {name}\nVersion: 24.04\nCodename: {release}\nDate: {}\n{}\
             Architectures: amd64 arm64 armhf i386 ppc64el riscv64 s390x\n\
             Components: main restricted universe multiverse\nDescription: Ubuntu Noble 24.04\n\
             Acquire-By-Hash: yes\nSHA256:\n",
            date(now.saturating_sub(self.age_secs))?,
            self.fields
        );
        for (path, content) in self.indices()? {
            writeln!(text, " {} {:>16} {path}", hex(&content), content.len())?;
        }
        Ok(text)
    }

    /// A field of a package's record.
    #[must_use]
    pub fn field(&self, package: &str, field: &str) -> Option<&str> {
        let stanza = self.packages.values().find_map(|text| stanza(text, package))?;
        stanza.lines().find_map(|line| line.strip_prefix(&format!("{field}: ")))
    }

    /// Replaces a field of a package's record, or drops it.
    ///
    /// # Errors
    /// When the suite does not have both.
    pub fn set_field(&mut self, package: &str, field: &str, value: &str) -> Result<()> {
        let old = self.field(package, field).with_context(|| format!("no {field} of {package}"))?;
        let (old, new) = (format!("{field}: {old}\n"), format!("{field}: {value}\n"));
        for text in self.packages.values_mut() {
            if let Some(found) = stanza(text, package) {
                let changed = found.replace(&old, &new);
                *text = text.replace(found, &changed);
            }
        }
        Ok(())
    }

    fn indices(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut indices = Vec::new();
        for ((component, arch), text) in &self.packages {
            let path = format!("{component}/binary-{arch}/Packages");
            indices.push((format!("{path}.xz"), compressed("xz", text)?));
            indices.push((format!("{path}.gz"), compressed("gzip", text)?));
            indices.push((path, text.clone().into_bytes()));
        }
        Ok(indices)
    }
}

/// As Release files have it, some seconds after the epoch.
///
/// # Errors
/// When `date` fails.
pub(super) fn date(seconds: u64) -> Result<String> {
    let mut date = Command::new("date");
    date.env("LC_ALL", "C").args(["--utc", "--date", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S UTC"]);
    command::output(&mut date, LIMIT)
}

/// Lower-case SHA-256.
#[must_use]
pub(super) fn hex(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

/// The record of a package, with its last line end.
fn stanza<'a>(text: &'a str, package: &str) -> Option<&'a str> {
    let first = format!("Package: {package}\n");
    text.split_inclusive("\n\n").find(|stanza| stanza.starts_with(&first))
}

fn compressed(program: &str, text: &str) -> Result<Vec<u8>> {
    let arg = if program == "gzip" { "-cn" } else { "-c" };
    let finished = command::run(Command::new(program).arg(arg), text.as_bytes(), LIMIT)?;
    ensure!(finished.code == 0, "{program} failed: {}", finished.stderr_text());
    Ok(finished.stdout)
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs_err::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = entries.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
