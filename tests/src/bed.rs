//! What an end-to-end test starts with: the sandbox that is up, and containers that end with the test.
//! On the host; every wait has a limit, and a test that fails leaves nothing behind.

use crate::command::{self, Finished};
use crate::docker::{Docker, LIMIT};
use crate::host::Traces;
use crate::sandbox::Sandbox;
use anyhow::{Context, Result, bail};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static HOST: RwLock<()> = RwLock::new(());
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The sandbox, held for the length of a test.
pub struct Bed {
    /// The sandbox itself.
    pub sandbox: Sandbox,
    /// Its Docker.
    pub docker: Docker,
    /// Name of the runtime under test.
    pub runtime: String,
    /// Image with busybox for its architecture.
    pub image: String,
    /// Keeps tests away that look at the whole host, or that others would disturb.
    _presence: Presence,
}

enum Presence {
    Among(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>),
}

impl Bed {
    /// For a test that minds its own containers; others run beside it.
    ///
    /// # Errors
    /// When the sandbox is not up.
    pub fn shared() -> Result<Self> {
        Self::new(Presence::Among(HOST.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// For a test that counts what is on the host: no other test of this program runs meanwhile.
    ///
    /// # Errors
    /// When the sandbox is not up.
    pub fn alone() -> Result<Self> {
        Self::new(Presence::Alone(HOST.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn new(presence: Presence) -> Result<Self> {
        let sandbox = Sandbox::chosen();
        let docker = sandbox.docker();
        if !docker.is_up() {
            bail!("the sandbox is not up: run `make test`, or `make sandbox` first");
        }
        let runtime = std::env::var("RUNQ_TEST_RUNTIME").unwrap_or_else(|_| "runq".to_owned());
        let image = std::env::var("RUNQ_TEST_IMAGE").unwrap_or_else(|_| "busybox".to_owned());
        Ok(Self { sandbox, docker, runtime, image, _presence: presence })
    }

    /// A container in the making: busybox, the runtime under test.
    #[must_use]
    pub fn container(&self) -> Recipe<'_> {
        let name = unique_name();
        Recipe {
            bed: self,
            name,
            runtime: self.runtime.clone(),
            image: self.image.clone(),
            options: Vec::new(),
        }
    }

    /// A container that somebody else makes under this name; it ends with the value.
    #[must_use]
    pub fn adopt(&self, name: &str) -> Container {
        Container { docker: self.docker.clone(), name: name.to_owned() }
    }

    /// What containers have left on the host.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn traces(&self) -> Result<Traces> {
        Traces::now(&self.sandbox.cgroup()?)
    }
}

/// A name that no other test has.
#[must_use]
pub fn unique_name() -> String {
    format!("runq-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// How a container is to be run.
#[derive(Clone)]
pub struct Recipe<'a> {
    bed: &'a Bed,
    name: String,
    runtime: String,
    image: String,
    options: Vec<String>,
}

impl<'a> Recipe<'a> {
    /// Adds options of `docker run`, as on the command line.
    #[must_use]
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// Takes another image.
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        image.clone_into(&mut self.image);
        self
    }

    /// Takes another runtime, which runs images of this machine's architecture.
    #[must_use]
    pub fn runtime(mut self, runtime: &str) -> Self {
        if runtime != self.runtime {
            runtime.clone_into(&mut self.runtime);
            "busybox".clone_into(&mut self.image);
        }
        self
    }

    /// Runs it in the foreground until it ends.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn run(self, command: &[&str]) -> Result<Finished> {
        self.run_with_input(command, &[])
    }

    /// Runs a shell script in the foreground until it ends.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn shell(self, script: &str) -> Result<Finished> {
        self.run(&["sh", "-c", script])
    }

    /// Runs a shell script that has to succeed and gives what it prints.
    ///
    /// # Errors
    /// When it fails or does not end in time.
    pub fn shell_output(self, script: &str) -> Result<String> {
        let finished = self.shell(script)?;
        if finished.code != 0 {
            bail!("{script:?} ended with {}: {}", finished.code, finished.stderr_text());
        }
        Ok(finished.stdout_text())
    }

    /// Runs it in the foreground with this standard input, to its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn run_with_input(self, command: &[&str], stdin: &[u8]) -> Result<Finished> {
        let (container, mut docker) = self.command(&[], command);
        let finished = command::run(&mut docker, stdin, LIMIT);
        drop(container);
        finished
    }

    /// Starts it in the background.
    ///
    /// # Errors
    /// When Docker cannot start it.
    pub fn start(self, command: &[&str]) -> Result<Container> {
        let (container, mut docker) = self.command(&["--detach"], command);
        command::output(&mut docker, LIMIT)?;
        Ok(container)
    }

    /// Makes it without starting it.
    ///
    /// # Errors
    /// When Docker cannot make it.
    pub fn create(self, command: &[&str]) -> Result<Container> {
        let (container, mut docker) = self.docker_command("create", &[], command);
        command::output(&mut docker, LIMIT)?;
        Ok(container)
    }

    /// Starts a shell script in the background and waits until it has printed `mark`.
    ///
    /// # Errors
    /// When Docker cannot start it or the mark does not come.
    pub fn start_shell(self, script: &str, mark: &str) -> Result<Container> {
        let container = self.start(&["sh", "-c", script])?;
        container.wait_for(mark)?;
        Ok(container)
    }

    /// The `docker` command that runs it, for a caller who starts that himself; the container goes with the
    /// first value.
    #[must_use]
    pub fn command(self, options: &[&str], command: &[&str]) -> (Container, Command) {
        self.docker_command("run", options, command)
    }

    fn docker_command(self, action: &str, options: &[&str], command: &[&str]) -> (Container, Command) {
        let mut docker = self.bed.docker.command();
        docker
            .args([action, "--name", &self.name, "--runtime", &self.runtime])
            .args(options)
            .args(&self.options);
        docker.arg(&self.image).args(command);
        (Container { docker: self.bed.docker.clone(), name: self.name }, docker)
    }
}

/// A container that is removed when this value goes.
pub struct Container {
    docker: Docker,
    /// Its name.
    pub name: String,
}

impl Container {
    /// A property, as a template of `docker inspect`.
    ///
    /// # Errors
    /// When there is none.
    pub fn inspect(&self, template: &str) -> Result<String> {
        self.docker.output(&["inspect", "--format", template, &self.name])
    }

    /// Its address on the default bridge.
    ///
    /// # Errors
    /// When it has none.
    pub fn address(&self) -> Result<String> {
        self.inspect("{{.NetworkSettings.IPAddress}}")
    }

    /// What it has printed so far, standard output first.
    ///
    /// # Errors
    /// When Docker has no log.
    pub fn logs(&self) -> Result<String> {
        let finished = self.docker.run(&["logs", &self.name])?;
        Ok(format!("{}\n{}", finished.stdout_text(), finished.stderr_text()))
    }

    /// Waits until its log contains `mark`.
    ///
    /// # Errors
    /// When it does not in time; the error has the log.
    pub fn wait_for(&self, mark: &str) -> Result<()> {
        let seen = || self.logs().is_ok_and(|logs| logs.contains(mark));
        command::wait_until(&format!("{mark:?} in the log of {}", self.name), LIMIT, seen)
            .with_context(|| format!("the log is {:?}", self.logs().unwrap_or_default()))
    }

    /// Waits for its end and gives the exit code.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&self) -> Result<i32> {
        self.docker.output(&["wait", &self.name])?.parse().context("docker wait printed no number")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // A failure here would hide the one that ended the test, and `make sandbox-down` removes what is left.
        drop(self.docker.run(&["rm", "--force", "--volumes", &self.name]));
    }
}

/// A network of Docker's that is removed when this value goes; it has to be made before the containers in it.
pub struct Network {
    docker: Docker,
    /// Its name.
    pub name: String,
}

impl Network {
    /// Makes one with these options of `docker network create`.
    ///
    /// # Errors
    /// When Docker cannot make it.
    pub fn new(bed: &Bed, options: &[&str]) -> Result<Self> {
        let name = unique_name();
        let mut create = bed.docker.command();
        command::output(create.args(["network", "create"]).args(options).arg(&name), LIMIT)?;
        Ok(Self { docker: bed.docker.clone(), name })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // As above.
        drop(self.docker.run(&["network", "rm", &self.name]));
    }
}
