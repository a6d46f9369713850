//! `--read-only` and `--tmpfs`.

use anyhow::Result;
use runq_tests::bed::Bed;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn read_only_root_refuses_writes_and_tmpfs_takes_them() -> Result<()> {
    let bed = Bed::shared()?;
    let options = ["--read-only", "--tmpfs", "/scratch:size=8m,mode=1777"];
    let script = "echo x > /file; echo x > /etc/passwd; echo y > /scratch/file && cat /scratch/file; \
                  grep ' /scratch ' /proc/mounts";
    let finished = bed.container().options(&options).shell(script)?;
    assert_eq!(finished.stderr_text().matches("Read-only file system").count(), 2, "{finished:?}");
    let stdout = finished.stdout_text();
    assert!(stdout.starts_with('y') && stdout.contains("tmpfs") && stdout.contains("size=8192k"), "{stdout}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn shared_memory_has_the_size_that_was_asked_for() -> Result<()> {
    let bed = Bed::shared()?;
    let size = bed.container().options(&["--shm-size", "16m"]).shell_output("df -k /dev/shm | tail -1")?;
    assert!(size.contains(" 16384 "), "{size}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn tmpfs_has_its_options_and_the_admins_may_start_with_what_it_covers() -> Result<()> {
    let bed = Bed::alone()?;
    let flags = ["--tmpfs", "/etc:tmpcopyup,size=2m", "--tmpfs", "/scratch"];
    let runtime = runq_tests::sandbox_runtime::Runtime::with(&bed.sandbox, &flags)?;
    let options = ["--tmpfs", "/own:exec,uid=12,gid=34,mode=0750,nr_inodes=100"];
    let script = "head -n 1 /etc/passwd; rm /etc/passwd; ls -A /scratch | wc -l; stat -c '%u %g %a' /own; \
                  cp /bin/busybox /own/true && /own/true && echo executed; \
                  cp /bin/busybox /scratch/true; /scratch/true 2>/dev/null || echo denied; \
                  awk '$2 == \"/etc\" || $2 == \"/own\" { print $2, $3, $4 }' /proc/mounts | sort";
    let container = bed.container().runtime(&runtime.name).options(&options).create(&["sh", "-c", script])?;
    bed.docker.output(&["start", "--attach", &container.name])?;
    let logs = container.logs()?;
    let expected = "root:x:0:0:root:/root:/bin/sh\n0\n12 34 750\nexecuted\ndenied\n/etc tmpfs rw,nosuid,nodev,noexec,relatime,size=2048k";
    assert!(logs.starts_with(expected), "{logs}");
    assert!(
        logs.contains("/own tmpfs rw,nosuid,nodev,relatime,") && logs.contains("nr_inodes=100"),
        "{logs}"
    );
    // What was removed in memory is in the image still.
    let changes = bed.docker.output(&["diff", &container.name])?;
    assert!(!changes.contains("/etc/passwd"), "{changes}");
    Ok(())
}
