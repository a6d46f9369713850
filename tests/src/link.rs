//! Network devices of the host for tests. As root; they go with their value.

use crate::command;
use anyhow::Result;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A pair of virtual Ethernet devices, both up: something like a card with a cable that leads nowhere.
pub struct Veth(String);

impl Veth {
    /// Makes one.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn new() -> Result<Self> {
        let name = format!("rqv{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let peer = format!("{name}p");
        let ip = |args: &[&str]| command::output(Command::new("ip").args(args), LIMIT);
        ip(&["link", "add", &name, "type", "veth", "peer", "name", &peer])?;
        let veth = Self(name);
        ip(&["link", "set", &veth.0, "up"])?;
        ip(&["link", "set", &peer, "up"])?;
        Ok(veth)
    }

    /// Of the end to use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        // A failure here would hide the one that ended the test.
        command::output(Command::new("ip").args(["link", "delete", &self.0]), LIMIT).ok();
    }
}
