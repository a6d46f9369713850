//! crun in runc's place: runq hands it what it would hand to runc.

use anyhow::{Context, Result};
use runq_tests::bed::Bed;
use runq_tests::command::wait_until;
use runq_tests::sandbox_runtime::Runtime;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// crun refuses a host with controllers in control groups of both versions: it is shown the first version only.
const CRUN: &str = r#"#!/bin/sh
exec unshare --mount sh -c '! [ -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified; exec crun "$@"' crun "$@"
"#;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn crun_starts_signals_limits_and_removes_containers() -> Result<()> {
    let bed = Bed::alone()?;
    bed.container().runtime("runc").run(&["true"])?;
    let dir = tempfile::tempdir()?;
    let crun = dir.path().join("crun");
    fs_err::write(&crun, CRUN)?;
    fs_err::set_permissions(&crun, std::fs::Permissions::from_mode(0o755))?;
    let runtime = Runtime::with(&bed.sandbox, &["--runc", &crun.display().to_string()])?;
    let before = bed.traces()?;
    let container = || bed.container().runtime(&runtime.name);
    let finished = container().shell("echo out; echo err >&2; exit 7")?;
    assert_eq!(
        (finished.code, finished.stdout_text().as_str(), finished.stderr_text().as_str()),
        (7, "out", "err")
    );
    for (command, code) in [("no-such-command", 127), ("/etc", 126)] {
        assert_eq!(container().run(&[command])?.code, code, "{command}");
    }
    let script = "trap 'exit 21' TERM; trap 'echo got HUP' HUP; echo ready; while :; do sleep 0.1; done";
    let running = container().options(&["-m", "200m", "-p", "127.0.0.1::80"]).start_shell(script, "ready")?;
    bed.docker.output(&["pause", &running.name])?;
    bed.docker.output(&["unpause", &running.name])?;
    bed.docker.output(&["update", "-m", "300m", "--memory-swap", "-1", &running.name])?;
    assert!(bed.docker.output(&["top", &running.name])?.contains("qemu-system"));
    bed.docker.output(&["kill", "--signal", "HUP", &running.name])?;
    running.wait_for("got HUP")?;
    bed.docker.output(&["stop", "--time", "60", &running.name])?;
    assert_eq!(running.inspect("{{.State.ExitCode}}")?, "21", "{}", running.logs()?);
    drop(running);
    let removed = container().start_shell(script, "ready")?;
    bed.docker.output(&["rm", "--force", &removed.name])?;
    let refused = container().options(&["--pid", "host"]).run(&["true"])?;
    assert!(refused.stderr_text().contains("--pid host is not supported"), "{refused:?}");
    let settled = || bed.traces().is_ok_and(|now| now.beyond(&before).is_empty());
    wait_until("the host to be as before", Duration::from_secs(20), settled)
        .with_context(|| format!("left behind: {:?}", bed.traces().map(|now| now.beyond(&before))))
}
