//! A background program of the sandbox (containerd, dockerd): started with a log and a pid file, ended by the
//! pid in it. On the host as root; a pid file is believed only while that process runs the same program.

use crate::command;
use crate::host;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a daemon may take to come or to go.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where one daemon leaves its traces.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Program to run.
    pub program: &'static str,
    /// Holds its pid as text.
    pub pid_file: PathBuf,
    /// Gets its standard output and error.
    pub log: PathBuf,
}

impl Daemon {
    /// The pid while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        let pid = fs_err::read_to_string(&self.pid_file).ok()?.trim().parse().ok()?;
        let running = |process: &host::Process| process.name == self.program && !is_zombie(process.pid);
        host::process(pid).filter(running).map(|process| process.pid)
    }

    /// Starts it in its own session and waits until `ready`. The words before its name run it elsewhere and become it.
    ///
    /// # Errors
    /// When it ends or is not ready in time; the error has the end of its log.
    pub fn start(&self, before: &[String], args: &[String], ready: impl Fn() -> bool) -> Result<()> {
        let log = fs_err::File::create(&self.log)?.into_parts().0;
        let mut words = before.iter().map(String::as_str).chain([self.program]);
        let mut command = Command::new(words.next().unwrap_or(self.program));
        command
            .args(words)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.program))?;
        fs_err::write(&self.pid_file, child.id().to_string())?;
        let up = || has_ended(&mut child) || ready();
        let waited = command::wait_until(self.program, PATIENCE, up);
        if waited.is_err() || has_ended(&mut child) {
            bail!(
                "{} did not come up; the end of {}:\n{}",
                self.program,
                self.log.display(),
                self.last_words()
            );
        }
        Ok(())
    }

    /// Asks it to end and waits; kills it when it does not.
    ///
    /// # Errors
    /// When it survives that.
    pub fn stop(&self) -> Result<()> {
        for signal in [Signal::TERM, Signal::KILL] {
            let Some(pid) = self.pid().and_then(Pid::from_raw) else { break };
            kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.program))?;
            let gone = || self.pid().is_none();
            if command::wait_until(self.program, PATIENCE / 3, gone).is_ok() {
                return Ok(());
            }
        }
        match self.pid() {
            Some(pid) => bail!("{} (pid {pid}) does not end", self.program),
            None => Ok(()),
        }
    }

    fn last_words(&self) -> String {
        let log = fs_err::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

fn has_ended(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(Some(_)) | Err(_))
}

/// Has ended and is still in the table because nobody asked for its status, as in containers whose PID 1
/// does not reap.
fn is_zombie(pid: i32) -> bool {
    let status = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z') || rest.is_empty())
}
