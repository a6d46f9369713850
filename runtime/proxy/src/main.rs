//! `proxy`: first process of the container. It runs QEMU and stands for the guest's entrypoint: its standard
//! descriptors, signals and exit code are those of the process in the guest.

mod boot;
mod channel;
mod disks;
mod machine;
mod network;
mod qemu_args;
mod qemu_process;
mod session;
mod share;
mod signals;
mod stdio;
mod virtiofsd;

use std::io::Write;

/// Exit code of a container whose VM failed: a fault of ours, in Docker's terms.
const OUR_FAULT: u8 = 125;

fn main() {
    let code = match boot::run() {
        Ok(code) => code,
        Err(error) => {
            report(&format!("{error:#}"));
            OUR_FAULT
        }
    };
    // Everything else in the container ends with PID 1; destructors of a stuck relay must not delay it.
    std::process::exit(i32::from(code));
}

/// One message to the user, who reads the container's standard error. Nothing can be done if that fails.
fn report(message: &str) {
    let written = writeln!(std::io::stderr(), "runq: {message}");
    drop(written);
}
