//! The installer beside a Docker that works: what runs goes on, what is in use stays, what dockerd refuses is taken back.

use anyhow::{Context, Result, bail};
use runq_tests::bed::{Bed, unique_name};
use runq_tests::bundle::Bundle;
use runq_tests::command::{self, Finished};
use runq_tests::{successor, workspace};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(180);

/// The sandbox's installation, and what has to be put back.
struct Live {
    bed: Bed,
    bundle: Bundle,
    container: String,
}

impl Live {
    fn new() -> Result<Self> {
        Ok(Self { bed: Bed::alone()?, bundle: Bundle::any()?, container: unique_name() })
    }

    fn run(&self, words: &[&str]) -> Result<Finished> {
        let mut installer = Command::new(workspace::dist().join("runq-install"));
        installer.args(words).arg("--prefix").arg(self.bed.sandbox.prefix());
        command::run(installer.env("DOCKER_HOST", self.bed.sandbox.docker_host()), &[], LIMIT)
    }

    fn good(&self, words: &[&str]) -> Result<String> {
        let finished = self.run(words)?;
        if finished.code != 0 {
            bail!("runq-install {}: code {}, {}", words.join(" "), finished.code, finished.stderr_text());
        }
        Ok(finished.stdout_text())
    }

    fn install(&self, bundle: &Bundle, more: &[&str]) -> Result<String> {
        let file = bundle.file.to_str().context("not UTF-8")?;
        let key = bundle.public_key.to_str().context("not UTF-8")?;
        let words = ["install", "--arch", workspace::ARCH, "--bundle", file, "--public-key", key];
        self.good(&[&words[..], more].concat())
    }

    /// A container that says the time every second.
    fn start(&self) -> Result<()> {
        let script = "while :; do date; sleep 1; done";
        let Bed { docker, runtime, image, .. } = &self.bed;
        docker.output(&[
            "run",
            "-d",
            "--name",
            &self.container,
            "--runtime",
            runtime,
            image,
            "sh",
            "-c",
            script,
        ])?;
        self.says_more()
    }

    fn says_more(&self) -> Result<()> {
        let lines =
            || self.bed.docker.output(&["logs", &self.container]).map_or(0, |log| log.lines().count());
        let before = lines();
        command::wait_until("another line of output", LIMIT, || lines() > before)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Whatever a test has left. Its own failure is what counts.
        drop(self.bed.docker.run(&["rm", "-f", &self.container]));
        drop(self.install(&self.bundle, &["--allow-downgrade"]));
        drop(self.run(&["gc", "--all"]));
    }
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn containers_survive_an_upgrade_and_keep_their_version() -> Result<()> {
    let live = Live::new()?;
    let dir = tempfile::tempdir_in(workspace::target())?;
    live.start()?;
    let later = successor::write(&live.bundle, "99.0.0", dir.path())?;
    live.install(&later, &[])?;
    live.says_more()?;
    let kept = live.good(&["gc", "--all"])?;
    assert!(kept.contains("used by process"), "{kept}");
    live.says_more()?;
    let (docker, runtime) = (&live.bed.docker, &live.bed.runtime);
    docker.output(&["run", "--rm", "--runtime", runtime, &live.bed.image, "true"])?;

    live.good(&["rollback"])?;
    live.good(&["rollback"])?;
    // By the runtime of the new version.
    docker.output(&["kill", &live.container])?;
    docker.output(&["rm", &live.container])?;
    let removed = live.good(&["gc", "--all"])?;
    assert!(removed.contains("1 version was removed"), "{removed}");
    docker.output(&["run", "--rm", "--runtime", runtime, &live.bed.image, "true"])?;
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn uninstall_names_the_containers_that_are_in_the_way() -> Result<()> {
    let live = Live::new()?;
    let Bed { docker, runtime, image, sandbox, .. } = &live.bed;
    docker.output(&["create", "--name", &live.container, "--runtime", runtime, image, "true"])?;
    let before = fs_err::read_to_string(sandbox.daemon_json())?;
    let refused = live.run(&["uninstall"])?;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(
        refused.stderr_text().contains(&format!("container {} (created)", live.container)),
        "{refused:?}"
    );
    assert_eq!(fs_err::read_to_string(sandbox.daemon_json())?, before);
    docker.output(&["start", "-a", &live.container])?;
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_default_runtime_is_taken_and_given_back() -> Result<()> {
    let live = Live::new()?;
    let Bed { docker, sandbox, .. } = &live.bed;
    let default = || docker.output(&["info", "--format", "{{.DefaultRuntime}}"]);
    let (before, file) = (default()?, fs_err::read_to_string(sandbox.daemon_json())?);
    live.good(&[
        "register",
        "--name",
        "runq-default",
        "--runtime-arg=--accel",
        "--runtime-arg=tcg",
        "--set-default",
    ])?;
    assert_eq!(default()?, "runq-default");
    let host = fs_err::read_to_string("/proc/sys/kernel/osrelease")?;
    let guest = docker.output(&["run", "--rm", "busybox", "uname", "-r"])?;
    assert_ne!(guest, host.trim());
    live.good(&["unregister", "--name", "runq-default"])?;
    assert_eq!(default()?, before);
    assert_eq!(fs_err::read_to_string(sandbox.daemon_json())?, file);
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_configuration_that_dockerd_refuses_is_taken_back() -> Result<()> {
    let live = Live::new()?;
    let path = live.bed.sandbox.daemon_json();
    let good = fs_err::read_to_string(&path)?;
    // Somebody's slip, which dockerd has not seen yet.
    let bad = good.replacen('{', "{ \"debgu\": true,", 1);
    fs_err::write(&path, &bad)?;
    let refused = live.run(&["register", "--name", "runq-refused"]);
    let after = fs_err::read_to_string(&path)?;
    fs_err::write(&path, good)?;
    let refused = refused?;
    assert_eq!(refused.code, 3, "{refused:?}");
    assert_eq!(after, bad);
    live.good(&["unregister", "--name", "runq-refused"])?;
    Ok(())
}
