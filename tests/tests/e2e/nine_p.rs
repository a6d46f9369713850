//! Files by 9p instead of virtiofs, when the admin wants that: they are the host's in every respect but one, which the README
//! tells (a deleted file that is open).

use anyhow::{Context, Result};
use runq_tests::bed::{Bed, Recipe, unique_name};
use runq_tests::images::{self, Rootfs};
use runq_tests::sandbox_runtime::Runtime;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

/// A container whose files come by 9p.
fn container<'a>(bed: &'a Bed, runtime: &Runtime) -> Recipe<'a> {
    bed.container().runtime(&runtime.name)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn root_and_volumes_are_the_hosts_files() -> Result<()> {
    let bed = Bed::alone()?;
    let runtime = Runtime::with(&bed.sandbox, &["--share", "9p"])?;
    let (outer, inner) = (tempfile::tempdir()?, tempfile::tempdir()?);
    fs_err::create_dir(outer.path().join("inner"))?;
    fs_err::write(outer.path().join("file"), "outer")?;
    fs_err::write(inner.path().join("file"), "inner")?;
    let _listener = UnixListener::bind(outer.path().join("socket"))?;
    let (outer_path, inner_path) = (outer.path().display(), inner.path().display());
    let volumes = [
        format!("{outer_path}:/data"),
        format!("{inner_path}:/data/inner"),
        format!("{outer_path}/file:/etc/single:ro"),
        format!("{inner_path}:/fixed:ro"),
    ];
    let options: Vec<&str> = volumes.iter().flat_map(|volume| ["-v", volume.as_str()]).collect();
    let script = "grep -q '^runq-root / 9p ' /proc/mounts && echo by 9p; cat /data/file /data/inner/file /etc/single; echo; \
                  stat -c %F /data/socket; ls /data/inner; \
                  mkdir /data/dir && mv /data/file /data/dir/moved && ln -s dir/moved /data/link && cat /data/link && echo; \
                  echo guest > /data/new && chown 12:34 /data/new && chmod 4750 /data/new && ln /data/new /data/hard; \
                  mkfifo /data/fifo /tmp/fifo && { echo through > /tmp/fifo & } && cat /tmp/fifo; \
                  (echo x > /etc/single) 2>&1; (echo x > /fixed/x) 2>&1; touch /data/inner/new; \
                  rm /etc/passwd; test -e /etc/passwd || echo gone";
    let answer = container(&bed, &runtime).options(&options).shell_output(script)?;
    let expected = "by 9p\nouterinnerouter\nsocket\nfile\nouter\nthrough\nsh: can't create /etc/single: Read-only file system\n\
                    sh: can't create /fixed/x: Read-only file system\ngone";
    assert_eq!(answer, expected);
    let new = fs_err::metadata(outer.path().join("new"))?;
    assert_eq!((new.permissions().mode() & 0o7777, new.uid(), new.gid(), new.nlink()), (0o4750, 12, 34, 2));
    assert!(fs_err::metadata(outer.path().join("fifo"))?.file_type().is_fifo());
    assert_eq!(fs_err::read_to_string(outer.path().join("link"))?, "outer");
    assert!(inner.path().join("new").exists() && !outer.path().join("inner/new").exists());

    // Another user's files are his.
    let user = ["-u", "1000:1001", "-v", &volumes[0]];
    fs_err::set_permissions(outer.path(), std::fs::Permissions::from_mode(0o777))?;
    let script = "echo mine > /data/mine; id -u; cat /data/new 2>&1; echo x 2>/dev/null > /tmp/x && rm /tmp/x && echo tmp";
    let answer = container(&bed, &runtime).options(&user).shell_output(script)?;
    assert_eq!(answer, "1000\ncat: can't open '/data/new': Permission denied\ntmp");
    let mine = fs_err::metadata(outer.path().join("mine"))?;
    assert_eq!((mine.uid(), mine.gid()), (1000, 1001));
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn every_cache_mode_is_the_kernels() -> Result<()> {
    let bed = Bed::alone()?;
    let runtime = Runtime::with(&bed.sandbox, &["--share", "9p", "--9pcache", "loose"])?;
    let script = "echo written > /file && cat /file && sed -n 's/^runq-root . 9p .*\\(cache=[^,]*\\).*/\\1/p' /proc/mounts";
    // As the kernel shows its bits (fs/9p/v9fs.h); nothing for none.
    for (mode, shown) in [
        (None, "cache=0xf"),
        (Some("none"), ""),
        (Some("readahead"), "cache=0x1"),
        (Some("mmap"), "cache=0x5"),
        (Some("fscache"), "cache=0x8f"),
    ] {
        let variable = mode.map(|mode| format!("RUNQ_9PCACHE={mode}"));
        let options: Vec<&str> = variable.iter().flat_map(|variable| ["-e", variable.as_str()]).collect();
        let answer = container(&bed, &runtime).options(&options).shell_output(script)?;
        assert_eq!(
            answer.lines().collect::<Vec<_>>(),
            [&["written"][..], &shown.lines().collect::<Vec<_>>()].concat(),
            "{mode:?}"
        );
    }
    let finished = container(&bed, &runtime).options(&["-e", "RUNQ_9PCACHE=all"]).run(&["true"])?;
    let expected = "RUNQ_9PCACHE=all: expected none, readahead, mmap, loose or fscache";
    assert!(finished.code == 125 && finished.stderr_text().contains(expected), "{finished:?}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn an_image_with_pipes_starts_and_cannot_choose_how_it_is_shared() -> Result<()> {
    let bed = Bed::alone()?;
    let runtime = Runtime::with(&bed.sandbox, &["--share", "9p", "--allow", "share"])?;
    let mut rootfs = Rootfs::new();
    for directory in ["bin", "etc", "run"] {
        rootfs.directory(directory, 0o755)?;
    }
    rootfs.file("bin/busybox", 0o755, &fs_err::read("/bin/busybox")?)?;
    rootfs.link("bin/sh", "busybox")?;
    for pipe in ["run/pipe", "etc/fstab", "etc/machine-id"] {
        rootfs.fifo(pipe)?;
    }
    let name = unique_name();
    images::import(&bed.docker, &name, "sh", &rootfs.finish()?)?;
    let script =
        "/bin/busybox stat -c %F /run/pipe /etc/fstab; /bin/busybox grep -c '^runq-root / 9p ' /proc/mounts";
    let by_9p = container(&bed, &runtime).image(&name).shell_output(script);
    let allowed =
        container(&bed, &runtime).image(&name).options(&["-e", "RUNQ_SHARE=virtiofs"]).shell_output(script);
    // As if the image had it in its ENV.
    let refused = bed.container().image(&name).options(&["-e", "RUNQ_SHARE=9p"]).run(&["/bin/sh"]);
    let harmless =
        bed.container().image(&name).options(&["-e", "RUNQ_9PCACHE=loose"]).shell_output("echo runs");
    bed.docker.output(&["image", "rm", "--force", &name])?;
    assert_eq!(by_9p?, "fifo\nfifo\n1");
    assert_eq!(allowed.err().context("grep finds nothing")?.to_string().matches("ended with 1").count(), 1);
    let refused = refused?;
    assert!(refused.code == 125 && refused.stderr_text().contains("--allow share"), "{refused:?}");
    assert_eq!(harmless?, "runs");
    Ok(())
}
