//! Pipes and pseudo-terminals of a process, and the copying between them and the host's streams.

use crate::channel::{Event, Events, Stream, send};
use crate::mounts::DEVPTS;
use anyhow::Context;
use runq_contract::channel::WindowSize;
use runq_contract::process::ProcessId;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size};
use rustix::termios::Winsize;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes that are moved at once, and the size of a pipe.
const BUFFER_BYTES: usize = 256 * 1024;

/// The child's side: what becomes its descriptors 0, 1 and 2.
pub(crate) enum ChildStdio {
    /// Read end, write end, write end.
    Pipes([OwnedFd; 3]),
    /// Path of the pseudo-terminal's slave in the container.
    Terminal(CString),
}

/// Our side.
pub(crate) enum ParentStdio {
    /// Write end of stdin, read ends of stdout and stderr.
    Pipes([OwnedFd; 3]),
    /// Master of the pseudo-terminal.
    Terminal(OwnedFd),
}

/// Three pipes.
pub(crate) fn pipes() -> anyhow::Result<(ParentStdio, ChildStdio)> {
    let pipe = || -> anyhow::Result<(OwnedFd, OwnedFd)> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
        // A larger pipe is faster, not necessary.
        fcntl_setpipe_size(&write, BUFFER_BYTES).ok();
        Ok((read, write))
    };
    let (stdin, feed) = pipe()?;
    let (output, stdout) = pipe()?;
    let (errors, stderr) = pipe()?;
    for ours in [&feed, &output, &errors] {
        rustix::io::ioctl_fionbio(ours, true).context("cannot make a pipe non-blocking")?;
    }
    Ok((ParentStdio::Pipes([feed, output, errors]), ChildStdio::Pipes([stdin, stdout, stderr])))
}

/// A pseudo-terminal of the container's devpts instance.
pub(crate) fn terminal(window: Option<WindowSize>) -> anyhow::Result<(ParentStdio, ChildStdio)> {
    let ptmx = format!("{DEVPTS}/ptmx");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let master =
        rustix::fs::open(&ptmx, flags, Mode::empty()).with_context(|| format!("cannot open {ptmx}"))?;
    rustix::pty::unlockpt(&master).context("cannot unlock the pseudo-terminal")?;
    let slave = rustix::pty::ptsname(&master, Vec::new()).context("cannot name the pseudo-terminal")?;
    if let Some(window) = window {
        resize(master.as_fd(), window)?;
    }
    Ok((ParentStdio::Terminal(master), ChildStdio::Terminal(slave)))
}

/// Sets the terminal's size; its foreground processes get SIGWINCH.
pub(crate) fn resize(master: BorrowedFd<'_>, window: WindowSize) -> anyhow::Result<()> {
    let size = Winsize { ws_row: window.rows, ws_col: window.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(master, size).context("cannot set the terminal's size")
}

/// Copies a stream of the host to a process until either side ends.
pub(crate) async fn feed(mut stream: Stream, input: OwnedFd) {
    let Ok(input) = runq_sys::watch::watch(input) else { return };
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if write_all(&input, &buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Copies what a process writes to a stream of the host until either side ends, and tells the session.
pub(crate) async fn drain(process: ProcessId, output: OwnedFd, mut stream: Stream, events: Events) {
    if let Ok(output) = runq_sys::watch::watch(output) {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count =
                output.async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut buffer)?)).await;
            // A terminal whose other side is closed gives EIO: the end, like 0.
            let Ok(count @ 1..) = count else { break };
            if stream.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        // The host may have closed the stream already.
        drop(stream.shutdown().await);
    }
    send(&events, Event::OutputClosed(process)).await;
}

async fn write_all(fd: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> Result<(), std::io::Error> {
    while !bytes.is_empty() {
        match fd.async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?)).await {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
