//! daemon.json is the user's: outside of our entry it stays as it is, to the byte.

use anyhow::Result;
use runq_tests::bed::Bed;
use runq_tests::bundle::Bundle;
use runq_tests::command;
use runq_tests::sandbox::FOREIGN_DAEMON_JSON;
use runq_tests::workspace;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// Whether `text` is `original` with one piece put in.
fn is_original_with_insertion(text: &str, original: &str) -> bool {
    let same_start = text.bytes().zip(original.bytes()).take_while(|(a, b)| a == b).count();
    let rest = &original.as_bytes()[same_start..];
    text.len() > original.len() && text.as_bytes().ends_with(rest)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn foreign_content_is_kept_and_docker_lives_by_both() -> Result<()> {
    let bed = Bed::shared()?;
    let text = fs_err::read_to_string(bed.sandbox.daemon_json())?;
    assert!(is_original_with_insertion(&text, FOREIGN_DAEMON_JSON), "{text}");
    let info = bed.docker.output(&["info", "--format", "{{json .Runtimes}} {{json .Labels}}"])?;
    for expected in ["\"runq\"", "\"foreign\"", "purpose=sandbox"] {
        assert!(info.contains(expected), "no {expected} in {info}");
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn uninstall_restores_the_file_and_removes_the_tree() -> Result<()> {
    // The installer keeps a version that a container uses, whose ever it is.
    let _bed = Bed::alone()?;
    let dir = tempfile::tempdir()?;
    let (prefix, daemon_json) = (dir.path().join("prefix"), dir.path().join("daemon.json"));
    // dockerd forgets a runtime on reload only while the key `runtimes` is there: where we brought it, it stays.
    for (original, restored) in [
        (FOREIGN_DAEMON_JSON, FOREIGN_DAEMON_JSON),
        ("{\"runtimes\":{}}", "{\"runtimes\":{}}"),
        ("{}", "{\n    \"runtimes\": {}\n}"),
        ("{\r\n\t\"debug\": true\r\n}\r\n", "{\r\n\t\"debug\": true,\r\n\t\"runtimes\": {}\r\n}\r\n"),
    ] {
        fs_err::write(&daemon_json, original)?;
        install(&prefix, &daemon_json)?;
        let installed = fs_err::read_to_string(&daemon_json)?;
        assert!(is_original_with_insertion(&installed, original), "{installed:?} from {original:?}");
        // Again: nothing changes, nothing is written.
        let written = fs_err::metadata(&daemon_json)?.modified()?;
        install(&prefix, &daemon_json)?;
        assert_eq!(fs_err::metadata(&daemon_json)?.modified()?, written, "written although nothing changed");
        command::output(&mut runq_install("uninstall", &prefix), LIMIT)?;
        assert_eq!(fs_err::read_to_string(&daemon_json)?, restored);
        assert!(!prefix.join("current").exists(), "the tree is still there");
    }
    Ok(())
}

fn install(prefix: &Path, daemon_json: &Path) -> Result<()> {
    let bundle = Bundle::any()?;
    let mut install = runq_install("install", prefix);
    install
        .args(["--arch", workspace::ARCH])
        .arg("--daemon-json")
        .arg(daemon_json)
        .arg("--bundle")
        .arg(bundle.file);
    command::output(install.arg("--public-key").arg(bundle.public_key), LIMIT).map(drop)
}

/// No daemon listens there: the file is edited, and nobody is told.
fn runq_install(action: &str, prefix: &Path) -> Command {
    let mut install = Command::new(workspace::dist().join("runq-install"));
    install.args([action, "--docker-host", "unix:///nonexistent/docker.sock", "--prefix"]).arg(prefix);
    install
}
