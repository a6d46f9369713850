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
