//! The zstd frame around the tar file, decompressed here or, for all that takes time, by a thread of its own while the
//! caller hashes and writes. Runs on the host; trusts nobody.

use super::WINDOW_LOG_MAX;
use std::io::{self, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

/// Large enough that waiting for each other does not count, small enough for the second-level cache.
const CHUNK_BYTES: usize = 256 << 10;

/// How far the thread may be ahead.
const CHUNKS: usize = 8;

/// Where a tar file is read from.
pub(super) trait TarInput: Read {
    /// Whether frame and input end here, both at once. Reads what is left over, if anything is.
    fn is_at_end(&mut self) -> io::Result<bool>;
}

/// One frame, and nothing after it.
pub(super) struct Frame<R: Read>(zstd::Decoder<'static, BufReader<R>>);

impl<R: Read> Frame<R> {
    pub(super) fn new(read: R) -> io::Result<Self> {
        let mut decoder = zstd::Decoder::new(read)?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Self(decoder.single_frame()))
    }

    /// The rest of it, decompressed ahead of the reader by a thread of the scope.
    pub(super) fn ahead<'scope>(self, scope: &'scope Scope<'scope, '_>) -> Ahead
    where
        R: Send + 'scope,
    {
        let (sender, receiver) = sync_channel(CHUNKS);
        scope.spawn(move || self.send_all(&sender));
        Ahead { receiver, chunk: Vec::new(), position: 0, is_at_end: None }
    }

    /// A reader that has gone away has seen enough.
    fn send_all(mut self, sender: &SyncSender<io::Result<Part>>) {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let part = match self.0.read(&mut chunk) {
                Ok(0) => self.is_at_end().map(Part::End),
                Ok(count) => {
                    chunk.truncate(count);
                    Ok(Part::Chunk(chunk))
                }
                Err(error) => Err(error),
            };
            let is_last = !matches!(part, Ok(Part::Chunk(_)));
            if sender.send(part).is_err() || is_last {
                return;
            }
        }
    }
}

impl<R: Read> Read for Frame<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> TarInput for Frame<R> {
    fn is_at_end(&mut self) -> io::Result<bool> {
        let mut byte = [0];
        Ok(self.0.read(&mut byte)? == 0 && self.0.get_mut().read(&mut byte)? == 0)
    }
}

enum Part {
    Chunk(Vec<u8>),
    /// The frame has ended; whether the input has, too.
    End(bool),
}

/// What a thread decompresses.
pub(super) struct Ahead {
    receiver: Receiver<io::Result<Part>>,
    chunk: Vec<u8>,
    position: usize,
    is_at_end: Option<bool>,
}

impl Ahead {
    /// Makes sure that there is something to read, unless the end has come.
    fn refill(&mut self) -> io::Result<()> {
        while self.position == self.chunk.len() && self.is_at_end.is_none() {
            match self.receiver.recv() {
                Ok(part) => match part? {
                    Part::Chunk(chunk) => (self.chunk, self.position) = (chunk, 0),
                    Part::End(is_at_end) => self.is_at_end = Some(is_at_end),
                },
                // After an error there is nothing more.
                Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(())
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.refill()?;
        let count = (&self.chunk[self.position..]).read(buffer)?;
        self.position += count;
        Ok(count)
    }
}

impl TarInput for Ahead {
    fn is_at_end(&mut self) -> io::Result<bool> {
        self.refill()?;
        Ok(self.position == self.chunk.len() && self.is_at_end == Some(true))
    }
}
