/* Tries system calls, each in a process of its own, with arguments that do no harm, and prints what came of each. Runs in
 * a container, built static by the test. In C because the calls are made past every library. */

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BAD ((long)-1)
#define NUMBERS(...) {__VA_ARGS__}

struct attempt {
    const char *name;
    long number;
    long args[6];
};

static const struct attempt attempts[] = {
    {"getpid", SYS_getpid, NUMBERS(0)},
    {"getuid", SYS_getuid, NUMBERS(0)},
    {"gettid", SYS_gettid, NUMBERS(0)},
    {"getppid", SYS_getppid, NUMBERS(0)},
    {"uname", SYS_uname, NUMBERS(BAD)},
    {"sync", SYS_sync, NUMBERS(0)},
    {"read", SYS_read, NUMBERS(BAD, 0, 0)},
    {"openat", SYS_openat, NUMBERS(BAD, BAD, 0, 0)},
    {"mkdirat", SYS_mkdirat, NUMBERS(BAD, BAD, 0)},
    {"unlinkat", SYS_unlinkat, NUMBERS(BAD, BAD, 0)},
    {"chdir", SYS_chdir, NUMBERS(BAD)},
    {"fchmod", SYS_fchmod, NUMBERS(BAD, 0)},
    {"fchown", SYS_fchown, NUMBERS(BAD, 0, 0)},
    {"dup", SYS_dup, NUMBERS(BAD)},
    {"pipe2", SYS_pipe2, NUMBERS(BAD, 0)},
    {"socket inet", SYS_socket, NUMBERS(2, 1, 0)},
    {"socket vsock", SYS_socket, NUMBERS(40, 1, 0)},
    {"socketpair", SYS_socketpair, NUMBERS(1, 1, 0, BAD)},
    {"bind", SYS_bind, NUMBERS(BAD, 0, 0)},
    {"mount", SYS_mount, NUMBERS(BAD, BAD, BAD, 0, 0)},
    {"umount2", SYS_umount2, NUMBERS(BAD, 0)},
    {"pivot_root", SYS_pivot_root, NUMBERS(BAD, BAD)},
    {"chroot", SYS_chroot, NUMBERS(BAD)},
    {"swapon", SYS_swapon, NUMBERS(BAD, 0)},
    {"swapoff", SYS_swapoff, NUMBERS(BAD)},
    {"reboot", SYS_reboot, NUMBERS(0, 0, 0, 0)},
    {"sethostname", SYS_sethostname, NUMBERS(BAD, 1)},
    {"setdomainname", SYS_setdomainname, NUMBERS(BAD, 1)},
    {"init_module", SYS_init_module, NUMBERS(BAD, 0, BAD)},
    {"delete_module", SYS_delete_module, NUMBERS(BAD, 0)},
    {"kexec_load", SYS_kexec_load, NUMBERS(0, 999, BAD, BAD)},
    {"acct", SYS_acct, NUMBERS(BAD)},
    {"quotactl", SYS_quotactl, NUMBERS(BAD, BAD, 0, BAD)},
    {"add_key", SYS_add_key, NUMBERS(BAD, BAD, BAD, 0, 0)},
    {"keyctl", SYS_keyctl, NUMBERS(BAD, 0, 0, 0, 0)},
    {"request_key", SYS_request_key, NUMBERS(BAD, BAD, BAD, 0)},
    {"bpf", SYS_bpf, NUMBERS(BAD, 0, 0)},
    {"perf_event_open", SYS_perf_event_open, NUMBERS(BAD, 0, 0, 0, 0)},
    {"ptrace", SYS_ptrace, NUMBERS(BAD, BAD, 0, 0)},
    {"process_vm_readv", SYS_process_vm_readv, NUMBERS(BAD, 0, 0, 0, 0, 0)},
    {"kcmp", SYS_kcmp, NUMBERS(BAD, BAD, BAD, 0, 0)},
    {"unshare nothing", SYS_unshare, NUMBERS(0)},
    {"unshare user", SYS_unshare, NUMBERS(0x10000000)},
    {"unshare mount", SYS_unshare, NUMBERS(0x00020000)},
    {"setns", SYS_setns, NUMBERS(BAD, 0)},
    {"clone user", SYS_clone, NUMBERS(0x10000000 | 0x7f, 0, 0, 0, 0)},
    {"clone3", 435, NUMBERS(BAD, 0)},
    {"personality query", SYS_personality, NUMBERS(0xffffffff)},
    {"personality no random", SYS_personality, NUMBERS(0x0040000)},
    {"personality linux32", SYS_personality, NUMBERS(8)},
    {"open_by_handle_at", SYS_open_by_handle_at, NUMBERS(BAD, BAD, 0)},
    {"name_to_handle_at", SYS_name_to_handle_at, NUMBERS(BAD, BAD, BAD, BAD, 0)},
    {"clock_settime", SYS_clock_settime, NUMBERS(0, BAD)},
    {"settimeofday", SYS_settimeofday, NUMBERS(BAD, BAD)},
    {"adjtimex", SYS_adjtimex, NUMBERS(BAD)},
    {"syslog", SYS_syslog, NUMBERS(BAD, 0, 0)},
    {"vhangup", SYS_vhangup, NUMBERS(0)},
    {"mbind", SYS_mbind, NUMBERS(0, 0, BAD, 0, 0, 0)},
    {"set_mempolicy", SYS_set_mempolicy, NUMBERS(BAD, 0, 0)},
    {"move_pages", SYS_move_pages, NUMBERS(0, 1, BAD, 0, BAD, 0)},
    {"userfaultfd", SYS_userfaultfd, NUMBERS(BAD)},
    {"fanotify_init", SYS_fanotify_init, NUMBERS(BAD, 0)},
    {"lookup_dcookie", SYS_lookup_dcookie, NUMBERS(0, BAD, 0)},
    {"io_uring_setup", 425, NUMBERS(0, BAD)},
    {"open_tree", 428, NUMBERS(BAD, BAD, 0)},
    {"fsopen", 430, NUMBERS(BAD, BAD)},
    {"pidfd_open", 434, NUMBERS(BAD, 0)},
    {"openat2", 437, NUMBERS(BAD, BAD, BAD, 0)},
    {"memfd_create", SYS_memfd_create, NUMBERS(BAD, BAD)},
    {"seccomp", SYS_seccomp, NUMBERS(BAD, 0, 0)},
    {"prctl no_new_privs", SYS_prctl, NUMBERS(39, 0, 0, 0, 0)},
    {"setuid", SYS_setuid, NUMBERS(BAD)},
    {"capset", SYS_capset, NUMBERS(BAD, BAD)},
    {"mknodat", SYS_mknodat, NUMBERS(BAD, BAD, 0, 0)},
    {"flock shared", SYS_flock, NUMBERS(BAD, 1)},
    {"flock exclusive", SYS_flock, NUMBERS(BAD, 2)},
    {"lseek 5", SYS_lseek, NUMBERS(BAD, 5, 0)},
    {"lseek 6", SYS_lseek, NUMBERS(BAD, 6, 0)},
    {"lseek 5 << 32", SYS_lseek, NUMBERS(BAD, 5L << 32, 0)},
    {"newer 700", 700, NUMBERS(0)},
    {"newer 100000", 100000, NUMBERS(0)},
    {"newest", 0x3fffffff, NUMBERS(0)},
    {"negative", -1, NUMBERS(0)},
#ifdef __x86_64__
    {"x32 getpid", 0x40000000 + 39, NUMBERS(0)},
    {"x32 newer", 0x40000000 + 9999, NUMBERS(0)},
    {"int 0x80 getpid", 20, NUMBERS(0x80)},
    {"int 0x80 mount", 21, NUMBERS(0x80)},
    {"int 0x80 newer", 9999, NUMBERS(0x80)},
#endif
};

static long call(const struct attempt *attempt) {
    const long *a = attempt->args;
#ifdef __x86_64__
    if (strncmp(attempt->name, "int", 3) == 0) {
        long result;
        __asm__ volatile("int $0x80" : "=a"(result)
                         : "a"(attempt->number), "b"(0L), "c"(0L), "d"(0L), "S"(0L), "D"(0L) : "memory");
        if (result < 0 && result > -4096) {
            errno = (int)-result;
            return -1;
        }
        return result;
    }
#endif
    return syscall(attempt->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int main(void) {
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        const pid_t child = fork();
        if (child < 0)
            return 1;
        if (child == 0) {
            alarm(20);
            errno = 0;
            /* A call can make a process, too: both end here, and the first one's word counts. */
            _exit(call(&attempts[i]) == -1 ? errno : 0);
        }
        int status;
        if (waitpid(child, &status, 0) != child)
            return 1;
        if (WIFSIGNALED(status))
            printf("%s: killed by %d\n", attempts[i].name, WTERMSIG(status));
        else
            printf("%s: %d\n", attempts[i].name, WEXITSTATUS(status));
    }
    return 0;
}
