//! Seccomp filters in the guest: what comes of each system call is what comes of it under runc with the same profile. A
//! program tries them all under both runtimes.

use anyhow::{Context, Result};
use runq_tests::bed::Bed;
use runq_tests::workspace;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

/// Where the container finds the program.
const PROGRAM: &str = "/programs/syscalls";

/// A directory with the program in it.
fn programs() -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    let source = workspace::root().join("tests/programs/syscalls.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
    compiler.arg(directory.path().join("syscalls")).arg(source);
    runq_tests::command::output(&mut compiler, Duration::from_secs(60))?;
    Ok(directory)
}

/// What came of each call, by its name.
type Outcome = BTreeMap<String, String>;

fn attempt(bed: &Bed, runtime: &str, options: &[&str]) -> Result<Outcome> {
    let programs = programs()?;
    let volume = format!("{}:/programs:ro", programs.path().display());
    let container = bed.container().runtime(runtime).options(&["-v", &volume]).options(options);
    let answer = container.run(&[PROGRAM])?;
    anyhow::ensure!(answer.code == 0, "{runtime}: {} {}", answer.code, answer.stderr_text());
    let text = answer.stdout_text();
    let pair = |line: &str| line.rsplit_once(": ").map(|(name, result)| (name.to_owned(), result.to_owned()));
    text.lines().map(|line| pair(line).context("a line without a colon")).collect()
}

/// Compares both runtimes under these options. A call that a filter lets pass meets another kernel in the guest, which may
/// answer otherwise: what counts then is that it is the answer without a filter.
fn same_as_runc(options: &[&str]) -> Result<(Outcome, Outcome)> {
    let bed = Bed::shared()?;
    let unconfined: Vec<&str> =
        options.iter().copied().filter(|option| *option == "--cap-add" || !option.contains('=')).collect();
    let unconfined = [&unconfined[..], &["--security-opt=seccomp=unconfined"]].concat();
    let [runc, runq] = ["runc", &bed.runtime]
        .map(|runtime| anyhow::Ok((attempt(&bed, runtime, &unconfined)?, attempt(&bed, runtime, options)?)));
    let ((runc_free, runc), (runq_free, runq)) = (runc?, runq?);
    assert!(runc.len() >= 40 && runc.len() == runq.len(), "{} and {}", runc.len(), runq.len());
    let mut differences = String::new();
    for (name, expected) in &runc {
        let found = &runq[name];
        let both_pass = *expected == runc_free[name] && *found == runq_free[name];
        if found != expected && !both_pass {
            writeln!(differences, "{name}: {expected} under runc, {found} under runq")?;
        }
    }
    assert!(differences.is_empty(), "with {options:?}:\n{differences}");
    Ok((runq_free, runq))
}

fn with_profile(profile: &str) -> Result<(Outcome, Outcome)> {
    let file = tempfile::NamedTempFile::new()?;
    fs_err::write(file.path(), profile)?;
    same_as_runc(&[&format!("--security-opt=seccomp={}", file.path().display())])
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn dockers_default_profile() -> Result<()> {
    let (free, confined) = same_as_runc(&[])?;
    assert_eq!(confined["mount"], "1");
    assert_ne!(free, confined);
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn dockers_default_profile_with_no_new_privileges_and_more_capabilities() -> Result<()> {
    let (_, confined) = same_as_runc(&["--security-opt=no-new-privileges", "--cap-add", "SYS_ADMIN"])?;
    assert_eq!(confined["mount"], "14", "EFAULT: Docker allows it to who has the capability");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_profile_that_forbids_with_every_action_and_condition() -> Result<()> {
    let (_, confined) = with_profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["vhangup", "no_such_call_anywhere"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["sync"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
            {"names": ["swapon"], "action": "SCMP_ACT_KILL"},
            {"names": ["swapoff"], "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["acct"], "action": "SCMP_ACT_TRAP"},
            {"names": ["kcmp"], "action": "SCMP_ACT_LOG"},
            {"names": ["flock"], "action": "SCMP_ACT_ERRNO", "errnoRet": 88,
             "args": [{"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]},
            {"names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": 89,
             "args": [{"index": 1, "value": 5, "op": "SCMP_CMP_GT"}, {"index": 1, "value": 3, "op": "SCMP_CMP_LT"}]},
            {"names": ["unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": 90,
             "args": [{"index": 0, "value": 268435456, "valueTwo": 268435456, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#,
    )?;
    for (name, expected) in [
        ("vhangup", "1"),
        ("sync", "77"),
        ("swapon", "killed by 31"),
        ("swapoff", "killed by 31"),
        ("acct", "killed by 31"),
        ("flock exclusive", "88"),
        ("flock shared", "9"),
        ("lseek 5", "9"),
        ("lseek 6", "89"),
        ("lseek 5 << 32", "89"),
        ("unshare user", "90"),
        ("unshare nothing", "0"),
    ] {
        assert_eq!(confined[name], expected, "{name}");
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_profile_that_allows_few_calls() -> Result<()> {
    // What runc, the program and a C library need; all else is refused with a number of our own.
    let arch = workspace::ARCH.to_uppercase();
    let profile = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_THIS"], "syscalls": [
            {"names": ["access", "alarm", "arch_prctl", "brk", "capget", "capset", "chdir", "clone", "close", "dup3", "epoll_create1",
                       "epoll_ctl", "epoll_pwait", "execve", "exit", "exit_group", "faccessat", "faccessat2", "fchdir",
                       "fchown", "fcntl", "fork", "fstat", "fstatfs", "futex", "getcwd", "getdents64", "getpid", "getppid", "getrandom", "gettid",
                       "getuid", "ioctl", "lseek", "lstat", "madvise", "mmap", "mprotect", "munmap", "nanosleep", "newfstatat",
                       "openat", "openat2", "poll", "prctl", "pread64", "prlimit64", "read", "readlink", "readlinkat", "rseq", "rt_sigaction",
                       "rt_sigprocmask", "rt_sigreturn", "sched_getaffinity", "sched_yield", "set_robust_list",
                       "set_tid_address", "setgid", "setgroups", "setitimer", "setresgid", "setresuid", "setuid", "sigaltstack",
                       "stat", "statfs", "statx", "tgkill", "uname", "vfork", "wait4", "write"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let (_, confined) = with_profile(&profile.replace("THIS", &arch))?;
    assert_eq!((confined["mkdirat"].as_str(), confined["newer 100000"].as_str()), ("1", "38"));
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn unconfined_is_unconfined() -> Result<()> {
    let bed = Bed::shared()?;
    let mode = |options: &[&str]| {
        bed.container().options(options).shell_output("grep -e ^Seccomp: -e ^NoNewPrivs /proc/self/status")
    };
    assert_eq!(mode(&["--security-opt", "seccomp=unconfined"])?, "NoNewPrivs:\t0\nSeccomp:\t0");
    assert_eq!(mode(&[])?, "NoNewPrivs:\t0\nSeccomp:\t2");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_profile_with_an_unknown_word_is_refused() -> Result<()> {
    let bed = Bed::shared()?;
    let file = tempfile::NamedTempFile::new()?;
    fs_err::write(
        file.path(),
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sync"], "action": "SCMP_ACT_PERHAPS"}]}"#,
    )?;
    let option = format!("seccomp={}", file.path().display());
    let finished = bed.container().options(&["--security-opt", &option]).shell("echo must not run")?;
    assert_eq!((finished.stdout_text().as_str(), finished.code), ("", 125), "{finished:?}");
    assert!(finished.stderr_text().contains("SCMP_ACT_PERHAPS"), "{}", finished.stderr_text());
    Ok(())
}
