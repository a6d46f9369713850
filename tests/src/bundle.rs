//! The asset bundle that the sandbox installs: signed with a key of its own, built again only when something
//! that goes into it has changed. On the host; needs the network when the cache of the builder does not suffice.

use crate::{command, report, workspace};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Recipe, below the checkout, of bundles for another architecture than this machine's.
const FOREIGN_RECIPE: &str = "arch/s390x/debian-12.toml";

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
        let file = workspace::target().join("bundle").join(recipe).join(name(workspace::ARCH));
        Self { file, public_key: public_key() }
    }

    /// A bundle that was built, of whatever distribution.
    ///
    /// # Errors
    /// When there is none.
    pub fn any() -> Result<Self> {
        let built = ["debian", "ubuntu", "ubuntu-22.04", "ubuntu-26.04"]
            .map(Self::of)
            .into_iter()
            .find(|bundle| bundle.file.exists());
        built.context("no bundle: run `make assets`")
    }

    /// Builds the bundle of a guest of another architecture, emulated on this one, unless it is up to date.
    ///
    /// # Errors
    /// When the asset builder fails, or `make build ARCH=…` was not run.
    pub fn build_foreign(guest: &str) -> Result<Self> {
        build_up_to_date(&foreign_recipe(), workspace::ARCH, guest)
    }

    /// Builds the bundle for hosts of another architecture, unless it is up to date.
    ///
    /// # Errors
    /// As [`Self::build_foreign`].
    pub fn build_for(arch: &str) -> Result<Self> {
        build_up_to_date(&foreign_recipe(), arch, arch)
    }

    /// Builds the bundles of this architecture and of another one, for hosts of theirs, in one call and into `dir`.
    ///
    /// # Errors
    /// As [`Self::build_foreign`].
    pub fn build_together(other: &str, dir: &Path) -> Result<[Self; 2]> {
        let archs = [workspace::ARCH, other];
        let recipe = |arch| dir.join(format!("{arch}.toml"));
        let own = workspace::root().join("arch").join(workspace::ARCH).join("debian.toml");
        for (arch, from) in archs.into_iter().zip([own, workspace::root().join(FOREIGN_RECIPE)]) {
            fs_err::copy(from, recipe(arch))?;
        }
        let mut build = build_command(&["--recipe".to_owned(), recipe("{arch}").display().to_string()], dir)?;
        command::show(build.args(archs.iter().flat_map(|arch| ["--arch", arch])))?;
        Ok(archs.map(|arch| Self { file: dir.join(name(arch)), public_key: public_key() }))
    }

    /// Builds the bundle of a distribution, unless it is there and made of the same binaries and recipe.
    ///
    /// # Errors
    /// When the asset builder fails.
    pub fn build(recipe: &str) -> Result<Self> {
        build_up_to_date(&["--distro".to_owned(), recipe.to_owned()], workspace::ARCH, workspace::ARCH)
    }
}

/// As the asset builder's command line names it.
type Recipe = [String; 2];

fn foreign_recipe() -> Recipe {
    ["--recipe".to_owned(), workspace::root().join(FOREIGN_RECIPE).display().to_string()]
}

fn build_up_to_date(recipe: &Recipe, host: &str, guest: &str) -> Result<Bundle> {
    let label = if host == guest { guest.to_owned() } else { format!("{host}+{guest}") };
    let folder = Path::new(&recipe[1]).file_stem().context("a recipe without a name")?;
    let dir = workspace::target().join("bundle").join(folder);
    let file = dir.join(name(&label));
    let bundle = Bundle { file, public_key: public_key() };
    let ingredients = ingredients([workspace::ARCH, host, guest])?;
    let stamp = bundle.file.with_extension("ingredients");
    if bundle.file.exists() && fs_err::read_to_string(&stamp).is_ok_and(|built| built == ingredients) {
        report::step(format_args!("bundle: {} is up to date", bundle.file.display()));
        return Ok(bundle);
    }
    report::step(format_args!("bundle: QEMU, kernel and modules of {} for {label}", folder.display()));
    fs_err::create_dir_all(dir)?;
    command::show(build_command(recipe, &bundle.file)?.args(["--arch", guest, "--host", host]))?;
    fs_err::write(&stamp, ingredients)?;
    Ok(bundle)
}

/// The asset builder's command line but for the architectures.
fn build_command(recipe: &Recipe, output: &Path) -> Result<Command> {
    let mut build = runq_assets();
    build.arg("build").args(recipe).arg("--binaries").arg(workspace::target().join("dist"));
    build.arg("--key").arg(secret_key()?).arg("-o").arg(output);
    Ok(build)
}

/// The file name of a bundle for an architecture, or for `host+guest`.
fn name(label: &str) -> String {
    format!("runq-{}-{label}.tar.zst", workspace::VERSION)
}

fn public_key() -> PathBuf {
    workspace::target().join("keys/sandbox.pub")
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
#[must_use]
pub fn runq_assets() -> Command {
    Command::new(workspace::dist().join("runq-assets"))
}

/// One digest of all binaries and data of these architectures, recipes among them; those of this machine have the builder.
fn ingredients(archs: [&str; 3]) -> Result<String> {
    let mut hasher = Sha256::new();
    for arch in archs {
        for dir in [workspace::target().join("dist").join(arch), workspace::root().join("arch").join(arch)] {
            for file in sorted_files(&dir)? {
                hasher.update(Sha256::digest(fs_err::read(&file)?));
            }
        }
    }
    Ok(format!("{:x}", hasher.finalize()))
}

fn sorted_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs_err::read_dir(dir).context("run `make build`, and with ARCH=… for another architecture")?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}
