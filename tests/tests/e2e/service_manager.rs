//! A process of its own that looks after the others: Docker's init, and systemd as the entrypoint.

use anyhow::Result;
use runq_tests::bed::Bed;
use runq_tests::command::wait_until;
use runq_tests::service_images;
use std::time::Duration;

/// systemd boots in 40 s under emulation when little else is at work.
const PATIENCE: Duration = Duration::from_secs(240);

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

/// With what `/.runqenv` is for: services do not inherit the environment of process 1.
const UNIT: &str = r#"[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/.runqenv
ExecStart=/bin/sh -c 'echo $$GREETING of $$(systemctl is-active basic.target), virtualised: $$(systemd-detect-virt -c) >> /report/lines'
ExecStop=/bin/sh -c 'echo stopped in good order >> /report/lines'
"#;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn systemd_boots_runs_a_unit_and_stops_in_good_order() -> Result<()> {
    let bed = Bed::shared()?;
    service_images::load_systemd(&bed.docker)?;
    let dir = tempfile::tempdir()?;
    let (unit, wants, lines) = (dir.path().join("unit"), dir.path().join("wants"), dir.path().join("lines"));
    fs_err::write(&unit, UNIT)?;
    fs_err::write(&wants, "[Unit]\nWants=report.service\n")?;
    let volumes = [
        format!("{}:/etc/systemd/system/report.service:ro", unit.display()),
        format!("{}:/etc/systemd/system/multi-user.target.d/report.conf:ro", wants.display()),
        format!("{}:/report", dir.path().display()),
    ];
    let mut options = vec![
        "--stop-signal",
        "SIGRTMIN+3",
        "-e",
        "RUNQ_SYSTEMD=1",
        "-e",
        "RUNQ_RUNQENV=1",
        "-e",
        "RUNQ_MEM=512",
        "-e",
        "GREETING=a greeting",
    ];
    options.extend(volumes.iter().flat_map(|volume| ["-v", volume.as_str()]));
    let container = bed.container().image("systemd").options(&options).start(&[])?;
    let report = || fs_err::read_to_string(&lines).unwrap_or_default();
    let waited = wait_until("the unit", PATIENCE, || report().contains('\n'));
    assert!(waited.is_ok(), "{waited:?}: {}", container.logs()?);
    assert_eq!(report(), "a greeting of active, virtualised: docker\n");
    bed.docker.output(&["stop", "--time", "100", &container.name])?;
    assert_eq!(container.inspect("{{.State.ExitCode}}")?, "0", "{}", container.logs()?);
    assert!(report().ends_with("\nstopped in good order\n"), "{}", report());
    Ok(())
}
