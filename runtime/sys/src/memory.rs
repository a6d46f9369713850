//! How the C library gives memory back.

use nix::libc;

/// Maps every allocation of at least so many bytes for itself and unmaps it when it is freed (mallopt(3)). Of itself glibc
/// raises this threshold to the size of what was freed last, up to 32 MiB: what is freed between others is kept then.
pub fn map_allocations_from(bytes: i32) {
    // SAFETY: it takes two numbers and sets one, which every allocation reads.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) };
}
