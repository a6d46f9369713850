//! How fast the installer is, beside what does the least that has to be done: `tar` and `sync`, `sha256sum`. On the host, on
//! the disk of the target directory.

use crate::bundle::Bundle;
use crate::measure::median;
use crate::{command, report, workspace};
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const RUNS: usize = 7;
const LIMIT: Duration = Duration::from_secs(300);

/// Measures and gives a table.
///
/// # Errors
/// When a run fails.
pub fn run() -> Result<String> {
    let bundle = Bundle::any()?;
    report::step(format_args!("bench: the installer, medians of {RUNS}"));
    let scratch = tempfile::tempdir_in(workspace::target())?;
    let dir = scratch.path();
    let prefix = dir.join("prefix");
    let (mut tars, mut installs) = (Vec::new(), Vec::new());
    // In turns: both meet the same disk.
    for _ in 0..RUNS {
        shell("rm -rf tree prefix && mkdir tree && sync", &bundle, dir)?;
        tars.push(shell("zstd -dc \"$BUNDLE\" | tar -x -C tree && sync", &bundle, dir)?);
        installs.push(timed(install(&bundle, &prefix))?);
    }
    let verify = median((0..RUNS).map(|_| timed(verify(&bundle, &prefix))).collect::<Result<_>>()?)?;
    let hash =
        "cd prefix/current && find . -type f -print0 | xargs -0 -P \"$(nproc)\" -n 100 sha256sum >/dev/null";
    let hashes = median((0..RUNS).map(|_| shell(hash, &bundle, dir)).collect::<Result<_>>()?)?;
    // Without a key, `rollback` does not mind that a version has another's name.
    shell("cd prefix/versions && cp -a * other", &bundle, dir)?;
    let rollback = median((0..RUNS).map(|_| timed(rollback(&prefix))).collect::<Result<_>>()?)?;
    let (tar, install) = (median(tars)?, median(installs)?);
    Ok(format!(
        "runq-install of {:>4} MiB                         {:>8} ms\n\
         aim: 1.3 x (zstd -dc | tar -x, sync)           {:>8} ms\n\
         runq-install verify                            {:>8} ms\n\
         aim: 1.2 x sha256sum, as many processes        {:>8} ms\n\
         runq-install rollback, aim: 1000 ms            {:>8} ms\n",
        fs_err::metadata(&bundle.file)?.len() >> 20,
        millis(install),
        millis(tar * 1.3),
        millis(verify),
        millis(hashes * 1.2),
        millis(rollback),
    ))
}

fn millis(seconds: f64) -> String {
    format!("{:.0}", seconds * 1000.0)
}

fn installer(action: &str, prefix: &Path) -> Command {
    let mut command = Command::new(workspace::dist().join("runq-install"));
    command.arg(action).arg("--prefix").arg(prefix);
    command
}

fn install(bundle: &Bundle, prefix: &Path) -> Command {
    let mut install = installer("install", prefix);
    install.args(["--arch", workspace::ARCH, "--no-docker", "--bundle"]).arg(&bundle.file);
    install.arg("--public-key").arg(&bundle.public_key);
    install
}

fn verify(bundle: &Bundle, prefix: &Path) -> Command {
    let mut verify = installer("verify", prefix);
    verify.arg("--public-key").arg(&bundle.public_key);
    verify
}

fn rollback(prefix: &Path) -> Command {
    installer("rollback", prefix)
}

/// Seconds, as all times here.
fn shell(script: &str, bundle: &Bundle, dir: &Path) -> Result<f64> {
    let mut shell = Command::new("sh");
    shell.args(["-ec", script]).env("BUNDLE", &bundle.file).current_dir(dir);
    timed(shell)
}

fn timed(mut command: Command) -> Result<f64> {
    let start = Instant::now();
    command::output(&mut command, LIMIT)?;
    Ok(start.elapsed().as_secs_f64())
}
