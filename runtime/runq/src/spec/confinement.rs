//! What the host side of a container may do: proxy, virtiofsd and QEMU. The user's profile and capabilities are the guest's;
//! these are ours and the same for every container. Pure.

use runq_contract::vm_config::Users;
use serde_json::{Map, Value, json};

/// Our AppArmor profile, `apparmor.profile`.
pub(crate) const APPARMOR_PROFILE: &str = "runq-1";

/// What the proxy needs until QEMU runs, and virtiofsd for as long as the container lives: it reads and writes files
/// on behalf of every user of the guest.
const CAPABILITIES: [&str; 13] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
];

/// System calls of runc between the filter and the proxy, of proxy, virtiofsd and QEMU, by what they are for. Docker's default
/// profile without what none of them needs, and with what the proxy does as root: mounts, handles of files.
const SYSTEM_CALLS: [&str; 9] = [
    // Memory and threads.
    "arch_prctl brk clone clone3 exit exit_group futex futex_waitv get_robust_list getcpu gettid madvise membarrier mincore \
     mlock mlock2 mmap mprotect mremap msync munlock munmap rseq sched_get_priority_max sched_get_priority_min \
     sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_yield set_robust_list set_tid_address \
     set_thread_area tgkill tkill mmap2 sched_setaffinity",
    // Processes and their rights, which only get fewer.
    "capget capset execve execveat fork getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority getresgid \
     getresuid getrlimit getrusage getsid getuid kill pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall seccomp \
     setfsgid setfsuid setgid setgroups setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setuid \
     sysinfo times umask uname vfork wait4 waitid waitpid",
    // Signals and time.
    "alarm clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep pause rt_sigaction rt_sigpending \
     rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo setitimer sigaltstack \
     signalfd signalfd4 sigreturn time timer_create timer_delete timer_getoverrun timer_gettime timer_settime \
     timerfd_create timerfd_gettime timerfd_settime",
    // Descriptors and waiting.
    "close close_range dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 \
     fcntl fcntl64 ioctl memfd_create pipe pipe2 poll ppoll pselect6 select splice tee vmsplice",
    // Sockets.
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmsg send sendmmsg \
     sendmsg sendto setsockopt shutdown socket socketcall socketpair",
    // Reading and writing.
    "copy_file_range fadvise64 fallocate fdatasync flock fsync ftruncate getdents getdents64 lseek pread64 preadv preadv2 \
     pwrite64 pwritev pwritev2 read readahead readv sendfile sync sync_file_range syncfs truncate write writev",
    // Files by name. On s390x, glibc asks for file systems by `statfs64`.
    "access chdir chmod chown creat faccessat faccessat2 fchdir fchmod fchmodat fchmodat2 fchown fchownat fstat fstatfs \
     fstatfs64 futimesat getcwd lchown link linkat lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2 readlink readlinkat \
     rename renameat renameat2 rmdir stat statfs statfs64 statx symlink symlinkat unlink unlinkat utime utimensat utimes",
    // Extended attributes, handles of files that are not held open, change notification.
    "fgetxattr flistxattr fremovexattr fsetxattr getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch lgetxattr \
     listxattr llistxattr lremovexattr lsetxattr name_to_handle_at open_by_handle_at removexattr setxattr",
    // What the proxy does as long as it is root, and virtiofsd to lock itself in. Randomness.
    "chroot getrandom mount move_mount open_tree pivot_root setns umount umount2 unshare",
];

/// Paths of the kernel that nobody on the host side reads, whatever `--security-opt systempaths` gives the guest.
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];

/// Paths of the kernel that nobody on the host side writes.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// First of the user ids that nobody hands out: above those for the user namespaces of containers, below the half of all
/// numbers that some programs take for negative (<https://systemd.io/UIDS-GIDS>).
const FIRST_USER: u32 = 0x7000_0000;

/// Users of their own for the programs of a container: those of another container can neither trace nor signal them, nor
/// share a limit with them. The number is a hash (FNV-1a) of the id, because `runq` remembers nothing.
pub(super) fn users(id: &str) -> Users {
    let hash =
        id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let proxy = FIRST_USER | (hash & 0x07ff_ffff) << 1;
    Users { proxy, qemu: proxy + 1 }
}

/// Whether a profile is what an engine gives every container, and not one that the user asked for. They forbid the proxy's mounts.
pub(super) fn is_engines(apparmor_profile: &str) -> bool {
    ["docker-default", "cri-containerd.apparmor.d", "nerdctl-default", "crio-default"]
        .contains(&apparmor_profile)
        || apparmor_profile.starts_with("containers-default-")
}

/// Confines `process`.
pub(super) fn confine_process(process: &mut Map<String, Value>) {
    let sets = ["bounding", "effective", "permitted"];
    let capabilities: Map<String, Value> =
        sets.map(|set| (set.to_owned(), json!(CAPABILITIES))).into_iter().collect();
    process.insert("capabilities".to_owned(), Value::Object(capabilities));
    process.insert("noNewPrivileges".to_owned(), json!(true));
    match process.get("apparmorProfile").and_then(Value::as_str) {
        Some(profile) if is_engines(profile) => {
            process.insert("apparmorProfile".to_owned(), json!(APPARMOR_PROFILE));
        }
        // One of the admin's own, who has made it for this.
        Some(profile) if !["", "unconfined"].contains(&profile) => {}
        _ => drop(process.remove("apparmorProfile")),
    }
}

/// Confines what is below `linux`. The kernel of a host without seccomp gets no filter.
pub(super) fn confine_linux(linux: &mut Map<String, Value>, has_seccomp: bool) {
    linux.insert("maskedPaths".to_owned(), json!(MASKED));
    linux.insert("readonlyPaths".to_owned(), json!(READONLY));
    if has_seccomp {
        linux.insert("seccomp".to_owned(), seccomp());
    } else {
        linux.remove("seccomp");
    }
}

/// Without architectures: runc takes the host's own, and programs of others are killed.
fn seccomp() -> Value {
    let names: Vec<&str> = SYSTEM_CALLS.iter().flat_map(|group| group.split_whitespace()).collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_ours_or_the_admins_and_never_silently_none() {
        let confined = |profile: Option<&str>| {
            let mut process = Map::new();
            process.extend(profile.map(|profile| ("apparmorProfile".to_owned(), json!(profile))));
            confine_process(&mut process);
            process.get("apparmorProfile").and_then(Value::as_str).map(str::to_owned)
        };
        for engines in ["docker-default", "containers-default-0.57.4", "cri-containerd.apparmor.d"] {
            assert_eq!(confined(Some(engines)).as_deref(), Some(APPARMOR_PROFILE), "{engines}");
        }
        assert_eq!(confined(Some("my-own")).as_deref(), Some("my-own"));
        for none in [None, Some(""), Some("unconfined")] {
            assert_eq!(confined(none), None, "{none:?}");
        }
    }

    #[test]
    fn users_are_nobodys_and_differ() {
        let (one, other) = (users("c0ffee"), users("c0ffef"));
        for user in [one.proxy, one.qemu, other.proxy, other.qemu] {
            assert!((FIRST_USER..=0x7fff_ffff).contains(&user), "{user:#x}");
        }
        assert_ne!(one, other);
        assert_ne!(one.proxy, one.qemu);
    }

    #[test]
    fn system_calls_are_named_once_and_dangerous_ones_not_at_all() {
        let profile = seccomp();
        let names: Vec<&str> =
            profile["syscalls"][0]["names"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
        let unique: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        for name in [
            "bpf",
            "ptrace",
            "keyctl",
            "init_module",
            "kexec_load",
            "perf_event_open",
            "reboot",
            "userfaultfd",
        ] {
            assert!(!names.contains(&name), "{name}");
        }
    }
}
