//! The asset builder and its surroundings: what breaks off goes on, builders share a cache, and none of it needs root, runs
//! anything or, once all is cached and locked, needs a network. Against the test's Ubuntu archive on loopback.

use anyhow::Result;
use runq_tests::assets::Build;
use runq_tests::bundle;
use runq_tests::command;
use runq_tests::http_server::Answer;
use runq_tests::ubuntu_archive::UbuntuArchive;
use runq_tests::workspace;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);
/// `nobody`, as everywhere.
const NOBODY: u32 = 65_534;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn interrupted_download_goes_on_where_it_broke() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let build = Build::new(&archive.recipe(&archive.fingerprint)?, &archive.mirror())?;
    let path = archive.deb("seabios")?;
    archive.server.answer(&path, [Answer::Cut(100_000), Answer::File]);
    // The next package ends the build: it is not what this test is about.
    archive.server.answer(&archive.deb("libc6")?, [Answer::Status(404)]);
    build.refuses(&["libc6", "404"], &[])?;
    let starts: Vec<_> = archive
        .server
        .requests()
        .into_iter()
        .filter(|request| request.path == path)
        .map(|request| request.range_start)
        .collect();
    assert_eq!(starts, [None, Some(100_000)], "the second request asks for the rest");
    let good = fs_err::read(archive.root().join(path.trim_start_matches('/')))?;
    assert!(build.cached()?.contains(&good), "the halves were not joined");
    Ok(())
}

/// The bundle's chain holds, from the archive's key to the last file, and breaks where a download is altered.
fn chain_is_followed_offline(archive: &UbuntuArchive, build: &Build) -> Result<()> {
    let verify = || -> Result<command::Finished> {
        let runq_assets = bundle::runq_assets();
        let mut verify = Command::new("unshare");
        verify.arg("--net").arg(runq_assets.get_program()).arg("verify").arg(build.path("first"));
        verify.arg("--public-key").arg(workspace::target().join("keys/sandbox.pub")).arg("--json");
        verify.arg("--recipe").arg(archive.recipe(&archive.fingerprint)?).arg("--cache").arg(build.cache());
        command::run(&mut verify, &[], LIMIT)
    };
    let good = verify()?;
    assert_eq!(good.code, 0, "{}", good.stderr_text());
    let report: serde_json::Value = serde_json::from_str(&good.stdout_text())?;
    assert_eq!(report["chain"]["replayed"], true, "{}", report["chain"]);
    assert!(report["chain"]["files"].as_u64().is_some_and(|files| files > 1000), "{}", report["chain"]);
    let deb = archive.deb("seabios")?;
    let sha256 =
        format!("{:x}", Sha256::digest(fs_err::read(archive.root().join(deb.trim_start_matches('/')))?));
    let cached = build.cache().join("sha256").join(sha256);
    let mut content = fs_err::read(&cached)?;
    content[1000] ^= 1;
    fs_err::write(&cached, content)?;
    let refused = verify()?;
    let said = refused.stderr_text();
    assert!(refused.code == 125 && said.contains("altered") && said.contains("seabios"), "{refused:?}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_builder_killed_in_the_middle_of_a_download_leaves_it_to_the_other_one() -> Result<()> {
    const ARRIVED: usize = 100_000;
    let archive = UbuntuArchive::serve()?;
    let build = Build::new(&archive.recipe(&archive.fingerprint)?, &archive.mirror())?;
    let path = archive.deb("qemu-system-x86")?;
    archive.server.answer(&path, [Answer::Stall(ARRIVED), Answer::File]);

    let mut victim = build.command_to("victim")?;
    let mut victim = victim.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let partial = build.cache().join("partial");
    let has_begun = || {
        let files = std::fs::read_dir(&partial).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).any(|file| file.len() == ARRIVED as u64)
    };
    let begun = command::wait_until("the first bytes of a package", LIMIT, has_begun);
    let mut other = build.command_to("other")?;
    let finished = thread::scope(|scope| {
        let other = scope.spawn(|| command::run(&mut other, &[], LIMIT));
        // Long enough for the other one to wait for the same package; whether it does so yet changes nothing.
        thread::sleep(Duration::from_secs(2));
        // SIGKILL.
        let killed = victim.kill().and_then(|()| victim.wait());
        (other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), killed)
    });
    begun?;
    assert_eq!(finished.1?.signal(), Some(9), "the first builder ended before it was killed");
    let finished = finished.0?;
    assert_eq!(finished.code, 0, "{}", finished.stderr_text());

    assert!(!build.path("victim").exists() && build.path("other").exists());
    let requests = archive.server.requests();
    let starts = requests.iter().filter(|request| request.path == path).map(|request| request.range_start);
    assert_eq!(
        starts.collect::<Vec<_>>(),
        [None, Some(ARRIVED)],
        "the other one goes on where the first ended"
    );
    for file in fs_err::read_dir(build.cache().join("sha256"))? {
        let file = file?;
        let digest = format!("{:x}", Sha256::digest(fs_err::read(file.path())?));
        assert_eq!(file.file_name().to_string_lossy(), digest, "a file of the cache is damaged");
    }
    Ok(())
}

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
fn builders_share_a_cache_need_no_root_run_nothing_and_once_locked_need_no_network() -> Result<()> {
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
    let requests = archive.server.requests();
    let of_pool: Vec<_> =
        requests.iter().map(|request| &request.path).filter(|path| path.contains("/pool/")).collect();
    let once: BTreeSet<_> = of_pool.iter().collect();
    assert_eq!(once.len(), of_pool.len(), "a package was downloaded twice: {of_pool:?}");
    let lock = build.lock()?;
    let asked = archive.server.requests().len();
    let locked = build.command_to("offline")?;
    let mut offline = Command::new("unshare");
    // Root, on one processor.
    offline.args(["--net", "taskset", "--cpu-list", "0"]).arg(locked.get_program()).args(locked.get_args());
    offline.args(["--locked", "--offline", "--lock"]).arg(&lock);
    offline.envs([("TZ", "Pacific/Kiritimati"), ("LC_ALL", "tr_TR.UTF-8"), ("HOME", "/nonexistent")]);
    command::output(&mut offline, LIMIT)?;
    assert_eq!(archive.server.requests().len(), asked, "an offline build asks the archive");
    assert!(read("first")? == read("offline")?, "a locked build is not what the index gave");
    chain_is_followed_offline(&archive, &build)?;
    for trace in ["first.trace", "second.trace"] {
        let trace = String::from_utf8(read(trace)?)?;
        let (first, more) = trace.trim_end().split_once('\n').unwrap_or((&trace, ""));
        assert!(first.contains("/runq-assets\""), "{first}");
        assert_eq!(more, "", "the builder runs other programs");
    }
    Ok(())
}
