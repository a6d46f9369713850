//! Starts a process of the container and keeps what is needed to reach it.

use crate::channel::{Events, Stream};
use crate::child::{self, Task};
use crate::stdio::{self, ParentStdio};
use nix::unistd::Pid;
use runq_contract::channel::{ExitStatus, StartFailure, WindowSize};
use runq_contract::guest::Guest;
use runq_contract::process::{Process, ProcessId};
use runq_sys::fork::{Side, fork};
use rustix::pipe::PipeFlags;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// The host's wish to run a process.
pub(crate) struct Order {
    /// Number chosen by the host.
    pub(crate) id: ProcessId,
    /// What to run.
    pub(crate) spec: Process,
    /// First size of the terminal.
    pub(crate) window: Option<WindowSize>,
}

/// A process that was started.
pub(crate) struct Running {
    /// Its number in the guest's first PID namespace.
    pub(crate) pid: Pid,
    /// Master of its terminal, if it has one.
    pub(crate) terminal: Option<OwnedFd>,
    /// Streams that still carry output.
    pub(crate) open_outputs: usize,
    /// What it was started as.
    pub(crate) spec: Process,
    /// Set when it ended.
    pub(crate) status: Option<ExitStatus>,
}

/// Why a process did not start. Travels from the child to its parent as JSON through a pipe that execve closes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartError {
    /// Decides the exit code.
    pub(crate) reason: StartFailure,
    /// One line for the user.
    pub(crate) message: String,
}

impl StartError {
    /// A fault of ours or of the VM.
    pub(crate) fn setup(error: &anyhow::Error) -> Self {
        Self { reason: StartFailure::Setup, message: format!("{error:#}") }
    }
}

impl Running {
    /// Sends a signal, 1–64.
    pub(crate) fn signal(&self, signal: u8) -> anyhow::Result<()> {
        match runq_sys::fork::kill(self.pid, i32::from(signal)) {
            // It has ended and is about to be reported.
            Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
            Err(error) => Err(anyhow::anyhow!("cannot send signal {signal}: {error}")),
        }
    }
}

/// Forks, and returns when `execve` succeeded or something before it failed.
pub(crate) fn start(
    order: &Order,
    guest: &Guest,
    streams: Vec<Stream>,
    events: &Events,
) -> Result<Running, StartError> {
    let Order { id, spec, window } = order;
    let setup = |error: anyhow::Error| StartError::setup(&error);
    let (ours, theirs) =
        if spec.terminal { stdio::terminal(*window) } else { stdio::pipes() }.map_err(setup)?;
    let (result, report) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|error| setup(anyhow::Error::from(error).context("cannot make a pipe")))?;
    let pid = match fork().map_err(|error| setup(error.into()))? {
        Side::Child => child::run(&Task { spec, guest }, theirs, report),
        Side::Parent(pid) => pid,
    };
    drop((theirs, report));
    let mut failure = Vec::new();
    File::from(result).read_to_end(&mut failure).map_err(|error| setup(error.into()))?;
    if !failure.is_empty() {
        return Err(serde_json::from_slice(&failure).unwrap_or_else(|error| setup(error.into())));
    }
    relay((*id, pid, spec), ours, streams, events).map_err(setup)
}

/// Joins our side of the descriptors to the streams, which come in the order stdin, stdout, stderr.
fn relay(
    (id, pid, spec): (ProcessId, Pid, &Process),
    ours: ParentStdio,
    streams: Vec<Stream>,
    events: &Events,
) -> anyhow::Result<Running> {
    let mut streams = streams.into_iter();
    let mut running = Running { pid, terminal: None, open_outputs: 0, spec: spec.clone(), status: None };
    let (input, outputs) = match ours {
        ParentStdio::Pipes([feed, output, errors]) => (feed, vec![output, errors]),
        ParentStdio::Terminal(master) => {
            running.terminal = Some(master.try_clone()?);
            (master.try_clone()?, vec![master])
        }
    };
    if let Some(stream) = streams.next() {
        tokio::task::spawn_local(stdio::feed(stream, input));
    }
    for (output, stream) in outputs.into_iter().zip(streams) {
        running.open_outputs += 1;
        tokio::task::spawn_local(stdio::drain(id, output, stream, events.clone()));
    }
    Ok(running)
}
