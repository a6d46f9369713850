//! Messages to the kernel's log, which the proxy shows when the VM fails. The only voice before there is a channel.

use rustix::fs::{Mode, OFlags};

/// Writes one line at level *error*, which a quiet console still shows. Works before `/dev` is mounted, because
/// the node is made when it is missing; if that fails, too, nobody can be told.
pub(crate) fn error(message: &str) {
    let line = format!("<3>runq-init: {message}\n");
    open().and_then(|log| rustix::io::write(&log, line.as_bytes())).ok();
}

fn open() -> rustix::io::Result<std::os::fd::OwnedFd> {
    let open = || rustix::fs::open("/dev/kmsg", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    open().or_else(|_| {
        let mode = Mode::RUSR | Mode::WUSR;
        let device = rustix::fs::makedev(1, 11);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            "/dev/kmsg",
            rustix::fs::FileType::CharacterDevice,
            mode,
            device,
        )?;
        open()
    })
}
