//! Makes tap devices.

use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Makes an open `/dev/net/tun` the tap device of this name in the network namespace of the caller, with the header that
/// virtio-net uses and none of tun's own. The device goes with the last descriptor. Needs `CAP_NET_ADMIN`.
///
/// # Errors
/// As the ioctl TUNSETIFF (kernel documentation, "Universal TUN/TAP device driver"); `EINVAL` also for a name of more than 15
/// bytes.
pub fn attach(tun: &OwnedFd, name: &str) -> io::Result<()> {
    // SAFETY: ifreq is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays NUL.
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: the kernel reads and writes one ifreq, which lives until the call returns.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, std::ptr::from_mut(&mut request)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
