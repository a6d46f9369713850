//! Puts a seccomp filter on the calling thread, for good.

use nix::libc;
use std::io;

/// One instruction of classic BPF: code, jump when true, jump when false, operand.
pub type Instruction = (u16, u8, u8, u32);

/// Loads a filter; `flags` are `SECCOMP_FILTER_FLAG_…`. Needs `CAP_SYS_ADMIN` or `no_new_privs` (seccomp(2)).
///
/// # Errors
/// As seccomp(2); `EINVAL` also for a program of no or more than 65535 instructions.
pub fn load(program: impl IntoIterator<Item = Instruction>, flags: u32) -> io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> =
        program.into_iter().map(|(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let Ok(len) = libc::c_ushort::try_from(instructions.len()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let program = libc::sock_fprog { len, filter: instructions.as_mut_ptr() };
    // SAFETY: `program` points to `len` instructions that live until the call returns; the kernel copies them.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&program))
    };
    match result {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        // SECCOMP_FILTER_FLAG_TSYNC: the thread that cannot follow.
        _ => Err(io::ErrorKind::ResourceBusy.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_holds_for_its_thread() {
        // Load the number of the call; getppid: EDOM; all else: allow.
        let getppid = u32::try_from(libc::SYS_getppid).unwrap();
        let program =
            [(0x20, 0, 0, 0), (0x15, 0, 1, getppid), (0x06, 0, 0, 0x0005_0021), (0x06, 0, 0, 0x7fff_0000)];
        let answer = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            load(program, 0).unwrap();
            // SAFETY: no arguments.
            let result = unsafe { libc::syscall(libc::SYS_getppid) };
            (result, io::Error::last_os_error().raw_os_error())
        });
        assert_eq!(answer.join().unwrap(), (-1, Some(libc::EDOM)));
        assert!(load([], 0).is_err());
    }
}
