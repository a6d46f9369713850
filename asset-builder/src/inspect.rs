//! Looks into a bundle, after checking its signature. Runs anywhere, without a network; trusts the given key.

use crate::cli::BundleArgs;
use anyhow::Context;
use runq_bundle::archive::BundleReader;
use runq_bundle::manifest::EntryKind;
use runq_bundle::signature::PublicKey;
use std::io::Write;

/// Checks every byte.
pub(crate) fn verify(args: &BundleArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let reader = open(args)?;
    let (key, manifest) = (reader.verified().key, reader.manifest().clone());
    reader.verify_entries().with_context(|| format!("cannot verify {}", args.bundle.display()))?;
    let (version, arch) = (&manifest.version, &manifest.guest_arch);
    Ok(writeln!(out, "runq {version} for {arch}, {}, signed by {key}: good", manifest.distribution)?)
}

/// Says what is in it.
pub(crate) fn list(args: &BundleArgs, out: &mut impl Write) -> anyhow::Result<()> {
    for entry in &open(args)?.manifest().files {
        let target = match &entry.kind {
            EntryKind::Symlink { target } => format!(" -> {target}"),
            EntryKind::Directory => "/".to_owned(),
            EntryKind::File { .. } => String::new(),
        };
        let package = entry.package.as_deref().unwrap_or("-");
        writeln!(out, "{:04o} {:>10} {package:<24} {}{target}", entry.mode, entry.bytes(), entry.path)?;
    }
    Ok(())
}

fn open(args: &BundleArgs) -> anyhow::Result<BundleReader<fs_err::File>> {
    let key = PublicKey::parse(&fs_err::read_to_string(&args.public_key)?)
        .with_context(|| format!("cannot use {}", args.public_key.display()))?;
    BundleReader::open(fs_err::File::open(&args.bundle)?, &[key])
        .with_context(|| format!("cannot verify {}", args.bundle.display()))
}
