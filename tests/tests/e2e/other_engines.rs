//! VMs through podman and containerd, as `runq-install register --engine` has told them: the real programs, with everything of
//! theirs in a directory and in namespaces that end with the test.

use anyhow::{Context, Result, ensure};
use runq_tests::bed::Bed;
use runq_tests::command::{self, Finished};
use runq_tests::daemon::Daemon;
use runq_tests::workspace;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);

/// One installer at a time: the other would end with "another installer is at work".
static RECEIPT: Mutex<()> = Mutex::new(());

/// The sandbox's runq, registered with an engine for the length of a test.
struct Engine {
    bed: Bed,
    name: &'static str,
    directory: tempfile::TempDir,
}

impl Engine {
    /// Registers it in a configuration that begins with `text`.
    fn new(name: &'static str, config: &str, text: &str) -> Result<Self> {
        // Sockets below it have to have short names.
        let engine = Self { bed: Bed::shared()?, name, directory: tempfile::tempdir_in("/tmp")? };
        if !text.is_empty() {
            fs_err::write(engine.path(config), text)?;
        }
        engine.installer("register", &["--config-file", &engine.path(config).display().to_string()])?;
        let mut save = engine.bed.docker.command();
        command::output(save.args(["save", "-o"]).arg(engine.path("busybox.tar")).arg("busybox"), LIMIT)?;
        Ok(engine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn runtime(&self) -> PathBuf {
        self.bed.sandbox.prefix().join("runq")
    }

    fn installer(&self, action: &str, words: &[&str]) -> Result<String> {
        let _lock: MutexGuard<'_, ()> = RECEIPT.lock().unwrap_or_else(PoisonError::into_inner);
        let mut installer = Command::new(workspace::dist().join("runq-install"));
        installer.args([action, "--engine", self.name]).args(words);
        command::output(installer.arg("--prefix").arg(self.bed.sandbox.prefix()), LIMIT)
    }

    /// A script in namespaces of its own, of which nothing is left.
    fn shell(&self, script: &str) -> Result<Finished> {
        let mut shell = Command::new("unshare");
        shell.args(["--net", "--mount", "--propagation", "private", "sh", "-ec", script]);
        shell.env("D", self.directory.path()).env("RUNTIME", self.runtime());
        command::run(shell.env("CONTAINERS_CONF", self.path("50-runq.conf")), &[], LIMIT)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The failure of the test is what counts; `make sandbox-down` removes the rest.
        drop(self.installer("unregister", &[]));
    }
}

/// `p` is podman, `run` starts a VM. This class of machine raises no limits of its own, as podman's defaults would.
const PODMAN: &str = r#"
ip link set lo up
p() { podman --root "$D/root" --runroot "$D/run" --cgroup-manager cgroupfs --storage-driver vfs --events-backend file \
    --runtime runq --runtime-flag accel=tcg "$@"; }
run() { p run --ulimit nofile=1024:2048 --ulimit nproc=1000:2000 "$@"; }
trap 'p rm -fa >/dev/null 2>&1' EXIT
p load -q -i "$D/busybox.tar" >/dev/null 2>&1
"#;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn podman_runs_containers_in_vms() -> Result<()> {
    let engine = Engine::new("podman", "50-runq.conf", "")?;
    let host = fs_err::read_to_string("/proc/sys/kernel/osrelease")?;
    let script = r#"
    mkdir "$D/volume"; echo kept >"$D/volume/file"
    run --rm --network none --user 1000:1000 -v "$D/volume:/volume:ro" -e WORD=said busybox \
        sh -c 'uname -r; id -u; cat /volume/file; echo $WORD >&2; exit 7'
    "#;
    let finished = engine.shell(&format!("{PODMAN}{script}"))?;
    ensure!(finished.code == 7, "{finished:?}");
    let (stdout, stderr) = (finished.stdout_text(), finished.stderr_text());
    let lines: Vec<&str> = stdout.lines().collect();
    ensure!(lines[1..] == ["1000", "kept"] && lines[0] != host.trim() && stderr == "said", "{finished:?}");

    // Its network is podman's own bridge, in this namespace.
    let script = r#"
    run -d --name web busybox sh -c 'mkdir /w; echo served >/w/index.html; echo up; exec httpd -f -p 80 -h /w' >/dev/null
    until p logs web 2>/dev/null | grep -q up; do sleep 1; done
    curl -sS --retry 9 --retry-connrefused -m 20 "http://$(p inspect -f '{{.NetworkSettings.IPAddress}}' web)/"
    p ps --format '{{.Names}} {{.Status}}'
    p kill -s KILL web; p wait web; p rm web
    "#;
    let finished = engine.shell(&format!("{PODMAN}{script}"))?;
    ensure!(finished.code == 0, "{finished:?}");
    let stdout = finished.stdout_text();
    let lines: Vec<&str> = stdout.lines().collect();
    ensure!(lines.first() == Some(&"served") && lines[1].starts_with("web Up"), "{finished:?}");
    ensure!(lines[2..] == ["web", "137", "web"], "{finished:?}");
    Ok(())
}

/// Containerd reads settings of no runtime; those of this machine come from a `/etc/runq/config.toml` that only it sees.
const ENTER: &str = r#"
mkdir "$0/etc"; mount -t tmpfs tmpfs "$0/etc"; mkdir "$0/etc/upper" "$0/etc/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$0/etc/upper,workdir=$0/etc/work" overlay /etc
mkdir -p /etc/runq; echo 'accel = "tcg"' >/etc/runq/config.toml; exec "$@"
"#;

/// A containerd that ends with its value.
struct Containerd(Daemon);

impl Containerd {
    fn start(directory: &Path) -> Result<Self> {
        let text = |name: &str| directory.join(name).display().to_string();
        let before = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", ENTER, &text("")];
        let daemon = Daemon {
            program: "containerd",
            pid_file: directory.join("containerd.pid"),
            log: directory.join("containerd.log"),
        };
        let [config, root, state, address] = ["config.toml", "root", "state", "sock"].map(text);
        let args = ["--config", &config, "--root", &root, "--state", &state, "--address", &address];
        let containerd = Self(daemon);
        let is_up = || Path::new(&address).exists();
        containerd.0.start(&before.map(str::to_owned), &args.map(str::to_owned), is_up)?;
        Ok(containerd)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.0.stop());
    }
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn containerd_runs_containers_in_vms() -> Result<()> {
    // Its CRI plugin, which knows runtimes by name, would want a network of Kubernetes; ctr names the program itself.
    let begin = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
    let engine = Engine::new("containerd", "config.toml", begin)?;
    let config: toml::Table = fs_err::read_to_string(engine.path("config.toml"))?.parse()?;
    let entry = &config["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]["runq"];
    let program = entry["options"]["BinaryName"].as_str().context("no program")?;
    assert_eq!(Path::new(program), engine.runtime());

    let _containerd = Containerd::start(engine.directory.path())?;
    let ctr = |words: &[&str]| {
        let mut ctr = Command::new("ctr");
        command::run(ctr.arg("--address").arg(engine.path("sock")).args(words), &[], LIMIT)
    };
    let archive = engine.path("busybox.tar").display().to_string();
    let imported = ctr(&["image", "import", &archive])?;
    ensure!(imported.code == 0, "{imported:?}");
    let image = ctr(&["image", "ls", "-q"])?.stdout_text();
    let host = fs_err::read_to_string("/proc/sys/kernel/osrelease")?;
    let script = "uname -r; echo said >&2; exit 7";
    let finished = ctr(&["run", "--rm", "--runc-binary", program, &image, "vm", "sh", "-c", script])?;
    ensure!(finished.code == 7 && finished.stderr_text().contains("said"), "{finished:?}");
    let kernel = finished.stdout_text();
    ensure!(!kernel.is_empty() && kernel != host.trim(), "{finished:?}");
    let left = ctr(&["task", "ls", "-q"])?;
    ensure!(left.stdout_text().is_empty(), "{left:?}");
    Ok(())
}
