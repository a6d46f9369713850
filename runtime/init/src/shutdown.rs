//! The end of the guest.

use rustix::system::RebootCommand;

/// Writes everything to the disks and ends the VM. QEMU runs with `-no-reboot`, so that a restart, which every
/// machine can do, ends it; power-off is the second choice.
pub(crate) fn restart() -> ! {
    rustix::fs::sync();
    for command in [RebootCommand::Restart, RebootCommand::PowerOff] {
        if let Err(error) = rustix::system::reboot(command) {
            crate::kernel_log::error(&format!("cannot reboot: {error}"));
        }
    }
    loop {
        std::thread::park();
    }
}
