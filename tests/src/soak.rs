//! Many containers one after the other and at once: nothing of them may be left, and the daemons must not have grown. On the
//! host as root, in a sandbox that is up and does nothing else.

use crate::bed::{Bed, unique_name};
use crate::command::wait_until;
use crate::host::{self, Traces};
use crate::report;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
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
    // The last words are the ones that get lost.
    let script = format!("seq 1000; seq 1000 >&2; echo {word}; echo {word} >&2; exit 3");
    let finished = bed.container().options(&["--rm"]).shell(&script)?;
    let expected: String = (1..=1000).map(|number| format!("{number}\n")).chain([word]).collect();
    ensure!(finished.code == 3, "{finished:?}");
    ensure!(
        finished.stdout_text() == expected,
        "standard output ends with {:?}",
        last_words(&finished.stdout)
    );
    ensure!(
        finished.stderr_text() == expected,
        "standard error ends with {:?}",
        last_words(&finished.stderr)
    );
    Ok(())
}

fn last_words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(100)..]).into_owned()
}

/// Sends random bytes through standard output and error at once; both have to arrive whole.
///
/// # Errors
/// When they do not.
pub fn streams(bed: &Bed, mib: usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let random =
        Command::new("head").args(["-c", &format!("{mib}M"), "/dev/urandom"]).stdout(Stdio::piped()).spawn();
    let mut random = random.context("cannot start head")?;
    let source = random.stdout.take().context("head has no output")?;
    let expected = digest(source, Some(&dir.path().join("random")))?;
    random.wait()?;
    let volume = format!("{}:/random:ro", dir.path().display());
    let options = ["--log-driver", "none", "-v", &volume];
    let script = "cat /random/random >&2 & cat /random/random; wait";
    let (container, mut docker) = bed.container().options(&options).command(&["--rm"], &["sh", "-c", script]);
    let begin = std::time::Instant::now();
    let mut running = docker.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let errors = running.stderr.take().context("docker has no standard error")?;
    let output = running.stdout.take().context("docker has no standard output")?;
    let errors = std::thread::spawn(move || digest(errors, None));
    let output = digest(output, None)?;
    let Ok(errors) = errors.join() else { bail!("the reader of standard error failed") };
    ensure!(running.wait()?.success(), "the container failed");
    drop(container);
    ensure!(output == expected, "standard output: {output:?} instead of {expected:?}");
    ensure!(errors? == expected, "standard error is not what was sent");
    report::detail(format_args!("{mib} MiB through each stream in {} s", begin.elapsed().as_secs()));
    Ok(())
}

/// Number of bytes and SHA-256; they are also written to `copy`.
fn digest(mut source: impl Read, copy: Option<&Path>) -> Result<(usize, String)> {
    let mut copy = copy.map(fs_err::File::create).transpose()?;
    let (mut hasher, mut bytes, mut block) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        match source.read(&mut block)? {
            0 => return Ok((bytes, format!("{:x}", hasher.finalize()))),
            count => {
                hasher.update(&block[..count]);
                copy.as_mut().map(|file| file.write_all(&block[..count])).transpose()?;
                bytes += count;
            }
        }
    }
}

/// Sums over this sandbox's and every other Docker of the host, but for those that end at this moment.
fn footprint() -> Result<Footprint> {
    let mut sum = Footprint::default();
    for process in
        host::processes()?.iter().filter(|process| ["dockerd", "containerd"].contains(&process.name.as_str()))
    {
        let descriptors = fs_err::read_dir(format!("/proc/{}/fd", process.pid));
        let status = fs_err::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let (Ok(descriptors), Some(memory)) = (descriptors, memory) else { continue };
        sum.descriptors += u64::try_from(descriptors.count())?;
        let kib: u64 = memory.split_whitespace().next().context("VmRSS without a number")?.parse()?;
        sum.memory_mib += kib / 1024;
    }
    Ok(sum)
}
