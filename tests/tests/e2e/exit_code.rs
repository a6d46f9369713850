//! The exit code of a container is that of its entrypoint, and Docker's own for what does not start.

use anyhow::Result;
use runq_tests::bed::Bed;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn exit_code_is_that_of_the_entrypoint() -> Result<()> {
    let bed = Bed::shared()?;
    for code in [0, 1, 42, 255] {
        let finished = bed.container().shell(&format!("exit {code}"))?;
        assert_eq!(finished.code, code, "{finished:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn entrypoint_killed_by_a_signal_gives_128_and_the_signal() -> Result<()> {
    let bed = Bed::shared()?;
    // PID 1 is immune to its own signals: a child dies, and the shell passes its status on.
    let finished = bed.container().shell("sh -c 'kill -TERM $$'; exit $?")?;
    assert_eq!(finished.code, 143, "{finished:?}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn commands_that_cannot_start_fail_as_under_runc() -> Result<()> {
    let bed = Bed::shared()?;
    for (command, code) in
        [("no-such-command", 127), ("/no/such/file", 127), ("/etc/passwd", 126), ("/etc", 126)]
    {
        let runq = bed.container().run(&[command])?;
        let runc = bed.container().runtime("runc").run(&[command])?;
        assert_eq!((runq.code, runc.code), (code, code), "{command}: {runq:?} {runc:?}");
        assert_eq!(reason(&runq.stderr_text()), reason(&runc.stderr_text()), "{command}");
    }
    Ok(())
}

/// What Docker says after the phase of runc that failed: runq finds it earlier. Newer versions of runc have a word more on
/// directories.
fn reason(message: &str) -> String {
    let start = message.find("exec: ").unwrap_or(0);
    let line = message[start..].lines().next().unwrap_or_default();
    line.replace("is a directory: unknown: permission denied", "permission denied: unknown")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn command_on_a_volume_is_judged_by_the_guest() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    fs_err::write(dir.path().join("data"), "not a program")?;
    let volume = format!("{}:/volume", dir.path().display());
    for (command, code) in [("/volume/missing", 127), ("/volume/data", 126)] {
        let finished = bed.container().options(&["-v", &volume]).run(&[command])?;
        assert_eq!(finished.code, code, "{command}: {finished:?}");
    }
    Ok(())
}
