//! Disk images and block devices of the host become disks of the VM: mounted, or as devices; nothing that is in them is
//! believed.

use anyhow::{Context, Result};
use runq_tests::bed::Bed;
use runq_tests::disk_image::{DiskImage, LoopDevice};

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn every_file_system_and_every_cache_keeps_its_data() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    let kinds = [
        ("ext2", "none"),
        ("ext3", "writeback"),
        ("ext4", "writethrough"),
        ("xfs", "unsafe"),
        ("btrfs", "none"),
    ];
    let mut options = Vec::new();
    for (kind, cache) in kinds {
        let image = DiskImage::formatted(dir.path(), &format!("{kind}.img"), kind)?;
        options.extend([
            "-v".to_owned(),
            format!("{}:/dev/runq/{kind}/{cache}/{kind}/mnt/{kind}", image.path()),
        ]);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let write = "cd /mnt; for kind in *; do echo data of $kind > $kind/file; done; grep /mnt/ /proc/mounts";
    let mounts = bed.container().options(&options).shell_output(write)?;
    for (kind, _) in kinds {
        let found = mounts.lines().any(|line| line.contains(&format!(" /mnt/{kind} {kind} rw")));
        assert!(found, "{kind}: {mounts}");
    }
    let read = "cat /mnt/*/file; cd /dev/disk/by-runq-id; for id in *; do test -b $id && echo $id; done";
    let expected =
        "data of btrfs\ndata of ext2\ndata of ext3\ndata of ext4\ndata of xfs\nbtrfs\next2\next3\next4\nxfs";
    assert_eq!(bed.container().options(&options).shell_output(read)?, expected);
    // The guest has let go of them in an orderly way.
    for kind in ["ext2", "ext3", "ext4"] {
        DiskImage::at(dir.path().join(format!("{kind}.img"))).check_ext()?;
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn qcow2_image_with_xfs_is_mounted_as_the_readme_says() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    let image =
        DiskImage::formatted(dir.path(), "raw.img", "xfs")?.to_qcow2(dir.path().join("data.qcow2"))?;
    let volume = format!("{}:/dev/disk/writeback/xfs/mnt/data", image.path());
    let options = ["--volume", &volume];
    bed.container().options(&options).shell_output("echo kept > /mnt/data/file")?;
    assert_eq!(bed.container().options(&options).shell_output("cat /mnt/data/file")?, "kept");
    image.check_qcow2()
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn block_devices_are_mounted_or_left_to_the_container() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    let mounted = LoopDevice::of(&DiskImage::formatted(dir.path(), "mounted.img", "ext4")?)?;
    let bare = LoopDevice::of(&DiskImage::blank(dir.path(), "bare.img", 8)?)?;
    let options = [
        "--device",
        &format!("{}:/dev/disk/writethrough/ext4/mnt/data2", mounted.path()),
        "--device",
        &format!("{}:/dev/disk/writethrough/none/0001", bare.path()),
    ];
    let script = "echo x > /mnt/data2/file && echo bytes > /dev/disk/by-runq-id/0001 && head -c 5 /dev/vdb && ls /dev/vd*";
    assert_eq!(bed.container().options(&options).shell_output(script)?, "bytes/dev/vda\n/dev/vdb");
    assert!(fs_err::read(dir.path().join("bare.img"))?.starts_with(b"bytes\n"));
    let read_only = ["--device", &format!("{}:/dev/runq/ro/none:r", bare.path())];
    let finished = bed.container().options(&read_only).shell("head -c 5 /dev/vda; echo no > /dev/vda")?;
    assert_eq!((finished.stdout_text().as_str(), finished.code), ("bytes", 1), "{finished:?}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn what_a_guest_writes_into_its_disk_opens_no_file_of_the_host() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    let secret = dir.path().join("secret");
    fs_err::write(&secret, "secret".repeat(1000))?;
    let overlay = DiskImage::overlay(dir.path().join("overlay.qcow2"), &secret)?;
    let blank = DiskImage::blank(dir.path(), "disk.img", 8)?;
    let raw = format!("{}:/dev/runq/disk/writeback", blank.path());
    let hostile = format!("{}:/hostile:ro", overlay.path());
    let options = ["-v", &raw, "-v", &hostile];
    let script = "cat /hostile > /dev/vda; grep -c secret /dev/vda";
    assert_eq!(bed.container().options(&options).shell("grep -c secret /dev/vda")?.stdout_text(), "0");
    bed.container().options(&options).shell(script)?;
    let again = bed.container().options(&options).shell("grep -c secretsecret /dev/vda")?;
    assert_ne!(again.code, 0, "{again:?}");
    assert!(again.stderr_text().contains("not called .qcow2"), "{again:?}");
    let backed = format!("{}:/dev/runq/disk/writeback", overlay.path());
    let refused = bed.container().options(&["-v", &backed]).shell("true")?;
    assert!(refused.code == 125 && refused.stderr_text().contains("backing file"), "{refused:?}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn what_is_no_disk_is_refused_with_one_clear_line() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    let image = DiskImage::blank(dir.path(), "blank.img", 8)?;
    let missing = dir.path().join("missing");
    for (source, destination, expected) in [
        (missing.to_str().context("a path")?, "/dev/runq/a/none", "found a directory"),
        (&image.path(), "/dev/runq/a/warm", "expected writeback"),
        (&image.path(), "/dev/runq/a/none/ntfs/x", "expected ext2"),
        (&image.path(), "/dev/runq/a,b/none", "no id of a disk"),
        (&image.path(), "/dev/runq/a/unsafe/ext4/x", "expected an ext4 file system"),
    ] {
        let volume = format!("{source}:{destination}");
        let finished = bed.container().options(&["-v", &volume]).shell("echo must not run")?;
        assert_eq!(
            (finished.code, finished.stdout_text().as_str()),
            (125, ""),
            "{destination}: {finished:?}"
        );
        assert!(finished.stderr_text().contains(expected), "{destination}: {finished:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn other_devices_do_not_reach_into_the_guest() -> Result<()> {
    let bed = Bed::shared()?;
    let finished = bed.container().options(&["--gpus", "all"]).shell("echo must not run")?;
    assert_eq!((finished.code, finished.stdout_text().as_str()), (125, ""), "{finished:?}");
    let list = "ls /dev/loop0 2>/dev/null; echo $?";
    let finished = bed.container().options(&["--device", "/dev/loop0:/dev/loop0"]).shell(list)?;
    assert_eq!(finished.stdout_text(), "1", "{finished:?}");
    Ok(())
}
