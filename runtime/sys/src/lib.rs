//! The only unsafe code of the project: one safe function for each system call that rustix and nix lack or
//! leave unsafe. Runs in the container (`proxy`) and in the guest (`init`); trusts its callers, who are ours.
#![allow(unsafe_code, reason = "this crate exists so that no other one needs it")]

pub mod capabilities;
pub mod command;
pub mod fork;
pub mod seccomp;
pub mod tap;
pub mod watch;
