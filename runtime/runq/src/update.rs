//! `update`: Docker changes the limits of a running container. Runs on the host; trusts dockerd. The limits of the host's
//! control group get the same room for the programs around the guest as at the start; the VM itself keeps its size.

use crate::cli::CommandLine;
use crate::spec::make_room;
use anyhow::{Context, bail, ensure};
use runq_contract::vm_config::Hardware;
use serde_json::Value;
use std::ffi::OsString;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::Command;

/// Flags of runc that set a limit which the VM has to do with. Docker gives all in one object instead.
const LIMITS: [&str; 4] = ["memory", "memory-swap", "pids-limit", "memory-reservation"];

/// Rewrites the limits that runc is going to read from its standard input, and gives runc's arguments.
pub(crate) fn rewrite(line: &CommandLine) -> anyhow::Result<Vec<OsString>> {
    if let Some(flag) = LIMITS.into_iter().find(|flag| line.command_flag(&[flag]).is_some()) {
        bail!("update --{flag} is not supported: give the limits with --resources, as Docker does");
    }
    let Some(source) = line.command_flag(&["resources", "r"]) else { return Ok(line.runc_args.clone()) };
    ensure!(source == "-", "update --resources={} is not supported: expected -", source.display());
    let mut json = Vec::new();
    std::io::stdin().read_to_end(&mut json).context("cannot read the limits from standard input")?;
    let resources: Value = serde_json::from_slice(&json).context("the limits are not JSON")?;
    let resources = update(resources, &hardware(line)?)?;
    replace_stdin(&serde_json::to_vec(&resources)?)?;
    Ok(line.runc_args.clone())
}

/// The new limits, as OCI's `linux.resources`.
fn update(resources: Value, hardware: &Hardware) -> anyhow::Result<Value> {
    let Value::Object(mut resources) = resources else { bail!("the limits are not an object") };
    let number =
        |group: &str, name: &str| resources.get(group)?.get(name)?.as_i64().filter(|number| *number != 0);
    if number("pids", "limit").is_some() {
        bail!("--pids-limit of a running VM cannot be changed: start the container anew");
    }
    let memory = number("memory", "limit").filter(|bytes| *bytes > 0);
    let mib = hardware.memory_mib;
    if let Some(bytes) = memory.filter(|bytes| *bytes < i64::from(mib) << 20) {
        bail!(
            "the VM has {mib} MiB, which a limit of {} MiB would not hold: expected at least {mib}m",
            bytes >> 20
        );
    }
    make_room(&mut resources, hardware);
    Ok(Value::Object(resources))
}

/// The VM's size, from its container's OCI bundle, of which runc knows the place.
fn hardware(line: &CommandLine) -> anyhow::Result<Hardware> {
    let id = line.container_id();
    let mut runc = Command::new(&line.runc);
    let output = runc.args(line.global_args()).args(["state", &id]).output();
    let output = output.with_context(|| format!("cannot execute {}", line.runc.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let state: Value = serde_json::from_slice(&output.stdout).context("runc state printed no JSON")?;
    let bundle = state["bundle"].as_str().context("runc state named no bundle")?;
    let path = Path::new(bundle).join("runq.json");
    let mut config: Value = serde_json::from_slice(&fs_err::read(&path)?)?;
    serde_json::from_value(config["hardware"].take()).with_context(|| {
        format!("{} is of another version of runq: start the container anew", path.display())
    })
}

/// Makes a file without a name the standard input.
fn replace_stdin(bytes: &[u8]) -> anyhow::Result<()> {
    let memory = rustix::fs::memfd_create("runq-update", rustix::fs::MemfdFlags::CLOEXEC)
        .context("cannot make a file in memory")?;
    let mut file = std::fs::File::from(memory);
    file.write_all(bytes).and_then(|()| file.rewind()).context("cannot write the limits")?;
    rustix::stdio::dup2_stdin(&file).context("cannot replace standard input")
}

#[cfg(test)]
mod tests {
    use super::*;
    use runq_contract::vm_config::Accel;
    use serde_json::json;

    #[test]
    fn limits_get_room_and_do_not_shrink_the_vm() {
        let hardware = Hardware { vcpus: 1, memory_mib: 256, accel: Accel::Kvm, ..Hardware::default() };
        let update = |resources: Value| update(resources, &hardware).map_err(|error| error.to_string());
        let mib = |mib: i64| mib << 20;
        let memory = |limit: i64| json!({"memory": {"limit": mib(limit), "swap": -1}, "cpu": {"shares": 5}});
        assert_eq!(update(memory(256)), Ok(memory(384)));
        assert!(update(memory(255)).unwrap_err().contains("expected at least 256m"));
        assert_eq!(update(json!({"memory": {"limit": 0}})), Ok(json!({"memory": {"limit": 0}})));
        assert!(update(json!({"pids": {"limit": 5}})).unwrap_err().contains("--pids-limit"));
        assert!(update(json!([])).is_err());
    }
}
