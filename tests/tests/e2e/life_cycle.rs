//! Docker's other commands on a container in a VM: what they do for runc, they do here.

use anyhow::Result;
use runq_tests::bed::Bed;
use runq_tests::command::{self, wait_until};
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

const COUNT: &str = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done";

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn pause_stops_the_machine_and_unpause_lets_it_go_on() -> Result<()> {
    let bed = Bed::shared()?;
    let container = bed.container().start_shell(COUNT, "tick 3")?;
    bed.docker.output(&["pause", &container.name])?;
    // What was under way still arrives.
    std::thread::sleep(Duration::from_secs(1));
    let paused = container.logs()?;
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(container.logs()?, paused);
    bed.docker.output(&["unpause", &container.name])?;
    wait_until("it to go on", LIMIT, || container.logs().is_ok_and(|logs| logs.len() > paused.len()))
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn stats_count_the_machine_and_top_shows_its_processes() -> Result<()> {
    let bed = Bed::shared()?;
    let container = bed.container().start_shell("echo ready; sleep 1000", "ready")?;
    let stats = bed.docker.output(&["stats", "--no-stream", "--format", "{{.MemUsage}}", &container.name])?;
    assert!(stats.contains("MiB"), "{stats}");
    let top = bed.docker.output(&["top", &container.name])?;
    assert!(top.contains("proxy") && top.contains("qemu-system"), "{top}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn files_are_copied_in_and_out_while_it_runs() -> Result<()> {
    let bed = Bed::shared()?;
    let dir = tempfile::tempdir()?;
    let (to, from) = (dir.path().join("to"), dir.path().join("from"));
    fs_err::write(&to, "from the host")?;
    let script = "echo from the guest > /out; echo ready; until [ -e /in ]; do sleep 0.1; done; cat /in";
    let container = bed.container().start_shell(script, "ready")?;
    bed.docker.output(&["cp", &format!("{}:/out", container.name), &from.display().to_string()])?;
    assert_eq!(fs_err::read_to_string(&from)?, "from the guest\n");
    bed.docker.output(&["cp", &to.display().to_string(), &format!("{}:/in", container.name)])?;
    assert_eq!(container.wait()?, 0);
    assert!(container.logs()?.contains("from the host"));
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn changes_are_seen_and_committed() -> Result<()> {
    let bed = Bed::shared()?;
    let container = bed.container().start(&["sh", "-c", "echo kept > /new; rm /etc/passwd"])?;
    assert_eq!(container.wait()?, 0);
    let changes = bed.docker.output(&["diff", &container.name])?;
    assert!(changes.lines().any(|line| line == "A /new"), "{changes}");
    assert!(changes.lines().any(|line| line == "D /etc/passwd"), "{changes}");
    let image = format!("{}-image", container.name);
    bed.docker.output(&["commit", &container.name, &image])?;
    let answer = bed.container().image(&image).shell_output("cat /new");
    bed.docker.output(&["image", "rm", "--force", &image])?;
    assert_eq!(answer?, "kept");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn attach_follows_and_feeds_a_running_container() -> Result<()> {
    let bed = Bed::shared()?;
    let container = bed
        .container()
        .options(&["--interactive"])
        .start_shell("echo ready; read line; echo got $line", "ready")?;
    let mut docker = bed.docker.command();
    docker
        .args(["attach", &container.name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut attached = docker.spawn()?;
    attached.stdin.take().map(|mut input| input.write_all(b"a line\n")).transpose()?;
    command::wait(&mut attached, LIMIT)?;
    container.wait_for("got a line")?;
    assert_eq!(container.wait()?, 0);
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn logs_are_followed_to_the_end() -> Result<()> {
    let bed = Bed::shared()?;
    let container =
        bed.container().start(&["sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.2; done"])?;
    let followed = bed.docker.output(&["logs", "--follow", &container.name])?;
    assert_eq!(followed, "line 1\nline 2\nline 3");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn restart_policy_starts_a_new_machine_with_the_old_files() -> Result<()> {
    let bed = Bed::shared()?;
    let script = "echo x >> /starts; [ $(wc -l < /starts) = 3 ] && exit 0; exit 1";
    let container = bed.container().options(&["--restart", "on-failure:5"]).start(&["sh", "-c", script])?;
    wait_until("the third start to succeed", LIMIT, || {
        container.inspect("{{.State.Status}} {{.RestartCount}}").is_ok_and(|state| state == "exited 2")
    })
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn stop_and_start_again_keep_files_and_log() -> Result<()> {
    let bed = Bed::shared()?;
    let script =
        "trap 'exit 0' TERM; echo x >> /starts; echo start $(wc -l < /starts); while :; do sleep 0.1; done";
    let container = bed.container().start_shell(script, "start 1")?;
    bed.docker.output(&["stop", &container.name])?;
    bed.docker.output(&["start", &container.name])?;
    container.wait_for("start 2")?;
    let renamed = format!("{}-renamed", container.name);
    bed.docker.output(&["rename", &container.name, &renamed])?;
    bed.docker.output(&["restart", &renamed])?;
    bed.docker.output(&["rename", &renamed, &container.name])?;
    container.wait_for("start 3")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn update_of_limits_and_restart_policy_is_taken() -> Result<()> {
    let bed = Bed::shared()?;
    let container = bed.container().start_shell("echo ready; sleep 1000", "ready")?;
    bed.docker.output(&["update", "--cpu-shares", "512", "--restart", "no", &container.name])?;
    assert_eq!(container.inspect("{{.HostConfig.CpuShares}}")?, "512");
    assert_eq!(container.inspect("{{.State.Running}}")?, "true");
    Ok(())
}
