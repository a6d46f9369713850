//! Whatever part fails, the container ends soon, says why in its log, and leaves nothing on the host.

use anyhow::{Context, Result};
use runq_tests::bed::{Bed, Container};
use runq_tests::command::wait_until;
use runq_tests::host;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

/// For the end of a container whose part was killed. On an idle machine it takes a second or two.
const SOON: Duration = Duration::from_secs(30);

/// Lets `fail` break a container and expects its end, an exit code that is no success, and nothing left behind.
fn ends_in_good_order(
    start: impl Fn(&Bed) -> Result<Container>,
    fail: impl Fn(&Container) -> Result<()>,
) -> Result<String> {
    let bed = Bed::alone()?;
    bed.container().runtime("runc").run(&["true"])?;
    let before = bed.traces()?;
    let container = start(&bed)?;
    fail(&container)?;
    wait_until("the end of the container", SOON, || {
        container.inspect("{{.State.Running}}").is_ok_and(|running| running == "false")
    })?;
    let log = container.logs()?;
    assert_ne!(container.inspect("{{.State.ExitCode}}")?, "0", "{log}");
    drop(container);
    let settled = || bed.traces().is_ok_and(|now| now.beyond(&before).is_empty());
    wait_until("the host to be as before", SOON, settled)
        .with_context(|| format!("left behind: {:?}", bed.traces().map(|now| now.beyond(&before))))?;
    assert!(bed.docker.is_up());
    Ok(log)
}

fn running(bed: &Bed) -> Result<Container> {
    bed.container().start_shell("echo ready; sleep 1000", "ready")
}

/// The processes of a container on the host, its shim among them.
fn processes(container: &Container) -> Result<Vec<host::Process>> {
    let id = container.inspect("{{.Id}}")?;
    let mut found = host::processes()?;
    found.retain(|process| {
        let cgroup = fs_err::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
        cgroup.contains(&id) || (process.name.starts_with("containerd-shim") && process.args.contains(&id))
    });
    Ok(found)
}

fn kill(container: &Container, victim: &str) -> Result<()> {
    let mut pid = None;
    wait_until(victim, SOON, || {
        let mut found = processes(container).into_iter().flatten();
        pid = found
            .find(|process| process.name.starts_with(victim))
            .and_then(|process| Pid::from_raw(process.pid));
        pid.is_some()
    })?;
    Ok(kill_process(pid.context("no such process")?, Signal::KILL)?)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn of_qemu() -> Result<()> {
    let log = ends_in_good_order(running, |container| kill(container, "qemu-system"))?;
    assert!(log.contains("the virtual machine was killed"), "{log}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn of_the_file_server() -> Result<()> {
    let log = ends_in_good_order(running, |container| kill(container, "virtiofsd"))?;
    assert!(log.contains("virtiofsd"), "{log}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn of_the_proxy() -> Result<()> {
    ends_in_good_order(running, |container| kill(container, "proxy")).map(drop)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn of_the_shim() -> Result<()> {
    ends_in_good_order(running, |container| kill(container, "containerd-shim")).map(drop)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn of_any_part_while_the_guest_boots() -> Result<()> {
    for victim in ["proxy", "virtiofsd", "qemu-system", "containerd-shim"] {
        ends_in_good_order(
            |bed| bed.container().start(&["sleep", "1000"]),
            |container| kill(container, victim),
        )
        .context(victim)?;
    }
    Ok(())
}

/// As an administrator of the guest: the paths that Docker hides are there.
const ALL_OF_PROC: [&str; 4] = ["--security-opt", "systempaths=unconfined", "--cap-add", "sys_admin"];

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn of_the_guest_kernel() -> Result<()> {
    let log = ends_in_good_order(
        |bed| {
            bed.container()
                .options(&ALL_OF_PROC)
                .start_shell("echo ready; sleep 1; echo c > /proc/sysrq-trigger", "ready")
        },
        |_| Ok(()),
    )?;
    assert!(log.contains("Kernel panic"), "{log}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn of_the_guest_that_restarts_itself() -> Result<()> {
    let log = ends_in_good_order(
        |bed| {
            bed.container()
                .options(&ALL_OF_PROC)
                .start_shell("echo ready; sleep 1; echo b > /proc/sysrq-trigger", "ready")
        },
        |_| Ok(()),
    )?;
    assert!(log.contains("the virtual machine ended by itself"), "{log}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn of_a_disk_that_is_full_is_the_programs_to_handle() -> Result<()> {
    let bed = Bed::shared()?;
    let script = "dd if=/dev/zero of=/small/file bs=64k count=64 2>&1; echo then $?";
    let answer = bed.container().options(&["--tmpfs", "/small:size=1m"]).shell_output(script)?;
    assert!(answer.contains("No space left on device") && answer.ends_with("then 1"), "{answer}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn of_limits_that_leave_no_room_for_a_machine() -> Result<()> {
    let bed = Bed::shared()?;
    let finished = bed.container().options(&["--memory", "32m"]).run(&["true"])?;
    assert_eq!(finished.code, 125, "{finished:?}");
    assert!(!finished.stderr.is_empty(), "no word about it");
    // That of processes is the guest's: the host has room for the machine's own threads.
    assert_eq!(bed.container().options(&["--pids-limit", "2"]).run(&["true"])?.code, 0);
    Ok(())
}
