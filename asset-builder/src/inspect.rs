//! Looks into a bundle, after checking its signature. Runs anywhere, without a network; trusts the given key.

use crate::cli::BundleArgs;
use crate::kernel_modules;
use crate::provenance::{Need, PROVENANCE_NAME, Provenance};
use anyhow::{Context, ensure};
use runq_bundle::archive::BundleReader;
use runq_bundle::manifest::EntryKind;
use runq_bundle::signature::PublicKey;
use serde::Serialize;
use serde_json::json;
use std::io::Write;

/// Checks every byte.
pub(crate) fn verify(args: &BundleArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let reader = open(args)?;
    let (key, manifest) = (reader.verified().key, reader.manifest().clone());
    reader.verify_entries().with_context(|| format!("cannot verify {}", args.bundle.display()))?;
    let (version, arch) = (&manifest.version, &manifest.guest_arch);
    if args.json {
        return crate::print_json(
            out,
            &json!({ "good": true, "key": key.to_string(), "manifest": manifest }),
        );
    }
    Ok(writeln!(out, "runq {version} for {arch}, {}, signed by {key}: good", manifest.distribution)?)
}

/// Says what is in it.
pub(crate) fn list(args: &BundleArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let reader = open(args)?;
    if args.json {
        return crate::print_json(out, &reader.manifest().files);
    }
    for entry in &reader.manifest().files {
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

/// A need, and what it is the need of.
#[derive(Serialize)]
struct Step<'a> {
    path: &'a str,
    #[serde(flatten)]
    need: &'a Need,
}

/// Tells which need brought a file into the bundle, up to what the recipe or the machine names.
pub(crate) fn why(file: &str, args: &BundleArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let provenance = provenance(args)?;
    let mut chains: Vec<Vec<Step<'_>>> = Vec::new();
    let is_meant = |path: &&String| path.as_str() == file || path.ends_with(&format!("/{file}"));
    for path in provenance.needs.keys().filter(is_meant) {
        chains.push(provenance.chain(path).into_iter().map(|(path, need)| Step { path, need }).collect());
    }
    let module = |name: &str| provenance.initrd_modules.iter().find(|module| module.name == name);
    let mut chain = Vec::new();
    let mut next = module(&kernel_modules::module_name(file));
    while let Some(found) = next.filter(|_| chain.len() < provenance.initrd_modules.len()) {
        chain.push(Step { path: &found.name, need: &found.need });
        next = found.need.by.as_deref().and_then(module);
    }
    chains.extend((!chain.is_empty()).then_some(chain));
    if args.json {
        return crate::print_json(out, &chains);
    }
    ensure!(
        !chains.is_empty(),
        "no need of {} led to {file}: it is ours, or not in the bundle",
        args.bundle.display()
    );
    for chain in chains {
        for Step { path, need } in chain {
            let by = need.by.as_ref().map_or(String::new(), |by| format!(" of {by}"));
            writeln!(out, "{path}: {}{by}", need.how)?;
        }
    }
    Ok(())
}

/// The provenance of a bundle of which every byte was checked.
fn provenance(args: &BundleArgs) -> anyhow::Result<Provenance> {
    let mut content = Vec::new();
    let read = open(args)?.read_entries(|entry, reader| {
        if entry.path == PROVENANCE_NAME {
            reader.read_to_end(&mut content)?;
        }
        Ok(())
    });
    read.with_context(|| format!("cannot verify {}", args.bundle.display()))?;
    serde_json::from_slice(&content)
        .with_context(|| format!("cannot read {PROVENANCE_NAME} of {}", args.bundle.display()))
}

fn open(args: &BundleArgs) -> anyhow::Result<BundleReader<fs_err::File>> {
    let key = PublicKey::parse(&fs_err::read_to_string(&args.public_key)?)
        .with_context(|| format!("cannot use {}", args.public_key.display()))?;
    BundleReader::open(fs_err::File::open(&args.bundle)?, &[key])
        .with_context(|| format!("cannot verify {}", args.bundle.display()))
}
