//! SIGUSR1 and SIGUSR2 run the admin's programs in the guest, when the admin wants that; all other signals are sent.

use anyhow::Result;
use runq_tests::bed::Bed;
use runq_tests::sandbox_runtime::Runtime;
use std::os::unix::fs::PermissionsExt;

const PROGRAM: &str = "#!/bin/sh\n{ id -u; echo $GREETING; grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; } > /new; mv /new /out\n";

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn signal_runs_the_program_as_root_with_the_rights_of_the_entrypoint() -> Result<()> {
    let bed = Bed::alone()?;
    let programs = bed.sandbox.prefix().join("qemu/.runq");
    fs_err::create_dir_all(&programs)?;
    let program = programs.join("SIGUSR1");
    fs_err::write(&program, PROGRAM)?;
    fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let outcome = Runtime::with(&bed.sandbox, &["--sigusr"]).and_then(|runtime| run(&bed, &runtime.name));
    fs_err::remove_dir_all(&programs)?;
    outcome
}

fn run(bed: &Bed, runtime: &str) -> Result<()> {
    let options = ["--user", "1000", "-e", "GREETING=hello", "--cap-drop", "all", "--cap-add", "chown"];
    let script = "trap 'echo trapped' USR1; trap 'exit 7' USR2 HUP; grep Seccomp: /proc/self/status; echo ready; \
                  until [ -e /out ]; do sleep 0.2; done; cat /out; while :; do sleep 0.2; done";
    let container = bed.container().runtime(runtime).options(&options).start_shell(script, "ready")?;
    bed.docker.output(&["kill", "--signal", "SIGUSR1", &container.name])?;
    container.wait_for("hello")?;
    container.wait_for("CapEff:\t0000000000000001")?;
    let logs = container.logs()?;
    assert!(logs.contains("ready\n0\nhello\n"), "root: {logs}");
    assert!(!logs.contains("trapped"), "{logs}");
    bed.docker.output(&["kill", "--signal", "SIGHUP", &container.name])?;
    assert_eq!(container.wait()?, 7);
    let plain = bed.container().start_shell(script, "ready")?;
    bed.docker.output(&["kill", "--signal", "SIGUSR1", &plain.name])?;
    plain.wait_for("trapped")
}
