//! What `runq` has to know of the host: where its own assets are, which devices exist.

use anyhow::{Context, bail, ensure};
use runq_contract::paths;
use runq_contract::vm_config::Accel;
use std::path::{Path, PathBuf};

/// The asset tree beside the running binary. The binary's real path is used, not the link `current`, so that a
/// container keeps the version that it was started with.
pub(crate) fn assets() -> anyhow::Result<PathBuf> {
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

/// Major number of a character device driver in the text of `/proc/devices`.
fn major(devices: &str, driver: &str) -> Option<u64> {
    let characters = devices.split("Block devices:").next().unwrap_or_default();
    characters.lines().find_map(|line| {
        let (number, name) = line.trim().split_once(' ')?;
        (name == driver).then(|| number.parse().ok())?
    })
}

/// Major number of macvtap devices; absent as long as the module is not loaded.
pub(crate) fn macvtap_major() -> anyhow::Result<Option<u64>> {
    Ok(major(&fs_err::read_to_string("/proc/devices")?, "macvtap"))
}

/// Whether there is a tun device.
pub(crate) fn has_tun() -> bool {
    Path::new("/dev/net/tun").exists()
}

/// Refuses an accelerator that the host does not have.
pub(crate) fn check_accel(accel: Accel) -> anyhow::Result<()> {
    if accel == Accel::Tcg {
        return Ok(());
    }
    let kvm = "/dev/kvm";
    if let Err(error) = fs_err::OpenOptions::new().read(true).write(true).open(kvm) {
        bail!(
            "no hardware virtualisation: {error}. Load the module kvm_intel, kvm_amd or kvm and enable virtualisation in \
             the firmware or the hypervisor, or choose emulation, which is slow, with --accel tcg or -e RUNQ_ACCEL=tcg"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_dynamic_major_number() {
        let devices = "Character devices:\n  1 mem\n246 macvtap\n\nBlock devices:\n  7 loop\n253 macvtap2\n";
        assert_eq!(major(devices, "macvtap"), Some(246));
        assert_eq!(major(devices, "loop"), None);
    }
}
