//! The order of the steps from the container's first process to the exit code of the entrypoint. Runs as PID 1 of
//! the container, at first with the capabilities that `runq` gave it. The VM configuration and the machine data
//! are ours; everything else in the container belongs to the image and is not looked at.

use crate::channel::Channel;
use crate::machine::Machine;
use crate::session::{Children, End, Session};
use crate::signals::Signals;
use crate::{disks, network, qemu_process, share, virtiofsd};
use anyhow::{Context, bail, ensure};
use runq_contract::channel::HostMessage;
use runq_contract::guest::Share;
use runq_contract::vm_config::VmConfig;
use runq_contract::{BUILD_ID, paths};
use runq_sys::capabilities::{Rights, reduce_to};
use std::path::Path;
use std::time::Duration;
use tokio::task::LocalSet;

/// Runs the VM; returns the container's exit code.
pub(crate) fn run() -> anyhow::Result<u8> {
    let signals = Signals::block_all()?;
    let config = read_config(Path::new(paths::VM_CONFIG))?;
    let machine = Machine::read(&Path::new(paths::ASSETS).join(paths::MACHINE))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    LocalSet::new().block_on(&runtime, run_vm(config, machine, signals))
}

async fn run_vm(config: VmConfig, machine: Machine, signals: Signals) -> anyhow::Result<u8> {
    let VmConfig { users, hardware, share: protocol, virtiofs_cache, drives, guest, entrypoint, .. } = config;
    let boot_timeout = Duration::from_secs(config.boot_timeout_seconds.into());
    let disks = disks::open(&drives)?;
    let (network, taps) = network::take_over().await?;
    share::isolate(&guest.binds)?;
    let (virtiofsd, share) = match protocol {
        Share::Virtiofs => {
            let (child, socket) = virtiofsd::start(&machine, virtiofs_cache)?;
            (Some(child), qemu_process::RootFiles::Virtiofs(socket))
        }
        Share::NineP => (None, qemu_process::RootFiles::NineP),
    };
    let parts = qemu_process::Parts { share, taps, disks };
    let qemu = qemu_process::start(&machine, (&hardware, users.qemu), parts)?;
    reduce_to(Rights::of_user(users.proxy)).context("cannot give up the rights of root")?;

    let log = qemu_process::Log::collect(qemu.console, qemu.messages)?;
    let channel = Channel::connect(qemu.channel)?;
    let children = Children { qemu: qemu.child, virtiofsd };
    let session = Session { channel, signals: signals.watch()?, children, entrypoint, boot_timeout };
    match session.run(HostMessage::Boot { guest, network, share: protocol }).await {
        Ok(End::Exited(status)) => Ok(status.exit_code()),
        Ok(End::NotStarted(reason, message)) => {
            crate::report(&message);
            Ok(reason.exit_code())
        }
        Err(error) => {
            // QEMU's last words may still be on their way.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let log = log.text();
            if log.is_empty() { Err(error) } else { Err(error.context(format!("{log}runq"))) }
        }
    }
}

/// Reads the VM configuration and refuses one that this proxy could misread.
fn read_config(path: &Path) -> anyhow::Result<VmConfig> {
    let json = fs_err::read(path)?;
    let version: BuildId = serde_json::from_slice(&json)
        .with_context(|| format!("{} is not a VM configuration", path.display()))?;
    ensure!(
        version.build_id == BUILD_ID,
        "{} was written by runq of build {}, this proxy is of build {BUILD_ID}: runq and the asset tree are of \
         different releases",
        path.display(),
        version.build_id
    );
    let config: VmConfig = serde_json::from_slice(&json)
        .with_context(|| format!("{} is not a VM configuration of this build", path.display()))?;
    if config.entrypoint.args.is_empty() {
        bail!("{} has no command to run", path.display());
    }
    Ok(config)
}

/// The one field that every build writes.
#[derive(serde::Deserialize)]
struct BuildId {
    build_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_for(json: &str) -> String {
        let name = format!("runq-proxy-config-{}-{}", std::process::id(), json.len());
        let path = std::env::temp_dir().join(name);
        fs_err::write(&path, json).unwrap();
        let error = format!("{:#}", read_config(&path).unwrap_err());
        fs_err::remove_file(&path).unwrap();
        error
    }

    #[test]
    fn refuses_a_configuration_of_another_build() {
        let error = error_for("{\"build_id\":\"0.0.1-0\",\"future\":true}");
        assert!(error.contains("build 0.0.1-0") && error.contains(BUILD_ID), "{error}");
    }

    #[test]
    fn refuses_what_is_not_a_configuration() {
        assert!(error_for("[]").contains("not a VM configuration"));
        assert!(error_for(&format!("{{\"build_id\":\"{BUILD_ID}\"}}")).contains("of this build"));
    }
}
