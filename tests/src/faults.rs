//! Faults at chosen system calls of a program: it is killed when it enters one, or one fails. Done by strace(1), so that the
//! program is the one that is shipped. On the host; trusts strace.

use crate::command::{self, Finished};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// What changes a disk, or brings changes to it.
pub const CHANGING: [&str; 26] = [
    "openat",
    "write",
    "pwrite64",
    "writev",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchown",
    "fsync",
    "fdatasync",
    "syncfs",
    "ftruncate",
    "copy_file_range",
    "sendfile",
];

/// One moment of a program: it enters a system call for the nth time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Name of the call.
    pub call: String,
    /// From 1.
    pub number: usize,
    /// As strace shows it.
    pub shown: String,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL before the call is carried out.
    Kill,
    /// The call fails with this error.
    Error(&'static str),
}

/// Runs a command to its end and lists its moments that change the disk, in order.
///
/// # Errors
/// When strace or the command fails.
pub fn points(command: &Command, log: &Path) -> Result<Vec<Point>> {
    let finished = traced(command, log, &["-s", "0", "--trace", &CHANGING.join(",")])?;
    ensure!(finished.code == 0, "the run to record failed: {}", finished.stderr_text());
    let text = fs_err::read_to_string(log)?;
    // strace counts for each thread.
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut points = Vec::new();
    for line in text.lines() {
        // `PID call(arguments) = result`
        let mut words = line.split_whitespace();
        let thread = words.next().unwrap_or_default();
        let call = words.next().and_then(|rest| rest.split_once('(')).map(|(call, _)| call);
        let Some(call) = call.filter(|call| CHANGING.contains(call)) else { continue };
        let number = counts.entry((thread, call)).or_default();
        *number += 1;
        if call != "openat" || line.contains("O_CREAT") {
            points.push(Point { call: call.to_owned(), number: *number, shown: line.to_owned() });
        }
    }
    ensure!(points.len() > 3, "strace shows no changes: {text}");
    Ok(points)
}

/// Runs a command with a fault; a killed one ends with 137.
///
/// # Errors
/// When strace cannot run, or the command does not end.
pub fn run(command: &Command, point: &Point, fault: Fault, log: &Path) -> Result<Finished> {
    let what = match fault {
        Fault::Kill => "signal=SIGKILL".to_owned(),
        Fault::Error(name) => format!("error={name}"),
    };
    let inject = format!("{}:{what}:when={}", point.call, point.number);
    traced(command, log, &["--trace", &point.call, "--inject", &inject])
}

fn traced(command: &Command, log: &Path, options: &[&str]) -> Result<Finished> {
    let mut strace = Command::new("strace");
    // Without --seccomp-bpf, with which injected signals are lost.
    strace.args(["-f", "-q", "-o"]).arg(log).args(options).arg("--");
    strace.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    command::run(&mut strace, &[], LIMIT)
}
