//! The order of the steps from the kernel's first process to the end of the entrypoint.

use crate::session::Session;
use crate::{channel, kernel_modules, mounts, port::Port, privileges};
use anyhow::Context;
use runq_contract::paths;
use tokio::task::LocalSet;

/// Returns when the guest is to be switched off.
pub(crate) fn run() -> anyhow::Result<()> {
    mounts::mount_all()?;
    privileges::set_default_limits()?;
    privileges::survive_want_of_memory()?;
    kernel_modules::load_all(paths::INITRD_MODULES)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    LocalSet::new().block_on(&runtime, async {
        let (events, receiver) = tokio::sync::mpsc::channel(64);
        channel::accept(Port::open()?, events.clone());
        Session::new(events)?.run(receiver).await
    })
}
