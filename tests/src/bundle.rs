//! The asset bundle that the sandbox installs: signed with a key of its own, built again only when something
//! that goes into it has changed. On the host; needs the network when the cache of the builder does not suffice.

use crate::{command, report, workspace};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A bundle and the key that verifies it.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// `runq-<version>-<arch>.tar.zst`.
    pub file: PathBuf,
    /// In minisign's format.
    pub public_key: PathBuf,
}

impl Bundle {
    /// Where the bundle of a distribution is, built or not.
    #[must_use]
    pub fn of(recipe: &str) -> Self {
        let name = format!("runq-{}-{}.tar.zst", workspace::VERSION, workspace::ARCH);
        let target = workspace::target();
        Self {
            file: target.join("bundle").join(recipe).join(name),
            public_key: target.join("keys/sandbox.pub"),
        }
    }

    /// A bundle that was built, of whatever distribution.
    ///
    /// # Errors
    /// When there is none.
    pub fn any() -> Result<Self> {
        let built = ["debian", "ubuntu"].map(Self::of).into_iter().find(|bundle| bundle.file.exists());
        built.context("no bundle: run `make assets`")
    }

    /// Builds the bundle of a guest of another architecture, emulated on this one, from Debian 12: its index of s390x is
    /// complete on every mirror.
    ///
    /// # Errors
    /// When the asset builder fails, or `make build ARCH=…` was not run.
    pub fn build_foreign(guest: &str) -> Result<Self> {
        report::step(format_args!("bundle: QEMU, kernel and modules for a guest of {guest}"));
        let label = format!("{}+{guest}", workspace::ARCH);
        Self::build_of_recipe(
            &["--arch", guest, "--host", workspace::ARCH],
            &format!("foreign-{guest}"),
            &label,
        )
    }

    /// Builds the bundle for hosts of another architecture, from Debian 12 as well.
    ///
    /// # Errors
    /// As [`Self::build_foreign`].
    pub fn build_for(arch: &str) -> Result<Self> {
        report::step(format_args!("bundle: QEMU, kernel and modules for {arch}"));
        Self::build_of_recipe(&["--arch", arch], arch, arch)
    }

    /// By a recipe of the tests; `label` is what the bundle's name ends with.
    fn build_of_recipe(arch: &[&str], recipe: &str, label: &str) -> Result<Self> {
        let dir = workspace::target().join("bundle").join(recipe);
        fs_err::create_dir_all(&dir)?;
        let secret = secret_key()?;
        let mut build = runq_assets();
        build.arg("build").args(arch).arg("--recipe");
        build.arg(workspace::root().join(format!("tests/recipes/{recipe}.toml")));
        build
            .arg("--binaries")
            .arg(workspace::target().join("dist"))
            .arg("--key")
            .arg(&secret)
            .arg("-o")
            .arg(&dir);
        command::show(&mut build)?;
        let name = format!("runq-{}-{label}.tar.zst", workspace::VERSION);
        Ok(Self { file: dir.join(name), public_key: secret.with_extension("pub") })
    }

    /// Builds the bundle of a distribution, unless it is there and made of the same binaries and recipe.
    ///
    /// # Errors
    /// When the asset builder fails.
    pub fn build(recipe: &str) -> Result<Self> {
        let bundle = Self::of(recipe);
        let ingredients = ingredients()?;
        let stamp = bundle.file.with_extension("ingredients");
        if bundle.file.exists() && fs_err::read_to_string(&stamp).is_ok_and(|built| built == ingredients) {
            report::step(format_args!("bundle: {} is up to date", bundle.file.display()));
            return Ok(bundle);
        }
        report::step(format_args!("bundle: QEMU, kernel and modules of {recipe} for {}", workspace::ARCH));
        fs_err::create_dir_all(bundle.file.parent().context("bundle without directory")?)?;
        command::show(
            runq_assets()
                .args(["build", "--arch", workspace::ARCH, "--distro", recipe, "--binaries"])
                .arg(workspace::dist())
                .arg("--key")
                .arg(secret_key()?)
                .arg("-o")
                .arg(&bundle.file),
        )?;
        fs_err::write(&stamp, ingredients)?;
        Ok(bundle)
    }
}

/// The sandbox's own signing key, made once.
pub(crate) fn secret_key() -> Result<PathBuf> {
    let prefix = workspace::target().join("keys/sandbox");
    let secret = prefix.with_extension("key");
    if !secret.exists() {
        fs_err::create_dir_all(workspace::target().join("keys"))?;
        command::show(runq_assets().args(["keygen", "-o"]).arg(&prefix))?;
    }
    Ok(secret)
}

/// The asset builder.
pub(crate) fn runq_assets() -> Command {
    Command::new(workspace::dist().join("runq-assets"))
}

/// One digest of all binaries and of the architecture's data.
fn ingredients() -> Result<String> {
    let mut hasher = Sha256::new();
    for dir in [workspace::dist(), workspace::root().join("arch").join(workspace::ARCH)] {
        for file in sorted_files(&dir)? {
            hasher.update(Sha256::digest(fs_err::read(&file)?));
        }
    }
    Ok(format!("{:x}", hasher.finalize()))
}

fn sorted_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs_err::read_dir(dir).context("run `make build` first")?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}
