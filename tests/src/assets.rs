//! The asset builder at work, each time with a cache and an output directory of its own. On the host; needs no root.

use crate::bundle;
use crate::command::{self, Finished};
use crate::workspace;
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Name of the bundle when nobody says otherwise.
const OUTPUT: &str = "bundle.tar.zst";
const LIMIT: Duration = Duration::from_secs(300);

/// A build in the making; what it leaves goes with this value.
pub struct Build {
    dir: TempDir,
    recipe: PathBuf,
    mirror: String,
    options: Vec<String>,
    docker_config: Option<PathBuf>,
}

impl Build {
    /// For this machine's architecture, by a recipe in a file, from one mirror.
    ///
    /// # Errors
    /// When there is no place for temporary files.
    pub fn new(recipe: &Path, mirror: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        Ok(Self {
            dir,
            recipe: recipe.to_owned(),
            mirror: mirror.to_owned(),
            options: Vec::new(),
            docker_config: None,
        })
    }

    /// Adds options, as on the command line.
    #[must_use]
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// Takes credentials from the config.json of this directory.
    #[must_use]
    pub fn docker_config(mut self, dir: &Path) -> Self {
        self.docker_config = Some(dir.to_owned());
        self
    }

    /// The bundle, written or not.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.path(OUTPUT)
    }

    /// A file of the output directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    /// All that the build reads and writes, but for what [`Self::give_to`] was not called for.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Directory of the cache.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// The command `build`, for a caller who runs it himself, with the name of its bundle.
    ///
    /// # Errors
    /// When the sandbox's signing key cannot be made.
    pub fn command_to(&self, output: &str) -> Result<Command> {
        fs_err::create_dir_all(self.dir.path().join("out"))?;
        let given = self.given();
        let mut build = match given.exists() {
            true => Command::new(given.join("dist/runq-assets")),
            false => bundle::runq_assets(),
        };
        self.add_source(build.arg("build"));
        match given.exists() {
            true => {
                build.arg("--binaries").arg(given.join("dist")).arg("--key").arg(given.join("sandbox.key"))
            }
            false => build
                .arg("--binaries")
                .arg(workspace::target().join("dist"))
                .arg("--key")
                .arg(bundle::secret_key()?),
        };
        build.arg("-o").arg(self.path(output)).args(&self.options);
        if let Some(dir) = &self.docker_config {
            build.env("DOCKER_CONFIG", dir);
        }
        Ok(build)
    }

    /// Locks what this build takes, and gives the lock.
    ///
    /// # Errors
    /// When the asset builder refuses.
    pub fn lock(&self) -> Result<PathBuf> {
        let lock = self.dir.path().join("lock");
        let mut command = bundle::runq_assets();
        self.add_source(command.arg("lock"));
        command::output(command.arg("-o").arg(&lock), LIMIT)?;
        Ok(lock)
    }

    fn add_source(&self, command: &mut Command) {
        let given = self.given().join(self.recipe.file_name().unwrap_or_default());
        let recipe = if given.exists() { given } else { self.recipe.clone() };
        command.args(["--arch", workspace::ARCH, "--recipe"]).arg(recipe);
        command.args(["--mirror", &self.mirror, "--cache"]).arg(self.cache());
    }

    /// What another user can read, see [`Self::give_to`].
    fn given(&self) -> PathBuf {
        self.dir.path().join("given")
    }

    /// Copies all that a build reads to where another user can read it, and gives him the directory.
    ///
    /// # Errors
    /// When something cannot be copied, or we are not root.
    pub fn give_to(&self, user: u32) -> Result<()> {
        let own = self.given();
        fs_err::create_dir_all(self.dir.path().join("out"))?;
        fs_err::create_dir_all(&own)?;
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(bundle::secret_key()?).arg(&self.recipe).arg(self.recipe.with_extension("asc"));
        command::output(copy.arg(&own), LIMIT)?;
        command::output(Command::new("cp").arg("-a").arg(workspace::dist()).arg(own.join("dist")), LIMIT)?;
        let mut give = Command::new("chown");
        command::output(give.args(["-R", &format!("{user}:{user}")]).arg(self.dir.path()), LIMIT)?;
        Ok(())
    }

    /// The contents of all files of the cache.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn cached(&self) -> Result<Vec<Vec<u8>>> {
        files(&self.cache())?.iter().map(|path| Ok(fs_err::read(path)?)).collect()
    }

    /// Runs `build` to its end, whatever that is.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn run(&self) -> Result<Finished> {
        command::run(&mut self.command_to(OUTPUT)?, &[], LIMIT)
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
        let cached = self.cached()?;
        ensure!(
            !forbidden.iter().any(|content| cached.iter().any(|kept| kept == content)),
            "refused content is in the cache"
        );
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
