//! `verify` and `list`: looking at bundles and installed trees. Runs on the host; changes nothing.

use crate::cli::{List, Verify};
use crate::install::open_bundle;
use crate::layout::{Layout, STAGING_PREFIX};
use crate::preflight::{arch_label, public_keys};
use crate::report::Report;
use crate::transaction::read_link;
use anyhow::{Context, Result};
use fs_err as fs;
use runq_bundle::archive::BundleReader;
use runq_bundle::manifest::{MANIFEST_NAME, Manifest, SIGNATURE_NAME};
use runq_bundle::signature;
use runq_bundle::tree::verify_tree;
use std::path::Path;

/// Checks a bundle, or the installed version.
pub(crate) fn verify(options: &Verify) -> Result<Report> {
    match &options.bundle {
        Some(path) => verify_bundle(options, path),
        None => verify_installed(options),
    }
}

fn verify_bundle(options: &Verify, path: &Path) -> Result<Report> {
    let keys = public_keys(&options.keys.public_keys)?;
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
    let id = active_version(&layout)?
        .with_context(|| format!("runq is not installed in {}", layout.prefix().display()))?;
    let tree = layout.version(&id);
    let (manifest, bytes) = read_manifest(&tree)?;
    let mut facts = facts(&manifest, &id);
    let mut notes = Vec::new();
    if options.keys.public_keys.is_empty() {
        notes.push("without --public-key the signature was not verified".into());
    } else {
        let keys = public_keys(&options.keys.public_keys)?;
        let text = fs::read_to_string(tree.join(SIGNATURE_NAME))?;
        let verified = signature::verify(&bytes, &text, &keys)
            .with_context(|| format!("cannot verify {}", tree.join(MANIFEST_NAME).display()))?;
        facts.push(("signed by", verified.key.to_string()));
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
pub(crate) fn list(options: &List) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let active = active_version(&layout)?;
    let ids = installed_versions(&layout)?;
    let lines = ids.iter().map(|id| {
        let mark = if active.as_ref() == Some(id) { "active" } else { "" };
        let about = match read_manifest(&layout.version(id)) {
            Ok((manifest, _)) => format!("{} {}", arch_label(&manifest), manifest.distribution),
            Err(error) => format!("{error:#}"),
        };
        format!("{id}  {about}  {mark}").trim_end().to_owned()
    });
    let summary = format!("{} installed in {}", count(ids.len()), layout.prefix().display());
    Ok(Report { summary, facts: lines.map(|line| ("version", line)).collect(), ..Report::default() })
}

/// The version that `current` leads to.
pub(crate) fn active_version(layout: &Layout) -> Result<Option<String>> {
    let target = read_link(&layout.current())?;
    Ok(target.as_deref().and_then(Layout::version_of_target).map(str::to_owned))
}

/// Names of all versions, sorted.
pub(crate) fn installed_versions(layout: &Layout) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    if layout.versions().exists() {
        for item in fs::read_dir(layout.versions())? {
            ids.push(item?.file_name().to_string_lossy().into_owned());
        }
    }
    ids.retain(|id| !id.starts_with(STAGING_PREFIX));
    ids.sort();
    Ok(ids)
}

fn read_manifest(tree: &Path) -> Result<(Manifest, Vec<u8>)> {
    let path = tree.join(MANIFEST_NAME);
    let bytes = fs::read(&path)?;
    let manifest = Manifest::parse(&bytes).with_context(|| format!("cannot use {}", path.display()))?;
    Ok((manifest, bytes))
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
