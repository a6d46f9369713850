//! Nothing is left of a container, however it ends: no process, mount, link or control group.

use anyhow::{Context, Result};
use runq_tests::bed::Bed;
use runq_tests::command::wait_until;
use runq_tests::host;
use std::time::Duration;

/// Runs `end` and expects the host to be as it was.
fn leaves_nothing(end: impl FnOnce(&Bed) -> Result<()>) -> Result<()> {
    let bed = Bed::alone()?;
    // The first container makes directories that stay for the next.
    bed.container().runtime("runc").run(&["true"])?;
    let before = bed.traces()?;
    end(&bed)?;
    let settled = || bed.traces().is_ok_and(|now| now.beyond(&before).is_empty());
    wait_until("the host to be as before", Duration::from_secs(20), settled)
        .with_context(|| format!("left behind: {:?}", bed.traces().map(|now| now.beyond(&before))))
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn after_a_normal_end() -> Result<()> {
    leaves_nothing(|bed| bed.container().run(&["true"]).map(drop))
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn after_forced_removal_while_it_runs() -> Result<()> {
    leaves_nothing(|bed| {
        let container = bed
            .container()
            .options(&["-p", "127.0.0.1::80"])
            .start_shell("echo ready; sleep 1000", "ready")?;
        bed.docker.output(&["rm", "--force", &container.name]).map(drop)
    })
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn after_forced_removal_while_it_boots() -> Result<()> {
    leaves_nothing(|bed| {
        for delay_ms in [0, 100, 300, 700, 1500] {
            let container = bed.container().start(&["sleep", "1000"])?;
            std::thread::sleep(Duration::from_millis(delay_ms));
            bed.docker.output(&["rm", "--force", &container.name])?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn after_the_death_of_qemu_or_the_file_server() -> Result<()> {
    leaves_nothing(|bed| {
        for victim in ["qemu-system", "virtiofsd"] {
            let container = bed.container().start_shell("echo ready; sleep 1000", "ready")?;
            let processes = host::processes_in(&bed.sandbox.cgroup()?)?;
            let victim = processes.iter().find(|process| process.name.starts_with(victim)).context(victim)?;
            let pid = rustix::process::Pid::from_raw(victim.pid).context("no pid")?;
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
            assert_ne!(container.wait()?, 0, "{victim} was killed");
        }
        Ok(())
    })
}
