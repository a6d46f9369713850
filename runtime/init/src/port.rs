//! The virtio-serial port that carries the channel, as an asynchronous byte pipe.

use anyhow::{Context, bail};
use runq_contract::paths::CHANNEL_PORT;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where the kernel lists the ports.
const PORTS: &str = "/sys/class/virtio-ports";

/// How long the port may take to appear and to be connected.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Interval between looks.
const INTERVAL: Duration = Duration::from_millis(1);

/// The open port.
pub(crate) struct Port(AsyncFd<OwnedFd>);

impl Port {
    /// Waits for the port, opens it and waits for the host's end to be connected.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let deadline = Instant::now() + TIMEOUT;
        let device =
            wait(deadline, find).with_context(|| format!("no virtio-serial port named {CHANNEL_PORT}"))?;
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || rustix::fs::open(&device, flags, Mode::empty()).ok();
        let port = wait(deadline, open).with_context(|| format!("cannot open {device}"))?;
        if wait(deadline, || connected(&port).then_some(())).is_none() {
            bail!("nobody is at the other end of {device}");
        }
        Ok(Self(runq_sys::watch::watch(port).with_context(|| format!("cannot watch {device}"))?))
    }
}

/// Looks until there is something, or the deadline has passed.
fn wait<T>(deadline: Instant, look: impl Fn() -> Option<T>) -> Option<T> {
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Path of the port's device.
fn find() -> Option<String> {
    for entry in std::fs::read_dir(PORTS).ok()?.flatten() {
        let name = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim_end() == CHANNEL_PORT {
            return Some(format!("/dev/{}", entry.file_name().to_str()?));
        }
    }
    None
}

/// The kernel reports a hang-up as long as the host's end is closed.
fn connected(port: &OwnedFd) -> bool {
    let mut poll = [PollFd::new(port, PollFlags::IN | PollFlags::OUT)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&now)).is_ok() && !poll[0].revents().contains(PollFlags::HUP)
}

impl AsyncRead for Port {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let space = buffer.initialize_unfilled();
            match ready.try_io(|port| Ok(rustix::io::read(port.as_fd(), &mut *space)?)) {
                Ok(result) => {
                    buffer.advance(result?);
                    return Poll::Ready(Ok(()));
                }
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Port {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            match ready.try_io(|port| Ok(rustix::io::write(port.as_fd(), bytes)?)) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
