//! Signals as messages. The proxy is PID 1 of the container: it blocks all signals before its first child starts
//! and reads them from a descriptor, so that none is lost and none kills it.

use anyhow::Context;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::unix::AsyncFd;

/// Someone sent this signal to the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A child ended.
    Child,
    /// The size of the terminal changed, or somebody sent SIGWINCH.
    Window,
    /// To be passed on, 1–64.
    Forward(u8),
}

/// The queue of signals.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks all signals in this thread and all later ones.
    pub(crate) fn block_all() -> anyhow::Result<Self> {
        let all = SigSet::all();
        all.thread_block().context("cannot block signals")?;
        let fd = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .context("cannot make a signalfd")?;
        Ok(Self(fd))
    }

    /// Watches the queue on the current runtime.
    pub(crate) fn watch(self) -> anyhow::Result<Watched> {
        let duplicate = self.0.as_fd().try_clone_to_owned().context("cannot duplicate the signalfd")?;
        let readiness = runq_sys::watch::watch(duplicate).context("cannot watch the signalfd")?;
        Ok(Watched { queue: self.0, readiness })
    }
}

/// The queue of signals, ready to be awaited.
pub(crate) struct Watched {
    queue: SignalFd,
    /// A duplicate of the same queue, in the event loop.
    readiness: AsyncFd<OwnedFd>,
}

impl Watched {
    /// The next signal. Cancelling loses none.
    pub(crate) async fn next(&mut self) -> io::Result<Event> {
        loop {
            let mut ready = self.readiness.readable().await?;
            match self.queue.read_signal() {
                Ok(Some(info)) => {
                    if let Some(event) = classify(info.ssi_signo, info.ssi_pid, std::process::id()) {
                        return Ok(event);
                    }
                }
                Ok(None) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What to do with a signal. One that the proxy caused itself (SIGPIPE of a write) is not passed on.
fn classify(number: u32, sender: u32, own: u32) -> Option<Event> {
    const SIGPIPE: u8 = nix::sys::signal::Signal::SIGPIPE as u8;
    const SIGCHLD: u8 = nix::sys::signal::Signal::SIGCHLD as u8;
    const SIGWINCH: u8 = nix::sys::signal::Signal::SIGWINCH as u8;
    match u8::try_from(number).ok()? {
        SIGCHLD => Some(Event::Child),
        SIGWINCH => Some(Event::Window),
        SIGPIPE if sender == own => None,
        number @ 1..=64 => Some(Event::Forward(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_on_what_others_send_including_real_time_signals() {
        assert_eq!(classify(15, 0, 1), Some(Event::Forward(15)));
        assert_eq!(classify(13, 0, 1), Some(Event::Forward(13)));
        assert_eq!(classify(64, 0, 1), Some(Event::Forward(64)));
    }

    #[test]
    fn keeps_its_own_signals() {
        assert_eq!(classify(17, 9, 1), Some(Event::Child));
        assert_eq!(classify(28, 0, 1), Some(Event::Window));
        assert_eq!(classify(13, 1, 1), None);
        assert_eq!(classify(65, 0, 1), None);
    }
}
