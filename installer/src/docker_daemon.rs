//! The running dockerd: what it knows, and telling it to read its configuration again. Runs on the host; believes the
//! daemon on the given socket, and signals a process only when it is a dockerd.
//!
//! dockerd logs errors of a reload and tells nobody, so that only asking again shows whether it took the entry.

mod validate;

pub(crate) use validate::{installed_program, validate};

use crate::docker_config::RuntimeEntry;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where dockerd listens when nobody says otherwise.
pub(crate) const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Where the dockerd of the default socket leaves its process id.
const DEFAULT_PID_FILE: &str = "/var/run/docker.pid";

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);
const RELOAD_POLL: Duration = Duration::from_millis(100);
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// dockerd cannot be asked or told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error("{host:?} is not a local Docker daemon")]
    Host { host: String },
    #[error("cannot talk to dockerd at {socket}")]
    Talk { socket: PathBuf, source: io::Error },
    #[error("dockerd at {socket} answers {found:?}")]
    Answer { socket: PathBuf, found: String },
    #[error("dockerd at {socket} answers something else than JSON")]
    Json { socket: PathBuf, source: serde_json::Error },
    #[error("cannot find the process of dockerd at {socket}")]
    Process { socket: PathBuf },
    #[error("cannot signal dockerd, process {pid}")]
    Signal { pid: i32, source: io::Error },
    #[error("dockerd, process {pid}, reads {found}, not {edited}")]
    OtherConfig { pid: i32, found: PathBuf, edited: PathBuf },
    #[error("dockerd did not take the new configuration within {} s", RELOAD_TIMEOUT.as_secs())]
    NotTaken,
    #[error("dockerd --validate refuses the new configuration: {reason}")]
    Invalid { reason: String },
    #[error("cannot run {program} --validate")]
    Validate { program: PathBuf, source: io::Error },
}

/// What the daemon should know in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Name of the runtime.
    pub(crate) name: String,
    /// Its entry, or that there is none.
    pub(crate) entry: Option<RuntimeEntry>,
    /// The default runtime, where it matters.
    pub(crate) default: Option<String>,
}

/// A dockerd that answers.
#[derive(Debug)]
pub(crate) struct Daemon {
    socket: PathBuf,
    pid: Pid,
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "Runtimes", default)]
    runtimes: HashMap<String, RuntimeEntry>,
    #[serde(rename = "DefaultRuntime", default)]
    default_runtime: String,
    #[serde(rename = "ServerVersion", default)]
    server_version: String,
}

/// A container, for people.
#[derive(Debug)]
pub(crate) struct Container {
    /// Without the slash.
    pub(crate) name: String,
    /// `running`, `exited` and so on.
    pub(crate) state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    name: String,
    state: State,
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    runtime: String,
}

impl Daemon {
    /// The daemon at `unix://PATH`; `None` when nobody listens there.
    pub(crate) fn find(host: &str) -> Result<Option<Self>, DaemonError> {
        let socket = host.strip_prefix("unix://").filter(|path| path.starts_with('/'));
        let socket = PathBuf::from(socket.ok_or_else(|| DaemonError::Host { host: host.to_owned() })?);
        let stream = match UnixStream::connect(&socket) {
            Ok(stream) => stream,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(source) => return Err(DaemonError::Talk { socket, source }),
        };
        let pid = process_of(&stream, host).ok_or_else(|| DaemonError::Process { socket: socket.clone() })?;
        Ok(Some(Self { socket, pid }))
    }

    /// Checks that the daemon reads the file that is to be edited.
    pub(crate) fn check_config_file(&self, edited: &Path) -> Result<(), DaemonError> {
        let found = self.config_file();
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if real(&found) == real(edited) {
            return Ok(());
        }
        Err(DaemonError::OtherConfig { pid: self.pid.as_raw_pid(), found, edited: edited.to_owned() })
    }

    /// The configuration file that the daemon reads.
    pub(crate) fn config_file(&self) -> PathBuf {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", self.pid.as_raw_nonzero()));
        config_file_of(&arguments.unwrap_or_default())
    }

    /// Its version.
    pub(crate) fn version(&self) -> Result<String, DaemonError> {
        Ok(self.get_json::<Info>("/info")?.server_version)
    }

    /// Where the daemon looks for programs.
    pub(crate) fn search_path(&self) -> Option<String> {
        let environment = std::fs::read(format!("/proc/{}/environ", self.pid.as_raw_nonzero())).ok()?;
        let environment = String::from_utf8_lossy(&environment).into_owned();
        environment.split('\0').find_map(|variable| variable.strip_prefix("PATH=")).map(str::to_owned)
    }

    /// All containers of a runtime, running or not.
    pub(crate) fn containers_of(&self, runtime: &str) -> Result<Vec<Container>, DaemonError> {
        let mut found = Vec::new();
        for Listed { id } in self.get_json::<Vec<Listed>>("/containers/json?all=1")? {
            // One that is being removed meanwhile is none.
            match self.get_json::<Inspected>(&format!("/containers/{id}/json")) {
                Ok(inspected) if inspected.host_config.runtime == runtime => {
                    let name = inspected.name.trim_start_matches('/').to_owned();
                    found.push(Container { name, state: inspected.state.status });
                }
                Ok(_) => {}
                Err(DaemonError::Answer { found, .. }) if found.contains(" 404 ") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Has the daemon read its configuration and waits until it knows what it should.
    pub(crate) fn reload(&self, wanted: &Wanted) -> Result<(), DaemonError> {
        self.hang_up()?;
        let start = Instant::now();
        while !self.knows(wanted)? {
            if start.elapsed() > RELOAD_TIMEOUT {
                return Err(DaemonError::NotTaken);
            }
            std::thread::sleep(RELOAD_POLL);
        }
        Ok(())
    }

    /// Whether the daemon knows what it should.
    pub(crate) fn knows(&self, wanted: &Wanted) -> Result<bool, DaemonError> {
        let info: Info = self.get_json("/info")?;
        let args = |entry: &RuntimeEntry| entry.args.clone().unwrap_or_default();
        let entry_is_right = match (info.runtimes.get(&wanted.name), &wanted.entry) {
            (Some(found), Some(wanted)) => found.path == wanted.path && args(found) == args(wanted),
            (found, wanted) => found.is_none() && wanted.is_none(),
        };
        let default_is_right = wanted.default.as_ref().is_none_or(|default| *default == info.default_runtime);
        Ok(entry_is_right && default_is_right)
    }

    /// The daemon's program, even if its file was replaced since it was started.
    pub(crate) fn program(&self) -> PathBuf {
        format!("/proc/{}/exe", self.pid.as_raw_nonzero()).into()
    }

    /// SIGHUP, by a descriptor: the process cannot become another one between the look and the signal.
    pub(crate) fn hang_up(&self) -> Result<(), DaemonError> {
        let pid = self.pid.as_raw_pid();
        let signal = |source: rustix::io::Errno| DaemonError::Signal { pid, source: source.into() };
        let process = pidfd_open(self.pid, PidfdFlags::empty()).map_err(signal)?;
        if !is_dockerd(self.pid) {
            return Err(DaemonError::Process { socket: self.socket.clone() });
        }
        pidfd_send_signal(process, Signal::HUP).map_err(signal)
    }

    fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, DaemonError> {
        serde_json::from_slice(&self.get(path)?)
            .map_err(|source| DaemonError::Json { socket: self.socket.clone(), source })
    }

    /// Body of a successful answer. HTTP/1.0, so that the body ends with the connection.
    fn get(&self, path: &str) -> Result<Vec<u8>, DaemonError> {
        let mut answer = Vec::new();
        self.exchange(path, &mut answer)
            .map_err(|source| DaemonError::Talk { socket: self.socket.clone(), source })?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
        let status = String::from_utf8_lossy(&answer[..end]).lines().next().unwrap_or_default().to_owned();
        if status.split(' ').nth(1) != Some("200") {
            return Err(DaemonError::Answer { socket: self.socket.clone(), found: status });
        }
        Ok(answer.split_off((end + 4).min(answer.len())))
    }

    fn exchange(&self, path: &str, answer: &mut Vec<u8>) -> io::Result<()> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n").as_bytes())?;
        stream.take(MAX_ANSWER_BYTES).read_to_end(answer).map(drop)
    }
}

/// The process that listens, or, where systemd listens in its place, the one in the default pid file.
fn process_of(stream: &UnixStream, host: &str) -> Option<Pid> {
    let listener = rustix::net::sockopt::socket_peercred(stream).ok().map(|credentials| credentials.pid);
    listener.filter(|pid| is_dockerd(*pid)).or_else(|| {
        let text = (host == DEFAULT_HOST).then(|| std::fs::read_to_string(DEFAULT_PID_FILE).ok())??;
        Pid::from_raw(text.trim().parse().ok()?).filter(|pid| is_dockerd(*pid))
    })
}

fn is_dockerd(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()))
        .is_ok_and(|name| name == "dockerd\n")
}

/// The configuration file that a dockerd with these arguments reads.
fn config_file_of(arguments: &[u8]) -> PathBuf {
    let arguments = String::from_utf8_lossy(arguments);
    let mut arguments = arguments.split('\0');
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--config-file") {
            Some("") => return arguments.next().unwrap_or_default().into(),
            Some(rest) if rest.starts_with('=') => return rest[1..].into(),
            _ => {}
        }
    }
    crate::cli::DEFAULT_DAEMON_JSON.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_configuration_file_from_the_arguments() {
        let file = |arguments: &str| config_file_of(arguments.replace(' ', "\0").as_bytes());
        assert_eq!(file("dockerd --config-file /a.json -D"), Path::new("/a.json"));
        assert_eq!(file("dockerd -D --config-file=/a.json"), Path::new("/a.json"));
        assert_eq!(file("dockerd -H fd://"), Path::new("/etc/docker/daemon.json"));
    }

    #[test]
    fn refuses_hosts_that_are_not_here() {
        for host in ["tcp://10.0.0.1:2375", "ssh://root@host", "unix://relative", "/var/run/docker.sock", ""]
        {
            assert!(matches!(Daemon::find(host), Err(DaemonError::Host { .. })), "{host}");
        }
        assert!(Daemon::find("unix:///nonexistent/docker.sock").unwrap().is_none());
    }

    #[test]
    fn does_not_take_another_process_for_dockerd() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let host = format!("unix://{}", path.display());
        assert!(matches!(Daemon::find(&host), Err(DaemonError::Process { .. })));
    }
}
