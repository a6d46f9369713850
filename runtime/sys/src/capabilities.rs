//! Gives up every capability for good. Used by programs that run as user 0 but need none of its rights.

use rustix::thread::{CapabilitySet, CapabilitySets};
use std::io;

/// Empties the bounding set, so that no execve brings anything back, and then the thread's own sets. Needs
/// `CAP_SETPCAP` at the start. Makes system calls only: no allocation, no lock (safe between fork and execve).
///
/// # Errors
/// When the kernel refuses; some capabilities may then be gone already.
pub fn drop_all() -> io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Unknown to this kernel: nothing to drop.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    Ok(())
}
