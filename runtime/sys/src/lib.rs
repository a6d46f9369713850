//! The only unsafe code of the project: one safe function for each system call that rustix and nix lack or
//! leave unsafe. Runs in the container (`proxy`), in the guest (`init`) and on the
//! build machine (`runq-assets`); trusts its callers, who are ours.
#![allow(unsafe_code, reason = "this crate exists so that no other one needs it")]

pub mod capabilities;
pub mod command;
pub mod fork;
pub mod memory;
pub mod seccomp;
pub mod tap;
pub mod watch;
