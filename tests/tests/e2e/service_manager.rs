//! A process of its own that looks after the others: Docker's init.

use anyhow::Result;
use runq_tests::bed::Bed;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn docker_init_reaps_orphans_and_forwards_signals() -> Result<()> {
    let bed = Bed::shared()?;
    // Process 1 would be `tail`, which reaps nobody.
    let script = "{ (sleep 0.2 &); sleep 2; echo $(cat /proc/1/comm) zombies $(cat /proc/[0-9]*/stat | grep -c ') Z ') end; } & \
                  exec tail -f /dev/null";
    for (options, expected) in [(&["--init"][..], "docker-init zombies 0 end"), (&[], "tail zombies 1 end")] {
        bed.container().options(options).start_shell(script, expected)?;
    }
    let script = "trap 'echo got TERM; exit 21' TERM; echo ready; while :; do sleep 0.1; done";
    let container = bed.container().options(&["--init"]).start_shell(script, "ready")?;
    bed.docker.output(&["stop", "--time", "60", &container.name])?;
    assert_eq!(container.inspect("{{.State.ExitCode}}")?, "21", "{}", container.logs()?);
    Ok(())
}
