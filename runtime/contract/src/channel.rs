//! The channel between `proxy` (host) and `init` (guest): one yamux connection over one virtio-serial port.
//!
//! * The host is the yamux client and the only side that opens streams. A stream that the guest opens is a
//!   protocol violation and ends the VM.
//! * The first stream is the control stream. It carries frames in both directions: a length, `u32`
//!   **big-endian**, then that many bytes of JSON, at most [`MAX_FRAME_BYTES`].
//! * Every further stream starts with one frame from the host, a [`StreamHeader`], and is raw bytes after it.
//!   Standard input flows to the guest, standard output and error (or the terminal) flow to the host.
//!   Closing the write half is the end of file; a reader that stops stalls its own stream only.
//!
//! Order: the host opens the control stream with `Boot`; the guest says `Hello`, and when it is set up `Ready` (or
//! `Failed`); the host opens the streams of the entrypoint and sends `Start`; the guest answers `Started` or `StartFailed`; `Signal` and
//! `Resize` may follow; `Exited` is the last word about a process and is sent after its output was written
//! and closed. After the entrypoint's `Exited` the guest has synced its disks and may be switched off.

use crate::guest::{Guest, Share};
use crate::network::Network;
use crate::process::{Process, ProcessId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Upper bound of a frame's payload. An environment of 1,000 variables of 1 KiB fits several times.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// Upper bound of what the guest may send in one frame: its messages are short.
pub const MAX_GUEST_FRAME_BYTES: usize = 64 * 1024;

/// Length of the prefix of a frame.
pub const PREFIX_BYTES: usize = 4;

/// Host to guest, on the control stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HostMessage {
    /// Set the guest up.
    Boot {
        /// From the OCI spec.
        guest: Guest,
        /// From the container's interfaces.
        network: Network,
        /// How the container's root file system is shared.
        share: Share,
    },
    /// Run a process whose streams were opened before.
    Start {
        /// Number of the process.
        process: ProcessId,
        /// What to run.
        spec: Process,
        /// First size of the terminal, when it has one.
        window: Option<WindowSize>,
    },
    /// Send a signal to a process.
    Signal {
        /// Number of the process.
        process: ProcessId,
        /// 1–64, numbered as on Linux (the same on x86_64 and s390x).
        signal: u8,
    },
    /// The terminal of a process has a new size.
    Resize {
        /// Number of the process.
        process: ProcessId,
        /// The size.
        window: WindowSize,
    },
}

/// Guest to host, on the control stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GuestMessage {
    /// The first message.
    Hello {
        /// [`crate::BUILD_ID`] of `init`.
        build_id: String,
    },
    /// The guest is set up.
    Ready,
    /// The guest cannot be set up or cannot go on.
    Failed {
        /// One line: the action, the object, the error.
        message: String,
    },
    /// `execve` succeeded.
    Started {
        /// Number of the process.
        process: ProcessId,
    },
    /// `execve`, or something before it, failed.
    StartFailed {
        /// Number of the process.
        process: ProcessId,
        /// Decides the exit code.
        reason: StartFailure,
        /// One line: the action, the object, the error.
        message: String,
    },
    /// The process ended and its output was sent.
    Exited {
        /// Number of the process.
        process: ProcessId,
        /// How.
        status: ExitStatus,
        /// Processes that the guest's kernel has killed so far because memory was used up.
        out_of_memory: u32,
    },
}

/// Why a process did not start, in Docker's classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFailure {
    /// Exit code 127.
    NotFound,
    /// Exit code 126.
    NotExecutable,
    /// Exit code 125: a fault of ours or of the VM.
    Setup,
}

impl StartFailure {
    /// The exit code that `docker run` reports.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::NotFound => 127,
            Self::NotExecutable => 126,
            Self::Setup => 125,
        }
    }
}

/// How a process ended. Both fit in a byte by construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It called exit with this code.
    Code(u8),
    /// It was killed by this signal.
    Signal(u8),
}

impl ExitStatus {
    /// The exit code as shells and Docker count: the code, or 128 + signal.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128_u8.saturating_add(signal),
        }
    }
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// First frame of a stream that is not the control stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamHeader {
    /// Whose bytes these are.
    pub process: ProcessId,
    /// Which of its descriptors.
    pub kind: StreamKind,
}

/// The descriptors of a process. With a terminal, `Stdin` and `Stdout` are the terminal and there is no `Stderr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// Descriptor 0, to the guest.
    Stdin,
    /// Descriptor 1, to the host.
    Stdout,
    /// Descriptor 2, to the host.
    Stderr,
}

/// A frame that breaks the rules of this module.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Announced or actual payload is larger than the bound.
    #[error("frame of {found} bytes, at most {allowed} are allowed")]
    TooLarge {
        /// Bytes announced.
        found: usize,
        /// The bound.
        allowed: usize,
    },
    /// The payload is not the JSON of the expected type.
    #[error("cannot decode frame")]
    Malformed(#[source] serde_json::Error),
    /// The value cannot be written as JSON.
    #[error("cannot encode frame")]
    Unencodable(#[source] serde_json::Error),
}

/// Prefix and payload of one frame.
///
/// # Errors
/// When the value does not fit in [`MAX_FRAME_BYTES`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; PREFIX_BYTES];
    serde_json::to_writer(&mut frame, value).map_err(FrameError::Unencodable)?;
    let payload_bytes = frame.len() - PREFIX_BYTES;
    let prefix = u32::try_from(payload_bytes).ok().filter(|_| payload_bytes <= MAX_FRAME_BYTES);
    let Some(prefix) = prefix else {
        return Err(FrameError::TooLarge { found: payload_bytes, allowed: MAX_FRAME_BYTES });
    };
    frame[..PREFIX_BYTES].copy_from_slice(&prefix.to_be_bytes());
    Ok(frame)
}

/// Payload length in bytes that a prefix announces, checked against the receiver's bound before any allocation.
///
/// # Errors
/// When it exceeds `allowed`.
pub fn payload_bytes(prefix: [u8; PREFIX_BYTES], allowed: usize) -> Result<usize, FrameError> {
    let found = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if found > allowed {
        return Err(FrameError::TooLarge { found, allowed });
    }
    Ok(found)
}

/// The value of a payload.
///
/// # Errors
/// When it is not the JSON of `T`.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(payload).map_err(FrameError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_big_endian_json_on_every_architecture() {
        let frame = encode(&GuestMessage::Exited {
            process: ProcessId(0),
            status: ExitStatus::Code(7),
            out_of_memory: 0,
        })
        .unwrap();
        assert_eq!(
            frame,
            b"\x00\x00\x00\x3e{\"exited\":{\"process\":0,\"status\":{\"code\":7},\"out_of_memory\":0}}"
        );
    }

    #[test]
    fn refuses_a_length_beyond_the_bound_before_allocating() {
        assert!(matches!(
            payload_bytes([0xff; PREFIX_BYTES], MAX_GUEST_FRAME_BYTES),
            Err(FrameError::TooLarge { found: 0xffff_ffff, .. })
        ));
        assert_eq!(payload_bytes([0, 0, 1, 2], MAX_GUEST_FRAME_BYTES).unwrap(), 258);
    }

    #[test]
    fn refuses_exit_codes_beyond_a_byte_and_unknown_messages() {
        for payload in [
            "{\"exited\":{\"process\":0,\"status\":{\"code\":256},\"out_of_memory\":0}}",
            "{\"exited\":{\"process\":-1,\"status\":{\"code\":0},\"out_of_memory\":0}}",
            "{\"exited\":{\"process\":0,\"status\":{\"code\":0},\"out_of_memory\":0,\"more\":1}}",
            "{\"reboot\":{}}",
            "\"Ready\"",
            "",
        ] {
            assert!(decode::<GuestMessage>(payload.as_bytes()).is_err(), "{payload}");
        }
    }

    #[test]
    fn exit_codes_are_those_of_docker() {
        assert_eq!(ExitStatus::Code(3).exit_code(), 3);
        assert_eq!(ExitStatus::Signal(9).exit_code(), 137);
        assert_eq!(ExitStatus::Signal(200).exit_code(), 255);
        assert_eq!(StartFailure::NotFound.exit_code(), 127);
    }
}
