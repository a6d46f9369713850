//! The proxy's end of the channel: a yamux connection whose streams only the host opens, and the control stream's
//! frames. Every byte comes from the guest, which is hostile: lengths are checked before anything is allocated,
//! a stream that the guest opens ends the connection.

use anyhow::Context;
use runq_contract::channel::{
    self, GuestMessage, HostMessage, MAX_GUEST_FRAME_BYTES, PREFIX_BYTES, StreamHeader,
};
use std::future::poll_fn;
use std::os::unix::net::UnixStream;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, ConnectionError, FrameDecodeError, Mode};

/// A stream of the channel: two independent directions of bytes.
pub(crate) type Stream = Compat<yamux::Stream>;

/// Streams that may be open at once: three for each process.
const MAX_STREAMS: usize = 256;

/// Bound of all receive windows together: a quarter of a MiB for each stream.
const MAX_WINDOW_BYTES: usize = 64 * 1024 * 1024;

/// Payload of one yamux frame; the guest copies faster with larger ones.
const FRAME_PAYLOAD_BYTES: usize = 64 * 1024;

/// How long the connection may take to notice that its other end is gone.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens streams.
pub(crate) struct Channel {
    requests: mpsc::Sender<oneshot::Sender<yamux::Stream>>,
    driver: JoinHandle<Result<(), ChannelError>>,
}

/// What the guest said, or why it says nothing any more.
pub(crate) type Messages = mpsc::Receiver<anyhow::Result<GuestMessage>>;

/// Why the connection ended.
#[derive(Debug, thiserror::Error)]
enum ChannelError {
    #[error("the guest opened a stream, which only the host may do")]
    InboundStream,
    #[error("the guest broke the rules of the multiplexer")]
    Yamux(#[source] ConnectionError),
}

impl Channel {
    /// Takes the socket over; the connection is driven on the current `LocalSet`.
    pub(crate) fn connect(socket: UnixStream) -> anyhow::Result<Self> {
        socket.set_nonblocking(true).context("cannot make the channel non-blocking")?;
        let socket = tokio::net::UnixStream::from_std(socket).context("cannot watch the channel")?;
        let mut config = Config::default();
        config.set_max_num_streams(MAX_STREAMS);
        config.set_max_connection_receive_window(Some(MAX_WINDOW_BYTES));
        config.set_split_send_size(FRAME_PAYLOAD_BYTES);
        let connection = Connection::new(socket.compat(), config, Mode::Client);
        let (requests, receiver) = mpsc::channel(1);
        let driver = tokio::task::spawn_local(drive(connection, receiver));
        Ok(Self { requests, driver })
    }

    /// Why the connection ended, when it ended by a violation. To be asked after it ended.
    pub(crate) async fn violation(self) -> Option<anyhow::Error> {
        match tokio::time::timeout(CLOSE_TIMEOUT, self.driver).await {
            // The other end is gone, which is no violation.
            Ok(Ok(Err(ChannelError::Yamux(
                ConnectionError::Io(_) | ConnectionError::Decode(FrameDecodeError::Io(_)),
            )))) => None,
            Ok(Ok(Err(error))) => Some(error.into()),
            _ => None,
        }
    }

    /// Opens a stream; the guest learns of it with the first bytes.
    async fn open(&self) -> anyhow::Result<Stream> {
        let (sender, receiver) = oneshot::channel();
        self.requests.send(sender).await.context("the channel is closed")?;
        Ok(receiver.await.context("the channel closed while a stream was opened")?.compat())
    }

    /// Opens a stream of a process.
    pub(crate) async fn open_stream(&self, header: StreamHeader) -> anyhow::Result<Stream> {
        let mut stream = self.open().await?;
        stream
            .write_all(&channel::encode(&header)?)
            .await
            .context("cannot announce a stream to the guest")?;
        stream.flush().await.context("cannot announce a stream to the guest")?;
        Ok(stream)
    }

    /// Opens the control stream, which has to be the first one.
    pub(crate) async fn open_control(&self) -> anyhow::Result<(Control, Messages)> {
        let (reader, writer) = tokio::io::split(self.open().await?);
        let (sender, messages) = mpsc::channel(16);
        tokio::task::spawn_local(read_messages(reader, sender));
        Ok((Control(writer), messages))
    }
}

/// Sends messages to the guest.
pub(crate) struct Control(WriteHalf<Stream>);

impl Control {
    /// Sends one message.
    pub(crate) async fn send(&mut self, message: &HostMessage) -> anyhow::Result<()> {
        let frame = channel::encode(message).context("cannot encode a message to the guest")?;
        self.0.write_all(&frame).await.context("cannot send a message to the guest")?;
        self.0.flush().await.context("cannot send a message to the guest")
    }
}

/// Polls the connection, which moves the bytes of all streams, and opens streams on request.
async fn drive(
    mut connection: Connection<Compat<tokio::net::UnixStream>>,
    mut requests: mpsc::Receiver<oneshot::Sender<yamux::Stream>>,
) -> Result<(), ChannelError> {
    let mut waiting: Option<oneshot::Sender<yamux::Stream>> = None;
    poll_fn(|context| {
        loop {
            if waiting.is_none()
                && let Poll::Ready(Some(request)) = requests.poll_recv(context)
            {
                waiting = Some(request);
            }
            if waiting.is_some()
                && let Poll::Ready(stream) = connection.poll_new_outbound(context)
            {
                let stream = stream.map_err(ChannelError::Yamux)?;
                // The one who asked may have given up; the stream is then reset.
                waiting.take().and_then(|request| request.send(stream).err());
                continue;
            }
            return match connection.poll_next_inbound(context) {
                Poll::Ready(Some(Ok(_))) => Poll::Ready(Err(ChannelError::InboundStream)),
                Poll::Ready(Some(Err(error))) => Poll::Ready(Err(ChannelError::Yamux(error))),
                Poll::Ready(None) => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            };
        }
    })
    .await
}

/// Decodes frames until the stream ends, the guest breaks a rule, or nobody listens.
async fn read_messages(mut reader: ReadHalf<Stream>, sender: mpsc::Sender<anyhow::Result<GuestMessage>>) {
    loop {
        let message = read_message(&mut reader).await.transpose();
        let Some(message) = message else { return };
        let last = message.is_err();
        if sender.send(message).await.is_err() || last {
            return;
        }
    }
}

/// One message; `None` at the end of the stream.
async fn read_message(reader: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<Option<GuestMessage>> {
    let mut prefix = [0; PREFIX_BYTES];
    if reader.read_exact(&mut prefix).await.is_err() {
        return Ok(None);
    }
    let bytes =
        channel::payload_bytes(prefix, MAX_GUEST_FRAME_BYTES).context("the guest sent a bad message")?;
    let mut payload = vec![0; bytes];
    if reader.read_exact(&mut payload).await.is_err() {
        return Ok(None);
    }
    channel::decode(&payload).map(Some).context("the guest sent a bad message")
}

#[cfg(test)]
mod tests;
