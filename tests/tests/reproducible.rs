//! Two builds that differ in all that must not matter: directory, user, umask, time zone, locale, clock, number of processors, and
//! the order in which directories list their files. libfaketime works on what is linked dynamically, so the second build is
//! by the development build of the asset builder; a time namespace has no clock of its own for the time of day. On the host
//! as root.

use anyhow::{Context, Result, ensure};
use runq_tests::assets::Build;
use runq_tests::ubuntu_archive::UbuntuArchive;
use runq_tests::{command, workspace};
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(900);
/// `nobody`, as everywhere.
const NOBODY: u32 = 65_534;
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// A directory that shows another one, its files in an order of chance.
struct Disorder(PathBuf);

impl Disorder {
    fn of(dir: &Path, mount_point: &Path) -> Result<Self> {
        let mut mount = Command::new("disorderfs");
        mount.args(["--multi-user=yes", "--shuffle-dirents=yes", "--quiet"]).arg(dir).arg(mount_point);
        command::output(&mut mount, LIMIT)?;
        Ok(Self(mount_point.to_owned()))
    }
}

impl Drop for Disorder {
    fn drop(&mut self) {
        let unmounted = command::output(Command::new("umount").arg(&self.0), LIMIT);
        drop(unmounted);
    }
}

fn names(dir: &Path) -> Result<Vec<std::ffi::OsString>> {
    Ok(fs_err::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?)
}

/// Runs the rest of the arguments in surroundings that are nothing like the test's own.
fn elsewhere() -> Command {
    let mut elsewhere = Command::new("setpriv");
    let user = NOBODY.to_string();
    elsewhere.args(["--reuid", &user, "--regid", &user, "--clear-groups", "taskset", "--cpu-list", "0"]);
    // libfaketime keeps a semaphore of the user who loads it first.
    let script =
        format!("umask 077; exec env LD_PRELOAD={FAKETIME} FAKETIME=+500d DONT_FAKE_MONOTONIC=1 \"$@\"");
    elsewhere.args(["sh", "-c", &script, "sh"]).env_clear().current_dir("/");
    elsewhere.envs([("PATH", "/usr/bin:/bin"), ("TZ", "Pacific/Kiritimati"), ("LC_ALL", "tr_TR.UTF-8")]);
    elsewhere
}

#[test]
#[ignore = "builds twice: run `make test-reproducible`"]
fn nothing_but_the_ingredients_decides_about_the_bytes() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let recipe = archive.recipe(&archive.fingerprint)?;
    let here = Build::new(&recipe, &archive.mirror())?;
    let lock = here.lock()?;
    let locked = [OsStr::new("--locked"), OsStr::new("--offline"), OsStr::new("--lock")];
    command::output(here.command_to("bundle")?.args(locked).arg(&lock), LIMIT)?;

    let there = Build::new(&recipe, &archive.mirror())?;
    command::output(Command::new("cp").arg("-a").arg(here.cache()).arg(there.dir()), LIMIT)?;
    command::output(Command::new("cp").arg(&lock).arg(there.dir()), LIMIT)?;
    there.give_to(NOBODY)?;
    let program = there.dir().join("runq-assets");
    fs_err::copy(workspace::target().join("debug/runq-assets"), &program)
        .context("run `make test-reproducible`")?;
    let parent = tempfile::Builder::new().prefix("another directory, ").tempdir()?;
    let other = |path: &OsStr| match Path::new(path).strip_prefix(there.dir()) {
        Ok(rest) => parent.path().join(rest).into_os_string(),
        Err(_) => path.to_owned(),
    };
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(parent.path(), mode)?;
    let disorder = Disorder::of(there.dir(), parent.path())?;

    let command = there.command_to("bundle")?;
    let mut build = elsewhere();
    build.arg(other(program.as_os_str())).args(command.get_args().map(other)).args(locked);
    build.arg(other(there.dir().join("lock").as_os_str()));
    command::output(&mut build, LIMIT)?;

    // The surroundings are what they claim to be.
    let cache = Path::new("cache/sha256");
    ensure!(names(&there.dir().join(cache))? != names(&disorder.0.join(cache))?, "the order is the same");
    let year =
        |date: &mut Command| Ok::<i32, anyhow::Error>(command::output(date.arg("+%Y"), LIMIT)?.parse()?);
    ensure!(year(elsewhere().arg("date"))? > year(&mut Command::new("date"))?, "the clock is the same");
    let metadata = |build: &Build| fs_err::metadata(build.path("bundle"));
    ensure!(metadata(&there)?.uid() == NOBODY, "the user is the same");

    let bytes = |build: &Build| fs_err::read(build.path("bundle"));
    assert!(bytes(&here)? == bytes(&there)?, "the bundles differ");
    assert_eq!(metadata(&here)?.mode(), metadata(&there)?.mode());
    Ok(())
}
