//! Content in memory that is given up while it is read: a package and what is unpacked of it are never there both at once.
//! Runs on the build machine; whoever makes it verifies it before it is read.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, Read};

const CHUNK_BYTES: u64 = 1 << 20;

/// The content, or what is left of it.
pub(crate) struct Chunks(VecDeque<Bytes>);

impl Chunks {
    /// All that a reader gives.
    pub(crate) fn of(reader: &mut impl Read) -> io::Result<Self> {
        let mut chunks = VecDeque::new();
        loop {
            let mut chunk = Vec::new();
            if reader.by_ref().take(CHUNK_BYTES).read_to_end(&mut chunk)? == 0 {
                return Ok(Self(chunks));
            }
            chunks.push_back(chunk.into());
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(chunk) = self.0.front_mut() else { return Ok(0) };
        let count = chunk.len().min(buffer.len());
        chunk.copy_to_slice(&mut buffer[..count]);
        if chunk.is_empty() {
            self.0.pop_front();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_was_put_in_and_keeps_nothing_that_was_read() {
        let content: Vec<u8> = (0..3 * CHUNK_BYTES + 7).map(|byte| byte.to_le_bytes()[1]).collect();
        let mut chunks = Chunks::of(&mut &content[..]).unwrap();
        let mut half = vec![0; content.len() / 2];
        chunks.read_exact(&mut half).unwrap();
        assert_eq!(chunks.0.len(), 3);
        let mut rest = Vec::new();
        chunks.read_to_end(&mut rest).unwrap();
        assert_eq!([half, rest].concat(), content);
        assert!(chunks.0.is_empty());
    }
}
