//! What the guest keeps of files that virtiofs brings.

use anyhow::Result;
use runq_tests::bed::Bed;

/// Reads two files that the host replaces meanwhile, one of them by `docker cp`, and gives what it read afterwards.
fn after_the_host_replaced_them(bed: &Bed, options: &[&str]) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name);
    fs_err::write(path("file"), "old\n")?;
    let volume = format!("{}:/data", dir.path().display());
    // A second is how long `auto` trusts names.
    let script = "echo old > /file; cat /data/file /file; echo read; until test -e /data/go; do sleep 0.1; done; sleep 2; \
                  cat /data/file /file";
    let container =
        bed.container().options(&[&["-v", &volume], options].concat()).start_shell(script, "read")?;
    fs_err::write(path("new"), "new\n")?;
    bed.docker.output(&["cp", &path("new").display().to_string(), &format!("{}:/file", container.name)])?;
    fs_err::rename(path("new"), path("file"))?;
    fs_err::write(path("go"), "")?;
    assert_eq!(container.wait()?, 0);
    Ok(container.logs()?.lines().skip_while(|line| *line != "read").skip(1).collect::<Vec<_>>().join("+"))
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn what_others_change_is_seen_unless_all_is_to_be_kept() -> Result<()> {
    let bed = Bed::shared()?;
    assert_eq!(after_the_host_replaced_them(&bed, &[])?, "new+new");
    assert_eq!(after_the_host_replaced_them(&bed, &["-e", "RUNQ_VIRTIOFS_CACHE=always"])?, "old+old");
    let finished = bed.container().options(&["-e", "RUNQ_VIRTIOFS_CACHE=no"]).run(&["true"])?;
    let expected = "RUNQ_VIRTIOFS_CACHE=no: expected auto or always";
    assert!(finished.code == 125 && finished.stderr_text().contains(expected), "{finished:?}");
    Ok(())
}
