//! The host side of a container: what the kernel says of the rights of each of its processes.

use anyhow::{Context, Result};
use runq_tests::bed::{Bed, Container};
use runq_tests::host::processes;
use std::collections::BTreeMap;

/// A process of the container as `/proc/PID/status` shows it.
struct Status(BTreeMap<String, String>);

impl Status {
    fn of(pid: i32) -> Result<Self> {
        let text = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
        let pair =
            |line: &str| line.split_once(":\t").map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Self(text.lines().filter_map(pair).collect()))
    }

    fn field(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn user(&self) -> Option<u32> {
        self.field("Uid").split('\t').next()?.parse().ok()
    }
}

/// The container's processes by name: proxy and all below it.
fn host_side(container: &Container) -> Result<BTreeMap<String, Status>> {
    let proxy: i32 = container.inspect("{{.State.Pid}}")?.parse()?;
    let mut pids = vec![proxy];
    for process in processes()? {
        let parent = Status::of(process.pid).ok().and_then(|status| status.field("PPid").parse().ok());
        if parent.is_some_and(|parent: i32| parent == proxy) {
            pids.push(process.pid);
        }
    }
    let statuses = pids.into_iter().map(Status::of).collect::<Result<Vec<_>>>()?;
    Ok(statuses.into_iter().map(|status| (status.field("Name").to_owned(), status)).collect())
}

/// Rights belong to threads: all of a process have the same.
fn threads(status: &Status) -> Result<Vec<Status>> {
    let pid: i32 = status.field("Pid").parse()?;
    let tasks = fs_err::read_dir(format!("/proc/{pid}/task"))?.flatten();
    let ids = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    // A thread can end while it is looked at.
    Ok(ids.filter_map(|id| Status::of(id).ok()).collect())
}

/// What virtiofsd keeps to serve every user's files: CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SETGID, SETUID,
/// MKNOD, SETFCAP.
const FILE_SERVER: u64 = 0x8800_00df;

/// Nobody has more rights than he needs, and `server` those of a file server.
fn is_confined(
    status: &Status,
    host_side: &BTreeMap<String, Status>,
    server: &str,
    bounds: u64,
) -> Result<()> {
    let process = host_side.values().find(|process| process.field("Pid") == status.field("Tgid"));
    let name = process.map_or("", |process| process.field("Name"));
    assert_eq!(status.field("NoNewPrivs"), "1", "{name}");
    assert_eq!(status.field("Seccomp"), "2", "{name}");
    let set = |set: &str| u64::from_str_radix(status.field(set), 16);
    let allowed = if name == server { FILE_SERVER } else { 0 };
    for capabilities in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(set(capabilities)? & !allowed, 0, "{capabilities} of {name}");
    }
    assert_eq!(set("CapBnd")? & !(allowed & bounds), 0, "{name}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn with_9p_qemu_is_the_file_server_and_has_no_other_right() -> Result<()> {
    let bed = Bed::alone()?;
    let runtime = runq_tests::sandbox_runtime::Runtime::with(&bed.sandbox, &["--share", "9p"])?;
    let container = bed.container().runtime(&runtime.name).start_shell("echo ready; sleep 1000", "ready")?;
    let host_side = host_side(&container)?;
    for status in host_side.values().map(threads).collect::<Result<Vec<_>>>()?.iter().flatten() {
        is_confined(status, &host_side, "qemu-system-x86", FILE_SERVER)?;
    }
    assert_eq!(host_side.len(), 2, "{:?}", host_side.keys());
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn the_apparmor_profile_is_one_that_its_compiler_takes() -> Result<()> {
    let profile = runq_tests::workspace::root().join("runtime/runq/apparmor.profile");
    // Without a kernel that has AppArmor.
    let mut parser = std::process::Command::new("apparmor_parser");
    parser.args(["--skip-kernel-load", "--skip-cache", "--quiet", "--debug"]).arg(profile);
    let said = runq_tests::command::run(&mut parser, &[], runq_tests::docker::LIMIT)?;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout_text().contains("runq-1"), "{said:?}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn every_process_is_confined_whatever_the_user_asks_for() -> Result<()> {
    let bed = Bed::shared()?;
    for options in [
        &[][..],
        &[
            "--cap-add",
            "ALL",
            "--security-opt",
            "seccomp=unconfined",
            "--security-opt",
            "apparmor=unconfined",
        ],
    ] {
        let container = bed.container().options(options).start_shell("echo ready; sleep 1000", "ready")?;
        let host_side = host_side(&container)?;
        let process = |name: &str| host_side.get(name).with_context(|| format!("no process {name}"));
        let (proxy, qemu) = (process("proxy")?, process("qemu-system-x86")?);
        let all = host_side.values().map(threads).collect::<Result<Vec<_>>>()?;
        for status in all.iter().flatten() {
            is_confined(status, &host_side, "virtiofsd", 0)?;
        }
        assert!(
            all.iter()
                .all(|threads| threads.windows(2).all(|two| two[0].field("Uid") == two[1].field("Uid")))
        );
        let users = [proxy.user(), qemu.user()];
        assert!(users.iter().all(|user| user.is_some_and(|user| user >= 0x7000_0000)), "{users:?}");
        assert_ne!(proxy.user(), qemu.user());
        assert_eq!(host_side.len(), 3, "{:?}", host_side.keys());
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn containers_do_not_share_a_user() -> Result<()> {
    let bed = Bed::shared()?;
    let start = || bed.container().start_shell("echo ready; sleep 1000", "ready");
    let (one, other) = (start()?, start()?);
    let user = |container: &Container| {
        anyhow::Ok(host_side(container)?.get("qemu-system-x86").and_then(Status::user))
    };
    assert_ne!(user(&one)?, user(&other)?);
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn the_hosts_kernel_parameters_are_read_only_even_with_unconfined_system_paths() -> Result<()> {
    let bed = Bed::shared()?;
    let options = ["--security-opt", "systempaths=unconfined"];
    let container = bed.container().options(&options).start_shell("echo ready; sleep 1000", "ready")?;
    let proxy = container.inspect("{{.State.Pid}}")?;
    let mounts = fs_err::read_to_string(format!("/proc/{proxy}/mounts"))?;
    let sys = mounts
        .lines()
        .find(|line| line.contains(" /proc/sys "))
        .context("/proc/sys is no mount of its own")?;
    assert!(sys.contains(" ro,"), "{sys}");
    Ok(())
}
