//! The installed tree, to the last byte, and what lies around it. Runs on the host; trusts the keys.

use super::Check;
use crate::cli::Keys;
use crate::installed::{self, SignedVersion};
use crate::keys::{self, KeyError};
use crate::layout::{CURRENT, Layout, STABLE_LINKS, STAGING_PREFIX};
use crate::preflight::check_mount;
use crate::transaction::{TEMPORARY_PREFIX, read_link, read_receipt};
use crate::usage;
use anyhow::Result;
use runq_bundle::tree::verify_tree;
use std::collections::BTreeSet;

const DAMAGED: &str = "containers may fail, or run what nobody has signed";
const AGAIN: &str = "install the same bundle again";

/// A few versions are a stock, more are a burden.
const FEW_VERSIONS: usize = 3;

pub(super) fn checks(layout: &Layout, keys: &Keys) -> Result<Vec<Check>> {
    let Some(active) = installed::active(layout)? else {
        let found = format!("no version is active in {}", layout.prefix().display());
        let mend = "runq-install, or runq-install adopt for a tree that was copied";
        return Ok(vec![Check::warning("tree", found, "runq is not installed here").mended_by(mend)]);
    };
    let mut checks = vec![tree(layout, &active, keys), links(layout)?, receipt(layout, &active)?];
    checks.extend(mount(layout));
    checks.push(leftovers(layout)?);
    checks.push(versions(layout, &active)?);
    Ok(checks)
}

fn tree(layout: &Layout, id: &str, keys: &Keys) -> Check {
    let looked = look(layout, id, keys);
    match looked {
        Ok((differences, signer)) if differences.is_empty() => {
            let by =
                signer.map_or_else(|| "signature not verified".to_owned(), |key| format!("signed by {key}"));
            Check::ok("tree", format!("{id}, every file is as it was installed, {by}"))
        }
        Ok((differences, _)) => {
            let first = differences.first().map_or("", String::as_str);
            Check::failure(
                "tree",
                format!("{id}, {} differences, the first: {first}", differences.len()),
                DAMAGED,
            )
            .mended_by(AGAIN)
        }
        Err(error) => Check::failure("tree", format!("{id}: {error:#}"), DAMAGED).mended_by(AGAIN),
    }
}

fn look(layout: &Layout, id: &str, keys: &Keys) -> Result<(Vec<String>, Option<String>)> {
    let (manifest, signer) = match keys::trusted(&keys.public_keys) {
        Err(KeyError::None) => (installed::read_manifest(&layout.version(id))?.0, None),
        keys => {
            let version = SignedVersion::open(layout, id, &keys?)?;
            (version.manifest, Some(version.verified.key.to_string()))
        }
    };
    let differences = verify_tree(&layout.version(id), &manifest)?;
    Ok((differences.iter().map(ToString::to_string).collect(), signer))
}

fn links(layout: &Layout) -> Result<Check> {
    for (name, target) in STABLE_LINKS {
        if read_link(&layout.stable(name))?.as_deref() != Some(target) {
            let found = format!("{} is not a link to {target}", layout.stable(name).display());
            return Ok(
                Check::failure("links", found, "daemon.json leads nowhere, or elsewhere").mended_by(AGAIN)
            );
        }
    }
    let names: Vec<&str> = STABLE_LINKS.iter().map(|(name, _)| *name).chain([CURRENT]).collect();
    Ok(Check::ok("links", names.join(", ")))
}

fn receipt(layout: &Layout, active: &str) -> Result<Check> {
    let mend = "runq-install adopt";
    let means = "uninstall does not know what is ours";
    Ok(match read_receipt(layout)? {
        None => Check::warning("receipt", "there is none", means).mended_by(mend),
        Some(receipt) if receipt.version != active => {
            let found = format!("it is of {}, active is {active}", receipt.version);
            Check::warning("receipt", found, "an installation was interrupted").mended_by(mend)
        }
        Some(receipt) => Check::ok("receipt", format!("runtimes registered: {}", receipt.docker.len())),
    })
}

fn mount(layout: &Layout) -> Option<Check> {
    let error = check_mount(layout.prefix(), true).err()?;
    let means = "nothing below it can be executed, or upgraded";
    Some(
        Check::failure("mount", error.to_string(), means)
            .mended_by("mount it with rw,exec, or choose another --prefix"),
    )
}

fn leftovers(layout: &Layout) -> Result<Check> {
    let mut found = Vec::new();
    for (directory, is_leftover) in [
        (layout.versions(), (|name| name.starts_with(STAGING_PREFIX)) as fn(&str) -> bool),
        (layout.prefix().to_owned(), |name| {
            name.starts_with(TEMPORARY_PREFIX) || name.contains(".replaced-")
        }),
    ] {
        for item in fs_err::read_dir(directory)? {
            let name = item?.file_name().to_string_lossy().into_owned();
            found.extend(is_leftover(&name).then_some(name));
        }
    }
    if found.is_empty() {
        return Ok(Check::ok("leftovers", "none"));
    }
    Ok(Check::warning("leftovers", found.join(", "), "they take space, and nothing uses them")
        .mended_by("runq-install gc removes those of killed runs; what was replaced was not ours, and is yours to remove"))
}

fn versions(layout: &Layout, active: &str) -> Result<Check> {
    let all = installed::all(layout)?;
    let used: BTreeSet<String> = usage::find(layout, &all)?.into_keys().collect();
    let spare = all.iter().filter(|id| *id != active && !used.contains(*id)).count();
    let found = format!("{} installed, {} of them neither active nor in use", all.len(), spare);
    if spare < FEW_VERSIONS {
        return Ok(Check::ok("versions", found));
    }
    Ok(Check::warning("versions", found, "they take space").mended_by("runq-install gc"))
}
