//! The container's standard descriptors, joined to the streams of the entrypoint. A reader that stops stalls its
//! own stream only; the bytes are passed on unread.

use crate::channel::Stream;
use anyhow::Context;
use runq_contract::channel::WindowSize;
use rustix::io::{Errno, FdFlags};
use rustix::termios::{self, OptionalActions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// Bytes that are moved at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// How long a stream may stay silent and open after the process behind it has ended.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Puts the container's terminal into raw mode: the guest's terminal does the line editing.
pub(crate) fn make_raw(terminal: BorrowedFd<'_>) -> anyhow::Result<()> {
    let mut attributes = termios::tcgetattr(terminal).context("cannot read the terminal's attributes")?;
    attributes.make_raw();
    termios::tcsetattr(terminal, OptionalActions::Now, &attributes)
        .context("cannot put the terminal into raw mode")
}

/// Size of the container's terminal; `None` when it is not one.
pub(crate) fn window(terminal: BorrowedFd<'_>) -> Option<WindowSize> {
    let size = termios::tcgetwinsize(terminal).ok()?;
    Some(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// One of the container's descriptors. Regular files and /dev/null cannot be polled; tokio reads and writes
/// them on a thread of its own.
enum Descriptor {
    Pollable(AsyncFd<OwnedFd>),
    File(File),
}

impl Descriptor {
    /// A duplicate of the descriptor, watched by the current runtime.
    fn open(fd: BorrowedFd<'_>) -> anyhow::Result<Self> {
        let fd = fd.try_clone_to_owned().context("cannot duplicate a standard descriptor")?;
        rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC).context("cannot mark a descriptor close-on-exec")?;
        let plain = fd.try_clone().context("cannot duplicate a standard descriptor")?;
        match runq_sys::watch::watch(fd) {
            Ok(fd) => {
                rustix::io::ioctl_fionbio(&fd, true)
                    .context("cannot make a standard descriptor non-blocking")?;
                Ok(Self::Pollable(fd))
            }
            Err(_) => Ok(Self::File(File::from_std(plain.into()))),
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Pollable(fd) => {
                fd.async_io(tokio::io::Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut *buffer)?)).await
            }
            Self::File(file) => file.read(buffer).await,
        }
    }

    async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Pollable(fd) => {
                while !bytes.is_empty() {
                    let written = fd
                        .async_io(tokio::io::Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?))
                        .await?;
                    bytes = &bytes[written..];
                }
                Ok(())
            }
            Self::File(file) => {
                file.write_all(bytes).await?;
                file.flush().await
            }
        }
    }
}

/// Copies the container's standard input to the guest until it ends on either side.
pub(crate) async fn feed(input: impl AsFd, mut stream: Stream) -> anyhow::Result<()> {
    let mut input = Descriptor::open(input.as_fd())?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = match input.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => count,
            // The other side of the terminal is closed.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => break,
            Err(error) => return Err(error).context("cannot read standard input"),
        };
        if stream.write_all(&buffer[..count]).await.is_err() || stream.flush().await.is_err() {
            return Ok(());
        }
    }
    // The guest may have closed its side already.
    stream.shutdown().await.or(Ok(()))
}

/// Copies a stream of the guest to the container's descriptor until the guest closes it. After `exited` turns
/// true, silence ends it too.
pub(crate) async fn drain(
    mut stream: Stream,
    output: impl AsFd,
    mut exited: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut output = Descriptor::open(output.as_fd())?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let silence = async {
            if exited.wait_for(|exited| *exited).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        let count = tokio::select! {
            count = stream.read(&mut buffer) => count.unwrap_or(0),
            () = silence => 0,
        };
        if count == 0 {
            return Ok(());
        }
        if output.write_all(&buffer[..count]).await.is_err() {
            // Nobody reads any more. Dropping the stream tells the guest, whose process gets SIGPIPE.
            return Ok(());
        }
    }
}
