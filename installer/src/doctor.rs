//! `doctor`: is this host fit for runq, and what is installed sound? Runs on the host; changes nothing, and executes nothing
//! but `runc --version`.

mod devices;
mod docker;
mod kernel;
mod tree;

use crate::cli::Doctor;
use crate::layout::Layout;
use crate::report::Report;
use crate::transaction::read_receipt;
use anyhow::Result;
use serde::Serialize;
use std::fmt;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// Containers run, but something is slower, missing or in the way.
    Warning,
    /// Containers do not run, or must not.
    Failure,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    /// Stable, for scripts.
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    /// What is there.
    pub(crate) found: String,
    /// What follows from it; empty when all is well.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) means: &'static str,
    /// What to do about it; empty when all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) mend: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), means: "", mend: String::new() }
    }

    fn warning(name: &'static str, found: impl Into<String>, means: &'static str) -> Self {
        Self { name, verdict: Verdict::Warning, found: found.into(), means, mend: String::new() }
    }

    fn failure(name: &'static str, found: impl Into<String>, means: &'static str) -> Self {
        Self { verdict: Verdict::Failure, ..Self::warning(name, found, means) }
    }

    fn mended_by(mut self, mend: impl Into<String>) -> Self {
        self.mend = mend.into();
        self
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        })
    }
}

/// Looks at everything.
pub(crate) fn doctor(options: &Doctor) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let entries = read_receipt(&layout)?.map(|receipt| receipt.docker).unwrap_or_default();
    let emulated = docker::all_emulate(&entries);
    let mut checks = devices::checks(emulated);
    checks.extend(kernel::checks());
    checks.extend(docker::checks(&options.docker, &entries));
    checks.extend(tree::checks(&layout, &options.keys)?);

    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let summary = match (count(Verdict::Failure), count(Verdict::Warning)) {
        (0, 0) => "everything is as it should be".to_owned(),
        (0, warnings) => format!("runq works here; warnings: {warnings}"),
        (failures, warnings) => {
            format!("runq does not work here; failures: {failures}, warnings: {warnings}")
        }
    };
    Ok(Report { summary, checks, ..Report::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_host::Host;

    fn check(report: &Report, name: &str) -> Check {
        report.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name}")).clone()
    }

    fn doctor(host: &Host) -> Report {
        host.run(
            "doctor --prefix DIR/prefix --public-key DIR/key.pub --docker-host unix:///nonexistent/d.sock",
        )
        .unwrap()
    }

    #[test]
    fn every_complaint_says_what_it_means_and_what_to_do() {
        let host = Host::new();
        let report = doctor(&host);
        for check in report.checks.iter().filter(|check| check.verdict != Verdict::Ok) {
            assert!(!check.means.is_empty() && !check.mend.is_empty(), "{check:?}");
        }
        let names: Vec<&str> = report.checks.iter().map(|check| check.name).collect();
        for name in ["kvm", "vhost-net", "tun", "macvtap", "cgroups", "seccomp", "dockerd", "runc", "tree"] {
            assert!(names.contains(&name), "{names:?} lacks {name}");
        }
        assert_eq!(check(&report, "tree").verdict, Verdict::Warning);
    }

    #[test]
    fn a_sound_tree_and_entry_are_ok_and_damage_is_not() {
        let host = Host::new();
        host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap();
        let report = doctor(&host);
        for name in ["tree", "links", "receipt", "leftovers", "daemon.json"] {
            assert_eq!(check(&report, name).verdict, Verdict::Ok, "{:?}", check(&report, name));
        }

        std::fs::write(host.prefix("current/qemu/more"), "").unwrap();
        std::fs::remove_file(host.prefix("qemu")).unwrap();
        std::fs::create_dir(host.prefix("versions/.staging-1")).unwrap();
        std::fs::write(host.path("daemon.json"), "{\"default-runtime\": \"gone\"}").unwrap();
        let report = doctor(&host);
        for (name, verdict) in [
            ("tree", Verdict::Failure),
            ("links", Verdict::Failure),
            ("leftovers", Verdict::Warning),
            ("daemon.json", Verdict::Failure),
        ] {
            assert_eq!(check(&report, name).verdict, verdict, "{:?}", check(&report, name));
        }
        assert!(!report.is_ok());
        assert_eq!(report.json()["ok"], false);
    }
}
