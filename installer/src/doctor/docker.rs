//! Docker, its configuration, and runc. Runs on the host; believes the dockerd on the socket.

use super::Check;
use crate::cli::{DEFAULT_DAEMON_JSON, DockerHost};
use crate::docker_config::{ConfigFile, RuntimeEntry, default_runtime, runtime_entry};
use crate::docker_daemon::{Daemon, Wanted};
use crate::receipt::DockerReceipt;
use anyhow::Result;
use rustix::fs::{Access, access};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest that this was tried with.
const OLDEST: (u32, u32) = (20, 10);

/// Where dockerd looks for runc when its own `PATH` is not known.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const BROKEN_CONFIG: &str = "dockerd would not start with it, or would not know runq";

/// Whether there are registered runtimes, and all of them emulate.
pub(super) fn all_emulate(entries: &[DockerReceipt]) -> bool {
    let emulates = |entry: &DockerReceipt| {
        let args = found_entry(entry).ok().flatten().and_then(|entry| entry.args).unwrap_or_default();
        args.windows(2).any(|pair| pair == ["--accel", "tcg"]) || args.iter().any(|arg| arg == "--accel=tcg")
    };
    !entries.is_empty() && entries.iter().all(emulates)
}

fn found_entry(receipt: &DockerReceipt) -> Result<Option<RuntimeEntry>> {
    let file = ConfigFile::read(&receipt.daemon_json)?;
    Ok(runtime_entry(file.text().unwrap_or_default(), &receipt.name)?)
}

pub(super) fn checks(docker: &DockerHost, entries: &[DockerReceipt]) -> Vec<Check> {
    let daemon = Daemon::find(docker.name());
    let running = daemon.as_ref().ok().and_then(Option::as_ref);
    let path = running.and_then(Daemon::search_path).unwrap_or_else(|| DEFAULT_PATH.to_owned());
    let mut checks = vec![match &daemon {
        Ok(Some(daemon)) => version(daemon),
        Ok(None) => {
            Check::warning("dockerd", format!("nobody listens at {}", docker.name()), "no container runs now")
                .mended_by("systemctl start docker, or name the socket with --docker-host")
        }
        Err(error) => Check::warning("dockerd", error.to_string(), "it could not be asked what it knows")
            .mended_by("run as root, or name the socket with --docker-host unix://PATH"),
    }];
    checks.push(runc(&path));
    let files = if entries.is_empty() {
        vec![running.map_or_else(|| DEFAULT_DAEMON_JSON.into(), Daemon::config_file)]
    } else {
        let mut files: Vec<PathBuf> = entries.iter().map(|entry| entry.daemon_json.clone()).collect();
        files.dedup();
        files
    };
    checks.extend(files.iter().map(|file| configuration(file, entries)));
    checks.extend(running.into_iter().flat_map(|daemon| entries.iter().map(|entry| known(daemon, entry))));
    checks
}

fn version(daemon: &Daemon) -> Check {
    let found = match daemon.version() {
        Ok(found) => found,
        Err(error) => {
            return Check::warning("dockerd", error.to_string(), "its version is not known")
                .mended_by("restart it");
        }
    };
    let mut numbers = found.split(['.', '-', '+']).map_while(|word| word.parse::<u32>().ok());
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST {
        return Check::ok("dockerd", format!("version {found}"));
    }
    Check::warning("dockerd", format!("version {found}"), "runq was never tried with a Docker as old as this")
        .mended_by("use Docker 20.10 or later")
}

fn runc(path: &str) -> Check {
    let means = "no container starts: runq leaves the host side of a container to runc";
    let places = path.split(':').filter(|directory| directory.starts_with('/'));
    let found = places.map(|directory| Path::new(directory).join("runc")).find(|file| is_executable(file));
    let Some(file) = found else {
        return Check::failure("runc", format!("not in dockerd's PATH, {path}"), means)
            .mended_by("install runc");
    };
    let said = Command::new(&file).arg("--version").env_clear().stdin(Stdio::null()).output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match said.as_deref().map(|text| text.lines().next().unwrap_or_default()) {
        Ok(line) if line.starts_with("runc version ") => {
            Check::ok("runc", format!("{}: {line}", file.display()))
        }
        Ok(line) => Check::failure("runc", format!("{} says {line:?}", file.display()), means)
            .mended_by("install the distribution's runc"),
        Err(error) => Check::failure("runc", format!("{}: {error}", file.display()), means)
            .mended_by("install the distribution's runc"),
    }
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && access(file, Access::EXEC_OK).is_ok()
}

/// Whether dockerd would start with the file, and our entries in it are whole.
fn configuration(path: &Path, entries: &[DockerReceipt]) -> Check {
    let name = "daemon.json";
    match complaint(path, entries) {
        Ok(None) => Check::ok(name, path.display().to_string()),
        Ok(Some((found, mend))) => Check::failure(name, found, BROKEN_CONFIG).mended_by(mend),
        Err(error) => {
            let found = format!("{}: {error:#}", path.display());
            Check::failure(name, found, BROKEN_CONFIG).mended_by("mend the file; a backup may lie beside it")
        }
    }
}

fn complaint(path: &Path, entries: &[DockerReceipt]) -> Result<Option<(String, &'static str)>> {
    let file = ConfigFile::read(path)?;
    let text = file.text().unwrap_or_default();
    if let Some(default) = default_runtime(text)?
        && default != "runc"
        && runtime_entry(text, &default)?.is_none()
        && !default.contains('.')
    {
        let found = format!("\"default-runtime\" is {default:?}, which \"runtimes\" does not have");
        return Ok(Some((found, "choose another \"default-runtime\"")));
    }
    for ours in entries.iter().filter(|entry| entry.daemon_json == path) {
        let complaint = match runtime_entry(text, &ours.name)? {
            None => Some(("is not there", "runq-install register")),
            Some(entry) if entry.path != ours.path => {
                Some(("has another path", "rename that runtime, or unregister this one"))
            }
            Some(entry) if !is_executable(Path::new(&entry.path)) => {
                Some(("has a path that cannot be executed", "install the bundle again"))
            }
            Some(_) => None,
        };
        if let Some((what, mend)) = complaint {
            return Ok(Some((format!("runtime {:?} {what}", ours.name), mend)));
        }
    }
    Ok(None)
}

fn known(daemon: &Daemon, ours: &DockerReceipt) -> Check {
    let name = "runtime";
    let entry = found_entry(ours).ok().flatten();
    let wanted = Wanted { name: ours.name.clone(), entry, default: None };
    match daemon.knows(&wanted) {
        Ok(true) => Check::ok(name, format!("dockerd knows {} as daemon.json has it", ours.name)),
        Ok(false) => Check::failure(
            name,
            format!("dockerd knows {} otherwise than daemon.json has it", ours.name),
            "containers of it run with other settings, or not at all",
        )
        .mended_by("systemctl reload docker"),
        Err(error) => Check::warning(name, error.to_string(), "it is not known what dockerd knows")
            .mended_by("restart dockerd"),
    }
}
