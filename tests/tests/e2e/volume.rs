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

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn binds_below_dev_are_seen_beside_the_guests_devices() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    fs_err::create_dir(dir.path().join("deep"))?;
    fs_err::write(dir.path().join("file"), "below /dev")?;
    let path = dir.path().display();
    let binds = [
        format!("{path}:/dev/made/up"),
        format!("{path}/file:/dev/made/up/deep/file:ro"),
        format!("{path}/file:/dev/single:ro"),
    ];
    let options: Vec<&str> = binds.iter().flat_map(|bind| ["-v", bind.as_str()]).collect();
    let script = "cat /dev/single /dev/made/up/file /dev/made/up/deep/file; echo; echo new > /dev/made/up/new; \
                  (echo x > /dev/single) 2>&1; (echo x > /dev/made/up/deep/file) 2>&1; \
                  echo x > /dev/null && ls /dev | tr '\n' ' '";
    let answer = bed.container().options(&options).shell_output(script)?;
    let expected = "below /devbelow /devbelow /dev\nsh: can't create /dev/single: Read-only file system\n\
                    sh: can't create /dev/made/up/deep/file: Read-only file system\n\
                    fd full made mqueue null ptmx pts random shm single stderr stdin stdout tty urandom zero";
    assert_eq!(answer, expected);
    assert_eq!(fs_err::read_to_string(dir.path().join("new"))?, "new\n");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn binds_over_what_is_the_guest_kernels_are_refused_but_for_its_control_groups() -> Result<()> {
    let bed = Bed::shared()?;
    for (bind, said) in [("/dev:/dev", "a bind at /dev"), ("/sys:/sys:ro", "a bind below /sys")] {
        let finished = bed.container().options(&["-v", bind]).run(&["true"])?;
        let said = format!("{said} is not supported: the guest has those of its own kernel there");
        assert!(finished.code == 125 && finished.stderr_text().contains(&said), "{finished:?}");
    }
    let options = ["-v", "/sys/fs/cgroup:/sys/fs/cgroup:ro"];
    let mount = bed
        .container()
        .options(&options)
        .shell_output("grep ' /sys/fs/cgroup ' /proc/mounts | cut -d' ' -f 1-3")?;
    assert_eq!(mount, "cgroup /sys/fs/cgroup cgroup2");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn mounts_are_of_the_kind_that_the_option_names() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    fs_err::write(dir.path().join("file"), "bound")?;
    let volume = runq_tests::bed::unique_name();
    let bind = format!("type=bind,source={},target=/bind,readonly", dir.path().display());
    let named = format!("type=volume,source={volume},target=/etc");
    let options = [
        "--mount",
        &bind,
        "--mount",
        &named,
        "--mount",
        "type=tmpfs,target=/memory,tmpfs-size=1m,tmpfs-mode=700",
    ];
    // A new volume starts with what the image has there.
    let script = "cat /bind/file; echo; touch /bind/x 2>/dev/null || echo read-only; head -n 1 /etc/passwd; \
                  grep -o ' /memory tmpfs .*size=1024k,mode=700' /proc/mounts | cut -d' ' -f3";
    let answer = bed.container().options(&options).shell_output(script);
    bed.docker.output(&["volume", "rm", "--force", &volume])?;
    assert_eq!(answer?, "bound\nread-only\nroot:x:0:0:root:/root:/bin/sh\ntmpfs");
    Ok(())
}
