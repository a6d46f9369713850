//! Looks into a bundle, after checking its signature. Runs anywhere, without a network; trusts the given key.

use crate::chain;
use crate::cli::{BundleArgs, VerifyArgs};
use crate::diff::{Contents, INITRD};
use crate::kernel_modules;
use crate::provenance::{Need, PROVENANCE_NAME};
use anyhow::{Context, ensure};
use runq_bundle::archive::BundleReader;
use runq_bundle::digest::HashingReader;
use runq_bundle::manifest::EntryKind;
use runq_bundle::signature::PublicKey;
use serde::Serialize;
use serde_json::json;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Checks every byte, and the chain that led to it.
pub(crate) fn verify(args: &VerifyArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let bundle = &args.bundle.bundle;
    let contents = contents(bundle, &args.bundle.public_key)?;
    let followed = chain::follow(&contents, args.recipe.as_deref(), args.cache.as_deref())
        .with_context(|| format!("cannot follow the chain of {}", bundle.display()))?;
    let Contents { signer, manifest, .. } = &contents;
    if args.bundle.json {
        let report = json!({ "good": true, "key": signer, "chain": followed, "manifest": manifest });
        return crate::print_json(out, &report);
    }
    let (version, arch) = (&manifest.version, &manifest.guest_arch);
    writeln!(out, "runq {version} for {arch}, {}, signed by {signer}: good", manifest.distribution)?;
    Ok(writeln!(out, "{followed}")?)
}

/// Says what is in it.
pub(crate) fn list(args: &BundleArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let reader = open(&args.bundle, &args.public_key)?;
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
    let contents = contents(&args.bundle, &args.public_key)?;
    let provenance = contents.provenance.as_ref();
    let provenance =
        provenance.with_context(|| format!("{} has no {PROVENANCE_NAME}", args.bundle.display()))?;
    let mut chains: Vec<Vec<Step<'_>>> = Vec::new();
    let is_meant = |path: &&String| path.as_str() == file || path.ends_with(&format!("/{file}"));
    for path in provenance.needs.keys().filter(is_meant) {
        chains.push(provenance.chain(path).into_iter().map(|(path, need)| Step { path, need }).collect());
    }
    let name = kernel_modules::module_name(file);
    let module = |name: &str| provenance.initrd_modules.iter().find(|module| module.name == name);
    let mut chain = Vec::new();
    let mut next = module(&name);
    while let Some(found) = next.filter(|_| chain.len() < provenance.initrd_modules.len()) {
        chain.push(Step { path: &found.name, need: &found.need });
        next = found.need.by.as_deref().and_then(module);
    }
    chains.extend((!chain.is_empty()).then_some(chain));
    let built_in = Need::of_itself("built into the kernel, no file of the bundle");
    if contents.built_in.contains(&name) {
        chains.push(vec![Step { path: &name, need: &built_in }]);
    }
    if args.json {
        return crate::print_json(out, &chains);
    }
    ensure!(
        !chains.is_empty(),
        "{} has nothing called {file} that something needs: see `runq-assets list`",
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

/// What is in a bundle of which every byte was checked.
pub(crate) fn contents(bundle: &Path, keys: &[PathBuf]) -> anyhow::Result<Contents> {
    let reader = open(bundle, keys)?;
    let (signer, manifest) = (reader.verified().key.to_string(), reader.manifest().clone());
    let (mut provenance, mut initrd, mut built_in) = (Vec::new(), Vec::new(), Vec::new());
    let read = reader.read_entries(|entry, content| {
        let into = match entry.path.as_str() {
            PROVENANCE_NAME => &mut provenance,
            INITRD => &mut initrd,
            path if is_list_of_built_in(path) => &mut built_in,
            _ => return Ok(()),
        };
        content.read_to_end(into).map(drop)
    });
    read.with_context(|| format!("cannot verify {}", bundle.display()))?;
    let has_provenance = manifest.entry(PROVENANCE_NAME).is_some();
    let provenance = has_provenance.then(|| serde_json::from_slice(&provenance)).transpose();
    let provenance =
        provenance.with_context(|| format!("cannot read {PROVENANCE_NAME} of {}", bundle.display()))?;
    let mut file = HashingReader::new(fs_err::File::open(bundle)?);
    io::copy(&mut file, &mut io::sink())?;
    let built_in = String::from_utf8_lossy(&built_in).lines().map(kernel_modules::module_name).collect();
    Ok(Contents { sha256: file.finish().0, signer, manifest, provenance, built_in, initrd })
}

fn is_list_of_built_in(path: &str) -> bool {
    path.starts_with("qemu/usr/lib/modules/") && path.ends_with("/modules.builtin")
}

fn open(bundle: &Path, keys: &[PathBuf]) -> anyhow::Result<BundleReader<fs_err::File>> {
    let key = |path: &PathBuf| {
        PublicKey::parse(&fs_err::read_to_string(path)?)
            .with_context(|| format!("cannot use {}", path.display()))
    };
    let keys = keys.iter().map(key).collect::<anyhow::Result<Vec<_>>>()?;
    BundleReader::open(fs_err::File::open(bundle)?, &keys)
        .with_context(|| format!("cannot verify {}", bundle.display()))
}
