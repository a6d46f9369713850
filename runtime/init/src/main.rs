//! `init`: PID 1 of the guest. Sets the guest up as the proxy says, runs processes in it, and switches it off. Never
//! panics and never returns: what goes wrong is reported over the channel, or to the kernel's log where there is
//! none, and ends the VM.

mod boot;
mod channel;
mod child;
mod control_group;
mod file_system;
mod kernel_log;
mod kernel_modules;
mod mounts;
mod network;
mod port;
mod privileges;
mod process;
mod reaper;
mod session;
mod shutdown;
mod stdio;

fn main() {
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
