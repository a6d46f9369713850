//! The size of the VM, and settings that are refused before one is started.

use anyhow::Result;
use runq_tests::bed::Bed;
use runq_tests::command;
use runq_tests::docker::LIMIT;
use runq_tests::sandbox_runtime::Runtime;
use std::process::Command;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn processors_and_memory_are_those_asked_for() -> Result<()> {
    let bed = Bed::shared()?;
    let options = ["-e", "RUNQ_CPU=2", "-e", "RUNQ_MEM=400"];
    let answer =
        bed.container().options(&options).shell_output("nproc; free -m | awk '/^Mem/ { print $2 }'")?;
    let (processors, memory_mib) = answer.split_once('\n').unwrap_or_default();
    assert_eq!(processors, "2");
    assert!((300..=400).contains(&memory_mib.parse::<u32>()?), "{memory_mib} MiB");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn bad_values_are_refused_with_the_name_and_what_is_allowed() -> Result<()> {
    let bed = Bed::alone()?;
    let before = bed.traces()?;
    for (setting, allowed) in [
        ("RUNQ_MEM=abc", "MiB"),
        ("RUNQ_MEM=-1", "MiB"),
        ("RUNQ_MEM=1", "MiB"),
        ("RUNQ_CPU=0", "1"),
        ("RUNQ_CPU=many", "1"),
        ("RUNQ_ACCEL=tcg", "--allow accel"),
        ("RUNQ_DNS=not-an-address", "address"),
    ] {
        let finished = bed.container().options(&["-e", setting]).run(&["true"])?;
        let message = finished.stderr_text();
        let name = setting.split('=').next().unwrap_or_default();
        assert_eq!(finished.code, 125, "{setting}: {finished:?}");
        assert!(message.contains(name) && message.contains(allowed), "{setting}: {message}");
    }
    let left = bed.traces()?.beyond(&before);
    assert!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// What the installed runq says to the creation of a container, which nothing comes of.
fn refusal(bed: &Bed, args: &[&str], annotations: serde_json::Value, env: &[&str]) -> Result<String> {
    let bundle = tempfile::tempdir()?;
    let spec = serde_json::json!({"ociVersion": "1.0.2", "annotations": annotations,
        "process": {"args": ["true"], "cwd": "/", "user": {}, "env": env}, "root": {"path": "rootfs"}});
    fs_err::write(bundle.path().join("config.json"), serde_json::to_vec(&spec)?)?;
    let mut runq = Command::new(bed.sandbox.prefix().join("runq"));
    runq.args(args).args(["create", "--bundle"]).arg(bundle.path()).arg("settings-test");
    let finished = command::run(&mut runq, &[], LIMIT)?;
    assert_ne!(finished.code, 0, "{finished:?}");
    assert!(!bundle.path().join("runq.json").exists());
    Ok(finished.stderr_text())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn the_admins_file_his_bounds_and_annotations_are_heard() -> Result<()> {
    let bed = Bed::shared()?;
    let none = || serde_json::json!({});
    let file = tempfile::NamedTempFile::new()?;
    let config = file.path().display().to_string();
    fs_err::write(file.path(), "cpus = 2\n")?;
    let said = refusal(&bed, &["--config", &config], none(), &[])?;
    assert!(
        said.contains(&config) && said.contains("cpus is no setting: expected one of cpu, mem,"),
        "{said}"
    );

    fs_err::write(file.path(), "max-cpu = 2\nmax-mem = 512\n")?;
    let said = refusal(&bed, &["--config", &config], none(), &["RUNQ_CPU=3"])?;
    assert!(said.contains("RUNQ_CPU=3: expected at most 2 vCPUs"), "{said}");
    let annotation = serde_json::json!({"io.runq.mem": "600"});
    let said = refusal(&bed, &["--config", &config], annotation.clone(), &[])?;
    assert!(said.contains("io.runq.mem=600: expected at most 512 MiB"), "{said}");
    // runtimeArgs come before the file.
    let said = refusal(&bed, &["--config", &config, "--max-mem", "550"], annotation, &[])?;
    assert!(said.contains("at most 550 MiB"), "{said}");

    let said = refusal(&bed, &[], serde_json::json!({"io.runq.accel": "tcg"}), &[])?;
    assert!(said.contains("io.runq.accel: the image could have set this"), "{said}");
    let said = refusal(&bed, &["--allow", "accel"], serde_json::json!({"io.runq.accel": "warp"}), &[])?;
    assert!(said.contains("io.runq.accel=warp: expected kvm or tcg"), "{said}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn features_are_runcs_but_for_what_a_vm_changes() -> Result<()> {
    let bed = Bed::shared()?;
    let features = command::output(Command::new(bed.sandbox.prefix().join("runq")).arg("features"), LIMIT)?;
    let features: serde_json::Value = serde_json::from_str(&features)?;
    let runc: serde_json::Value =
        serde_json::from_str(&command::output(Command::new("runc").arg("features"), LIMIT)?)?;
    assert_eq!(features["mountOptions"], runc["mountOptions"]);
    assert_eq!(features["linux"]["seccomp"]["operators"], runc["linux"]["seccomp"]["operators"]);
    assert!(!features.to_string().contains("SCMP_ACT_NOTIFY"));
    assert_eq!(features["potentiallyUnsafeConfigAnnotations"], serde_json::json!(["io.runq."]));
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn what_would_break_the_isolation_is_refused() -> Result<()> {
    let bed = Bed::shared()?;
    let other = bed.container().runtime("runc").start(&["sleep", "1000"])?;
    let joined = format!("container:{}", other.name);
    // The one that would take the host's own network when it is not refused comes last.
    for options in [
        ["--network", &joined],
        ["--pid", "host"],
        ["--ipc", "host"],
        ["--uts", "host"],
        ["--privileged", "--init=false"],
        ["--network", "host"],
    ] {
        let finished = bed.container().options(&options).shell("echo must not run")?;
        assert_eq!(finished.stdout_text(), "", "{options:?}");
        assert_ne!(finished.code, 0, "{options:?}");
        assert!(finished.stderr_text().contains("runq"), "{options:?}: {}", finished.stderr_text());
    }
    assert_eq!(other.inspect("{{.State.Running}}")?, "true");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn exec_is_refused_and_does_not_enter_the_host_side() -> Result<()> {
    let bed = Bed::shared()?;
    // With RUNQ_NOEXEC it will stay so when `docker exec` works.
    for options in [&[][..], &["-e", "RUNQ_NOEXEC=true"]] {
        let container = bed.container().options(options).start_shell("echo ready; sleep 1000", "ready")?;
        let finished = bed.docker.run(&["exec", &container.name, "true"])?;
        assert_ne!(finished.code, 0);
        let said = format!("{}{}", finished.stdout_text(), finished.stderr_text());
        assert!(said.contains("exec is not supported"), "{said}");
        assert_eq!(container.inspect("{{.State.Running}}")?, "true");
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn environment_is_a_file_when_that_is_wanted() -> Result<()> {
    let bed = Bed::shared()?;
    let options = ["-e", "RUNQ_RUNQENV=true", "-e", "TEXT=it's \"quoted\" $HOME"];
    let script = "stat -c %a /.runqenv; unset TEXT; . /.runqenv; echo \"$TEXT\"";
    assert_eq!(bed.container().options(&options).shell_output(script)?, "400\nit's \"quoted\" $HOME");
    assert_ne!(bed.container().shell("test -e /.runqenv")?.code, 0);
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn what_reaches_beyond_the_vm_is_the_admins_to_decide() -> Result<()> {
    let bed = Bed::alone()?;
    let uuid = "RUNQ_APUUID=4b0518fd-9237-493f-93c8-c5597f8006a3";
    for variable in ["RUNQ_CPUARGS=ap=on", uuid] {
        let finished = bed.container().options(&["-e", variable]).run(&["true"])?;
        assert!(finished.code == 125 && finished.stderr_text().contains("the admin decides"), "{finished:?}");
    }
    let allowed = ["--allow", "cpuargs,apuuid", "--nestedvm", "--noexec"];
    let runtime = runq_tests::sandbox_runtime::Runtime::with(&bed.sandbox, &allowed)?;
    let run = |variable: &str| {
        bed.container().runtime(&runtime.name).options(&["-e", variable]).shell("grep -c avx2 /proc/cpuinfo")
    };
    let finished = run(uuid)?;
    assert!(finished.code == 125 && finished.stderr_text().contains("vfio_ap"), "{finished:?}");
    assert_eq!((run("RUNQ_CPUARGS=")?.code, run("RUNQ_CPUARGS=avx2=off")?.code), (0, 1));
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_vm_that_takes_longer_than_the_admin_waits_is_ended() -> Result<()> {
    let bed = Bed::alone()?;
    let runtime = Runtime::with(&bed.sandbox, &["--boot-timeout", "1"])?;
    let finished = bed.container().runtime(&runtime.name).run(&["true"])?;
    let expected = "did not come up within 1 seconds; an emulated one may need more: --boot-timeout SECONDS in runtimeArgs";
    assert!(finished.code == 125 && finished.stderr_text().contains(expected), "{finished:?}");
    Ok(())
}
