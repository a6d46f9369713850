//! The guest's end of the channel: accepts the streams that the host opens, reads the control stream's messages.
//! Everything that happens on it becomes an [`Event`].

use crate::port::Port;
use anyhow::Context;
use runq_contract::channel::{
    self, FrameError, GuestMessage, HostMessage, MAX_FRAME_BYTES, PREFIX_BYTES, StreamHeader,
};
use runq_contract::process::ProcessId;
use serde::de::DeserializeOwned;
use std::future::poll_fn;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, Mode};

/// A stream of the channel.
pub(crate) type Stream = Compat<yamux::Stream>;

/// Payload of one yamux frame.
const FRAME_PAYLOAD_BYTES: usize = 64 * 1024;

/// What the session has to react to.
pub(crate) enum Event {
    /// The host opened the control stream, which is the first one.
    Control(Control),
    /// The host said something.
    Message(Box<HostMessage>),
    /// The host opened a stream of a process.
    Stream(StreamHeader, Stream),
    /// All output of one descriptor of a process was sent.
    OutputClosed(ProcessId),
    /// A child ended.
    Child,
    /// The connection is over.
    Closed,
}

/// Takes events.
pub(crate) type Events = mpsc::Sender<Event>;

/// Sends messages to the host.
pub(crate) struct Control(WriteHalf<Stream>);

impl Control {
    /// Sends one message.
    pub(crate) async fn send(&mut self, message: &GuestMessage) -> anyhow::Result<()> {
        let frame = channel::encode(message).context("cannot encode a message to the host")?;
        self.0.write_all(&frame).await.context("cannot send a message to the host")?;
        self.0.flush().await.context("cannot send a message to the host")
    }
}

/// Drives the connection on the current `LocalSet`.
pub(crate) fn accept(port: Port, events: Events) {
    let mut config = Config::default();
    config.set_split_send_size(FRAME_PAYLOAD_BYTES);
    let mut connection = Connection::new(port.compat(), config, Mode::Server);
    tokio::task::spawn_local(async move {
        let mut first = true;
        while let Some(Ok(stream)) = poll_fn(|context| connection.poll_next_inbound(context)).await {
            let stream = stream.compat();
            if std::mem::take(&mut first) {
                tokio::task::spawn_local(read_control(stream, events.clone()));
            } else {
                tokio::task::spawn_local(read_header(stream, events.clone()));
            }
        }
        send(&events, Event::Closed).await;
    });
}

/// Nobody listens only when the session is over.
pub(crate) async fn send(events: &Events, event: Event) {
    drop(events.send(event).await);
}

async fn read_control(stream: Stream, events: Events) {
    let (mut reader, writer): (ReadHalf<Stream>, _) = tokio::io::split(stream);
    send(&events, Event::Control(Control(writer))).await;
    loop {
        match read_frame(&mut reader).await {
            Ok(message) => send(&events, Event::Message(Box::new(message))).await,
            // The host has closed the stream, or is gone.
            Err(ReadError::Read(_)) => break,
            Err(error @ ReadError::Frame(_)) => {
                crate::kernel_log::error(&format!("the host sent an invalid message: {error}"));
                break;
            }
        }
    }
    send(&events, Event::Closed).await;
}

async fn read_header(mut stream: Stream, events: Events) {
    if let Ok(header) = read_frame(&mut stream).await {
        send(&events, Event::Stream(header, stream)).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot read from the channel")]
    Read(#[source] std::io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

async fn read_frame<T: DeserializeOwned>(reader: &mut (impl AsyncRead + Unpin)) -> Result<T, ReadError> {
    let mut prefix = [0; PREFIX_BYTES];
    reader.read_exact(&mut prefix).await.map_err(ReadError::Read)?;
    let mut payload = vec![0; channel::payload_bytes(prefix, MAX_FRAME_BYTES)?];
    reader.read_exact(&mut payload).await.map_err(ReadError::Read)?;
    Ok(channel::decode(&payload)?)
}
