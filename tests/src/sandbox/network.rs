//! The names and addresses that one sandbox takes, so that several can stand beside each other and beside the
//! host's own Docker. On the host as root, with `ip`; trusts the kernel's lists of links and routes.

use crate::{command, host};
use anyhow::{Context, Result};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// How many sandboxes a host can have.
const SLOTS: u8 = 8;

/// A number that decides bridge, control group and addresses: slot `n` has 10.`213+n`.0.0/16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub u8);

impl Slot {
    /// The first whose bridge and addresses nobody uses.
    ///
    /// # Errors
    /// When all are taken.
    pub fn free() -> Result<Self> {
        let links = host::links()?;
        let routes =
            command::output(Command::new("ip").args(["-4", "route", "show", "table", "all"]), LIMIT)?;
        let mut slots = (0..SLOTS).map(Self);
        slots.find(|slot| !links.contains(&slot.bridge()) && !routes.contains(&slot.prefix())).with_context(
            || format!("all {SLOTS} sandboxes of this host are taken; end one with `make sandbox-down`"),
        )
    }

    /// The default bridge.
    #[must_use]
    pub fn bridge(self) -> String {
        format!("runqsb{}", self.0)
    }

    /// The control group of its containers, as in `/proc/PID/cgroup`.
    #[must_use]
    pub fn cgroup(self) -> String {
        format!("/runq-sandbox-{}", self.0)
    }

    /// All its addresses.
    #[must_use]
    pub fn subnet(self) -> String {
        format!("{}0.0/16", self.prefix())
    }

    /// Whether a rule of the packet filter is about this sandbox.
    #[must_use]
    pub fn is_in(self, rule: &str) -> bool {
        rule.contains(&self.bridge()) || rule.contains(&self.prefix())
    }

    /// Docker's own way of making its bridge always takes `docker0`: we make one with a name of ours.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn create_bridge(self) -> Result<()> {
        let bridge = self.bridge();
        if host::links()?.contains(&bridge) {
            return Ok(());
        }
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}0.1/24", self.prefix()), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])
    }

    /// Deletes the default bridge and what custom networks left: all links with an address of this slot, and
    /// their ports, which a dockerd that was killed while it made them does not know.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn delete_bridges(self) -> Result<()> {
        let addresses = command::output(Command::new("ip").args(["-o", "-4", "address", "show"]), LIMIT)?;
        let ours = format!(" inet {}", self.prefix());
        let links = addresses.lines().filter(|line| line.contains(&ours));
        for link in links.filter_map(|line| line.split_whitespace().nth(1)) {
            for port in fs_err::read_dir(format!("/sys/class/net/{link}/brif"))? {
                ip(&["link", "delete", &port?.file_name().to_string_lossy()])?;
            }
            ip(&["link", "delete", link])?;
        }
        Ok(())
    }

    /// What tells dockerd to stay in this slot. The upper half of the addresses is for custom networks.
    #[must_use]
    pub fn dockerd_args(self) -> Vec<String> {
        let pool = format!("base={}128.0/17,size=24", self.prefix());
        ["--bridge", &self.bridge(), "--default-address-pool", &pool, "--cgroup-parent", &self.cgroup()]
            .map(str::to_owned)
            .into()
    }

    fn prefix(self) -> String {
        format!("10.{}.", 213 + u16::from(self.0))
    }
}

fn ip(args: &[&str]) -> Result<()> {
    command::output(Command::new("ip").args(args), LIMIT).map(drop)
}
