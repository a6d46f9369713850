//! `rollback`: makes an earlier version the active one again. Runs on the host, as root; needs neither bundle nor network,
//! and reads no file of the version beside its manifest.

use crate::cli::Rollback;
use crate::installed::{self, InstalledError};
use crate::keys::{self, KeyError};
use crate::layout::Layout;
use crate::plan::{Found, Tree, plan};
use crate::receipt::Receipt;
use crate::report::Report;
use crate::transaction::{self, Source};
use anyhow::{Context, Result, bail};
use runq_bundle::manifest::Manifest;
use runq_bundle::tree::{Difference, survey_tree};
use std::io::Empty;

/// Activates the version before, or the one that is named.
pub(crate) fn rollback(options: &Rollback) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let active = installed::chosen_or_active(&layout, None)?;
    let _lock = if options.trial.dry_run { None } else { Some(transaction::lock(&layout)?) };
    let found = transaction::inspect(&layout, Tree::Complete)?;
    let id = target(&layout, options.to.as_deref(), &found, &active)?;
    let (manifest, signer) = check(options, &layout, &id)?;

    let Some(receipt) = &found.receipt else {
        bail!("there is no receipt in {}: adopt the tree first", layout.prefix().display());
    };
    let wanted = Receipt {
        version: id.clone(),
        signed_by: signer.clone().unwrap_or_else(|| receipt.signed_by.clone()),
        previous: found.previous(&id),
        ..receipt.clone()
    };
    let steps = plan(&found, &wanted);
    let mut report =
        Report::new(vec![("version", id.clone()), ("prefix", layout.prefix().display().to_string())]);
    report.changes.extend(steps.iter().map(|step| step.describe(&id)));
    if signer.is_none() {
        report.notes.push("without --public-key the signature was not verified".into());
    }
    if options.trial.dry_run {
        return Ok(report.of_dry_run());
    }
    let mut source = Source::<Empty>::Tree(manifest);
    for step in &steps {
        transaction::perform(&layout, step, &wanted, &mut source)
            .with_context(|| format!("cannot {}", step.describe(&id)))?;
    }
    let state = if report.changes.is_empty() { "was active before: nothing to do" } else { "is active" };
    report.summary = format!("runq {id} {state}");
    Ok(report)
}

/// The version that was named, else the one before the active one, else the only other one.
fn target(layout: &Layout, named: Option<&str>, found: &Found, active: &str) -> Result<String> {
    if let Some(id) = named {
        return installed::existing(layout, id);
    }
    let all = installed::all(layout)?;
    // A rollback that ended between the switch and the receipt is brought to its end, not turned round.
    if found
        .receipt
        .as_ref()
        .is_some_and(|receipt| receipt.version != active && receipt.previous.as_deref() == Some(active))
    {
        return Ok(active.to_owned());
    }
    if let Some(previous) = found.previous(active).filter(|previous| all.contains(previous)) {
        return Ok(previous);
    }
    let mut others: Vec<String> = all.into_iter().filter(|id| id != active).collect();
    match (others.pop(), others.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => bail!("{active} is the only version in {}", layout.prefix().display()),
        (Some(last), false) => {
            others.push(last);
            Err(InstalledError::Choice { found: others }.into())
        }
    }
}

/// Manifest and signer of a version whose names, kinds, sizes, modes and links are right.
fn check(options: &Rollback, layout: &Layout, id: &str) -> Result<(Manifest, Option<String>)> {
    let (manifest, signer) = match keys::trusted(&options.keys.public_keys) {
        Err(KeyError::None) => (installed::read_manifest(&layout.version(id))?.0, None),
        keys => {
            let version = installed::SignedVersion::open(layout, id, &keys?)?;
            (version.manifest, Some(version.verified.key.to_string()))
        }
    };
    let differences = survey_tree(&layout.version(id), &manifest)?;
    if differences.is_empty() {
        return Ok((manifest, signer));
    }
    let differences: Vec<&Difference> = differences.iter().collect();
    Err(InstalledError::differs(&layout.version(id), &differences).into())
}

#[cfg(test)]
mod tests {
    use crate::test_host::Host;
    use std::fs;

    #[test]
    fn goes_back_and_forth() {
        let host = Host::new();
        host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap();
        host.with_docker(&host.bundle("1.1.0", "x86_64", "x86_64")).unwrap();
        let docker = host.daemon_json();
        let active = || fs::read_to_string(host.prefix("current/sbom.spdx.json")).unwrap();
        let report = host.run("rollback --prefix DIR/prefix --public-key DIR/key.pub").unwrap();
        assert_eq!(report.changes.len(), 2, "{:?}", report.changes);
        assert_eq!(active(), "1.0.0");
        host.run("rollback --prefix DIR/prefix").unwrap();
        assert_eq!(active(), "1.1.0");
        // Without the receipt's memory the other one of two is meant.
        fs::remove_file(host.prefix("receipt.json")).unwrap();
        assert!(host.run("rollback --prefix DIR/prefix").unwrap_err().to_string().contains("no receipt"));
        assert_eq!(host.daemon_json(), docker);
    }

    #[test]
    fn names_a_version_or_says_which_there_are() {
        let host = Host::new();
        let ids: Vec<String> = ["1.0.0", "1.1.0", "1.2.0"]
            .map(|version| {
                host.with_docker(&host.bundle(version, "x86_64", "x86_64")).unwrap().facts[0].1.clone()
            })
            .into();
        host.run(&format!("rollback --prefix DIR/prefix --to {}", ids[0])).unwrap();
        assert!(fs::read_link(host.prefix("current")).unwrap().ends_with(&ids[0]));
        let error = host.run("rollback --prefix DIR/prefix --to 9").unwrap_err().to_string();
        assert!(error.ends_with(&format!("has no version 9, it has {}", ids.join(", "))), "{error}");
    }

    #[test]
    fn refuses_a_version_that_is_not_whole() {
        let host = Host::new();
        host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap();
        fs::remove_file(host.prefix("current/sbom.spdx.json")).unwrap();
        host.with_docker(&host.bundle("1.1.0", "x86_64", "x86_64")).unwrap();
        let error = format!("{:#}", host.run("rollback --prefix DIR/prefix").unwrap_err());
        assert!(error.contains("\"sbom.spdx.json\" is missing"), "{error}");
        assert_eq!(fs::read_to_string(host.prefix("current/sbom.spdx.json")).unwrap(), "1.1.0");
    }

    #[test]
    fn one_version_is_nothing_to_go_back_to() {
        let host = Host::new();
        host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap();
        let error = host.run("rollback --prefix DIR/prefix").unwrap_err().to_string();
        assert!(error.contains("is the only version"), "{error}");
    }
}
