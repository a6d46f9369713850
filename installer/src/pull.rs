//! `pull`: fetches a bundle into one local file and verifies it; the file is what an air-gapped host gets. Runs on the host; trusts the
//! public keys that it is given.

use crate::cli::Pull;
use crate::install::open_bundle;
use crate::keys;
use crate::preflight;
use crate::report::Report;
use crate::source::{Source, output};
use anyhow::{Context, Result};
use runq_bundle::archive::BundleReader;
use runq_bundle::signature::PublicKey;
use std::path::Path;

/// Fetches and verifies.
pub(crate) fn pull(options: &Pull) -> Result<Report> {
    let keys = keys::trusted(&options.keys.public_keys)?;
    let source = Source::parse(&options.source)?;
    let path = output(options.output.as_deref(), &source, &options.arch)?;
    source.fetch(&options.arch, &options.transport, &path)?;

    let checked = check(options, &source, &path, &keys);
    if checked.is_err() {
        // What is not trusted does not stay under a name that says it is a bundle.
        fs_err::remove_file(&path)?;
    }
    let mut report = Report::new(checked.with_context(|| format!("cannot verify {source}"))?);
    report.summary = format!("{} is good", path.display());
    report.next = Some(format!("runq-install --arch {} --bundle {}", options.arch, path.display()));
    Ok(report)
}

/// Verifies it to the last byte, and gives what is to be known of it.
fn check(
    options: &Pull,
    source: &Source,
    path: &Path,
    keys: &[PublicKey],
) -> Result<Vec<(&'static str, String)>> {
    let (file, progress) = open_bundle(path)?;
    let bundle = BundleReader::open(file, keys)?;
    preflight::check_arch(bundle.manifest(), &options.arch)?;
    let facts = vec![
        ("version", bundle.manifest().version_id(bundle.manifest_bytes())),
        ("arch", preflight::arch_label(bundle.manifest())),
        ("source", source.to_string()),
        ("file", path.display().to_string()),
        ("signed by", bundle.verified().key.to_string()),
    ];
    bundle.verify_entries()?;
    progress.finish_and_clear();
    Ok(facts)
}
