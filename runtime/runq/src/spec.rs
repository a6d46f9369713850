//! The rewrite: an OCI spec for runc becomes an OCI spec for the proxy and a VM configuration for the guest. A pure
//! function, the same on every architecture; fields that it does not know stay as they are.

mod confinement;
mod disks;
mod limits;
mod mounts;
mod oci;
mod refuse;
mod systemd;

pub(crate) use confinement::APPARMOR_PROFILE;
pub(crate) use disks::{Request, Source, mount_points, requests as disk_requests};
pub(crate) use limits::{Limits, limits, make_room};
pub(crate) use mounts::MODULES;

use crate::settings::Settings;
use oci::{OciGuest, OciProcess};
use runq_contract::BUILD_ID;
use runq_contract::disk::Drive;
use runq_contract::guest::{Guest, Share};
use runq_contract::paths;
use runq_contract::seccomp::Seccomp;
use runq_contract::vm_config::{Accel, VmConfig};
use serde_json::{Map, Value, json};

/// Marks a spec that was rewritten, so that a second rewrite is none.
const MARK: &str = "io.runq.rewritten";

/// Character device numbers, rwm (Linux `Documentation/admin-guide/devices.txt`).
const TUN: (u64, u64) = (10, 200);
const KVM: (u64, u64) = (10, 232);
const VHOST_NET: (u64, u64) = (10, 238);

/// Whose network namespace a container gets. Docker 20.10 makes one for each container, later versions and other
/// callers have it joined by a path, as they do with that of the host or of another container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// Its own: nobody else is in it.
    Own,
    /// The host's.
    Host,
    /// Some other process is in it.
    Container,
}

/// What `runq` found on the host.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// `qemu/` of the installed version, absolute.
    pub(crate) assets: String,
    /// Where the VM configuration will lie in the OCI bundle, absolute.
    pub(crate) vm_config: String,
    /// Major number of macvtap devices, which is dynamic.
    pub(crate) macvtap_major: Option<u64>,
    /// Whether there is `/dev/net/tun`.
    pub(crate) has_tun: bool,
    /// Whether there is `/dev/vhost-net`.
    pub(crate) has_vhost_net: bool,
    /// Whether the assets have modules for the guest's kernel.
    pub(crate) has_modules: bool,
    /// Whether the host's kernel has seccomp.
    pub(crate) has_seccomp: bool,
    /// How the bundle shares files, unless it is told otherwise.
    pub(crate) share: Share,
    /// What a filter in the guest can be asked about, its own architecture first.
    pub(crate) seccomp_archs: Vec<String>,
    /// Who is in the network namespace that the container joins.
    pub(crate) network: Network,
    /// Character devices by which QEMU reaches devices of the host: path, major and minor number.
    pub(crate) vfio: Vec<(String, (u64, u64))>,
    /// Directory with the programs that run instead of SIGUSR1 and SIGUSR2, absolute; none unless that is wanted.
    pub(crate) sigusr: Option<String>,
    /// The disks that the spec asks for.
    pub(crate) disks: Vec<Request>,
    /// What they were found to be.
    pub(crate) drives: Vec<Drive>,
    /// Size in bytes of what the engine bound to `/dev/shm`.
    pub(crate) shm_bytes: Option<u64>,
}

/// Both sides of the spec.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// For runc.
    pub(crate) spec: Value,
    /// For the proxy and the guest.
    pub(crate) config: VmConfig,
}

/// A spec that cannot be run in a VM.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpecError {
    /// Not an OCI spec, or of another major version.
    #[error("ociVersion {found:?} is not supported, expected 1.x")]
    Version { found: String },
    /// A part that is needed is missing or of another type.
    #[error("config.json: {part} is not as the OCI spec has it")]
    Malformed {
        part: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// See [`refuse`].
    #[error("{option} is not supported: {reason}")]
    Unsupported { option: &'static str, reason: &'static str },
    /// A disk that cannot be.
    #[error(transparent)]
    Disk(#[from] disks::DiskError),
}

/// Environment of the container's process, `NAME=value`; empty when there is none.
pub(crate) fn environment(spec: &Value) -> Vec<&str> {
    let env = spec.pointer("/process/env").and_then(Value::as_array);
    env.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Annotations, name and value.
pub(crate) fn annotations(spec: &Value) -> Vec<(&str, &str)> {
    let annotations = spec.pointer("/annotations").and_then(Value::as_object).into_iter().flatten();
    let ours = annotations.filter(|(name, _)| *name != MARK);
    ours.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect()
}

/// Whether the host side gets our AppArmor profile.
pub(crate) fn wants_apparmor(spec: &Value) -> bool {
    spec.pointer("/process/apparmorProfile").and_then(Value::as_str).is_some_and(confinement::is_engines)
}

/// Host directory that is bound to `/dev/shm`, as the engine does when the IPC namespace can be shared.
pub(crate) fn bound_shm(spec: &Value) -> Option<&str> {
    let mounts = spec.pointer("/mounts").and_then(Value::as_array)?;
    let shm = mounts.iter().rev().find(|mount| mount["destination"] == "/dev/shm")?;
    shm["source"].as_str().filter(|source| source.starts_with('/'))
}

/// Path of the network namespace that the container joins.
pub(crate) fn joined_network(spec: &Value) -> Option<&str> {
    let network = refuse::namespaces(spec).find(|namespace| namespace["type"] == "network")?;
    network["path"].as_str().filter(|path| !path.is_empty())
}

/// Whether the spec says that it has been rewritten before.
pub(crate) fn is_marked(spec: &Value) -> bool {
    spec.pointer("/annotations").and_then(|annotations| annotations.get(MARK)).is_some()
}

/// Splits the spec of the container `id`; `seccomp` is its compiled profile.
pub(crate) fn rewrite(
    mut spec: Value,
    settings: &Settings,
    host: &Host,
    (id, seccomp): (&str, Option<Seccomp>),
) -> Result<Rewritten, SpecError> {
    let version = spec.get("ociVersion").and_then(Value::as_str).unwrap_or_default();
    if !version.starts_with("1.") {
        return Err(SpecError::Version { found: version.to_owned() });
    }
    refuse::unsupported(&spec, host)?;
    if settings.share == Some(Share::Virtiofs) && host.share == Share::NineP {
        let reason = "the asset bundle has no virtiofsd that its guest understands, only 9p";
        return Err(SpecError::Unsupported { option: "--share virtiofs", reason });
    }
    let process: OciProcess = part(&spec, "/process", "process")?;
    let mut guest: OciGuest = part(&spec, "", "the container")?;
    let mut mounts = mounts::split(&mut guest, settings, host);
    let mut entrypoint = process.into_process();
    if settings.systemd {
        systemd::adapt(&mut entrypoint, &mut mounts);
    }
    let root = settings.root_disk.as_deref();
    let guest = Guest {
        seccomp,
        pids: limits(&spec).pids,
        binds: mounts::binds(&spec, host),
        disks: disks::disks(&host.disks),
        sigusr: host.sigusr.is_some(),
        runqenv: settings.runqenv,
        nine_p_cache: settings.nine_p_cache,
        root_disk: root
            .map(|id| {
                disks::root_disk(
                    &host.disks,
                    id,
                    &settings.root_disk_exclude,
                    spec["root"]["readonly"] == true,
                )
            })
            .transpose()?,
        ..guest.into_guest(mounts, settings.dns.clone())
    };
    let config = VmConfig {
        build_id: BUILD_ID.to_owned(),
        container_id: id.to_owned(),
        users: confinement::users(id),
        hardware: settings.hardware.clone(),
        boot_timeout_seconds: settings.boot_timeout_seconds,
        share: settings.share.unwrap_or(host.share),
        virtiofs_cache: settings.virtiofs_cache,
        drives: host.drives.clone(),
        no_exec: settings.noexec,
        guest,
        entrypoint,
    };
    disks::move_aside(&mut spec);
    rewrite_process(object(&mut spec, "process"));
    mounts::append(object_list(&mut spec, "mounts"), settings, host);
    rewrite_linux(object(&mut spec, "linux"), settings, host);
    object(&mut spec, "annotations").insert(MARK.to_owned(), json!(BUILD_ID));
    Ok(Rewritten { spec, config })
}

/// The proxy in place of the entrypoint: as root, with its own rights and an empty environment. The terminal stays.
fn rewrite_process(process: &mut Map<String, Value>) {
    process.insert("args".to_owned(), json!([paths::PROXY]));
    process.insert("env".to_owned(), json!(["PATH=/"]));
    process.insert("cwd".to_owned(), json!("/"));
    process.insert("user".to_owned(), json!({"uid": 0, "gid": 0}));
    process.remove("rlimits");
    confinement::confine_process(process);
}

/// Devices for the proxy and for QEMU, which is another user, limits with room for the VM; sysctl is the guest's.
fn rewrite_linux(linux: &mut Map<String, Value>, settings: &Settings, host: &Host) {
    linux.remove("sysctl");
    confinement::confine_linux(linux, host.has_seccomp);
    let uses_kvm = settings.hardware.accel == Accel::Kvm;
    let mut nodes = Vec::new();
    if uses_kvm {
        nodes.push(("/dev/kvm", KVM));
        nodes.extend(host.has_vhost_net.then_some(("/dev/vhost-net", VHOST_NET)));
    }
    if host.has_tun {
        nodes.push(("/dev/net/tun", TUN));
    }
    nodes.extend(host.vfio.iter().map(|(path, numbers)| (path.as_str(), *numbers)));
    let devices = object_list(linux, "devices");
    for (path, (major, minor)) in &nodes {
        let node = json!({"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0});
        // One that the user asked for has the host's mode, which keeps QEMU's user out.
        devices.retain(|device| device["path"] != *path);
        devices.push(node);
    }
    let resources = object(linux, "resources");
    make_room(resources, &settings.hardware);
    let rules = object_list(resources, "devices");
    for (_, (major, minor)) in nodes {
        rules.push(json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm"}));
    }
    if let Some(major) = host.macvtap_major {
        rules.push(json!({"allow": true, "type": "c", "major": major, "access": "rwm"}));
    }
}

fn part<T: serde::de::DeserializeOwned>(
    spec: &Value,
    pointer: &str,
    name: &'static str,
) -> Result<T, SpecError> {
    let value = spec.pointer(pointer).cloned().unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|source| SpecError::Malformed { part: name, source })
}

/// A member that is an object; made when it is missing or null.
fn object<'a>(parent: &'a mut (impl Members + ?Sized), name: &str) -> &'a mut Map<String, Value> {
    let value = parent.member(name);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("was made an object above"),
    }
}

/// A member that is an array; made when it is missing or null.
fn object_list<'a>(parent: &'a mut (impl Members + ?Sized), name: &str) -> &'a mut Vec<Value> {
    let value = parent.member(name);
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(list) => list,
        _ => unreachable!("was made an array above"),
    }
}

/// Something with named members.
trait Members {
    /// The member, null when it did not exist.
    fn member(&mut self, name: &str) -> &mut Value;
}

impl Members for Value {
    fn member(&mut self, name: &str) -> &mut Value {
        &mut self[name]
    }
}

impl Members for Map<String, Value> {
    fn member(&mut self, name: &str) -> &mut Value {
        self.entry(name).or_insert(Value::Null)
    }
}

#[cfg(test)]
mod tests;
