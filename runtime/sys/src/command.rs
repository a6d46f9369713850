//! Starts a program of the bundle (QEMU, virtiofsd) with exactly the descriptors it is meant to have.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What happens in the child between fork and execve, in this order.
#[derive(Debug, Default)]
pub struct ChildSetup {
    /// Descriptors that the program inherits under the numbers they have here; they stay open until spawn.
    pub inherit: Vec<OwnedFd>,
    /// The child is killed when its parent dies.
    pub die_with_parent: bool,
    /// The program gets no capability, although it runs as user 0.
    pub without_capabilities: bool,
}

/// Applies `setup` to the command. The descriptors are closed in the parent when the command is dropped.
pub fn prepare(command: &mut Command, setup: ChildSetup) -> &mut Command {
    let action = move || -> io::Result<()> {
        if setup.die_with_parent {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        }
        for fd in &setup.inherit {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
        }
        if setup.without_capabilities {
            crate::capabilities::drop_all()?;
        }
        Ok(())
    };
    // SAFETY: the closure calls prctl, fcntl and capset only, all async-signal-safe, allocates nothing and takes no lock.
    unsafe { command.pre_exec(action) }
}
