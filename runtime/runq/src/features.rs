//! `runq features` (OCI runtime spec, `features.md`): runc's answer, because it is runc who makes namespaces and mounts, with
//! what is otherwise in a VM. Pure; the caller asks runc.

use crate::settings::ANNOTATION;
use serde_json::{Value, json};

/// Actions that a filter in a guest can take, of those that runc knows.
const ACTIONS: [&str; 8] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// Flags of filters.
const FLAGS: [&str; 3] =
    ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"];

/// Our features, given those of runc; `None` is a runc before 1.1, which does not know the command. Every runc accepts these
/// versions of the spec.
pub(crate) fn ours(runc: Option<Value>) -> Value {
    let mut features = runc
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({"ociVersionMin": "1.0.0", "ociVersionMax": "1.0.2"}));
    if let Some(hooks) = features.get_mut("hooks").and_then(Value::as_array_mut) {
        hooks.retain(|hook| hook != "startContainer");
    }
    let seccomp = &mut features["linux"]["seccomp"];
    for (name, value) in [
        ("enabled", json!(true)),
        ("actions", json!(ACTIONS)),
        ("knownFlags", json!(FLAGS)),
        ("supportedFlags", json!(FLAGS)),
    ] {
        seccomp[name] = value;
    }
    for (feature, is_there) in
        [("apparmor", false), ("selinux", false), ("intelRdt", false), ("netDevices", false)]
    {
        features["linux"][feature] = json!({"enabled": is_there});
    }
    features["annotations"]["io.runq.version"] = json!(env!("CARGO_PKG_VERSION"));
    features["annotations"]["io.runq.build-id"] = json!(runq_contract::BUILD_ID);
    // An annotation is the word of whoever starts the container, and it decides about the VM.
    let unsafe_annotations = &mut features["potentiallyUnsafeConfigAnnotations"];
    match unsafe_annotations.as_array_mut() {
        Some(names) => names.push(json!(ANNOTATION)),
        None => *unsafe_annotations = json!([ANNOTATION]),
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_what_a_vm_changes_and_keeps_the_rest() {
        let runc = json!({"ociVersionMax": "1.2.0", "hooks": ["prestart", "startContainer"], "mountOptions": ["ro"],
            "linux": {"namespaces": ["pid"], "seccomp": {"enabled": true, "actions": ["SCMP_ACT_NOTIFY"]}, "intelRdt": {"enabled": true}},
            "potentiallyUnsafeConfigAnnotations": ["bundle"]});
        let features = ours(Some(runc));
        assert_eq!((&features["hooks"], &features["mountOptions"]), (&json!(["prestart"]), &json!(["ro"])));
        assert_eq!(features["linux"]["namespaces"], json!(["pid"]));
        assert!(!features["linux"]["seccomp"].to_string().contains("NOTIFY"));
        assert_eq!(features["linux"]["intelRdt"], json!({"enabled": false}));
        assert_eq!(features["potentiallyUnsafeConfigAnnotations"], json!(["bundle", "io.runq."]));
    }

    #[test]
    fn answers_for_a_runc_that_does_not_know_the_command() {
        let features = ours(None);
        assert_eq!(features["ociVersionMin"], "1.0.0");
        assert_eq!(features["linux"]["seccomp"]["enabled"], true);
    }
}
