//! A private Docker on this host: containerd and dockerd of its own, with its own state, bridge, addresses and
//! control group, and runq installed in it. On the host as root. [`Sandbox::down`] takes away all that
//! [`Sandbox::up`] brought. A Docker that the host already has is not used; the one thing that both share are
//! Docker's chains of the packet filter, which a starting dockerd makes anew.

mod beside;
mod network;
mod state;
mod teardown;

pub use network::Slot;

use crate::bundle::Bundle;
use crate::daemon::Daemon;
use crate::docker::Docker;
use crate::docker_release::DockerRelease;
use crate::{command, report, workspace};
use anyhow::{Context, Result, bail};
use state::State;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The daemon.json that the installer finds: content that is not ours, in a layout of its own.
pub const FOREIGN_DAEMON_JSON: &str = concat!(
    "{\n\t\"labels\": [\"purpose=sandbox\",   \"kept=byte by byte\"],\n",
    "  \"log-opts\" : {\"max-size\":\"10m\" },\r\n\n",
    "    \"max-concurrent-downloads\": 3, \"runtimes\": { \"foreign\": {\"path\":\"/usr/sbin/runc\"} }\n}"
);

/// A sandbox directory; the sandbox may be up or not.
#[derive(Debug, Clone)]
pub struct Sandbox {
    dir: PathBuf,
}

impl Sandbox {
    /// The one that `RUNQ_SANDBOX` names, else the one in the target directory.
    #[must_use]
    pub fn chosen() -> Self {
        let named = std::env::var_os("RUNQ_SANDBOX").filter(|dir| !dir.is_empty());
        let dir = named.map_or_else(|| workspace::target().join("sandbox"), PathBuf::from);
        Self { dir: workspace::root().join(dir) }
    }

    /// Where all of it lives.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `DOCKER_HOST` has to be.
    #[must_use]
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.dir.join("docker.sock").display())
    }

    /// The configuration of its dockerd.
    #[must_use]
    pub fn daemon_json(&self) -> PathBuf {
        self.dir.join("etc/docker/daemon.json")
    }

    /// Where runq is installed.
    #[must_use]
    pub fn prefix(&self) -> PathBuf {
        self.dir.join("var/lib/runq")
    }

    /// Where runq for a guest of another architecture is installed.
    #[must_use]
    pub fn foreign_prefix(&self, guest: &str) -> PathBuf {
        self.dir.join("var/lib").join(format!("runq-{guest}"))
    }

    /// The control group of all its containers.
    ///
    /// # Errors
    /// When the sandbox is not up.
    pub fn cgroup(&self) -> Result<String> {
        Ok(self.state()?.slot.cgroup())
    }

    /// Starts containerd and dockerd, unless they run: those of this host, or of a `release` beside it.
    ///
    /// # Errors
    /// When a step fails; what was done stays for [`Self::down`].
    pub fn up(&self, release: Option<DockerRelease>) -> Result<()> {
        if self.docker().is_up() {
            return Ok(());
        }
        report::step(format_args!("sandbox: starting a private dockerd in {}", self.dir.display()));
        let state = match State::load(&self.state_file())? {
            Some(state) => state,
            None => self.prepare(release)?,
        };
        if teardown::another_docker_runs()? {
            report::detail("another dockerd runs here: restart it after this if its published ports fail");
        }
        state.slot.create_bridge()?;
        self.start_containerd(&state)?;
        self.start_dockerd(&state)?;
        let version =
            command::output(self.docker().command().args(["version", "-f", "{{.Server.Version}}"]), LIMIT)?;
        report::detail(format_args!("dockerd {version}, containers are in {}", state.slot.subnet()));
        Ok(())
    }

    /// Installs `bundle` and, when an accelerator is given, registers it with Docker as runtime `runq`.
    ///
    /// # Errors
    /// When runq-install refuses.
    pub fn install(&self, bundle: &Bundle, accel: Option<&str>) -> Result<()> {
        let mut install = runq_install(workspace::ARCH, bundle, &self.prefix());
        match accel {
            None => install.arg("--no-docker"),
            Some(accel) => self.register(&mut install, "runq", accel),
        };
        command::show(&mut install)
    }

    /// Installs a bundle whose guest is of another architecture beside the native one, as runtime `runq-<guest>`.
    ///
    /// # Errors
    /// When runq-install refuses.
    pub fn install_foreign(&self, bundle: &Bundle, guest: &str) -> Result<()> {
        let arch = format!("{}+{guest}", workspace::ARCH);
        let mut install = runq_install(&arch, bundle, &self.foreign_prefix(guest));
        command::show(self.register(&mut install, &format!("runq-{guest}"), "tcg"))
    }

    fn register<'a>(&self, install: &'a mut Command, name: &str, accel: &str) -> &'a mut Command {
        install
            .arg("--daemon-json")
            .arg(self.daemon_json())
            .args(["--docker-host", &self.docker_host(), "--name", name])
            .args(["--runtime-arg=--accel", &format!("--runtime-arg={accel}")])
    }

    /// Its Docker.
    #[must_use]
    pub fn docker(&self) -> Docker {
        Docker::at(self.docker_host(), self.dir.join("docker-config"))
    }

    fn prepare(&self, release: Option<DockerRelease>) -> Result<State> {
        // `down` removes the whole directory.
        if self.dir.exists() && fs_err::read_dir(&self.dir)?.next().is_some() {
            bail!("{} has files and is no sandbox: choose another directory", self.dir.display());
        }
        let state = State::new(Slot::free()?, release)?;
        for dir in ["etc/docker", "docker-config", "tmp"] {
            fs_err::create_dir_all(self.dir.join(dir))?;
        }
        fs_err::write(self.daemon_json(), FOREIGN_DAEMON_JSON)?;
        state.save(&self.state_file())?;
        Ok(state)
    }

    fn start_containerd(&self, state: &State) -> Result<()> {
        let daemon = self.containerd();
        if daemon.pid().is_some() {
            return Ok(());
        }
        // Without the CRI plugin: it would listen on a TCP port and look for CNI on the host.
        let config = self.dir.join("containerd.toml");
        fs_err::write(&config, "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")?;
        let socket = self.containerd_socket();
        let args = [
            ("--config", config),
            ("--root", self.dir.join("containerd")),
            ("--state", self.dir.join("run/containerd")),
            ("--address", socket.clone()),
        ];
        let temporary = std::env::temp_dir();
        let shared = [workspace::root(), self.dir.clone(), workspace::target(), temporary];
        let shared = shared.each_ref().map(PathBuf::as_path);
        let before = state.release.as_ref().map(|release| release.enter(&shared)).unwrap_or_default();
        daemon.start(&before, &flags(&args), || socket.exists())
    }

    fn start_dockerd(&self, state: &State) -> Result<()> {
        let paths = [
            ("--config-file", self.daemon_json()),
            ("--data-root", self.dir.join("docker")),
            ("--exec-root", self.dir.join("run/docker")),
            ("--pidfile", self.dir.join("run/docker.pid")),
            ("--containerd", self.containerd_socket()),
        ];
        // Left by a dockerd that was killed; a zombie with that pid would make the next one refuse to start.
        let pid_file = self.dir.join("run/docker.pid");
        if pid_file.exists() {
            fs_err::remove_file(pid_file)?;
        }
        let mut args = flags(&paths);
        args.extend(["--host".to_owned(), self.docker_host()]);
        args.extend(["--exec-opt".to_owned(), "native.cgroupdriver=cgroupfs".to_owned()]);
        args.extend(state.slot.dockerd_args());
        let first = self.containerd().pid().filter(|_| state.release.is_some());
        let before = first.map(DockerRelease::join).unwrap_or_default();
        self.dockerd().start(&before, &args, || self.docker().is_up())
    }

    fn state(&self) -> Result<State> {
        State::load(&self.state_file())?.with_context(|| format!("no sandbox in {}", self.dir.display()))
    }

    fn state_file(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    fn containerd_socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    fn containerd(&self) -> Daemon {
        self.daemon("containerd")
    }

    pub(crate) fn dockerd(&self) -> Daemon {
        self.daemon("dockerd")
    }

    fn daemon(&self, program: &'static str) -> Daemon {
        let file = |extension: &str| self.dir.join(format!("{program}.{extension}"));
        Daemon { program, pid_file: file("pid"), log: file("log") }
    }
}

const LIMIT: Duration = Duration::from_secs(60);

fn runq_install(arch: &str, bundle: &Bundle, prefix: &Path) -> Command {
    let mut install = Command::new(workspace::dist().join("runq-install"));
    install.args(["--arch", arch]).arg("--bundle").arg(&bundle.file);
    install.arg("--public-key").arg(&bundle.public_key).arg("--prefix").arg(prefix);
    install
}

fn flags(pairs: &[(&str, PathBuf)]) -> Vec<String> {
    let texts = pairs.iter().flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()]);
    texts.collect()
}
