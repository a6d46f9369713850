//! Many VMs at once, and a runc container beside them.

use anyhow::Result;
use runq_tests::bed::{Bed, Container};

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn ten_containers_start_in_parallel_beside_one_of_runc() -> Result<()> {
    let bed = Bed::alone()?;
    let beside = bed.container().runtime("runc").start(&["sleep", "1000"])?;
    let script = "echo started; exit 9";
    let containers =
        (0..10).map(|_| bed.container().start(&["sh", "-c", script])).collect::<Result<Vec<Container>>>()?;
    for container in &containers {
        assert_eq!(container.wait()?, 9, "{}", container.logs()?);
        assert_eq!(container.logs()?.trim(), "started");
    }
    assert_eq!(beside.inspect("{{.State.Running}}")?, "true");
    Ok(())
}
