//! The end of a sandbox. Works from any state: running, half started, or after its daemons were killed. Goes
//! on when a step fails, reports every failure, and keeps the state file then, so that it can be run again.

use super::state::State;
use super::{LIMIT, Sandbox};
use crate::firewall::Firewall;
use crate::{command, host, report};
use anyhow::{Context, Result, bail};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::Duration;

impl Sandbox {
    /// Ends all containers and daemons and removes every trace: processes, mounts, links, control groups, packet
    /// filter rules and files.
    ///
    /// # Errors
    /// All steps that failed, and all traces that are left.
    pub fn down(&self) -> Result<()> {
        let Some(state) = State::load(&self.state_file())? else {
            report::step(format_args!("sandbox: none in {}", self.dir.display()));
            return Ok(());
        };
        report::step(format_args!("sandbox: ending the one in {}", self.dir.display()));
        let mut failures = Failures::default();
        // A daemon that was killed is started again: nobody knows its containers and networks as well as it does.
        failures.note("start dockerd to clean up", self.up(None));
        failures.note("remove the containers", self.remove_containers());
        failures.note("stop dockerd", self.dockerd().stop());
        failures.note("stop containerd", self.containerd().stop());
        failures.note("end the remaining processes", self.kill_remaining(&state));
        failures.note("unmount", unmount_below(&self.dir));
        failures.note("remove the control groups", remove_cgroups(&state.slot.cgroup()));
        failures.note("remove the bridges", state.slot.delete_bridges());
        let alone = !another_docker_runs()?;
        let ours = |rule: &str| state.slot.is_in(rule);
        failures.note("restore the packet filter", state.firewall.restore(alone, ours));
        if alone {
            failures.note("remove stray files", state.remove_strays());
        }
        failures.note("find traces", self.look_for_traces(&state, alone));
        failures.into_result()?;
        Ok(fs_err::remove_dir_all(&self.dir)?)
    }

    fn remove_containers(&self) -> Result<()> {
        let docker = self.docker();
        for (list, remove) in [
            (["ps", "--all", "--quiet"].as_slice(), ["rm", "--force", "--volumes"].as_slice()),
            (&["network", "ls", "--quiet", "--filter", "type=custom"], &["network", "rm"]),
        ] {
            let ids = command::output(docker.command().args(list), LIMIT)?;
            if !ids.is_empty() {
                command::output(docker.command().args(remove).args(ids.split_whitespace()), LIMIT)?;
            }
        }
        Ok(())
    }

    /// Shims outlive containerd; what is left in the control group outlives a runtime that was killed.
    fn kill_remaining(&self, state: &State) -> Result<()> {
        let socket = self.containerd_socket().display().to_string();
        let mut remaining = host::processes()?;
        remaining
            .retain(|process| process.name.starts_with("containerd-shim") && process.args.contains(&socket));
        remaining.extend(host::processes_in(&state.slot.cgroup())?);
        for process in &remaining {
            report::detail(format_args!("killing {process}"));
            if let Some(pid) = Pid::from_raw(process.pid) {
                // It may have ended by itself meanwhile.
                kill_process(pid, Signal::KILL).or_else(|error| match error {
                    rustix::io::Errno::SRCH => Ok(()),
                    error => Err(error),
                })?;
            }
        }
        command::wait_until("processes to end", Duration::from_secs(10), || {
            host::processes_in(&state.slot.cgroup()).is_ok_and(|left| left.is_empty())
        })
    }

    fn look_for_traces(&self, state: &State, alone: bool) -> Result<()> {
        let mut traces = Vec::new();
        let mounts = host::mount_points()?.into_iter().filter(|mount| mount.starts_with(&self.dir));
        traces.extend(mounts.map(|mount| format!("mount {}", mount.display())));
        let rules = Firewall::now()?.beyond(&state.firewall).into_iter();
        traces.extend(rules.filter(|rule| alone || state.slot.is_in(rule)));
        if traces.is_empty() { Ok(()) } else { bail!("still there: {}", traces.join("; ")) }
    }
}

#[derive(Default)]
struct Failures(Vec<anyhow::Error>);

impl Failures {
    fn note(&mut self, step: &'static str, result: Result<()>) {
        self.0.extend(result.with_context(|| format!("cannot {step}")).err());
    }

    /// The first is the one that counts; the others are said as well.
    fn into_result(self) -> Result<()> {
        let mut failures = self.0.into_iter();
        let Some(first) = failures.next() else { return Ok(()) };
        for failure in failures {
            report::detail(format_args!("{failure:#}"));
        }
        Err(first)
    }
}

/// To be asked when ours does not run.
pub(super) fn another_docker_runs() -> Result<bool> {
    Ok(host::processes()?.iter().any(|process| process.name == "dockerd" && !process.args.is_empty()))
}

fn unmount_below(dir: &Path) -> Result<()> {
    let mounts = host::mount_points()?.into_iter().filter(|mount| mount.starts_with(dir));
    // Last mounted first.
    for mount in mounts.collect::<Vec<_>>().iter().rev() {
        unmount(mount, UnmountFlags::DETACH)
            .with_context(|| format!("cannot unmount {}", mount.display()))?;
    }
    Ok(())
}

fn remove_cgroups(cgroup: &str) -> Result<()> {
    for dir in host::cgroups_below(cgroup).iter().rev() {
        fs_err::remove_dir(dir)?;
    }
    Ok(())
}
