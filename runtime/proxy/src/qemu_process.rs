//! The QEMU process and what it says about itself. Runs in the container, with the asset tree as its root, as a
//! user of its own. What comes out of the console is the guest's word: kept bounded, shown only on failure, and
//! stripped of control characters.

use crate::disks::OpenDisk;
use crate::machine::Machine;
use crate::network::Tap;
use crate::qemu_args::{Devices, DriveDevice, NetDevice, ShareDevice, qemu_args};
use crate::share;
use anyhow::Context;
use runq_contract::vm_config::{Accel, Hardware};
use runq_sys::capabilities::Rights;
use runq_sys::command::{ChildSetup, prepare};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use tokio::io::AsyncReadExt;

/// How much of the kernel's console is kept.
const CONSOLE_BYTES: usize = 64 * 1024;

/// How much of QEMU's own messages is kept.
const MESSAGE_BYTES: usize = 16 * 1024;

/// A running QEMU and our ends of its descriptors.
pub(crate) struct Qemu {
    /// The process.
    pub(crate) child: Child,
    /// The other end of the guest's virtio-serial port.
    pub(crate) channel: UnixStream,
    /// The kernel's console.
    pub(crate) console: UnixStream,
    /// Standard output and error of QEMU.
    pub(crate) messages: UnixStream,
}

/// What QEMU takes over to give the guest its root file system.
pub(crate) enum RootFiles {
    /// Connected vhost-user socket of virtiofsd.
    Virtiofs(OwnedFd),
    /// QEMU serves [`share::ROOT`] itself.
    NineP,
}

impl RootFiles {
    fn device(&self) -> ShareDevice {
        match self {
            Self::Virtiofs(socket) => ShareDevice::Virtiofs(socket.as_raw_fd()),
            Self::NineP => ShareDevice::NineP(share::ROOT),
        }
    }

    fn into_descriptor(self) -> Option<OwnedFd> {
        match self {
            Self::Virtiofs(socket) => Some(socket),
            Self::NineP => None,
        }
    }
}

/// What of the container goes into the VM.
pub(crate) struct Parts {
    /// Its files.
    pub(crate) share: RootFiles,
    /// Its network.
    pub(crate) taps: Vec<Tap>,
    /// Its disks.
    pub(crate) disks: Vec<OpenDisk>,
}

/// Starts QEMU as `user`, with all parts, which it takes over.
pub(crate) fn start(
    machine: &Machine,
    (hardware, user): (&Hardware, u32),
    parts: Parts,
) -> anyhow::Result<Qemu> {
    let Parts { share, taps, disks } = parts;
    let (channel, channel_qemu) = UnixStream::pair().context("cannot make the channel's socket pair")?;
    let (console, console_qemu) = UnixStream::pair().context("cannot make the console's socket pair")?;
    let (messages, messages_qemu) =
        UnixStream::pair().context("cannot make a socket pair for QEMU's messages")?;
    let vhost = taps.iter().map(|_| vhost_net(hardware)).collect::<anyhow::Result<Vec<_>>>()?;
    let net = |(tap, vhost): (&Tap, &Option<OwnedFd>)| NetDevice {
        tap: tap.fd.as_raw_fd(),
        vhost: vhost.as_ref().map(AsRawFd::as_raw_fd),
        mac: tap.mac,
    };
    let devices = Devices {
        channel: channel_qemu.as_raw_fd(),
        console: console_qemu.as_raw_fd(),
        share: share.device(),
        drives: disks.iter().map(drive_device).collect(),
        nets: taps.iter().zip(&vhost).map(net).collect(),
    };
    let mut inherit = vec![channel_qemu.into(), console_qemu.into()];
    let program = Path::new("/").join(&machine.qemu);
    let mut command = Command::new(&program);
    command
        .args(qemu_args(machine, hardware, &devices))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(messages_qemu.try_clone().context("cannot duplicate a socket")?))
        .stderr(OwnedFd::from(messages_qemu));
    // The files of the container belong to many users: a server of theirs needs the rights to act for each.
    let rights = match share {
        RootFiles::Virtiofs(_) => Rights::of_user(user),
        RootFiles::NineP => Rights::of_root(share::FILE_SERVER),
    };
    inherit.extend(share.into_descriptor());
    inherit.extend(taps.into_iter().map(|tap| tap.fd));
    inherit.extend(vhost.into_iter().flatten());
    inherit.extend(disks.into_iter().map(|disk| disk.fd));
    let setup = ChildSetup { inherit, die_with_parent: true, rights };
    let child = prepare(&mut command, setup)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(Qemu { child, channel, console, messages })
}

fn drive_device(disk: &OpenDisk) -> DriveDevice {
    DriveDevice { fd: disk.fd.as_raw_fd(), is_device: disk.is_device, drive: disk.drive }
}

/// The kernel's part of a network device, where `runq` found that the host has one. It needs KVM's interrupts.
fn vhost_net(hardware: &Hardware) -> anyhow::Result<Option<OwnedFd>> {
    let path = Path::new("/dev/vhost-net");
    if hardware.accel != Accel::Kvm || !path.exists() {
        return Ok(None);
    }
    Ok(Some(fs_err::OpenOptions::new().read(true).write(true).open(path)?.into_parts().0.into()))
}

/// The last bytes of what the VM said, for the moment when it fails.
#[derive(Clone)]
pub(crate) struct Log {
    console: Rc<RefCell<VecDeque<u8>>>,
    messages: Rc<RefCell<VecDeque<u8>>>,
}

impl Log {
    /// Collects in the background, on the current `LocalSet`.
    pub(crate) fn collect(console: UnixStream, messages: UnixStream) -> anyhow::Result<Self> {
        let log = Self { console: Rc::default(), messages: Rc::default() };
        follow(console, Rc::clone(&log.console), CONSOLE_BYTES)?;
        follow(messages, Rc::clone(&log.messages), MESSAGE_BYTES)?;
        Ok(log)
    }

    /// QEMU's messages and the console, in lines fit for a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, bytes) in [("qemu", &self.messages), ("console", &self.console)] {
            let bytes: Vec<u8> = bytes.borrow().iter().copied().collect();
            for line in printable(&bytes).lines().filter(|line| !line.trim().is_empty()) {
                text.push_str(name);
                text.push_str(": ");
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        text
    }
}

fn follow(socket: UnixStream, kept: Rc<RefCell<VecDeque<u8>>>, limit_bytes: usize) -> anyhow::Result<()> {
    socket.set_nonblocking(true).context("cannot make a socket non-blocking")?;
    let mut socket = tokio::net::UnixStream::from_std(socket).context("cannot watch a socket")?;
    tokio::task::spawn_local(async move {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = socket.read(&mut buffer).await {
            let mut kept = kept.borrow_mut();
            kept.extend(&buffer[..count]);
            let excess = kept.len().saturating_sub(limit_bytes);
            kept.drain(..excess);
        }
    });
    Ok(())
}

/// Text without control characters other than the end of a line.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_words_cannot_drive_a_terminal() {
        assert_eq!(printable(b"a\x1b[2Jb\r\n\x07c\xff\t"), "a[2Jb\nc\u{fffd}\t");
    }
}
