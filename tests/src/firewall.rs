//! The packet filter as it was before the sandbox, and the way back to it. On the host as root, with the
//! host's own iptables; trusts nothing that it does not find in its own snapshot.

use crate::command;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);
const FAMILIES: [&str; 2] = ["iptables", "ip6tables"];

/// dockerd turns this on for its bridges.
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// All rules, and whether the host routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    rules: Vec<Rule>,
    ip_forward: String,
}

/// One line of `iptables-save` with its family and table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    family: String,
    table: String,
    line: String,
}

impl Firewall {
    /// What is in force now.
    ///
    /// # Errors
    /// When iptables fails.
    pub fn now() -> Result<Self> {
        let mut rules = Vec::new();
        for family in FAMILIES {
            let saved = command::output(&mut Command::new(format!("{family}-save")), LIMIT)?;
            rules.extend(parse(family, &saved));
        }
        Ok(Self { rules, ip_forward: fs_err::read_to_string(IP_FORWARD)?.trim().to_owned() })
    }

    /// Takes away what came after `self` and passes `ours`, and everything else that came if `alone`:
    /// with another Docker on the host the shared chains stay.
    ///
    /// # Errors
    /// When iptables fails.
    pub fn restore(&self, alone: bool, ours: impl Fn(&str) -> bool) -> Result<()> {
        let added: Vec<Rule> =
            Self::now()?.rules.into_iter().filter(|rule| !self.rules.contains(rule)).collect();
        let condemned: Vec<&Rule> = added.iter().filter(|rule| alone || ours(&rule.line)).collect();
        for rule in condemned.iter().filter(|rule| rule.line.starts_with("-A ")) {
            rule.iptables(rule.line.replacen("-A ", "-D ", 1).split(' '))?;
        }
        for rule in &condemned {
            let Some((chain, policy)) = rule.chain() else { continue };
            match policy {
                "-" => rule.iptables(["-X", chain].into_iter())?,
                _ => rule.iptables(["-P", chain, self.policy(rule, chain)].into_iter())?,
            }
        }
        if alone {
            fs_err::write(IP_FORWARD, &self.ip_forward)?;
        }
        Ok(())
    }

    /// Rules that are here and were not there; chains of the kernel that accept everything do not count.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        let added = self.rules.iter().filter(|rule| !before.rules.contains(rule));
        let changed = added.filter(|rule| rule.chain().is_none_or(|(_, policy)| policy != "ACCEPT"));
        changed.map(|rule| format!("{} rule {}", rule.family, rule.line)).collect()
    }

    /// Policy of a built-in chain before the sandbox; the kernel's default when the table was not there.
    fn policy(&self, of: &Rule, chain: &str) -> &str {
        let same = self.rules.iter().filter(|rule| rule.family == of.family && rule.table == of.table);
        same.filter_map(Rule::chain).find(|(name, _)| *name == chain).map_or("ACCEPT", |(_, policy)| policy)
    }

    /// For the sandbox's state directory.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rules = self.rules.iter().map(|rule| json!([rule.family, rule.table, rule.line]));
        json!({ "ip_forward": self.ip_forward, "rules": rules.collect::<Vec<_>>() })
    }

    /// From the sandbox's state directory.
    ///
    /// # Errors
    /// When it is not what [`Self::to_json`] wrote.
    pub fn from_json(value: &Value) -> Result<Self> {
        let rule = |rule: &Value| {
            let text = |index: usize| rule[index].as_str().map(str::to_owned);
            Some(Rule { family: text(0)?, table: text(1)?, line: text(2)? })
        };
        let rules = value["rules"].as_array().and_then(|rules| rules.iter().map(rule).collect());
        let ip_forward = value["ip_forward"].as_str().map(str::to_owned);
        rules
            .zip(ip_forward)
            .map(|(rules, ip_forward)| Self { rules, ip_forward })
            .context("malformed firewall state")
    }
}

impl Rule {
    /// Name and policy when the line declares a chain.
    fn chain(&self) -> Option<(&str, &str)> {
        let mut words = self.line.strip_prefix(':')?.split(' ');
        Some((words.next()?, words.next()?))
    }

    fn iptables<'a>(&self, args: impl Iterator<Item = &'a str>) -> Result<()> {
        // `--wait`: another program may hold the lock.
        let args = args.map(|arg| arg.trim_matches('"'));
        command::output(Command::new(&self.family).args(["--wait", "-t", &self.table]).args(args), LIMIT)?;
        Ok(())
    }
}

fn parse(family: &str, saved: &str) -> Vec<Rule> {
    let mut table = "";
    let mut rules = Vec::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if line.starts_with("-A ") || line.starts_with(':') {
            // A chain's counters change all the time.
            let line = line.split(" [").next().unwrap_or(line);
            rules.push(Rule { family: family.to_owned(), table: table.to_owned(), line: line.to_owned() });
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = "# Generated\n*nat\n:PREROUTING ACCEPT [1:2]\n:DOCKER - [0:0]\n\
                         -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\nCOMMIT\n";

    #[test]
    fn counters_do_not_make_a_difference() {
        let rules = parse("iptables", SAVED);
        assert_eq!(rules, parse("iptables", &SAVED.replace("[1:2]", "[3:4]")));
        assert_eq!(rules.len(), 3);
        assert_eq!(rules[1].chain(), Some(("DOCKER", "-")));
    }

    #[test]
    fn survives_the_state_file() {
        let firewall = Firewall { rules: parse("iptables", SAVED), ip_forward: "0".to_owned() };
        assert_eq!(Firewall::from_json(&firewall.to_json()).unwrap(), firewall);
        assert!(Firewall::from_json(&json!({ "rules": [] })).is_err());
    }

    #[test]
    fn accepting_built_in_chains_do_not_count_as_left_behind() {
        let before = Firewall { rules: Vec::new(), ip_forward: "0".to_owned() };
        let after = Firewall { rules: parse("iptables", SAVED), ..before.clone() };
        assert_eq!(after.beyond(&before).len(), 2);
    }
}
