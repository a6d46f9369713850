//! The installer beside the Docker of a newer Debian that does not run: before daemon.json is touched, that dockerd says whether it
//! would start with it. On the host as root; the sandbox is not needed. The first run unpacks that Docker.

use anyhow::{Result, ensure};
use runq_tests::command::{self, Finished};
use runq_tests::docker_release::DockerRelease;
use runq_tests::installation::{DAEMON_JSON, Installation, LIMIT, program};
use runq_tests::workspace;
use std::process::Command;

/// Installs 1.0.0, with that Docker's programs in the places of the host's.
fn install(release: &DockerRelease, installation: &Installation) -> Result<Finished> {
    let (temporary, target) = (std::env::temp_dir(), workspace::target());
    let words = release.enter(&[&temporary, &target]);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(program()).args(installation.arguments(&["install", "1.0.0"]));
    command::run(&mut command, &[], LIMIT)
}

#[test]
#[ignore = "fetches a hundred packages: run `make test-docker26`"]
fn dockerd_says_beforehand_what_it_would_not_start_with() -> Result<()> {
    let release = DockerRelease::newer()?;
    let installation = Installation::new()?;
    let bad = DAEMON_JSON.replacen("\"debug\"", "\"debgu\"", 1);
    fs_err::write(installation.daemon_json(), &bad)?;
    let refused = install(&release, &installation)?;
    ensure!(refused.code == 3, "{refused:?}");
    let said = refused.stderr_text();
    ensure!(said.contains("dockerd --validate") && said.contains("debgu"), "{said}");
    ensure!(fs_err::read_to_string(installation.daemon_json())? == bad, "daemon.json was written");

    fs_err::write(installation.daemon_json(), DAEMON_JSON)?;
    let installed = install(&release, &installation)?;
    ensure!(installed.code == 0, "{installed:?}");
    let text = fs_err::read_to_string(installation.daemon_json())?;
    ensure!(text.contains("lib/runq/runq") && text.contains("/usr/bin/crun"), "{text}");
    Ok(())
}
