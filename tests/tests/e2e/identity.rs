//! What a process sees of itself is the same under runq and runc: the same question is put to both.

use anyhow::Result;
use runq_tests::bed::Bed;

fn same_as_runc(options: &[&str], script: &str) -> Result<()> {
    let bed = Bed::shared()?;
    let ask = |runtime: &str| bed.container().runtime(runtime).options(options).shell_output(script);
    let (runq, runc) = (ask(&bed.runtime)?, ask("runc")?);
    assert_eq!(runq, runc, "\nrunq (left) and runc (right) differ for {options:?}: {script}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn user_groups_directory_environment_and_name() -> Result<()> {
    let options = [
        "-u",
        "12:34",
        "--group-add",
        "56",
        "-w",
        "/var/made",
        "-e",
        "A=1",
        "-e",
        "B=two words\n and a line",
    ];
    let script = "id; pwd; env | grep -v -e ^HOSTNAME= -e ^RUNQ_ | sort; hostname; umask";
    same_as_runc(&[&options[..], &["-h", "some-name"]].concat(), script)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn capabilities_of_root() -> Result<()> {
    same_as_runc(&[], "grep -e ^Cap -e ^NoNewPrivs /proc/self/status")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn capabilities_that_were_added_and_dropped() -> Result<()> {
    let options = [
        "--cap-drop",
        "ALL",
        "--cap-add",
        "NET_ADMIN",
        "--cap-add",
        "CHOWN",
        "--security-opt",
        "no-new-privileges",
    ];
    same_as_runc(&options, "grep -e ^Cap -e ^NoNewPrivs /proc/self/status")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn capabilities_of_another_user() -> Result<()> {
    same_as_runc(&["-u", "1000"], "grep -e ^Cap -e ^Uid -e ^Gid -e ^Groups /proc/self/status")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn limits_that_were_set() -> Result<()> {
    let options = ["--ulimit", "nofile=1000:2000", "--ulimit", "core=0", "--ulimit", "nproc=500:600"];
    same_as_runc(&options, "grep -e 'open files' -e core -e processes /proc/self/limits")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn devices_and_their_modes() -> Result<()> {
    let list = "cd /dev; for f in null zero full random urandom tty; do stat -c '%n %a %t:%T' $f; done; \
                for f in fd stdin stdout stderr ptmx; do echo $f $(readlink $f); done; ls -d shm mqueue pts";
    same_as_runc(&[], list)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn mounts_and_their_types() -> Result<()> {
    let list = "for m in /proc /dev /dev/pts /dev/mqueue /dev/shm /sys; do grep \" $m \" /proc/mounts | cut -d' ' -f2,3; done";
    same_as_runc(&[], list)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn kernel_parameters_that_were_set() -> Result<()> {
    let options = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=12345"];
    same_as_runc(&options, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn masked_paths_show_nothing() -> Result<()> {
    same_as_runc(
        &[],
        "cat /proc/kcore /proc/keys 2>/dev/null | wc -c; echo x 2>/dev/null > /proc/sysrq-trigger || echo refused",
    )
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn unmasked_paths_are_unmasked() -> Result<()> {
    let list = "for p in /proc/sys /proc/bus /proc/fs /proc/irq /proc/keys; do \
                grep -q \" $p \" /proc/mounts && echo $p is covered; done; \
                echo 1000 > /proc/sys/vm/swappiness 2>/dev/null; echo done";
    same_as_runc(&[], list)?;
    same_as_runc(&["--security-opt", "systempaths=unconfined"], list)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn limits_of_every_kind() -> Result<()> {
    let options: Vec<String> = [
        "cpu=100",
        "data=1000000000:2000000000",
        "fsize=1000000",
        "locks=100",
        "memlock=1000:2000",
        "msgqueue=1000",
        "rss=1000",
        "rttime=1000",
        "sigpending=100",
        "stack=8000000:9000000",
    ]
    .iter()
    .flat_map(|limit| ["--ulimit".to_owned(), (*limit).to_owned()])
    .collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    same_as_runc(&options, "grep -v -e 'open files' -e 'processes' -e 'address space' /proc/self/limits")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_debian_image_runs_and_has_many_variables() -> Result<()> {
    let bed = Bed::shared()?;
    let variables: Vec<String> = (0..1000).map(|number| format!("V{number}={}", "x".repeat(1000))).collect();
    let options: Vec<&str> = variables.iter().flat_map(|variable| ["-e", variable.as_str()]).collect();
    let script = "env | grep -c '^V[0-9]*=x\\{1000\\}$'; . /etc/os-release; echo $ID";
    assert_eq!(bed.container().image("debian").options(&options).shell_output(script)?, "1000\ndebian");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn the_kernel_is_not_the_hosts() -> Result<()> {
    let bed = Bed::shared()?;
    let guest = bed.container().shell_output("uname -r")?;
    assert_ne!(guest, rustix::system::uname().release().to_string_lossy());
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn entrypoint_variables_of_a_file_and_score_of_the_out_of_memory_killer() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs_err::write(file.path(), "FROM_FILE=a value with = and spaces\n")?;
    let path = file.path().display().to_string();
    let options = [
        "--env-file",
        &path,
        "--entrypoint",
        "/bin/busybox",
        "--oom-score-adj",
        "321",
        "--domainname",
        "example.org",
    ];
    same_as_runc(
        &options,
        "echo $FROM_FILE; cat /proc/self/oom_score_adj /proc/sys/kernel/domainname; tr '\\0' ' ' < /proc/$$/cmdline | cut -c -20",
    )
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn processors_of_the_host_are_those_that_were_chosen() -> Result<()> {
    let bed = Bed::shared()?;
    let options = ["--cpuset-cpus", "0", "--stop-signal", "USR2"];
    let container = bed
        .container()
        .options(&options)
        .start_shell("trap 'exit 9' USR2; echo ready; while :; do sleep 0.1; done", "ready")?;
    let id = container.inspect("{{.Id}}")?;
    let is_of_container = |process: &runq_tests::host::Process| {
        fs_err::read_to_string(format!("/proc/{}/cgroup", process.pid))
            .is_ok_and(|groups| groups.contains(&id))
    };
    let processes = runq_tests::host::processes()?;
    let qemu = processes.iter().find(|process| process.name.starts_with("qemu") && is_of_container(process));
    let pid = qemu.map_or(0, |process| process.pid);
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
    bed.docker.output(&["stop", "--time", "60", &container.name])?;
    assert_eq!(container.inspect("{{.State.ExitCode}}")?, "9");
    Ok(())
}
