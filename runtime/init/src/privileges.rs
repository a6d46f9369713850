//! Rights and limits of a process: exactly those of the OCI spec. Runs in the child, as root until
//! [`become_user`] returns.

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use runq_contract::guest::Guest;
use runq_contract::process::{Process, Rlimit};
use rustix::fs::Mode;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Largest value of `fs.nr_open` that every kernel takes; systemd sets it on most hosts.
const NR_OPEN: &str = "1073741816";

/// Open files of a process whose spec does not limit them, soft and hard: systemd's default. The kernel's 4096 are
/// too few for a database, and a high soft limit slows programs that close every descriptor they might have.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

/// Limits of `init`, which its children inherit. A spec may ask for all that the host's kernel allows.
pub(crate) fn set_default_limits() -> anyhow::Result<()> {
    std::fs::write("/proc/sys/fs/nr_open", NR_OPEN).context("cannot raise fs.nr_open")?;
    let (soft, hard) = OPEN_FILES;
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).context("cannot raise the limit of open files")
}

/// Makes the kernel spare this process when memory is used up: the end of `init` would be that of the guest.
pub(crate) fn survive_want_of_memory() -> anyhow::Result<()> {
    set_oom_score(-1000)
}

fn set_oom_score(score: i32) -> anyhow::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", score.to_string()).context("cannot set oom_score_adj")
}

/// Limits, umask and the readiness to be killed, which only root may raise.
pub(crate) fn set_limits(spec: &Process) -> anyhow::Result<()> {
    for Rlimit { kind, soft, hard } in &spec.rlimits {
        let resource = resource(kind).with_context(|| format!("unknown resource limit {kind}"))?;
        setrlimit(resource, *soft, *hard).with_context(|| format!("cannot set {kind} to {soft}:{hard}"))?;
    }
    set_oom_score(spec.oom_score_adj.unwrap_or(0))?;
    rustix::process::umask(Mode::from_raw_mode(spec.user.umask.unwrap_or(0o022)));
    Ok(())
}

/// Gives up what the spec does not grant, and becomes the user. The order is the kernel's: the bounding set while
/// there is CAP_SETPCAP, the user while capabilities are kept, the sets last (capabilities(7)).
pub(crate) fn become_user(spec: &Process) -> anyhow::Result<()> {
    let wanted = &spec.capabilities;
    let bounding = parse(&wanted.bounding)?;
    for capability in CapabilitySet::all().difference(bounding).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Unknown to this kernel.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error).context("cannot reduce the bounding set"),
        }
    }
    rustix::thread::set_keep_capabilities(true).context("cannot keep capabilities")?;
    let groups: Vec<Gid> = spec.user.additional_gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
    setgroups(&groups).context("cannot set the supplementary groups")?;
    let (uid, gid) = (Uid::from_raw(spec.user.uid), Gid::from_raw(spec.user.gid));
    setresgid(gid, gid, gid).with_context(|| format!("cannot become group {gid}"))?;
    setresuid(uid, uid, uid).with_context(|| format!("cannot become user {uid}"))?;
    rustix::thread::set_keep_capabilities(false).context("cannot stop keeping capabilities")?;
    let sets = CapabilitySets {
        effective: parse(&wanted.effective)?,
        permitted: parse(&wanted.permitted)?,
        inheritable: parse(&wanted.inheritable)?,
    };
    rustix::thread::set_capabilities(None, sets).context("cannot set the capabilities")?;
    for capability in parse(&wanted.ambient)?.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)
            .context("cannot set the ambient capabilities")?;
    }
    if spec.no_new_privileges {
        rustix::thread::set_no_new_privs(true).context("cannot set no_new_privs")?;
    }
    Ok(())
}

/// Puts the container's seccomp filter on this process. Like runc, and because the kernel wants `CAP_SYS_ADMIN` or
/// `no_new_privs` for it, at one of two moments: see [`FilterMoment`].
pub(crate) fn filter(guest: &Guest, spec: &Process, moment: FilterMoment) -> anyhow::Result<()> {
    let Some(seccomp) = &guest.seccomp else { return Ok(()) };
    if (moment == FilterMoment::BeforeExec) != spec.no_new_privileges {
        return Ok(());
    }
    let program = seccomp.instructions.iter().map(|instruction| (*instruction).into());
    runq_sys::seccomp::load(program, seccomp.flags).context("cannot load the seccomp filter")
}

/// When a filter is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilterMoment {
    /// While the process is still root: without `no_new_privs`. The filter has to allow what makes it the user.
    BeforeUser,
    /// At the last moment, with `no_new_privs`.
    BeforeExec,
}

/// The set of capabilities named as in OCI.
fn parse(names: &[String]) -> anyhow::Result<CapabilitySet> {
    let mut set = CapabilitySet::empty();
    for name in names {
        let flag = name.strip_prefix("CAP_").and_then(CapabilitySet::from_name);
        match flag {
            Some(flag) => set |= flag,
            None => bail!("unknown capability {name}"),
        }
    }
    Ok(set)
}

/// Limits by their OCI name (getrlimit(2)).
fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_AS" => Resource::RLIMIT_AS,
        "RLIMIT_CORE" => Resource::RLIMIT_CORE,
        "RLIMIT_CPU" => Resource::RLIMIT_CPU,
        "RLIMIT_DATA" => Resource::RLIMIT_DATA,
        "RLIMIT_FSIZE" => Resource::RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => Resource::RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => Resource::RLIMIT_NICE,
        "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
        "RLIMIT_RSS" => Resource::RLIMIT_RSS,
        "RLIMIT_RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => Resource::RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_capabilities_of_linux() {
        let set =
            parse(&["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"].map(str::to_owned)).unwrap();
        assert_eq!(set.bits(), 1 | 1 << 21 | 1 << 40);
        assert!(parse(&["CAP_EVERYTHING".to_owned()]).is_err());
        assert!(parse(&["CHOWN".to_owned()]).is_err());
    }

    #[test]
    fn knows_all_resource_limits() {
        assert!(resource("RLIMIT_NOFILE").is_some());
        assert!(resource("RLIMIT_SOMETHING").is_none());
    }
}
