//! Children that end: those that `init` started, and those that lost their parent.

use crate::channel::{Event, Events, send};
use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use runq_contract::channel::ExitStatus;
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};
use std::os::fd::AsFd;

/// Makes an event of every SIGCHLD.
pub(crate) fn watch(events: Events) -> anyhow::Result<()> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().context("cannot block SIGCHLD")?;
    let queue = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .context("cannot make a signalfd")?;
    let duplicate = queue.as_fd().try_clone_to_owned().context("cannot duplicate the signalfd")?;
    let readiness = runq_sys::watch::watch(duplicate).context("cannot watch the signalfd")?;
    tokio::task::spawn_local(async move {
        while let Ok(mut ready) = readiness.readable().await {
            while matches!(queue.read_signal(), Ok(Some(_))) {}
            ready.clear_ready();
            send(&events, Event::Child).await;
        }
    });
    Ok(())
}

/// A child that ended, known or not; `None` when there is no more for now.
pub(crate) fn next_ended() -> anyhow::Result<Option<(Pid, ExitStatus)>> {
    match rustix::process::wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => Ok(Some((Pid::from_raw(pid.as_raw_pid()), exit_status(status)))),
        Ok(None) | Err(Errno::CHILD) => Ok(None),
        Err(error) => Err(error).context("cannot wait for children"),
    }
}

/// Codes and signals are bytes in the kernel's status word (wait(2)).
fn exit_status(status: WaitStatus) -> ExitStatus {
    let byte = |number| u8::try_from(number).unwrap_or(u8::MAX);
    match status.terminating_signal() {
        Some(signal) => ExitStatus::Signal(byte(signal)),
        None => ExitStatus::Code(status.exit_status().map_or(u8::MAX, byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    #[expect(clippy::zombie_processes, reason = "the child is waited for by its number")]
    fn reports_codes_and_signals_beyond_the_named_ones() {
        let status = |script: &str| {
            let child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
            let pid = rustix::process::Pid::from_child(&child);
            let (_, status) = rustix::process::waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
            exit_status(status)
        };
        assert_eq!(status("exit 255"), ExitStatus::Code(255));
        assert_eq!(status("kill -9 $$"), ExitStatus::Signal(9));
        assert_eq!(status("kill -37 $$"), ExitStatus::Signal(37));
    }
}
