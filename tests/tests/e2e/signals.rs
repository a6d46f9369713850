//! Signals reach the entrypoint; `docker stop`, `kill` and `rm -f` end the VM.

use anyhow::Result;
use runq_tests::bed::Bed;
use std::time::{Duration, Instant};

const TRAP: &str = "trap 'echo got TERM; exit 21' TERM; trap 'echo got USR1; exit 22' USR1; trap 'echo got HUP' HUP; \
                    echo ready; while :; do sleep 0.1; done";

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn signals_are_delivered_to_the_entrypoint() -> Result<()> {
    let bed = Bed::shared()?;
    for (signal, code) in [("TERM", 21), ("USR1", 22)] {
        let container = bed.container().start_shell(TRAP, "ready")?;
        bed.docker.output(&["kill", "--signal", "HUP", &container.name])?;
        container.wait_for("got HUP")?;
        bed.docker.output(&["kill", "--signal", signal, &container.name])?;
        assert_eq!(container.wait()?, code);
        container.wait_for(&format!("got {signal}"))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn signal_sent_while_the_guest_boots_is_not_lost() -> Result<()> {
    let bed = Bed::shared()?;
    let container = bed.container().start(&["sleep", "1000"])?;
    bed.docker.output(&["kill", &container.name])?;
    assert_eq!(container.wait()?, 137);
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn stop_ends_the_entrypoint_in_good_order() -> Result<()> {
    let bed = Bed::shared()?;
    let container = bed.container().start_shell(TRAP, "ready")?;
    let start = Instant::now();
    bed.docker.output(&["stop", "--time", "30", &container.name])?;
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    assert_eq!(container.inspect("{{.State.ExitCode}}")?, "21");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn stop_kills_an_entrypoint_that_ignores_it() -> Result<()> {
    let bed = Bed::shared()?;
    let container =
        bed.container().start_shell("trap '' TERM; echo ready; while :; do sleep 0.1; done", "ready")?;
    bed.docker.output(&["stop", "--time", "2", &container.name])?;
    assert_eq!(container.inspect("{{.State.ExitCode}}")?, "137");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn entrypoint_is_process_1_and_ignores_what_it_does_not_handle() -> Result<()> {
    let bed = Bed::shared()?;
    let container = bed.container().start_shell("echo pid $$; while :; do sleep 0.1; done", "pid 1")?;
    bed.docker.output(&["kill", "--signal", "TERM", &container.name])?;
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(container.inspect("{{.State.Running}}")?, "true");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn every_signal_from_1_to_64_reaches_the_entrypoint() -> Result<()> {
    let bed = Bed::shared()?;
    // KILL and STOP cannot be caught, CHLD comes with each `sleep`, and the C library keeps 32 and 33 for itself.
    let signals: Vec<u32> = (1..=64).filter(|signal| ![9, 17, 19, 32, 33].contains(signal)).collect();
    let traps: String =
        signals.iter().map(|signal| format!("trap 'echo got {signal}.' {signal}; ")).collect();
    let script = format!("{traps} echo ready; while :; do sleep 0.05; done");
    let container = bed.container().start_shell(&script, "ready")?;
    for signal in &signals {
        bed.docker.output(&["kill", "--signal", &signal.to_string(), &container.name])?;
        container.wait_for(&format!("got {signal}."))?;
    }
    assert_eq!(container.logs()?.matches("got ").count(), signals.len());
    Ok(())
}
