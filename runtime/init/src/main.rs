//! `init`: PID 1 of the guest. Sets the guest up as the proxy says, runs processes in it, and switches it off. Never
//! panics and never returns: what goes wrong is reported over the channel, or to the kernel's log where there is
//! none, and ends the VM.

mod attachments;
mod boot;
mod channel;
mod child;
mod control_group;
mod device_nodes;
mod disks;
mod environment_file;
mod file_system;
mod kernel_log;
mod kernel_modules;
mod modprobe;
mod mounts;
mod network;
mod port;
mod privileges;
mod process;
mod reaper;
mod root_disk;
mod session;
mod shutdown;
mod sigusr;
mod stdio;
mod tree_copy;

fn main() {
    if let Some(module) = modprobe::request() {
        std::process::exit(i32::from(modprobe::load(&module).is_err()));
    }
    kernel_log::error(&format!("started, build {}", runq_contract::BUILD_ID));
    std::panic::set_hook(Box::new(|panic| {
        kernel_log::error(&format!("{panic}"));
        shutdown::restart();
    }));
    if let Err(error) = boot::run() {
        kernel_log::error(&format!("{error:#}"));
    }
    shutdown::restart();
}
