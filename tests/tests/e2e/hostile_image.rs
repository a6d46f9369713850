//! An image whose files lie in the way of what runq does at its start.

use anyhow::Result;
use runq_tests::bed::{Bed, unique_name};
use runq_tests::images::{self, Rootfs};

/// A busybox whose other files are the attacker's.
fn image(bed: &Bed, hostile: impl FnOnce(&mut Rootfs) -> Result<()>) -> Result<String> {
    let mut rootfs = Rootfs::new();
    rootfs.directory("bin", 0o755)?;
    rootfs.file("bin/busybox", 0o755, &fs_err::read("/bin/busybox")?)?;
    for applet in ["sh", "cat", "ls", "echo"] {
        rootfs.link(&format!("bin/{applet}"), "busybox")?;
    }
    hostile(&mut rootfs)?;
    let name = unique_name();
    images::import(&bed.docker, &name, "sh", &rootfs.finish()?)?;
    Ok(name)
}

/// Runs under runq where it may work or be refused; in neither case may the host's file change.
fn host_stays_intact(hostile: impl FnOnce(&mut Rootfs, &str) -> Result<()>) -> Result<()> {
    let bed = Bed::shared()?;
    let target = tempfile::tempdir()?;
    let path = target.path().join("target");
    fs_err::create_dir(&path)?;
    let name = image(&bed, |rootfs| hostile(rootfs, &path.display().to_string()))?;
    let finished = bed.container().image(&name).shell("echo alive");
    bed.docker.output(&["image", "rm", "--force", &name])?;
    let finished = finished?;
    assert!(finished.stdout_text() == "alive" || finished.code >= 125, "{finished:?}");
    assert_eq!(fs_err::read_dir(&path)?.count(), 0, "the host's directory was written to");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn links_at_our_mount_points_do_not_lead_out() -> Result<()> {
    host_stays_intact(|rootfs, target| {
        for path in [".runq-assets", "etc", "proc", "sys", "dev", "tmp", "run"] {
            rootfs.link(path, target)?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn links_to_directories_above_the_root_do_not_lead_out() -> Result<()> {
    host_stays_intact(|rootfs, target| {
        rootfs.link(".runq-assets", &format!("../../../../../../../..{target}"))?;
        rootfs.directory("etc", 0o755)?;
        rootfs.link("etc/resolv.conf", &format!("../../../../../../..{target}/resolv.conf"))
    })
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn pipes_in_the_way_do_not_hang_the_start() -> Result<()> {
    // Not etc/passwd: dockerd itself opens that and waits for a writer, whatever the runtime.
    host_stays_intact(|rootfs, _| {
        rootfs.directory("etc", 0o755)?;
        for path in ["etc/resolv.conf", "etc/hosts", "etc/fstab", "run", "tmp", "lib"] {
            rootfs.fifo(path)?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn preload_variable_of_an_image_stays_in_the_guest() -> Result<()> {
    let bed = Bed::shared()?;
    let finished = bed
        .container()
        .options(&["-e", "LD_PRELOAD=/evil.so", "-e", "RUST_LOG=trace"])
        .shell("echo $LD_PRELOAD")?;
    assert_eq!((finished.stdout_text().as_str(), finished.stderr_text().as_str()), ("/evil.so", ""));
    Ok(())
}
