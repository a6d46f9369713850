//! An s390x host without a network, from the copy of a staged tree to a container in a VM. Takes minutes: all of the machine
//! is emulated, and the VM on it is emulated by that. On the host as root, beside the sandbox, which it does not need.

use anyhow::{Context, Result};
use runq_tests::report;
use runq_tests::s390x_host::{S390xHost, Step};

#[test]
#[ignore = "takes minutes: run `make test-s390x-host`"]
fn adopts_a_copied_tree_and_runs_a_container_in_a_vm() -> Result<()> {
    let dir = tempfile::tempdir_in(runq_tests::workspace::target())?;
    let host = S390xHost::prepare(dir.path())?;
    report::step("machine: running");
    let steps = host.run()?;
    for Step { name, code, seconds, output } in &steps {
        report::detail(format_args!("{seconds:4} s  {name} ended with {code}\n{output}"));
    }
    let step = |name: &str| steps.iter().find(|step| step.name == name).with_context(|| name.to_owned());
    for name in ["mounts", "verify", "containerd", "dockerd", "adopt", "registered", "image", "runc", "list"]
    {
        assert_eq!(step(name)?.code, 0, "{name}");
    }
    assert!(step("registered")?.output.contains("purpose=sandbox"), "the rest of daemon.json is gone");
    assert!(step("registered")?.output.contains("runtime:runq "), "Docker does not know the runtime");
    assert!(step("runc")?.output.contains("s390x"));
    assert!(step("runq")?.output.contains("s390x"), "{}", step("runq")?.output);
    assert_eq!((step("runq")?.code, step("exit-code")?.code), (0, 42));
    Ok(())
}
