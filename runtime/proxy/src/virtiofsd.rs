//! virtiofsd, which serves the container's root file system to the guest. Runs in the container with the file
//! capabilities of the container; parses requests of the guest, so it is confined and nothing depends on it
//! staying honest.

use crate::machine::Machine;
use crate::share;
use anyhow::Context;
use runq_contract::guest::VirtiofsCache;
use runq_sys::capabilities::Rights;
use runq_sys::command::{ChildSetup, prepare};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Where the vhost-user socket is for the moment between listening and connecting.
const SOCKET: &str = "/run/virtiofsd.sock";

/// Starts virtiofsd and connects to it. The connection goes to QEMU; nobody else can connect, because the name is
/// removed at once.
pub(crate) fn start(machine: &Machine, cache: VirtiofsCache) -> anyhow::Result<(Child, OwnedFd)> {
    let listener = UnixListener::bind(SOCKET).with_context(|| format!("cannot listen on {SOCKET}"))?;
    let connection = UnixStream::connect(SOCKET).with_context(|| format!("cannot connect to {SOCKET}"))?;
    fs_err::remove_file(SOCKET)?;
    raise_descriptor_limit()?;

    let program = Path::new("/").join(&machine.virtiofsd);
    let listener = OwnedFd::from(listener);
    let mut command = Command::new(&program);
    command
        .arg(format!("--fd={}", listener.as_raw_fd()))
        .arg(format!("--shared-dir={}", share::ROOT))
        .arg(format!("--cache={}", cache.name()))
        .args(["--sandbox=chroot", "--xattr", "--announce-submounts"])
        .args(["--inode-file-handles=prefer", "--log-level=error"])
        .args(["--rlimit-nofile=0", "--thread-pool-size=0"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let rights = Rights::of_root(share::FILE_SERVER | share::LOCK_IN);
    let setup = ChildSetup { inherit: vec![listener], die_with_parent: true, rights };
    let child = prepare(&mut command, setup)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok((child, OwnedFd::from(connection)))
}

/// virtiofsd holds a descriptor for every inode that the guest knows: give it all that the hard limit allows.
fn raise_descriptor_limit() -> anyhow::Result<()> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).context("cannot raise RLIMIT_NOFILE")
}
