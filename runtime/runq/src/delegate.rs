//! The host's own runc, which does everything that is not ours. Runs on the host; runc is found through dockerd's `PATH`
//! and is trusted.

use anyhow::{Context, ensure};
use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Becomes runc, with its arguments byte for byte.
pub(crate) fn become_runc(runc: &Path, args: &[OsString]) -> anyhow::Result<Infallible> {
    let error = Command::new(runc).args(args).exec();
    Err(error).with_context(|| missing(runc))
}

/// Prints runc's version, which dockerd parses, and ours. Ours comes last, because the last line with the word is what
/// `docker version` shows for the default runtime (moby, `parseRuntimeVersion`).
pub(crate) fn version(runc: &Path) -> anyhow::Result<()> {
    let output = Command::new(runc).arg("--version").output().with_context(|| missing(runc))?;
    ensure!(output.status.success(), "{} --version failed: {}", runc.display(), output.status);
    print(&output.stdout)?;
    let ours = format!("runq version {} (build {})\n", env!("CARGO_PKG_VERSION"), runq_contract::BUILD_ID);
    print(ours.as_bytes())
}

/// Prints our features, which are runc's but for a few.
pub(crate) fn features(runc: &Path, args: &[OsString]) -> anyhow::Result<()> {
    let output = Command::new(runc).args(args).output().with_context(|| missing(runc))?;
    let theirs = output.status.success().then(|| serde_json::from_slice(&output.stdout));
    let theirs = theirs.transpose().context("runc features printed no JSON")?;
    let text = serde_json::to_string_pretty(&crate::features::ours(theirs))?;
    print(format!("{text}\n").as_bytes())
}

/// Writes to standard output.
pub(crate) fn print(text: &[u8]) -> anyhow::Result<()> {
    std::io::stdout().write_all(text).context("cannot write to standard output")
}

fn missing(runc: &Path) -> String {
    format!("cannot execute {}: install runc, or put it into dockerd's PATH", runc.display())
}
