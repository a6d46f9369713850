//! `dockerd --validate`, which Docker has since version 23: is this configuration one that dockerd would start with? Runs
//! on the host; the program is the running dockerd's own, or one of a fixed place, never one of `PATH`.

use super::DaemonError;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PLACES: [&str; 3] = ["/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd"];

/// What dockerd may look for on its own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An emulated host that is busy takes more than 20 s to start dockerd.
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// The dockerd that would run.
pub(crate) fn installed_program() -> Option<PathBuf> {
    PLACES.map(PathBuf::from).into_iter().find(|place| place.is_file())
}

/// How dockerd begins when it refuses; whatever else goes wrong (it has no such option, it does not run outside of its own
/// root directory) is no objection.
const REFUSALS: [&str; 2] = ["unable to configure the Docker daemon", "configuration validation"];

/// Has a dockerd look at a configuration. One that cannot has no objections.
pub(crate) fn validate(program: &Path, text: &str) -> Result<(), DaemonError> {
    let output =
        run(program, text).map_err(|source| DaemonError::Validate { program: program.to_owned(), source })?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let refusal = said.lines().find(|line| REFUSALS.iter().any(|refusal| line.contains(refusal)));
    match refusal.filter(|_| !output.status.success()) {
        // It names our file in memory, which says nothing to anybody.
        Some(line) => {
            let reason = line.split_once("/fd/").and_then(|(_, rest)| rest.split_once(": "));
            Err(DaemonError::Invalid { reason: reason.map_or(line, |(_, reason)| reason).to_owned() })
        }
        None => Ok(()),
    }
}

fn run(program: &Path, text: &str) -> io::Result<Output> {
    // In memory: there is no file that a killed run could leave, and none that others could change.
    let mut file = File::from(memfd_create("daemon.json", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let mut child = Command::new(program)
        .args(["--validate", "--config-file", &path])
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > TIMEOUT {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(POLL);
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the real one says, of either age.
    fn dockerd(script: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dockerd");
        // By another process: as long as one of ours has it open for writing, it cannot be executed.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
        let written = Command::new("sh").args(["-c", write]).arg(&path).arg(script).status().unwrap();
        assert!(written.success());
        (directory, path)
    }

    #[test]
    fn believes_one_that_can_tell() {
        // Word for word what Docker 26 says.
        let (_directory, path) = dockerd(
            "[ \"$1 $2\" = '--validate --config-file' ] && grep -q good \"$3\" && echo 'configuration OK' >&2 && exit 0; echo \"unable to configure the Docker daemon with file $3: the following directives don't match any configuration option: debgu\" >&2; exit 1",
        );
        validate(&path, "{\"good\": 1}").unwrap();
        let error = validate(&path, "{\"debgu\": 1}").unwrap_err().to_string();
        assert_eq!(
            error,
            "dockerd --validate refuses the new configuration: the following directives don't match any configuration option: debgu"
        );
    }

    #[test]
    fn one_that_cannot_tell_has_no_objections() {
        for script in [
            "echo \"Status: unknown flag: --validate\nSee 'dockerd --help'., Code: 125\" >&2; exit 1",
            "echo \"$0: error while loading shared libraries: libsystemd.so.0: cannot open shared object file\" >&2; exit 127",
        ] {
            let (_directory, path) = dockerd(script);
            validate(&path, "{}").unwrap();
        }
    }
}
