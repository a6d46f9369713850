//! The size of the VM, and settings that are refused before one is started.

use anyhow::Result;
use runq_tests::bed::Bed;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn processors_and_memory_are_those_asked_for() -> Result<()> {
    let bed = Bed::shared()?;
    let options = ["-e", "RUNQ_CPU=2", "-e", "RUNQ_MEM=400"];
    let answer =
        bed.container().options(&options).shell_output("nproc; free -m | awk '/^Mem/ { print $2 }'")?;
    let (processors, memory_mib) = answer.split_once('\n').unwrap_or_default();
    assert_eq!(processors, "2");
    assert!((300..=400).contains(&memory_mib.parse::<u32>()?), "{memory_mib} MiB");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn bad_values_are_refused_with_the_name_and_what_is_allowed() -> Result<()> {
    let bed = Bed::alone()?;
    let before = bed.traces()?;
    for (setting, allowed) in [
        ("RUNQ_MEM=abc", "MiB"),
        ("RUNQ_MEM=-1", "MiB"),
        ("RUNQ_MEM=1", "MiB"),
        ("RUNQ_CPU=0", "1"),
        ("RUNQ_CPU=many", "1"),
        ("RUNQ_ACCEL=tcg", "--allow accel"),
        ("RUNQ_DNS=not-an-address", "address"),
    ] {
        let finished = bed.container().options(&["-e", setting]).run(&["true"])?;
        let message = finished.stderr_text();
        let name = setting.split('=').next().unwrap_or_default();
        assert_eq!(finished.code, 125, "{setting}: {finished:?}");
        assert!(message.contains(name) && message.contains(allowed), "{setting}: {message}");
    }
    let left = bed.traces()?.beyond(&before);
    assert!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn what_would_break_the_isolation_is_refused() -> Result<()> {
    let bed = Bed::shared()?;
    let other = bed.container().runtime("runc").start(&["sleep", "1000"])?;
    let joined = format!("container:{}", other.name);
    // The one that would take the host's own network when it is not refused comes last.
    for options in [
        ["--network", &joined],
        ["--pid", "host"],
        ["--ipc", "host"],
        ["--privileged", "--init=false"],
        ["--network", "host"],
    ] {
        let finished = bed.container().options(&options).shell("echo must not run")?;
        assert_eq!(finished.stdout_text(), "", "{options:?}");
        assert_ne!(finished.code, 0, "{options:?}");
        assert!(finished.stderr_text().contains("runq"), "{options:?}: {}", finished.stderr_text());
    }
    assert_eq!(other.inspect("{{.State.Running}}")?, "true");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn exec_is_refused_and_does_not_enter_the_host_side() -> Result<()> {
    let bed = Bed::shared()?;
    let container = bed.container().start_shell("echo ready; sleep 1000", "ready")?;
    let finished = bed.docker.run(&["exec", &container.name, "true"])?;
    assert_ne!(finished.code, 0);
    let said = format!("{}{}", finished.stdout_text(), finished.stderr_text());
    assert!(said.contains("exec is not supported"), "{said}");
    Ok(())
}
