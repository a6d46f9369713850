//! A disk that takes the image's place as the container's root.

use anyhow::Result;
use runq_tests::bed::Bed;
use runq_tests::disk_image::DiskImage;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn image_is_copied_once_and_the_disk_is_the_root_afterwards() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    let image = DiskImage::formatted(dir.path(), "root.img", "ext4")?;
    let disk = format!("{}:/dev/runq/0001/writeback/ext4", image.path());
    let volume = format!("{}:/vol", dir.path().display());
    let options =
        ["-v", &disk, "-v", &volume, "-e", "RUNQ_ROOTDISK=0001", "-e", "RUNQ_ROOTDISK_EXCLUDE=/root,/var"];
    let first = "grep ' / ' /proc/mounts; ls -d /root /var; echo kept > /kept; ls -l /bin/busybox; ls /vol; cat /etc/hostname; \
                 rm /bin/tail";
    let finished = bed.container().options(&options).options(&["--hostname", "first"]).shell(first)?;
    let text = finished.stdout_text();
    assert!(
        text.contains(" / ext4 rw") && text.contains("-rwxr-xr-x") && text.contains("root.img"),
        "{finished:?}"
    );
    assert!(text.ends_with("first") || text.contains("first\n"), "binds of the engine: {text}");
    assert!(!text.contains("/root\n") && !text.contains("/var\n"), "{text}");
    // What the first container changed is there, and nothing is copied again.
    let second = "cat /kept; test -e /bin/tail || echo gone";
    assert_eq!(bed.container().options(&options).shell_output(second)?, "kept\ngone");
    let read_only =
        bed.container().options(&options).options(&["--read-only"]).shell("cat /kept; echo x > /file")?;
    assert_eq!((read_only.stdout_text().as_str(), read_only.code), ("kept", 1), "{read_only:?}");
    image.check_ext()
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn root_disk_that_cannot_be_is_refused() -> Result<()> {
    let bed = Bed::shared()?;
    let finished = bed.container().options(&["-e", "RUNQ_ROOTDISK=nosuch"]).run(&["true"])?;
    assert!(finished.code == 125 && finished.stderr_text().contains("there is no such disk"), "{finished:?}");
    Ok(())
}
