//! The figures that decide whether runq is fast enough: medians over several runs. On the host, in a sandbox
//! that is up; the machine should have nothing else to do.

use crate::docker::Docker;
use crate::{bare_qemu, command, report};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::{Duration, Instant};

const RUNS: usize = 5;
const LIMIT: Duration = Duration::from_secs(120);

/// How much the throughput test writes.
const MEBIBYTES: u32 = 64;

/// Measures and gives a table.
///
/// # Errors
/// When a run fails.
pub fn run(docker: &Docker, prefix: &Path, accel: &str) -> Result<String> {
    report::step(format_args!("bench: medians of {RUNS}, accelerator {accel}"));
    let bare = median(|| bare_qemu::boot(prefix, accel, LIMIT))?;
    report::detail("bare QEMU done");
    let runc = median(|| container(docker, "runc"))?;
    let runq = median(|| container(docker, "runq"))?;
    report::detail("docker run done");
    let stdout = median(|| stdout(docker))?.saturating_sub(runq);
    let aim = (bare + runc).mul_f64(1.3);
    let rate = f64::from(MEBIBYTES) / stdout.as_secs_f64();
    Ok(format!(
        "docker run --rm --runtime runq busybox true  {:>8} ms\n\
         the same with runc                           {:>8} ms\n\
         bare QEMU until the first line of init       {:>8} ms\n\
         aim: 1.3 x (bare QEMU + runc)                {:>8} ms\n\
         standard output                              {rate:>8.1} MiB/s\n",
        runq.as_millis(),
        runc.as_millis(),
        bare.as_millis(),
        aim.as_millis(),
    ))
}

fn container(docker: &Docker, runtime: &str) -> Result<Duration> {
    timed(docker, &["run", "--rm", "--runtime", runtime, "busybox", "true"], 0)
}

fn stdout(docker: &Docker) -> Result<Duration> {
    let write = format!("dd if=/dev/zero bs=1M count={MEBIBYTES} 2>/dev/null");
    let bytes = usize::try_from(MEBIBYTES)? << 20;
    timed(
        docker,
        &["run", "--rm", "--log-driver", "none", "--runtime", "runq", "busybox", "sh", "-c", &write],
        bytes,
    )
}

fn timed(docker: &Docker, args: &[&str], expected_bytes: usize) -> Result<Duration> {
    let start = Instant::now();
    let finished = command::run(docker.command().args(args), &[], LIMIT)?;
    let time = start.elapsed();
    if finished.code != 0 || finished.stdout.len() != expected_bytes {
        bail!("docker {}: code {}, {}", args.join(" "), finished.code, finished.stderr_text());
    }
    Ok(time)
}

fn median(mut run: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let mut times = (0..RUNS).map(|_| run()).collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    times.get(RUNS / 2).copied().context("no runs")
}
