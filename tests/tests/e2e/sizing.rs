//! Docker's limits: they size the VM, the host's control group has room for what is around the guest, and what the guest
//! runs out of is told.

use anyhow::{Context, Result};
use runq_tests::bed::{Bed, Container};
use std::path::PathBuf;

/// A file of the container's control group on the host (cgroup v1 or v2).
fn host_limit(container: &Container, group: &str, v1: &str, v2: &str) -> Result<String> {
    let pid = container.inspect("{{.State.Pid}}")?;
    let groups = fs_err::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path_of = |controllers: &str| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            fields.next()?.split(',').any(|name| name == controllers).then(|| fields.next()).flatten()
        })
    };
    let file = match path_of(group) {
        Some(path) => format!("/sys/fs/cgroup/{group}{path}/{v1}"),
        None => format!("/sys/fs/cgroup{}/{v2}", path_of("").context("no control group")?),
    };
    Ok(fs_err::read_to_string(PathBuf::from(file))?.trim().to_owned())
}

fn memory_limit_mib(container: &Container) -> Result<u64> {
    Ok(host_limit(container, "memory", "memory.limit_in_bytes", "memory.max")?.parse::<u64>()? >> 20)
}

const SIZE: &str = "nproc; awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo";

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn dockers_limits_size_the_vm() -> Result<()> {
    let bed = Bed::shared()?;
    let options = ["-m", "512m", "--cpus", "1.5"];
    let container =
        bed.container().options(&options).start_shell(&format!("{SIZE}; echo done; sleep 1000"), "done")?;
    let logs = container.logs()?;
    let mut lines = logs.lines();
    assert_eq!(lines.next(), Some("2"));
    let memory_mib: u64 = lines.next().context("no second line")?.parse()?;
    assert!((400..=512).contains(&memory_mib), "{memory_mib} MiB");
    let limit_mib = memory_limit_mib(&container)?;
    assert!((600..=1024).contains(&limit_mib), "the host's limit is {limit_mib} MiB");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_guest_may_use_all_of_its_memory() -> Result<()> {
    let bed = Bed::shared()?;
    // A file in memory that fills most of what is free, and some of it again through the share.
    let script = "free=$(awk '/^MemAvailable/ { print int($2 / 1024) - 40 }' /proc/meminfo); \
                  head -c ${free}m /dev/zero > /fill/x && rm /fill/x && \
                  head -c 16m /dev/zero > /big && cat /big > /dev/null && echo all of it";
    let options = ["-m", "160m", "--memory-swap", "160m", "--tmpfs", "/fill:size=100%"];
    let finished = bed.container().options(&options).shell(script)?;
    assert_eq!(
        (finished.code, finished.stdout_text().as_str()),
        (0, "all of it"),
        "{}",
        finished.stderr_text()
    );
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_guest_out_of_memory_ends_with_137_and_a_line_in_the_log() -> Result<()> {
    let bed = Bed::shared()?;
    let finished = bed.container().options(&["-m", "128m"]).run(&["tail", "/dev/zero"])?;
    assert_eq!(finished.code, 137, "{}", finished.stderr_text());
    assert!(finished.stderr_text().contains("memory was used up"), "{}", finished.stderr_text());
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn too_little_memory_is_refused_with_a_clear_line() -> Result<()> {
    let bed = Bed::shared()?;
    for (options, expected) in [
        (&["-m", "32m"][..], "-m 32m is too small for a VM: expected at least 96m"),
        (&["-m", "128m", "-e", "RUNQ_MEM=256"], "exceeds the container's limit: -m 128m"),
    ] {
        let finished = bed.container().options(options).run(&["true"])?;
        assert_eq!(finished.code, 125, "{options:?}");
        assert!(finished.stderr_text().contains(expected), "{}", finished.stderr_text());
    }
    assert_eq!(bed.container().options(&["-m", "96m"]).shell_output("echo fits")?, "fits");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn the_limit_of_processes_holds_in_the_guest() -> Result<()> {
    let bed = Bed::shared()?;
    let script =
        "cat /sys/fs/cgroup/pids.max; for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo started all";
    let finished = bed.container().options(&["--pids-limit", "8"]).shell(script)?;
    assert!(finished.stdout_text().starts_with('8'), "{}", finished.stdout_text());
    assert!(!finished.stdout_text().contains("started all"), "{}", finished.stdout_text());
    assert!(finished.stderr_text().contains("can't fork"), "{}", finished.stderr_text());
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn an_update_keeps_the_room_around_the_guest() -> Result<()> {
    let bed = Bed::shared()?;
    let container =
        bed.container().options(&["-m", "256m"]).start_shell("echo ready; sleep 1000", "ready")?;
    let before = memory_limit_mib(&container)?;
    bed.docker.output(&["update", "-m", "356m", "--memory-swap", "-1", &container.name])?;
    assert_eq!(memory_limit_mib(&container)?, before + 100);
    let refused = bed.docker.run(&["update", "-m", "128m", "--memory-swap", "-1", &container.name])?;
    assert_ne!(refused.code, 0);
    assert!(refused.stderr_text().contains("the VM has 256 MiB"), "{}", refused.stderr_text());
    assert_eq!(container.inspect("{{.State.Running}}")?, "true");
    Ok(())
}
