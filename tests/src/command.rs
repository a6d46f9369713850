//! Runs programs with a time limit and keeps all they say. On the host; trusts nobody to end by himself.

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Exit code, or 128 + signal as shells count.
    pub code: i32,
    /// All of standard output.
    pub stdout: Vec<u8>,
    /// All of standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Standard output as text without the space around it.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Standard error as text without the space around it.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

/// Runs `command` with `stdin` as its standard input.
///
/// # Errors
/// When it cannot be started or does not end within `timeout`; then it and its children are killed.
pub fn run(command: &mut Command, stdin: &[u8], timeout: Duration) -> Result<Finished> {
    let name = describe(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let input = child.stdin.take();
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = thread::scope(|scope| {
        // A program may end without reading all of its input: the broken pipe is its decision.
        scope.spawn(move || input.map(|mut input| input.write_all(stdin)));
        wait(&mut child, timeout)
    })?;
    let (stdout, stderr) = (join(stdout)?, join(stderr)?);
    match status {
        Some(status) => Ok(Finished { code: exit_code(status), stdout, stderr }),
        None => bail!(
            "{name} did not end within {} s; it said on stdout {}, on stderr {}",
            timeout.as_secs(),
            last_words(&stdout),
            last_words(&stderr)
        ),
    }
}

/// Runs `command` and gives its standard output as text.
///
/// # Errors
/// As [`run`], and when it fails; the error carries what it said.
pub fn output(command: &mut Command, timeout: Duration) -> Result<String> {
    let finished = run(command, &[], timeout)?;
    if finished.code != 0 {
        bail!("{} failed with {}: {}", describe(command), finished.code, finished.stderr_text());
    }
    Ok(finished.stdout_text())
}

/// Runs `command` on the caller's terminal, so that its progress is seen.
///
/// # Errors
/// When it cannot be started or fails.
pub fn show(command: &mut Command) -> Result<()> {
    let name = describe(command);
    let status = command.status().with_context(|| format!("cannot start {name}"))?;
    if !status.success() {
        bail!("{name} failed with {}", exit_code(status));
    }
    Ok(())
}

/// The status of a child that ends within `timeout`; `None` when it had to be killed with its process group.
///
/// # Errors
/// When the kernel refuses to wait.
pub fn wait(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot open the child's pidfd")?;
    let limit = Timespec::try_from(timeout).context("time limit out of range")?;
    let ready = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)).context("cannot poll")?;
    if ready == 0 {
        kill_process_group(pid, Signal::KILL).context("cannot kill")?;
        child.wait()?;
        return Ok(None);
    }
    Ok(Some(child.wait()?))
}

/// Polls until `condition` holds.
///
/// # Errors
/// When it does not within `timeout`; the error names `what`.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > timeout {
            bail!("waited {} s in vain for {what}", timeout.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Program and arguments, for messages.
#[must_use]
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The end of an output, for messages; a test may pass megabytes of binary data.
fn last_words(output: &[u8]) -> String {
    const SHOWN: usize = 1000;
    let start = output.len().saturating_sub(SHOWN);
    let omitted = if start == 0 { String::new() } else { format!("({start} bytes) … ") };
    format!("{omitted}\"{}\"", output[start..].escape_ascii())
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

type Collected = thread::JoinHandle<std::io::Result<Vec<u8>>>;

fn collect(stream: Option<impl Read + Send + 'static>) -> Collected {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    })
}

fn join(collected: Collected) -> Result<Vec<u8>> {
    match collected.join() {
        Ok(bytes) => bytes.context("cannot read the program's output"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
