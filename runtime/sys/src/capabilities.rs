//! Gives up rights for good: capabilities, and being root. For programs that start with more than they need.

use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::io;

/// What a program may keep.
#[derive(Debug, Clone, Copy)]
pub struct Rights {
    /// The user and the group that it becomes; `None` stays root. Another user than root has no capabilities.
    pub user: Option<u32>,
    /// Capabilities that root keeps.
    pub capabilities: CapabilitySet,
}

impl Rights {
    /// Those of a user without any capability.
    #[must_use]
    pub fn of_user(user: u32) -> Self {
        Self { user: Some(user), capabilities: CapabilitySet::empty() }
    }

    /// Those of a root with a few capabilities.
    #[must_use]
    pub fn of_root(capabilities: CapabilitySet) -> Self {
        Self { user: None, capabilities }
    }
}

/// Reduces the calling thread to `rights`, and sees to it that no execve brings anything back. Needs `CAP_SETPCAP`,
/// `CAP_SETUID` and `CAP_SETGID` at the start. Makes system calls only: no allocation, no lock (safe between fork and execve).
///
/// # Errors
/// When the kernel refuses; some rights may then be gone already.
pub fn reduce_to(rights: Rights) -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    for capability in CapabilitySet::all().difference(rights.capabilities).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Unknown to this kernel: nothing to drop.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(user) = rights.user {
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    }
    let kept = rights.capabilities;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}
