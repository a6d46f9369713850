//! Which mounts are the guest's and which stay the host's. The host keeps all of them, because runc makes the mount
//! points; binds reach the guest through the share, file systems of the kernel are mounted again by the guest.

use super::Host;
use super::disks::is_disk;
use super::oci::{OciGuest, OciMount};
use crate::settings::Settings;
use runq_contract::guest::GuestMount;
use runq_contract::paths;
use serde_json::{Value, json};

/// Modules of the guest's kernel for `modprobe` in the container, relative to the asset tree.
pub(crate) const MODULES: &str = "lib/modules";

/// Where they are in the container.
const MODULES_DESTINATION: &str = "/lib/modules";

/// File systems that the guest's own kernel provides.
const GUEST_KINDS: [&str; 7] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"];

/// Where many who run systemd bind the host's control groups: the guest's are meant.
pub(super) const CGROUPS: &str = "/sys/fs/cgroup";

/// Size of `/dev/shm` unless `--shm-size` says otherwise, in bytes; as in Docker.
const DEFAULT_SHM_BYTES: u64 = 64 * 1024 * 1024;

/// The guest's mounts in the order of the spec, followed by those that the admin adds.
pub(super) fn split(guest: &mut OciGuest, settings: &Settings, host: &Host) -> Vec<GuestMount> {
    let shm_bytes = host.shm_bytes.unwrap_or(DEFAULT_SHM_BYTES);
    let from_spec =
        std::mem::take(&mut guest.mounts).into_iter().filter_map(|mount| guest_mount(mount, shm_bytes));
    let added = settings.tmpfs.iter().map(|(destination, options)| GuestMount {
        destination: destination.clone(),
        kind: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options: options.clone(),
    });
    from_spec.chain(added).collect()
}

/// Where the host's files come into the container: volumes, binds, what the engine and `runq` add.
pub(super) fn binds(spec: &Value, host: &Host) -> Vec<String> {
    let mounts = spec["mounts"].as_array().into_iter().flatten();
    let binds = mounts.filter(|mount| mount["type"] == "bind");
    let destinations = binds.filter_map(|mount| mount["destination"].as_str());
    let seen = destinations.filter(|path| !is_disk(path) && !["/dev/shm", CGROUPS].contains(path));
    let ours =
        [host.has_modules.then_some(MODULES_DESTINATION), host.sigusr.is_some().then_some(paths::SIGUSR)];
    seen.chain(ours.into_iter().flatten()).map(str::to_owned).collect()
}

fn guest_mount(mount: OciMount, shm_bytes: u64) -> Option<GuestMount> {
    let OciMount { destination, kind, source, options } = mount;
    if GUEST_KINDS.contains(&kind.as_str()) {
        return Some(GuestMount { destination, kind, source, options });
    }
    if destination == CGROUPS {
        let is_read_only = options.iter().any(|option| option == "ro");
        let mode = if is_read_only { "ro" } else { "rw" };
        let options = ["nosuid", "noexec", "nodev", mode].map(str::to_owned).into();
        return Some(GuestMount {
            destination,
            kind: "cgroup".to_owned(),
            source: "cgroup".to_owned(),
            options,
        });
    }
    // Docker binds a tmpfs of its own when the IPC mode is shareable; shared memory cannot reach into a VM.
    (destination == "/dev/shm").then(|| {
        let size = format!("size={shm_bytes}");
        GuestMount {
            destination,
            kind: "tmpfs".to_owned(),
            source: "shm".to_owned(),
            options: ["nosuid", "noexec", "nodev", "mode=1777", &size].map(str::to_owned).into(),
        }
    })
}

/// What `runq` adds on the host side: the asset tree, the VM configuration in it, the modules of the guest's kernel,
/// and the mount points of the admin's tmpfs.
pub(super) fn append(mounts: &mut Vec<Value>, settings: &Settings, host: &Host) {
    let bind = |source: &str, destination: &str| {
        json!({"destination": destination, "type": "bind", "source": source,
               "options": ["bind", "ro", "nosuid", "nodev", "rprivate"]})
    };
    mounts.push(bind(&host.assets, paths::ASSETS));
    mounts.push(bind(&host.vm_config, paths::VM_CONFIG));
    if host.has_modules {
        mounts.push(bind(&format!("{}/{MODULES}", host.assets), MODULES_DESTINATION));
    }
    if let Some(programs) = &host.sigusr {
        mounts.push(bind(programs, paths::SIGUSR));
    }
    for (destination, options) in &settings.tmpfs {
        mounts.push(
            json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options}),
        );
    }
}
