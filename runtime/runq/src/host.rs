//! What `runq` has to know of the host: where its own assets are, which devices exist.

mod ap;
mod apparmor;
mod disk_image;

pub(crate) use apparmor::load as load_apparmor;

use crate::settings::{self, Settings};
use crate::spec::{self, Host, MODULES, Network, Request, Source};
use anyhow::{Context, bail, ensure};
use runq_contract::disk::{Drive, Format};
use runq_contract::guest::Share;
use runq_contract::paths;
use runq_contract::vm_config::Accel;
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the admin's settings may lie, beside the `runtimeArgs` of daemon.json.
const SETTINGS_FILE: &str = "/etc/runq/config.toml";

/// Where the admin's programs for SIGUSR1 and SIGUSR2 are.
const SIGUSR_PROGRAMS: &str = "/etc/runq/sigusr";

/// Looks at everything that the rewrite of the spec depends on.
pub(crate) fn inspect(vm_config: &Path, spec: &Value, settings: &Settings) -> anyhow::Result<Host> {
    let assets = assets()?;
    let machine = machine(&assets)?;
    let disks = spec::disk_requests(spec)?;
    Ok(Host {
        has_seccomp: Path::new("/proc/sys/kernel/seccomp").exists(),
        share: machine.share,
        seccomp_archs: machine.seccomp_archs,
        has_modules: assets.join(MODULES).is_dir(),
        vm_config: vm_config.display().to_string(),
        macvtap_major: major(&fs_err::read_to_string("/proc/devices")?, "macvtap"),
        has_tun: Path::new("/dev/net/tun").exists(),
        has_vhost_net: Path::new("/dev/vhost-net").exists(),
        network: spec::joined_network(spec).map(whose_network).transpose()?.unwrap_or(Network::Own),
        vfio: settings.hardware.ap_uuid.as_deref().map(ap::nodes).transpose()?.unwrap_or_default(),
        sigusr: settings.sigusr.then(|| sigusr(&assets)).transpose()?,
        drives: disks.iter().map(drive).collect::<anyhow::Result<_>>()?,
        disks,
        assets: assets.display().to_string(),
        shm_bytes: spec::bound_shm(spec).map(file_system_bytes).transpose()?,
    })
}

/// Where the admin's programs for SIGUSR1 and SIGUSR2 are: in a place of their own, or in the asset tree, as the original runq
/// has it, where they last until the next version is installed.
fn sigusr(assets: &Path) -> anyhow::Result<String> {
    let places = [PathBuf::from(SIGUSR_PROGRAMS), assets.join(".runq")];
    let found = places.iter().find(|place| place.is_dir());
    let found = found.with_context(|| {
        format!(
            "--sigusr: there is neither {SIGUSR_PROGRAMS} nor {}: make one, with SIGUSR1 or SIGUSR2 in it",
            places[1].display()
        )
    })?;
    Ok(found.display().to_string())
}

/// What the host finds where the user says that a disk is.
fn drive(request: &Request) -> anyhow::Result<Drive> {
    let format = match &request.source {
        Source::Device => Format::Raw,
        Source::File(path) => disk_image::format(path).context("cannot attach a disk")?,
    };
    Ok(request.drive(format))
}

/// The asset tree beside the running binary. The binary's real path is used, not the link `current`, so that a
/// container keeps the version that it was started with.
fn assets() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let assets = program.with_file_name("qemu");
    let proxy = assets.join(paths::PROXY.trim_start_matches(paths::ASSETS).trim_start_matches('/'));
    ensure!(
        proxy.is_file(),
        "{} is missing: the installation is not complete, run runq-install verify",
        proxy.display()
    );
    Ok(assets)
}

/// What the host needs to know of the guest's machine. The rest of the file is the proxy's.
#[derive(serde::Deserialize)]
struct Machine {
    /// How the container's files get into the guest, by default.
    share: Share,
    seccomp_archs: Vec<String>,
}

fn machine(assets: &Path) -> anyhow::Result<Machine> {
    let path = assets.join(paths::MACHINE);
    serde_json::from_slice(&fs_err::read(&path)?)
        .with_context(|| format!("{} is not the machine data of this build", path.display()))
}

/// Major number of a character device driver in the text of `/proc/devices`; none as long as its module is not loaded.
fn major(devices: &str, driver: &str) -> Option<u64> {
    let characters = devices.split("Block devices:").next().unwrap_or_default();
    characters.lines().find_map(|line| {
        let (number, name) = line.trim().split_once(' ')?;
        (name == driver).then(|| number.parse().ok())?
    })
}

/// Who is in a network namespace. This process is in the host's. Namespaces are files, the same when device and inode
/// are (namespaces(7)).
fn whose_network(path: &str) -> anyhow::Result<Network> {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let joined = identity(fs_err::metadata(path)?);
    if joined == identity(fs_err::metadata("/proc/self/ns/net")?) {
        return Ok(Network::Host);
    }
    for process in fs_err::read_dir("/proc")?.flatten() {
        // Other entries of /proc have no namespaces, and a process that has ended meanwhile is in none.
        let network = std::fs::metadata(process.path().join("ns/net"));
        if network.is_ok_and(|metadata| identity(metadata) == joined) {
            return Ok(Network::Container);
        }
    }
    Ok(Network::Own)
}

fn file_system_bytes(path: &str) -> anyhow::Result<u64> {
    let stat = rustix::fs::statvfs(path).with_context(|| format!("cannot find the size of {path}"))?;
    Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
}

/// The admin's settings that are no runtimeArgs: in the file that these name, else in the usual place, where none need
/// be.
pub(crate) fn settings_file(named: Option<&Path>) -> anyhow::Result<Vec<(String, String)>> {
    let path = named.unwrap_or(Path::new(SETTINGS_FILE));
    let text = match fs_err::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
            return Ok(Vec::new());
        }
        text => text?,
    };
    settings::parse_file(&text).with_context(|| path.display().to_string())
}

/// Refuses an accelerator that the host does not have.
pub(crate) fn check_accel(accel: Accel) -> anyhow::Result<()> {
    if accel == Accel::Kvm { check_kvm("/dev/kvm") } else { Ok(()) }
}

fn check_kvm(kvm: &str) -> anyhow::Result<()> {
    if let Err(error) = fs_err::OpenOptions::new().read(true).write(true).open(kvm) {
        bail!(
            "no hardware virtualisation: {error}. Load the module kvm_intel, kvm_amd or kvm and enable virtualisation in \
             the firmware or the hypervisor, or choose emulation, which is slow, with --accel tcg in the runtimeArgs"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_hardware_virtualisation_is_told_what_to_do() {
        let error = check_kvm("/dev/no-kvm").unwrap_err().to_string();
        assert!(error.contains("/dev/no-kvm") && error.contains("--accel tcg"), "{error}");
        assert!(check_kvm("/dev/null").is_ok());
        assert!(check_accel(Accel::Tcg).is_ok());
    }

    #[test]
    fn tells_whose_network_it_is() {
        assert_eq!(whose_network("/proc/self/ns/net").unwrap(), Network::Host);
        // A namespace that no process is in, as far as its identity goes.
        assert_eq!(whose_network("/proc/self/ns/mnt").unwrap(), Network::Own);
        assert!(whose_network("/proc/self/ns/nothing").is_err());
    }

    #[test]
    fn finds_a_dynamic_major_number() {
        let devices = "Character devices:\n  1 mem\n246 macvtap\n\nBlock devices:\n  7 loop\n253 macvtap2\n";
        assert_eq!(major(devices, "macvtap"), Some(246));
        assert_eq!(major(devices, "loop"), None);
    }
}
