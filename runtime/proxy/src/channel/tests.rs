//! A guest that keeps the rules, and guests that break each of them. The random ones are the same in every run.

use super::*;
use runq_contract::channel::{ExitStatus, MAX_FRAME_BYTES, StartFailure};
use runq_contract::process::ProcessId;
use std::io::{Read, Write};
use std::pin::Pin;
use std::task::Context as TaskContext;
use tokio::io::ReadBuf;
use tokio::task::LocalSet;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

#[test]
fn reads_messages_until_the_stream_ends() {
    let mut bytes = channel::encode(&GuestMessage::Ready).unwrap();
    bytes.extend([0, 0]);
    let mut reader = bytes.as_slice();
    assert_eq!(block_on(read_message(&mut reader)).unwrap(), Some(GuestMessage::Ready));
    assert_eq!(block_on(read_message(&mut reader)).unwrap(), None);
}

#[test]
fn refuses_oversize_and_malformed_messages() {
    for bytes in [&b"\x00\x01\x00\x01"[..], b"\xff\xff\xff\xff", b"\x00\x00\x00\x02[]", b"\x00\x00\x00\x00"] {
        let mut reader = bytes;
        assert!(block_on(read_message(&mut reader)).is_err(), "{bytes:?}");
    }
}

/// Bytes of a guest, which keep account of the largest piece of memory that the reader offered for them.
struct Audited<'a> {
    bytes: &'a [u8],
    largest: &'a mut usize,
}

impl AsyncRead for Audited<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        *self.largest = buffer.capacity().max(*self.largest);
        Pin::new(&mut self.bytes).poll_read(context, buffer)
    }
}

fn valid_messages() -> Vec<Vec<u8>> {
    let process = ProcessId::ENTRYPOINT;
    let messages = [
        GuestMessage::Hello { build_id: BUILD.to_owned() },
        GuestMessage::Ready,
        GuestMessage::Failed { message: "mount /: \u{fffd}".to_owned() },
        GuestMessage::Started { process },
        GuestMessage::StartFailed { process, reason: StartFailure::NotFound, message: String::new() },
        GuestMessage::Exited { process, status: ExitStatus::Code(255), out_of_memory: 0 },
        GuestMessage::Exited { process, status: ExitStatus::Signal(64), out_of_memory: u32::MAX },
    ];
    messages.iter().map(|message| channel::encode(message).unwrap()).collect()
}

const BUILD: &str = "0.1.0-0123456789abcdef";

/// Changes some bytes, cuts, or repeats a part.
fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    match random.u8(..8) {
        0 => bytes.truncate(random.usize(..=bytes.len())),
        1 => bytes.extend_from_within(random.usize(..=bytes.len())..),
        2 => bytes[..PREFIX_BYTES].copy_from_slice(&random.u32(..).to_be_bytes()),
        _ => {
            for _ in 0..random.usize(..4) {
                let position = random.usize(..bytes.len());
                bytes[position] = random.u8(..);
            }
        }
    }
}

#[test]
fn a_million_bad_frames_are_read_or_refused_in_bounded_memory() {
    let mut random = fastrand::Rng::with_seed(6);
    let valid = valid_messages();
    let (mut read, mut refused, mut largest) = (0, 0, 0);
    block_on(async {
        for _ in 0..1_000_000 {
            let mut bytes = valid[random.usize(..valid.len())].clone();
            mutate(&mut random, &mut bytes);
            let mut guest = Audited { bytes: &bytes, largest: &mut largest };
            match read_message(&mut guest).await {
                Ok(Some(_)) => read += 1,
                Ok(None) => {}
                Err(_) => refused += 1,
            }
        }
    });
    assert!(read > 10_000 && refused > 100_000, "the frames are too alike: {read} read, {refused} refused");
    assert!(largest <= MAX_GUEST_FRAME_BYTES, "{largest} bytes of memory for a frame");
}

/// One yamux frame as the specification has it: version, type, flags, stream, length; big-endian.
fn yamux_frame(kind: u8, flags: u16, stream: u32, length: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, kind];
    frame.extend(flags.to_be_bytes());
    frame.extend(stream.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(payload);
    frame
}

const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u16 = 1;
const ACK: u16 = 2;
const FIN: u16 = 4;

/// How the proxy's end takes what a guest sends once the control stream, number 1, is open: the first message, if
/// there is one, and the violation.
fn answer_to(bytes: &[u8]) -> (Option<anyhow::Result<GuestMessage>>, Option<String>) {
    let (ours, mut guest) = UnixStream::pair().unwrap();
    let bytes = bytes.to_vec();
    let (open, is_open) = std::sync::mpsc::channel();
    let guest = std::thread::spawn(move || {
        is_open.recv().unwrap();
        // The proxy may have hung up before it has read all.
        let sent = guest.write_all(&bytes);
        let closed = guest.shutdown(std::net::Shutdown::Write);
        (sent.is_ok(), closed.is_ok(), guest.read_to_end(&mut Vec::new()).is_ok())
    });
    let answer = block_on(async {
        let channel = Channel::connect(ours).unwrap();
        let (control, mut messages) = channel.open_control().await.unwrap();
        open.send(()).unwrap();
        let message = tokio::time::timeout(Duration::from_secs(20), messages.recv()).await.expect("it hangs");
        drop((control, messages));
        (message, channel.violation().await.map(|error| format!("{error:#}")))
    });
    guest.join().unwrap();
    answer
}

#[test]
fn a_stream_that_the_guest_opens_ends_the_connection() {
    let (message, violation) = answer_to(&yamux_frame(WINDOW_UPDATE, SYN, 2, 0, &[]));
    assert!(message.is_none(), "{message:?}");
    assert!(violation.is_some_and(|violation| violation.contains("opened a stream")));
}

#[test]
fn a_message_arrives_through_the_multiplexer() {
    let ready = channel::encode(&GuestMessage::Ready).unwrap();
    let length = u32::try_from(ready.len()).unwrap();
    let (message, violation) = answer_to(&yamux_frame(DATA, ACK, 1, length, &ready));
    assert!(matches!(message, Some(Ok(GuestMessage::Ready))), "{message:?}");
    assert_eq!(violation, None);
}

#[test]
fn what_breaks_the_rules_of_the_multiplexer_is_never_a_message() {
    let huge = vec![0x5b; 2 * MAX_FRAME_BYTES];
    let length = u32::try_from(huge.len()).unwrap();
    for (name, bytes) in [
        ("unknown version", vec![7; 12]),
        ("unknown type", yamux_frame(9, 0, 1, 0, &[])),
        ("more than the window", yamux_frame(DATA, 0, 1, length, &huge)),
        ("announced and not sent", yamux_frame(DATA, 0, 1, u32::MAX, b"few")),
        ("data on no stream", yamux_frame(DATA, 0, 0, 4, b"data")),
        ("end of a stream that was never open", yamux_frame(DATA, FIN, 99, 0, &[])),
        ("farewell", yamux_frame(GO_AWAY, 0, 0, 1, &[])),
        ("nothing at all", Vec::new()),
    ] {
        let (message, _) = answer_to(&bytes);
        assert!(!matches!(message, Some(Ok(_))), "{name}: {message:?}");
    }
}

#[test]
fn random_frames_end_the_connection_in_bounded_memory() {
    let mut random = fastrand::Rng::with_seed(26);
    let before = resident_kib();
    for _ in 0..300 {
        let mut bytes = Vec::new();
        for _ in 0..random.usize(1..200) {
            let payload: Vec<u8> = (0..random.usize(..64)).map(|_| random.u8(..)).collect();
            let length =
                if random.u8(..4) == 0 { random.u32(..) } else { u32::try_from(payload.len()).unwrap() };
            let kind = [DATA, WINDOW_UPDATE, PING, GO_AWAY, random.u8(..)][random.usize(..5)];
            let flags = if random.bool() { 0 } else { random.u16(..16) };
            let carried: &[u8] = if kind == DATA { &payload } else { &[] };
            bytes.extend(yamux_frame(kind, flags, random.u32(..4), length, carried));
        }
        // Whatever it is answered: no panic, no hang.
        drop(answer_to(&bytes));
    }
    let grown_mib = resident_kib().saturating_sub(before) / 1024;
    assert!(grown_mib < 128, "{grown_mib} MiB more are in use");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
