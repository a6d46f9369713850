//! The child between fork and execve: enters the container's file system, becomes the user, finds the program. Runs
//! single-threaded, in a copy of `init` that nobody else sees; every failure is written to the parent's pipe.

use crate::privileges::FilterMoment;
use crate::process::StartError;
use crate::stdio::ChildStdio;
use crate::{control_group, environment_file, file_system, privileges};
use anyhow::Context;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, execve};
use runq_contract::channel::StartFailure;
use runq_contract::guest::Guest;
use runq_contract::process::Process;
use rustix::fs::{Mode, OFlags, Uid};
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

/// What the child has to do.
pub(crate) struct Task<'a> {
    /// The process to become.
    pub(crate) spec: &'a Process,
    /// Its surroundings.
    pub(crate) guest: &'a Guest,
}

/// Search path of a process without one, as in runc.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The image's user database, passwd(5).
const USERS: &str = "/etc/passwd";

/// As much of it as is read: the image may have put anything there.
const MAX_USERS_BYTES: u64 = 1024 * 1024;

/// Becomes the process, or reports and exits.
pub(crate) fn run(task: &Task<'_>, stdio: ChildStdio, report: OwnedFd) -> ! {
    let Err(error) = become_process(task, stdio);
    let json = serde_json::to_vec(&error).unwrap_or_else(|_| b"{}".to_vec());
    drop(File::from(report).write_all(&json));
    std::process::exit(i32::from(error.reason.exit_code()))
}

fn become_process(task: &Task<'_>, stdio: ChildStdio) -> Result<Infallible, StartError> {
    prepare(task, stdio).map_err(|error| StartError::setup(&error))?;
    execute(task)
}

fn prepare(task: &Task<'_>, stdio: ChildStdio) -> anyhow::Result<()> {
    let Task { spec, guest } = task;
    let terminal = match &stdio {
        ChildStdio::Terminal(name) => Some(name.as_c_str()),
        ChildStdio::Pipes(_) => None,
    };
    control_group::enter()?;
    file_system::enter(guest, terminal)?;
    if guest.runqenv {
        environment_file::write(&spec.env)?;
    }
    rustix::process::setsid().context("cannot start a session")?;
    let descriptors = match stdio {
        ChildStdio::Pipes(pipes) => pipes,
        ChildStdio::Terminal(name) => open_terminal(&name)?,
    };
    if !Path::new(&spec.cwd).is_dir() {
        std::fs::create_dir_all(&spec.cwd)
            .with_context(|| format!("cannot make the working directory {}", spec.cwd))?;
    }
    privileges::set_limits(spec)?;
    take_descriptors(&descriptors, spec.user.uid)?;
    runq_sys::fork::reset_signals().context("cannot reset the signals")?;
    // Like runc: root may enter where the user may not, and on a share where the user is known and root is nobody it
    // is the other way round.
    let enter_cwd = || rustix::process::chdir(spec.cwd.as_str());
    let entered = enter_cwd();
    privileges::filter(guest, spec, FilterMoment::BeforeUser)?;
    privileges::become_user(spec)?;
    entered
        .or_else(|_| enter_cwd())
        .with_context(|| format!("chdir to cwd (\"{}\") set in config.json failed", spec.cwd))
}

/// Opens the terminal by the name that it has in the container, so that ttyname(3) finds it, and makes it the
/// controlling one.
fn open_terminal(name: &CStr) -> anyhow::Result<[OwnedFd; 3]> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name, flags, Mode::empty()).context("cannot open the terminal")?;
    rustix::process::ioctl_tiocsctty(&slave).context("cannot take the controlling terminal")?;
    let copy = || slave.try_clone().context("cannot duplicate the terminal");
    Ok([copy()?, copy()?, slave])
}

/// Makes them 0, 1 and 2. They belong to the user, who may open them again as `/dev/stdout` and the like.
fn take_descriptors(descriptors: &[OwnedFd; 3], uid: u32) -> anyhow::Result<()> {
    for descriptor in descriptors {
        rustix::fs::fchown(descriptor, Some(Uid::from_raw(uid)), None)
            .context("cannot give the standard descriptors to the user")?;
    }
    let [stdin, stdout, stderr] = descriptors;
    rustix::stdio::dup2_stdin(stdin)
        .and_then(|()| rustix::stdio::dup2_stdout(stdout))
        .and_then(|()| rustix::stdio::dup2_stderr(stderr))
        .context("cannot connect the standard descriptors")
}

/// Finds the program as runc does, and becomes it. Messages are runc's.
fn execute(task: &Task<'_>) -> Result<Infallible, StartError> {
    let Task { spec, guest } = task;
    let name = spec.args.first().map_or("", String::as_str);
    let program = find(name, &spec.env)?;
    let c_string = |text: &str| {
        CString::new(text)
            .map_err(|error| StartError::setup(&anyhow::Error::from(error).context("a NUL byte")))
    };
    let args = spec.args.iter().map(|arg| c_string(arg)).collect::<Result<Vec<_>, _>>()?;
    let home = default_home(spec);
    let env =
        spec.env.iter().chain(&home).map(|variable| c_string(variable)).collect::<Result<Vec<_>, _>>()?;
    let path = c_string(&program)?;
    let filter = privileges::filter(guest, spec, FilterMoment::BeforeExec);
    filter.map_err(|error| StartError::setup(&error))?;
    let Err(error) = execve(&path, &args, &env);
    let reason = match error {
        Errno::ENOENT => StartFailure::NotFound,
        Errno::EACCES | Errno::ENOEXEC => StartFailure::NotExecutable,
        _ => StartFailure::Setup,
    };
    let text = error.desc().to_lowercase();
    Err(StartError { reason, message: format!("exec {program}: {text}") })
}

/// `HOME` of the image's user database, unless the environment has one: what a shell and many programs rely on. The
/// file is read as the user.
fn default_home(spec: &Process) -> Option<String> {
    if spec.env.iter().any(|variable| variable.starts_with("HOME=")) {
        return None;
    }
    let mut users = Vec::new();
    // A database that is missing, or is not one, has no users.
    File::open(USERS).and_then(|file| file.take(MAX_USERS_BYTES).read_to_end(&mut users)).ok();
    Some(format!("HOME={}", home_of(spec.user.uid, &String::from_utf8_lossy(&users)).unwrap_or("/")))
}

/// The sixth field of the user's line in passwd(5).
fn home_of(uid: u32, users: &str) -> Option<&str> {
    let has_uid = |line: &&str| line.split(':').nth(2).is_some_and(|field| field.parse() == Ok(uid));
    users.lines().find(has_uid)?.split(':').nth(5).filter(|home| !home.is_empty())
}

/// Path of the program.
fn find(name: &str, env: &[String]) -> Result<String, StartError> {
    if name.contains('/') {
        return match check(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(Errno::EACCES) => Err(failure(StartFailure::NotExecutable, name, "permission denied")),
            Err(error) => {
                let text = format!("stat {name}: {}", error.desc().to_lowercase());
                Err(failure(StartFailure::NotFound, name, &text))
            }
        };
    }
    let path = env.iter().rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let mut denied = false;
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{directory}/{name}");
        match check(&candidate) {
            Ok(()) if !name.is_empty() => return Ok(candidate),
            Err(Errno::EACCES) => denied = true,
            _ => {}
        }
    }
    if denied {
        return Err(failure(StartFailure::NotExecutable, name, "permission denied"));
    }
    Err(failure(StartFailure::NotFound, name, "executable file not found in $PATH"))
}

/// Whether a file can be executed; a directory cannot.
fn check(path: &str) -> Result<(), Errno> {
    access(path, AccessFlags::F_OK)?;
    if Path::new(path).is_dir() {
        return Err(Errno::EACCES);
    }
    access(path, AccessFlags::X_OK)
}

fn failure(reason: StartFailure, name: &str, text: &str) -> StartError {
    StartError { reason, message: format!("exec: \"{name}\": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, env: &[&str]) -> (StartFailure, String) {
        let env: Vec<String> = env.iter().map(|variable| (*variable).to_owned()).collect();
        let error = find(name, &env).unwrap_err();
        (error.reason, error.message)
    }

    #[test]
    fn finds_programs_in_the_environments_path() {
        assert_eq!(find("sh", &["PATH=/nowhere:/bin".to_owned()]).unwrap(), "/bin/sh");
        assert_eq!(find("/bin/sh", &[]).unwrap(), "/bin/sh");
    }

    #[test]
    fn takes_home_from_the_user_database() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\n# comment\nwww:x:33:33::/var/www:\nbare:x:7\nempty:x:8:8:::\n";
        assert_eq!(home_of(33, users), Some("/var/www"));
        assert_eq!(home_of(0, users), Some("/root"));
        for unknown in [1, 7, 8] {
            assert_eq!(home_of(unknown, users), None);
        }
    }

    #[test]
    fn says_what_runc_says() {
        let missing =
            (StartFailure::NotFound, "exec: \"nosuch\": executable file not found in $PATH".to_owned());
        assert_eq!(message("nosuch", &["PATH=/bin"]), missing);
        let stat = "exec: \"/nosuch\": stat /nosuch: no such file or directory".to_owned();
        assert_eq!(message("/nosuch", &[]), (StartFailure::NotFound, stat));
        let denied = "exec: \"/etc\": permission denied".to_owned();
        assert_eq!(message("/etc", &[]), (StartFailure::NotExecutable, denied));
    }
}
