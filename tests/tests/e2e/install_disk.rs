//! The installer on disks that have no room, or that nobody may write: it says so, changes nothing, and gives space back where it has
//! none.

use anyhow::{Context, Result, ensure};
use runq_tests::command;
use runq_tests::installation::{DAEMON_JSON, Installation, LIMIT};
use runq_tests::mounted::Mounted;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;

/// Takes the last byte, and the last inode that a name could have.
fn fill(directory: &Path) -> Result<()> {
    let mut file = fs_err::File::create(directory.join("filler"))?;
    for size in [1 << 20, 4096, 1] {
        let block = vec![b'f'; size];
        let end = std::iter::repeat_with(|| file.write_all(&block)).find_map(Result::err);
        ensure!(end.as_ref().map(std::io::Error::kind) == Some(ErrorKind::StorageFull), "{end:?}");
    }
    Ok(file.sync_all()?)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn garbage_is_collected_on_a_full_disk() -> Result<()> {
    for kind in ["ext4", "tmpfs"] {
        let installation = Installation::new()?;
        let prefix = installation.prefix();
        fs_err::create_dir(&prefix)?;
        let _mounted = match kind {
            "ext4" => Mounted::ext4(48, &prefix)?,
            _ => Mounted::new(&["-t", "tmpfs", "-o", "size=48m,mode=0755", "none"], &prefix)?,
        };
        for version in ["1.0.0", "1.1.0"] {
            installation.must(&["install", version])?;
        }
        fill(&prefix)?;
        let refused = installation.run(&["install", "1.0.0", "--allow-downgrade"])?;
        // It is there already: only the links and the receipt would be new.
        ensure!(refused.code == 0 || refused.code == 125, "{kind}: {refused:?}");
        installation.must(&["verify"]).context(kind)?;
        let said = installation.must(&["gc", "--all"]).context(kind)?;
        assert!(said.contains("1 version was removed"), "{kind}: {said}");
        installation.must(&["verify"]).context(kind)?;
        fs_err::remove_file(prefix.join("filler"))?;
        installation.must(&["install", "1.1.0"]).context(kind)?;
        installation.must(&["uninstall"]).context(kind)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_disk_without_room_or_without_rights_is_refused_before_anything_changes() -> Result<()> {
    let installation = Installation::new()?;
    let prefix = installation.prefix();
    fs_err::create_dir(&prefix)?;
    for (options, said) in [
        ("size=1m,mode=0755", "MiB free, the bundle needs"),
        ("ro,mode=0755", "is mounted read-only"),
        ("noexec,mode=0755", "is mounted noexec"),
    ] {
        let mounted = Mounted::new(&["-t", "tmpfs", "-o", options, "none"], &prefix)?;
        let refused = installation.run(&["install", "1.0.0"])?;
        ensure!(refused.code == 125 && refused.stderr_text().contains(said), "{options}: {refused:?}");
        let left: Vec<_> = fs_err::read_dir(&prefix)?.collect::<Result<_, _>>()?;
        let nothing =
            left.iter().all(|item| [".lock", "versions"].contains(&&*item.file_name().to_string_lossy()));
        ensure!(nothing && !prefix.join("versions/1.0.0").exists(), "{options}: left {left:?}");
        assert_eq!(fs_err::read_to_string(installation.daemon_json())?, DAEMON_JSON, "{options}");
        drop(mounted);
    }
    // A tree whose disk has become read-only is still told about, and not changed.
    let _mounted = Mounted::ext4(48, &prefix)?;
    installation.must(&["install", "1.0.0"])?;
    command::output(Command::new("mount").args(["-o", "remount,ro"]).arg(&prefix), LIMIT)?;
    let before = installation.snapshot()?;
    installation.must(&["verify"])?;
    installation.must(&["list"])?;
    for words in [&["install", "1.1.0"][..], &["uninstall"], &["gc"], &["rollback"]] {
        let refused = installation.run(words)?;
        ensure!(refused.code == 125, "{words:?}: {refused:?}");
        ensure!(refused.stderr_text().to_lowercase().contains("read-only"), "{words:?}: {refused:?}");
    }
    ensure!(installation.snapshot()? == before, "{:?}", before.difference(&installation.snapshot()?));
    Ok(())
}

/// Takes the attribute off again.
struct Immutable<'a>(&'a Path);

impl Drop for Immutable<'_> {
    fn drop(&mut self) {
        drop(command::output(Command::new("chattr").arg("-i").arg(self.0), LIMIT));
    }
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn an_immutable_configuration_is_refused_before_anything_changes() -> Result<()> {
    let installation = Installation::new()?;
    let etc = installation.world().join("etc");
    // Not every file system of a test machine knows the attribute; this one does.
    let _mounted = Mounted::ext4(16, &etc)?;
    fs_err::write(installation.daemon_json(), DAEMON_JSON)?;
    for path in [installation.daemon_json(), etc.clone()] {
        command::output(Command::new("chattr").arg("+i").arg(&path), LIMIT)?;
        let immutable = Immutable(&path);
        let refused = installation.run(&["install", "1.0.0"])?;
        ensure!(refused.code == 125, "{}: {refused:?}", path.display());
        ensure!(refused.stderr_text().contains("--no-docker"), "{}: {refused:?}", path.display());
        assert_eq!(fs_err::read_to_string(installation.daemon_json())?, DAEMON_JSON);
        assert!(!installation.prefix().join("current").exists(), "{}", path.display());
        drop(immutable);
    }
    installation.must(&["install", "1.0.0"]).map(drop)
}
