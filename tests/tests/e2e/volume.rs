//! Volumes and binds are the host's files.

use anyhow::Result;
use runq_tests::bed::Bed;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn write_into_a_volume_is_seen_on_the_host() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    fs_err::write(dir.path().join("from-host"), "host")?;
    let volume = format!("{}:/data", dir.path().display());
    let script = "cat /data/from-host; echo guest > /data/from-guest; chmod 640 /data/from-guest; chown 12:34 /data/from-guest; \
                  mkdir /data/dir; ln -s from-host /data/link; mv /data/from-host /data/moved";
    assert_eq!(bed.container().options(&["-v", &volume]).shell_output(script)?, "host");
    let file = dir.path().join("from-guest");
    let metadata = fs_err::metadata(&file)?;
    assert_eq!(fs_err::read_to_string(&file)?, "guest\n");
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.uid(), metadata.gid()), (0o640, 12, 34));
    assert!(dir.path().join("dir").is_dir() && dir.path().join("moved").is_file());
    assert_eq!(fs_err::read_link(dir.path().join("link"))?.to_str(), Some("from-host"));
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn read_only_bind_of_a_single_file_refuses_writes() -> Result<()> {
    let bed = Bed::shared()?;
    let file = tempfile::NamedTempFile::new()?;
    fs_err::write(file.path(), "kept")?;
    let bind = format!("{}:/etc/single:ro", file.path().display());
    let finished =
        bed.container().options(&["-v", &bind]).shell("cat /etc/single; echo lost > /etc/single")?;
    assert_eq!((finished.stdout_text().as_str(), finished.code), ("kept", 1), "{finished:?}");
    assert_eq!(fs_err::read_to_string(file.path())?, "kept");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn deleted_file_that_is_open_stays_usable() -> Result<()> {
    let bed = Bed::shared()?;
    let script = "echo before > /file; exec 3<> /file; rm /file; read line <&3; echo $line; echo after >&3 && echo written";
    assert_eq!(bed.container().shell_output(script)?, "before\nwritten");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn root_file_system_is_committed_from_the_container() -> Result<()> {
    let bed = Bed::shared()?;
    let container = bed.container().start(&["sh", "-c", "echo change > /changed"])?;
    assert_eq!(container.wait()?, 0);
    let changes = bed.docker.output(&["diff", &container.name])?;
    assert!(changes.lines().any(|line| line == "A /changed"), "{changes}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn volumes_below_a_tmpfs_and_of_another_container_are_seen() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    fs_err::write(dir.path().join("file"), "nested")?;
    let nested = format!("{}:/scratch/deep/volume", dir.path().display());
    let single = format!("{}/file:/scratch/single:ro", dir.path().display());
    let options = ["--tmpfs", "/scratch:size=4m", "-v", &nested, "-v", &single, "-v", "/data"];
    let script = "cat /scratch/deep/volume/file; echo; cat /scratch/single; echo; echo shared > /data/file; touch /scratch/own; \
                  echo x > /scratch/single; echo new > /scratch/deep/volume/new; echo ready; sleep 1000";
    let first = bed.container().options(&options).start_shell(script, "ready")?;
    assert!(first.logs()?.starts_with("nested\nnested\n"), "{}", first.logs()?);
    assert_eq!(fs_err::read_to_string(dir.path().join("new"))?, "new\n");
    assert_eq!(fs_err::read_to_string(dir.path().join("file"))?, "nested");
    let from = ["--volumes-from", &first.name];
    assert_eq!(
        bed.container().options(&from).shell_output("cat /data/file; cat /scratch/single")?,
        "shared\nnested"
    );
    Ok(())
}
