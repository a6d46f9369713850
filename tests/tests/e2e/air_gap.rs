//! A host without a network: the tree is copied to an empty root file system, and adopted there by its own `runq-install`, in
//! an empty network namespace, and killed if it asks for a socket that leads off the machine.

use anyhow::{Context, Result, ensure};
use runq_tests::bundle::Bundle;
use runq_tests::{command, unix_sockets_only, workspace};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);

/// Ways to carry a tree, and what they lose, in a shell that knows `$FROM` and `$TO`.
const CARRIERS: [&str; 3] = [
    "cp -a \"$FROM\" \"$TO\"",
    "umask 077; cp -r \"$FROM\" \"$TO\"; chmod -R go=,u=rw,u+X \"$TO\"; chmod u+x \"$TO\"/versions/*/runq-install",
    "mkdir \"$TO\"; (cd \"$FROM\" && tar -c --exclude ./current --exclude ./receipt.json .) | (cd \"$TO\" && umask 027 && tar -x --no-same-permissions --owner=1000)",
];

/// A root file system with nothing in it but what is carried there.
struct IslandHost {
    root: tempfile::TempDir,
}

impl IslandHost {
    fn new(from: &Path, carrier: &str, key: &Path) -> Result<Self> {
        let host = Self { root: tempfile::tempdir_in(workspace::target())? };
        fs_err::create_dir_all(host.path("var/lib"))?;
        let mut carry = Command::new("sh");
        carry.args(["-ec", carrier]).env("FROM", from).env("TO", host.path("var/lib/runq"));
        command::output(&mut carry, LIMIT)?;
        fs_err::copy(key, host.path("release.pub"))?;
        Ok(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Runs the installer of the tree, and gives its output.
    fn run(&self, args: &[&str]) -> Result<String> {
        let versions = fs_err::read_dir(self.path("var/lib/runq/versions"))?;
        let version = versions.last().context("no version was carried")??.file_name();
        let program = format!("/var/lib/runq/versions/{}/runq-install", version.to_string_lossy());
        let mut run = Command::new("unshare");
        run.args(["--net", "chroot"]).arg(self.root.path()).arg(program).args(args);
        let finished = unix_sockets_only::run(&mut run, LIMIT)?;
        ensure!(finished.code == 0, "{args:?}: {}", finished.stderr_text());
        Ok(finished.stdout_text())
    }
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_copied_tree_is_adopted_without_a_network() -> Result<()> {
    let Bundle { file, public_key } = Bundle::any()?;
    let dir = tempfile::tempdir_in(workspace::target())?;
    let from = dir.path().join("runq");
    let mut install = Command::new(workspace::dist().join("runq-install"));
    install.args(["--arch", workspace::ARCH, "--no-docker", "--bundle"]).arg(&file);
    command::output(install.arg("--public-key").arg(&public_key).arg("--prefix").arg(&from), LIMIT)?;

    // The proof that the filter is one: `ip` asks the kernel over a socket.
    let refused = unix_sockets_only::run(Command::new("ip").args(["-brief", "link"]), LIMIT)?;
    assert_eq!(refused.code, 128 + 31, "{refused:?}");
    for carrier in CARRIERS {
        let host = IslandHost::new(&from, carrier, &public_key)?;
        let said = host.run(&["adopt", "--public-key", "/release.pub"])?;
        assert!(said.contains("is adopted"), "{carrier}: {said}");
        let daemon_json = fs_err::read_to_string(host.path("etc/docker/daemon.json"))?;
        assert!(daemon_json.contains("\"/var/lib/runq/runq\""), "{carrier}: {daemon_json}");
        let said = host.run(&["verify", "--public-key", "/release.pub"])?;
        assert!(said.contains("is good"), "{carrier}: {said}");
        let said = host.run(&["adopt", "--public-key", "/release.pub"])?;
        assert!(said.contains("nothing to do"), "{carrier}: {said}");
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn an_installed_version_is_exported_as_the_same_bundle() -> Result<()> {
    let Bundle { file, public_key } = Bundle::any()?;
    let dir = tempfile::tempdir_in(workspace::target())?;
    let prefix = dir.path().join("runq");
    let installer = || Command::new(workspace::dist().join("runq-install"));
    let mut install = installer();
    install.args(["--arch", workspace::ARCH, "--no-docker", "--bundle"]).arg(&file);
    command::output(install.arg("--public-key").arg(&public_key).arg("--prefix").arg(&prefix), LIMIT)?;
    let exported = dir.path().join("exported.tar.zst");
    let mut export = installer();
    export.arg("export").arg("--prefix").arg(&prefix).arg("--output").arg(&exported);
    command::output(export.arg("--public-key").arg(&public_key), LIMIT)?;
    command::output(Command::new("cmp").arg(&exported).arg(&file), LIMIT)?;
    Ok(())
}
