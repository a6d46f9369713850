//! What systemd needs as the entrypoint: it is told that it runs in a container, may write to the control groups, and has
//! file systems of its own for what lives as long as the machine. It needs no further capability.

use runq_contract::guest::GuestMount;
use runq_contract::process::Process;

/// Destination and options of each tmpfs.
const TMPFS: [(&str, &str); 3] = [("/run", "mode=755"), ("/run/lock", "mode=1777"), ("/tmp", "mode=1777")];

/// Changes the process and its mounts.
pub(super) fn adapt(process: &mut Process, mounts: &mut Vec<GuestMount>) {
    if !process.env.iter().any(|variable| variable.starts_with("container=")) {
        process.env.push("container=docker".to_owned());
    }
    for mount in mounts.iter_mut().filter(|mount| mount.kind.starts_with("cgroup")) {
        mount.options.retain(|option| option != "ro");
    }
    for (destination, mode) in TMPFS {
        if mounts.iter().any(|mount| mount.destination == destination) {
            continue;
        }
        mounts.push(GuestMount {
            destination: destination.to_owned(),
            kind: "tmpfs".to_owned(),
            source: "tmpfs".to_owned(),
            options: ["nosuid", "nodev", mode].map(str::to_owned).into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_what_is_missing_and_opens_the_control_groups() {
        let mount = |destination: &str, kind: &str| GuestMount {
            destination: destination.to_owned(),
            kind: kind.to_owned(),
            source: String::new(),
            options: vec!["ro".to_owned(), "nosuid".to_owned()],
        };
        let mut mounts = vec![mount("/sys/fs/cgroup", "cgroup"), mount("/run", "tmpfs")];
        let mut process = Process::default();
        adapt(&mut process, &mut mounts);
        assert_eq!(process.env, ["container=docker"]);
        assert_eq!(mounts[0].options, ["nosuid"]);
        let destinations: Vec<_> = mounts.iter().map(|mount| mount.destination.as_str()).collect();
        assert_eq!(destinations, ["/sys/fs/cgroup", "/run", "/run/lock", "/tmp"]);
    }
}
