//! `diff`: what differs between two bundles, down to packages and files. Runs anywhere, without a network; trusts the
//! given keys.

use crate::cli::DiffArgs;
use crate::inspect;
use crate::package_changes::{self, Change, Listed};
use crate::provenance::Provenance;
use crate::release_file::iso_date;
use crate::{cpio, print_json};
use indicatif::DecimalBytes;
use runq_bundle::digest::{Sha256Digest, sha256};
use runq_bundle::manifest::{Entry, EntryKind, Manifest, Package};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;

/// Path of the initrd in a bundle. What is in it is compared as if it were below this path.
pub(crate) const INITRD: &str = "qemu/initrd";
/// The kernel's release in paths and names of packages, where it differs: else an update of the kernel would be a
/// list of all its modules, twice.
const KERNEL: &str = "{kernel}";

/// A bundle of which every byte was checked.
pub(crate) struct Contents {
    /// Of the whole file.
    pub(crate) sha256: Sha256Digest,
    /// The key that signed it.
    pub(crate) signer: String,
    pub(crate) manifest: Manifest,
    pub(crate) provenance: Option<Provenance>,
    /// Names of the modules that are part of the kernel.
    pub(crate) built_in: Vec<String>,
    pub(crate) initrd: Vec<u8>,
}

/// All that differs.
#[derive(Debug, Serialize)]
pub(crate) struct Difference {
    same: bool,
    /// Of the two files.
    sha256: (Sha256Digest, Sha256Digest),
    properties: Vec<PropertyChange>,
    packages: Vec<Change>,
    files: Vec<FileChange>,
}

/// Something that the bundle says of itself.
#[derive(Debug, Serialize)]
struct PropertyChange {
    name: String,
    old: Option<Value>,
    new: Option<Value>,
}

/// A member of the bundle, or of its initrd.
#[derive(Debug, Serialize)]
struct FileChange {
    path: String,
    /// Whence it is: package with version, of the old bundle and of the new one.
    origin: (Option<String>, Option<String>),
    old: Option<Entry>,
    new: Option<Entry>,
}

/// Says what differs, and whether anything does.
pub(crate) fn diff(args: &DiffArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let [old, new] = [&args.old, &args.new].map(|bundle| inspect::contents(bundle, &args.public_key));
    let difference = Difference::between(&old?, &new?);
    if args.json {
        print_json(out, &difference)?;
    } else {
        difference.print(out)?;
    }
    Ok(!difference.same)
}

impl Difference {
    pub(crate) fn between(old: &Contents, new: &Contents) -> Self {
        let releases = (kernel_release(&old.manifest), kernel_release(&new.manifest));
        let placeholder = releases.0.is_some() && releases.1.is_some() && releases.0 != releases.1;
        let named = |release: Option<String>| release.filter(|_| placeholder);
        let (old, new) = (View::new(old, named(releases.0)), View::new(new, named(releases.1)));
        Self {
            same: old.contents.sha256 == new.contents.sha256,
            sha256: (old.contents.sha256, new.contents.sha256),
            properties: pairs(old.properties(), new.properties())
                .map(|(name, old, new)| PropertyChange { name, old, new })
                .collect(),
            packages: package_changes::changes(old.listed(), new.listed()),
            files: pairs(old.files(), new.files())
                .map(|(path, before, after)| FileChange {
                    origin: (old.origin(before.as_ref()), new.origin(after.as_ref())),
                    path,
                    old: before,
                    new: after,
                })
                .collect(),
        }
    }

    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let text = |value: &Option<Value>| match value {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "absent".to_owned(),
        };
        for PropertyChange { name, old, new } in &self.properties {
            writeln!(out, "{name}: {} -> {}", text(old), text(new))?;
        }
        if !self.packages.is_empty() {
            writeln!(out, "packages:")?;
        }
        self.packages.iter().try_for_each(|change| writeln!(out, "  {change}"))?;
        if !self.files.is_empty() {
            writeln!(out, "files:")?;
        }
        self.files.iter().try_for_each(|change| writeln!(out, "  {change}"))?;
        if !self.same && [self.properties.len(), self.packages.len(), self.files.len()] == [0; 3] {
            writeln!(
                out,
                "the same content in other bytes ({} and {}): signature or compression",
                self.sha256.0, self.sha256.1
            )?;
        }
        Ok(())
    }
}

impl std::fmt::Display for FileChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ours = |origin: &Option<String>| origin.clone().unwrap_or_else(|| "ours".to_owned());
        let (old_origin, new_origin) = (ours(&self.origin.0), ours(&self.origin.1));
        let path = &self.path;
        let (old, new) = match (&self.old, &self.new) {
            (Some(old), Some(new)) => (old, new),
            (Some(_), None) => return write!(f, "- {path} ({old_origin})"),
            _ => return write!(f, "+ {path} ({new_origin})"),
        };
        let mut what = Vec::new();
        match (&old.kind, &new.kind) {
            (EntryKind::File { size: a, sha256: x }, EntryKind::File { size: b, sha256: y }) => {
                what.extend((a != b).then(|| format!("size {} -> {}", DecimalBytes(*a), DecimalBytes(*b))));
                what.extend((x != y).then(|| "content".to_owned()));
            }
            (EntryKind::Symlink { target: a }, EntryKind::Symlink { target: b }) => {
                what.extend((a != b).then(|| format!("target {a} -> {b}")));
            }
            (a, b) if a != b => what.push(format!("{} -> {}", a.noun(), b.noun())),
            _ => {}
        }
        what.extend((old.mode != new.mode).then(|| format!("mode {:04o} -> {:04o}", old.mode, new.mode)));
        write!(f, "~ {path}: {}", if what.is_empty() { "origin".to_owned() } else { what.join(", ") })?;
        match old_origin == new_origin {
            true => write!(f, " ({new_origin})"),
            false => write!(f, " ({old_origin} -> {new_origin})"),
        }
    }
}

/// Names that differ between two maps, with what they have in each.
fn pairs<T: PartialEq>(
    old: BTreeMap<String, T>,
    mut new: BTreeMap<String, T>,
) -> impl Iterator<Item = (String, Option<T>, Option<T>)> {
    let mut pairs = BTreeMap::new();
    for (name, value) in old {
        let other = new.remove(&name);
        if other.as_ref() != Some(&value) {
            pairs.insert(name, (Some(value), other));
        }
    }
    pairs.extend(new.into_iter().map(|(name, value)| (name, (None, Some(value)))));
    pairs.into_iter().map(|(name, (old, new))| (name, old, new))
}

/// A bundle as it is compared.
struct View<'a> {
    contents: &'a Contents,
    /// What is replaced in names.
    release: Option<String>,
    packages: Vec<(String, &'a Package)>,
}

impl<'a> View<'a> {
    fn new(contents: &'a Contents, release: Option<String>) -> Self {
        let mut view = Self { contents, release, packages: Vec::new() };
        let packages = contents.manifest.packages.iter();
        view.packages = packages.map(|package| (view.general(&package.name), package)).collect();
        view
    }

    /// A name without the kernel's release.
    fn general(&self, name: &str) -> String {
        self.release.as_ref().map_or(name.to_owned(), |release| name.replace(release, KERNEL))
    }

    fn listed(&self) -> impl Iterator<Item = Listed<'_>> {
        self.packages.iter().map(|(name, package)| Listed {
            name,
            arch: &package.arch,
            version: &package.version,
            sha256: package.sha256,
        })
    }

    /// Leaves of the manifest and, of the provenance, what does not follow from packages and files.
    fn properties(&self) -> BTreeMap<String, Value> {
        let mut properties = BTreeMap::new();
        let mut put = |name: &str, value: Value| drop(properties.insert(name.to_owned(), value));
        let Manifest { version, sequence, host_arch, guest_arch, build_id, distribution, created, .. } =
            &self.contents.manifest;
        put("version", version.clone().into());
        put("sequence", (*sequence).into());
        put("host_arch", host_arch.clone().into());
        put("guest_arch", guest_arch.clone().into());
        put("build_id", build_id.clone().into());
        put("distribution", distribution.clone().into());
        put("created", iso_date(*created).into());
        put("signer", self.contents.signer.clone().into());
        if let Some(release) = &self.release {
            put("kernel", release.clone().into());
        }
        for (name, value) in self.contents.manifest.machine.as_object().into_iter().flatten() {
            put(&format!("machine.{name}"), value.clone());
        }
        if let Some(provenance) = &self.contents.provenance {
            put("tool", provenance.tool.clone().into());
            put("recipe", provenance.recipe.to_string().into());
            put("base_image", provenance.base_image.clone().into());
            for suite in &provenance.suites {
                put(&format!("suite {} of {}", suite.suite, suite.archive), iso_date(suite.date).into());
            }
        }
        properties
    }

    /// By path without the kernel's release; with those of the initrd.
    fn files(&self) -> BTreeMap<String, Entry> {
        let entries = self.contents.manifest.files.iter().cloned().chain(self.in_initrd());
        let general = entries.map(|entry| {
            let path = self.general(&entry.path);
            (path.clone(), Entry { path, package: entry.package.map(|name| self.general(&name)), ..entry })
        });
        general.collect()
    }

    fn in_initrd(&self) -> impl Iterator<Item = Entry> {
        cpio::members(&self.contents.initrd).unwrap_or_default().into_iter().map(|member| Entry {
            path: format!("{INITRD}/{}", member.path),
            kind: match cpio::is_directory(member.mode) {
                true => EntryKind::Directory,
                false => {
                    let (size, sha256) = (member.content.len() as u64, sha256(member.content));
                    EntryKind::File { size, sha256 }
                }
            },
            mode: member.mode & 0o7777,
            package: None,
        })
    }

    /// Package and version.
    fn origin(&self, entry: Option<&Entry>) -> Option<String> {
        let name = entry?.package.as_ref()?;
        let (_, package) = self.packages.iter().find(|(found, _)| found == name)?;
        Some(format!("{name} {}", package.version))
    }
}

fn kernel_release(manifest: &Manifest) -> Option<String> {
    let paths = manifest.files.iter().map(|entry| entry.path.as_str());
    let mut names = paths.filter_map(|path| path.strip_prefix("qemu/usr/lib/modules/"));
    names.next().map(|name| name.split('/').next().unwrap_or(name).to_owned())
}

#[cfg(test)]
#[path = "diff/tests.rs"]
mod tests;
