//! `fork(2)` for a single-threaded program: used by the guest's `init`, which sets the child up in plain Rust
//! before it calls `execve`.

use nix::unistd::{ForkResult, Pid};

/// Which side of the fork the caller is.
#[derive(Debug)]
pub enum Side {
    /// The new process.
    Child,
    /// The caller, with the child's process id.
    Parent(Pid),
}

/// The process has more than one thread, so that the child could inherit a lock that nobody releases.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// See the type.
    #[error("cannot fork: the process has {threads} threads, expected 1")]
    Threads {
        /// Entries of `/proc/self/task`.
        threads: usize,
    },
    /// `/proc/self/task` cannot be read.
    #[error("cannot count the threads in /proc/self/task")]
    Count(#[source] std::io::Error),
    /// The system call failed.
    #[error("cannot fork")]
    Fork(#[source] nix::Error),
}

/// Forks.
///
/// # Errors
/// When the process is not single-threaded, or the system call fails.
pub fn fork() -> Result<Side, ForkError> {
    let threads = std::fs::read_dir("/proc/self/task").map_err(ForkError::Count)?.count();
    if threads != 1 {
        return Err(ForkError::Threads { threads });
    }
    // SAFETY: the process has one thread (checked above), so no lock can be held by a thread that the child
    // does not have, and the child may run any code.
    match unsafe { nix::unistd::fork() }.map_err(ForkError::Fork)? {
        ForkResult::Child => Ok(Side::Child),
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
    }
}

/// Sends a signal by number: nix's type lacks the real-time ones.
///
/// # Errors
/// As kill(2); `ESRCH` when there is no such process.
pub fn kill(pid: Pid, signal: i32) -> Result<(), nix::Error> {
    // SAFETY: kill takes two integers and touches no memory of this process.
    nix::Error::result(unsafe { nix::libc::kill(pid.as_raw(), signal) }).map(drop)
}

/// Gives a child the signal state that a new program expects: nothing blocked, nothing ignored. Rust ignores SIGPIPE
/// at its start, and `init` blocks what it reads from a descriptor.
///
/// # Errors
/// As sigaction(2) and sigprocmask(2).
pub fn reset_signals() -> Result<(), nix::Error> {
    use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
    // SAFETY: the default action is no handler, so no code can run in signal context.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    SigSet::empty().thread_set_mask()
}
