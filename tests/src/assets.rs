//! The asset builder at work, each time with a cache and an output directory of its own. On the host; needs no root.

use crate::bundle;
use crate::command::{self, Finished};
use crate::workspace;
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(300);

/// A build in the making; what it leaves goes with this value.
pub struct Build {
    dir: TempDir,
    recipe: PathBuf,
    mirror: String,
    options: Vec<String>,
}

impl Build {
    /// For this machine's architecture, by a recipe in a file, from one mirror.
    ///
    /// # Errors
    /// When there is no place for temporary files.
    pub fn new(recipe: &Path, mirror: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        Ok(Self { dir, recipe: recipe.to_owned(), mirror: mirror.to_owned(), options: Vec::new() })
    }

    /// Adds options, as on the command line.
    #[must_use]
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// The bundle, written or not.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.dir.path().join("out/bundle.tar.zst")
    }

    /// Directory of the cache.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// The command `build`, for a caller who runs it himself.
    ///
    /// # Errors
    /// When the sandbox's signing key cannot be made.
    pub fn command(&self) -> Result<Command> {
        fs_err::create_dir_all(self.dir.path().join("out"))?;
        let mut build = bundle::runq_assets();
        build.args(["build", "--arch", workspace::ARCH, "--recipe"]).arg(&self.recipe);
        build.args(["--mirror", &self.mirror, "--binaries"]).arg(workspace::target().join("dist"));
        build.arg("--key").arg(bundle::secret_key()?).arg("--cache").arg(self.cache());
        build.arg("-o").arg(self.output()).args(&self.options);
        Ok(build)
    }

    /// Runs `build` to its end, whatever that is.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn run(&self) -> Result<Finished> {
        command::run(&mut self.command()?, &[], LIMIT)
    }

    /// Runs a build that has to be refused with an error that says all of `words` and what to do, and that must leave
    /// neither a bundle, whole or in part, nor any of the `forbidden` contents in the cache.
    ///
    /// # Errors
    /// When something of that is not so.
    pub fn refuses(&self, words: &[&str], forbidden: &[&[u8]]) -> Result<()> {
        let finished = self.run()?;
        let said = finished.stderr_text();
        ensure!(finished.code == 125, "expected a refusal with {words:?}, got {}: {said}", finished.code);
        let error = said.split("runq-assets: ").last().unwrap_or_default();
        for word in words {
            ensure!(error.contains(word), "the error does not say {word:?}: {error}");
        }
        ensure!(error.contains("\nhint: "), "the error does not say what to do: {error}");
        let left = files(&self.dir.path().join("out"))?;
        ensure!(left.is_empty(), "a refused build left {left:?}");
        for path in files(&self.cache())? {
            let content = fs_err::read(&path)?;
            ensure!(!forbidden.contains(&&*content), "{} has refused content", path.display());
        }
        Ok(())
    }
}

/// All files below a directory that need not exist.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if dir.is_dir() {
        for entry in fs_err::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() { files.extend(self::files(&path)?) } else { files.push(path) }
        }
    }
    Ok(files)
}
