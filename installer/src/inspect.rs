//! `verify` and `list`: looking at bundles and installed trees. Runs on the host; changes nothing.

use crate::cli::{Prefix, Verify};
use crate::install::open_bundle;
use crate::installed::{self, SignedVersion};
use crate::keys::{self, KeyError};
use crate::layout::Layout;
use crate::preflight::arch_label;
use crate::report::{Report, VersionLine};
use anyhow::{Context, Result};
use runq_bundle::archive::BundleReader;
use runq_bundle::manifest::Manifest;
use runq_bundle::tree::verify_tree;
use std::path::Path;

/// Checks a bundle, or an installed version.
pub(crate) fn verify(options: &Verify) -> Result<Report> {
    match &options.bundle {
        Some(path) => verify_bundle(options, path),
        None => verify_installed(options),
    }
}

fn verify_bundle(options: &Verify, path: &Path) -> Result<Report> {
    let keys = keys::trusted(&options.keys.public_keys)?;
    let (file, progress) = open_bundle(path)?;
    let cannot_verify = || format!("cannot verify {}", path.display());
    let bundle = BundleReader::open(file, &keys).with_context(cannot_verify)?;
    let manifest = bundle.manifest().clone();
    let mut facts = facts(&manifest, &manifest.version_id(bundle.manifest_bytes()));
    facts.push(("signed by", bundle.verified().key.to_string()));
    facts.push(("comment", bundle.verified().trusted_comment.clone()));
    bundle.verify_entries().with_context(cannot_verify)?;
    progress.finish_and_clear();
    Ok(Report { summary: format!("{} is good", path.display()), facts, ..Report::default() })
}

fn verify_installed(options: &Verify) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let id = installed::chosen_or_active(&layout, options.version.as_deref())?;
    let tree = layout.version(&id);
    let (manifest, signer) = match keys::trusted(&options.keys.public_keys) {
        Err(KeyError::None) => (installed::read_manifest(&tree)?.0, None),
        keys => {
            let version = SignedVersion::open(&layout, &id, &keys?)?;
            (version.manifest, Some(version.verified.key.to_string()))
        }
    };
    let mut facts = facts(&manifest, &id);
    let mut notes = Vec::new();
    match signer {
        Some(signer) => facts.push(("signed by", signer)),
        None => notes.push("without --public-key the signature was not verified".into()),
    }
    let differences: Vec<String> = verify_tree(&tree, &manifest)?.iter().map(ToString::to_string).collect();
    let verdict = if differences.is_empty() { "is good" } else { "is not what was installed" };
    Ok(Report {
        summary: format!("{} {verdict}", tree.display()),
        facts,
        notes,
        differences,
        ..Report::default()
    })
}

/// Lists the installed versions.
pub(crate) fn list(options: &Prefix) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix)?);
    let active = installed::active(&layout)?;
    let ids = installed::all(&layout)?;
    let summary = format!("{} installed in {}", count(ids.len()), layout.prefix().display());
    let line = |id: String| {
        let state = if active.as_ref() == Some(&id) { "active".into() } else { String::new() };
        VersionLine { about: about(&layout, &id), id, state }
    };
    let versions = ids.into_iter().map(line).collect();
    Ok(Report { summary, versions, ..Report::default() })
}

/// Architecture and distribution of a version, for people.
pub(crate) fn about(layout: &Layout, id: &str) -> String {
    match installed::read_manifest(&layout.version(id)) {
        Ok((manifest, _)) => format!("{} {}", arch_label(&manifest), manifest.distribution),
        Err(error) => format!("{error:#}"),
    }
}

fn facts(manifest: &Manifest, id: &str) -> Vec<(&'static str, String)> {
    vec![
        ("version", id.to_owned()),
        ("arch", arch_label(manifest)),
        ("distribution", manifest.distribution.clone()),
        ("files", manifest.files.len().to_string()),
        ("bytes", manifest.total_bytes().to_string()),
    ]
}

fn count(versions: usize) -> String {
    match versions {
        0 => "no version is".into(),
        1 => "1 version is".into(),
        more => format!("{more} versions are"),
    }
}
