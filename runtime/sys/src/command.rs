//! Starts a program of the bundle (QEMU, virtiofsd) with exactly the descriptors it is meant to have.

use crate::capabilities::{Rights, reduce_to};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What happens in the child between fork and execve, in this order.
#[derive(Debug)]
pub struct ChildSetup {
    /// Descriptors that the program inherits under the numbers they have here; they stay open until spawn.
    pub inherit: Vec<OwnedFd>,
    /// The child is killed when its parent dies.
    pub die_with_parent: bool,
    /// What it may do.
    pub rights: Rights,
}

/// Applies `setup` to the command. The descriptors are closed in the parent when the command is dropped.
pub fn prepare(command: &mut Command, setup: ChildSetup) -> &mut Command {
    let action = move || -> io::Result<()> {
        for fd in &setup.inherit {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
        }
        reduce_to(setup.rights)?;
        // A change of user would clear it (prctl(2)).
        if setup.die_with_parent {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only (fcntl, prctl, setresuid and the like, capset), all async-signal-safe, allocates nothing and takes no lock.
    unsafe { command.pre_exec(action) }
}
