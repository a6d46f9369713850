//! What a container in a VM cannot have. Refused before anything is touched, with one clear line.

use super::mounts::CGROUPS;
use super::{Host, Network, SpecError};
use serde_json::Value;
use std::path::Path;

/// Parts of the spec that are for the host's kernel only, or would run the image's programs on it.
const PARTS: [(&str, &str, &str); 3] = [
    (
        "/hooks/startContainer",
        "a startContainer hook",
        "it would run the image's programs on the host's kernel",
    ),
    ("/linux/netDevices", "a network device of the host", "the VM has those of Docker's networks only"),
    ("/linux/intelRdt", "Intel RDT", "the VM's threads are not the container's"),
];

/// Where nothing of the host can be put, and what the user called it. Below /dev there is room.
const PLACES_OF_KERNEL: [(&str, &str); 3] =
    [("/dev", "a bind at /dev"), ("/sys", "a bind below /sys"), ("/proc", "a bind below /proc")];

/// Refuses what would be unsafe or meaningless in a VM.
pub(super) fn unsupported(spec: &Value, host: &Host) -> Result<(), SpecError> {
    let refuse = |option, reason| Err(SpecError::Unsupported { option, reason });
    if is_privileged(spec) {
        return refuse(
            "--privileged",
            "the host's devices do not reach into a VM; add single capabilities instead",
        );
    }
    for (namespace, option) in
        [("network", "--network host"), ("pid", "--pid host"), ("ipc", "--ipc host"), ("uts", "--uts host")]
    {
        let is_hosts = namespace == "network" && host.network == Network::Host;
        if is_hosts || !has_namespace(spec, namespace) {
            return refuse(option, "a VM cannot share this with the host");
        }
    }
    for (namespace, option) in
        [("network", "--network container:…"), ("pid", "--pid container:…"), ("ipc", "--ipc container:…")]
    {
        let is_joined = match namespace {
            "network" => host.network == Network::Container,
            _ => joins_namespace(spec, namespace),
        };
        if is_joined {
            return refuse(option, "a VM cannot share this with another container");
        }
    }
    for mount in spec.pointer("/mounts").and_then(Value::as_array).into_iter().flatten() {
        let place = mount["destination"].as_str().unwrap_or_default();
        let covers = PLACES_OF_KERNEL.iter().find(|(covered, _)| match *covered {
            "/dev" => place == "/dev",
            covered => Path::new(place).starts_with(covered),
        });
        if let Some((_, option)) = covers.filter(|_| mount["type"] == "bind" && place != CGROUPS) {
            return refuse(option, "the guest has those of its own kernel there");
        }
    }
    for (pointer, option, reason) in PARTS {
        if spec.pointer(pointer).is_some_and(is_set) {
            return refuse(option, reason);
        }
    }
    Ok(())
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    }
}

pub(super) fn namespaces(spec: &Value) -> impl Iterator<Item = &Value> {
    spec.pointer("/linux/namespaces").and_then(Value::as_array).into_iter().flatten()
}

fn has_namespace(spec: &Value, kind: &str) -> bool {
    namespaces(spec).any(|namespace| namespace["type"] == kind)
}

fn joins_namespace(spec: &Value, kind: &str) -> bool {
    namespaces(spec).any(|namespace| {
        namespace["type"] == kind && namespace["path"].as_str().is_some_and(|path| !path.is_empty())
    })
}

/// Docker's `--privileged`: every device is allowed. Neither the capabilities nor the masked paths tell, because both
/// can be had one by one.
fn is_privileged(spec: &Value) -> bool {
    let rules = spec.pointer("/linux/resources/devices").and_then(Value::as_array);
    rules.into_iter().flatten().any(|rule| {
        let all_kinds = rule["type"].as_str().is_none_or(|kind| kind == "a" || kind.is_empty());
        let all_numbers = rule["major"].as_i64().is_none_or(|major| major < 0);
        rule["allow"] == true && all_kinds && all_numbers
    })
}
