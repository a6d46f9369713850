//! Downloads of the asset builder: builders share a cache, and none of it needs root or runs
//! anything. Against the test's Ubuntu archive on loopback.

use anyhow::Result;
use runq_tests::assets::Build;
use runq_tests::command;
use runq_tests::ubuntu_archive::UbuntuArchive;
use std::process::Command;
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);
/// `nobody`, as everywhere.
const NOBODY: u32 = 65_534;

/// One build as `nobody`, with what it executes in `trace`.
fn traced(build: &Build, output: &str) -> Result<Command> {
    let command = build.command_to(output)?;
    let mut traced = Command::new("setpriv");
    traced.args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups"]);
    traced
        .args(["strace", "-f", "-qq", "-e", "trace=execve,execveat", "-o"])
        .arg(build.path(&format!("{output}.trace")));
    traced.arg(command.get_program()).args(command.get_args());
    Ok(traced)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn two_builders_without_root_share_a_cache_and_run_nothing() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let build = Build::new(&archive.recipe(&archive.fingerprint)?, &archive.mirror())?;
    build.give_to(NOBODY)?;
    let mut commands = [traced(&build, "first")?, traced(&build, "second")?];
    let [first, second] = &mut commands;
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(|| command::run(first, &[], LIMIT));
        (one.join(), command::run(second, &[], LIMIT))
    });
    for finished in [one.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?, other?] {
        assert_eq!(finished.code, 0, "{}", finished.stderr_text());
    }
    let read = |name: &str| fs_err::read(build.path(name));
    assert!(read("first")? == read("second")?, "two builds of the same are not the same");
    for trace in ["first.trace", "second.trace"] {
        let trace = String::from_utf8(read(trace)?)?;
        let (first, more) = trace.trim_end().split_once('\n').unwrap_or((&trace, ""));
        assert!(first.contains("/runq-assets\""), "{first}");
        assert_eq!(more, "", "the builder runs other programs");
    }
    Ok(())
}
