//! Many containers one after the other and at once: nothing of them may be left, and the daemons must not have grown. On the
//! host as root, in a sandbox that is up and does nothing else.

use crate::bed::{Bed, unique_name};
use crate::command::wait_until;
use crate::host::{self, Traces};
use crate::report;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// How far a daemon may grow, whatever the number of containers: its own caches and pools.
const SLACK: Footprint = Footprint { descriptors: 30, memory_mib: 60 };

/// After the end of a container, on a loaded machine.
const SETTLING: Duration = Duration::from_secs(60);

/// What the sandbox's daemons hold.
#[derive(Debug, Clone, Copy, Default)]
struct Footprint {
    descriptors: u64,
    memory_mib: u64,
}

/// Runs `sequential` containers one by one, then `parallel` at once.
///
/// # Errors
/// When a container fails, and when something is left: each trace, or how far the daemons have grown.
pub fn run(bed: &Bed, sequential: u32, parallel: u32) -> Result<()> {
    // The first ones make what stays for the next.
    for _ in 0..3 {
        container(bed)?;
    }
    let (traces, before) = (bed.traces()?, footprint()?);
    for number in 1..=sequential {
        container(bed).with_context(|| format!("container {number} of {sequential}"))?;
        if number % 50 == 0 {
            report::detail(format_args!("{number} containers, the daemons hold {:?}", footprint()?));
        }
    }
    std::thread::scope(|scope| {
        let containers: Vec<_> = (0..parallel).map(|_| scope.spawn(|| container(bed))).collect();
        containers.into_iter().try_for_each(|container| match container.join() {
            Ok(result) => result.with_context(|| format!("one of {parallel} at once")),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let left = || bed.traces().map(|now: Traces| now.beyond(&traces));
    wait_until("the host to be as before", SETTLING, || left().is_ok_and(|left| left.is_empty()))
        .with_context(|| format!("left behind: {:?}", left()))?;
    let after = footprint()?;
    report::detail(format_args!("the daemons held {before:?}, and now {after:?}"));
    ensure!(after.descriptors <= before.descriptors + SLACK.descriptors, "{before:?} became {after:?}");
    ensure!(after.memory_mib <= before.memory_mib + SLACK.memory_mib, "{before:?} became {after:?}");
    Ok(())
}

fn container(bed: &Bed) -> Result<()> {
    let word = unique_name();
    let finished = bed.container().options(&["--rm"]).run(&["echo", &word])?;
    ensure!(finished.code == 0 && finished.stdout_text() == word, "{finished:?}");
    Ok(())
}

/// Sums over this sandbox's and every other Docker of the host.
fn footprint() -> Result<Footprint> {
    let mut sum = Footprint::default();
    for process in
        host::processes()?.iter().filter(|process| ["dockerd", "containerd"].contains(&process.name.as_str()))
    {
        sum.descriptors += u64::try_from(fs_err::read_dir(format!("/proc/{}/fd", process.pid))?.count())?;
        let status = fs_err::read_to_string(format!("/proc/{}/status", process.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.split_whitespace().next().context("VmRSS without a number")?.parse()?;
        sum.memory_mib += kib / 1024;
    }
    Ok(sum)
}
