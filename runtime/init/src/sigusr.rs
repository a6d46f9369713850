//! The admin's programs that run when SIGUSR1 or SIGUSR2 is sent to the container: as root, among the entrypoint's files and
//! processes, with its environment, capabilities and seccomp filter.

use crate::privileges::{self, FilterMoment};
use crate::{control_group, kernel_log};
use anyhow::Context;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Pid, execve};
use runq_contract::guest::Guest;
use runq_contract::paths;
use runq_contract::process::{Process, User};
use runq_sys::fork::{Side, fork};
use rustix::fs::{Mode, OFlags};
use std::convert::Infallible;
use std::ffi::CString;

/// The program of a signal, when there is to be one.
pub(crate) fn program(guest: &Guest, signal: u8) -> Option<&'static str> {
    const USR1: u8 = nix::sys::signal::Signal::SIGUSR1 as u8;
    const USR2: u8 = nix::sys::signal::Signal::SIGUSR2 as u8;
    match signal {
        USR1 if guest.sigusr => Some("SIGUSR1"),
        USR2 if guest.sigusr => Some("SIGUSR2"),
        _ => None,
    }
}

/// Starts the program beside the entrypoint. Its end is nobody's business, its failure to start is for the kernel's log.
pub(crate) fn run(name: &str, entrypoint: Pid, spec: &Process, guest: &Guest) -> anyhow::Result<()> {
    let spec = Process {
        args: vec![format!("{}/{name}", paths::SIGUSR)],
        cwd: "/".to_owned(),
        terminal: false,
        user: User::default(),
        ..spec.clone()
    };
    if let Side::Child = fork()? {
        let Err(error) = become_program(&spec, entrypoint, guest);
        kernel_log::error(&format!("cannot run {}: {error:#}", spec.args[0]));
        std::process::exit(1);
    }
    Ok(())
}

fn become_program(spec: &Process, entrypoint: Pid, guest: &Guest) -> anyhow::Result<Infallible> {
    control_group::enter()?;
    let namespace = format!("/proc/{entrypoint}/ns/mnt");
    let namespace = std::fs::File::open(&namespace).with_context(|| format!("cannot open {namespace}"))?;
    setns(namespace, CloneFlags::CLONE_NEWNS).context("cannot enter the container's mounts")?;
    rustix::process::chdir("/").context("cannot change to /")?;
    rustix::process::setsid().context("cannot start a session")?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .context("cannot open /dev/null")?;
    rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(&null))
        .and_then(|()| rustix::stdio::dup2_stderr(&null))
        .context("cannot connect the standard descriptors")?;
    privileges::set_limits(spec)?;
    runq_sys::fork::reset_signals().context("cannot reset the signals")?;
    let program = CString::new(spec.args[0].as_str())?;
    let env =
        spec.env.iter().map(|variable| CString::new(variable.as_str())).collect::<Result<Vec<_>, _>>()?;
    privileges::filter(guest, spec, FilterMoment::BeforeUser)?;
    privileges::become_user(spec)?;
    privileges::filter(guest, spec, FilterMoment::BeforeExec)?;
    Ok(execve(&program, &[&program], &env)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_signals_have_programs_and_only_when_wanted() {
        let mut guest = Guest::default();
        assert_eq!(program(&guest, 10), None);
        guest.sigusr = true;
        assert_eq!(
            [9, 10, 11, 12].map(|signal| program(&guest, signal)),
            [None, Some("SIGUSR1"), None, Some("SIGUSR2")]
        );
    }
}
