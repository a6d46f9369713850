//! All that host and guest agree on: the VM's configuration, the process to run, the messages of the channel,
//! the paths on both sides. Used by `runq` and `proxy` (host, container) and `init` (guest); no I/O, no unsafe.
//!
//! Every type here is a *claim* when it comes from the other side: decoding bounds its size, the receiver
//! checks its meaning. All formats are text (JSON) or say their byte order (big-endian).

pub mod channel;
pub mod disk;
pub mod guest;
pub mod network;
pub mod paths;
pub mod process;
pub mod seccomp;
pub mod vm_config;

#[cfg(test)]
mod tests;

/// Identifies this build of the contract. `runq` writes it into the VM configuration, `init` sends it first;
/// `proxy` refuses both when they differ from its own.
pub const BUILD_ID: &str = env!("RUNQ_BUILD_ID");
