//! Modules of the guest's kernel, loaded from inside the container and by the kernel itself.

use anyhow::Result;
use runq_tests::bed::Bed;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn modprobe_loads_a_module_with_the_capability_only() -> Result<()> {
    let bed = Bed::shared()?;
    // As the README has it.
    let script = "modprobe brd && lsmod";
    let with = bed.container().options(&["--cap-add", "sys_module"]).shell_output(script)?;
    assert!(with.lines().any(|line| line.starts_with("brd ")), "{with}");
    let without = bed.container().shell(script)?;
    assert_ne!(without.code, 0, "{without:?}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn kernel_loads_what_a_request_needs() -> Result<()> {
    let bed = Bed::shared()?;
    let script = "lsmod | grep -c '^overlay '; mkdir -p /t/l /t/u /t/w /t/m; mount -t tmpfs none /t && mkdir /t/l /t/u /t/w /t/m && \
                  mount -t overlay -o lowerdir=/t/l,upperdir=/t/u,workdir=/t/w none /t/m && grep -c ' /t/m overlay' /proc/mounts";
    let options = ["--cap-add", "sys_admin", "--security-opt", "seccomp=unconfined"];
    assert_eq!(bed.container().options(&options).shell_output(script)?, "0\n1");
    Ok(())
}
