//! The packages of the archive, made of those that the Debian bundle names and the asset builder's cache has: zstd
//! .debs with records, main and universe, release, updates and security. On the host; made once for the same packages
//! and the same rules, and kept in the target directory.

use super::{LIMIT, RELEASE, kernel, pack};
use crate::bundle::Bundle;
use crate::{command, report, workspace};
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What the archive is made by: another text makes another archive.
const RULES: [&str; 3] =
    [include_str!("pool.rs"), include_str!("kernel.rs"), include_str!("../ubuntu_archive.rs")];
/// Packages that have a later version in another suite than the release.
const NEWER: [(&str, &str); 2] = [("qemu-system-x86", "updates"), ("libgnutls30t64", "security")];
/// Where Ubuntu has it.
const UNIVERSE: [&str; 1] = ["virtiofsd"];

static MAKING: Mutex<()> = Mutex::new(());

/// Suite and component → text of Packages.
type Records = BTreeMap<(String, &'static str), String>;

/// A package of the Debian bundle.
struct Source {
    name: String,
    deb: PathBuf,
}

/// The directory that has `ubuntu` and `ubuntu-ports`; made when it is not there.
pub(super) fn made() -> Result<PathBuf> {
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let sources = sources()?;
    let mut hasher = Sha256::new();
    for text in RULES
        .iter()
        .map(|text| (*text).into())
        .chain(sources.iter().map(|source| source.deb.to_string_lossy()))
    {
        hasher.update(text.as_bytes());
    }
    let parent = workspace::target().join("ubuntu-archive");
    let root = parent.join(&format!("{:x}", hasher.finalize())[..16]);
    if !root.exists() {
        report::step(format_args!("Ubuntu archive: repacking {} packages of Debian", sources.len()));
        if parent.exists() {
            fs_err::remove_dir_all(&parent)?;
        }
        fs_err::create_dir_all(&parent)?;
        let work = tempfile::tempdir_in(&parent)?;
        make(&sources, &work.path().join("root"), work.path())?;
        fs_err::rename(work.path().join("root"), &root)?;
    }
    Ok(root)
}

/// The packages that the Debian bundle's manifest names, from the cache of the asset builder.
fn sources() -> Result<Vec<Source>> {
    let bundle = Bundle::of("debian");
    let mut read = Command::new("tar");
    read.args(["--zstd", "--occurrence=1", "-xOf"]).arg(&bundle.file).arg("manifest.json");
    let manifest =
        command::output(&mut read, LIMIT).context("no Debian bundle: run `make assets DISTRO=debian`")?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest)?;
    let packages = manifest["packages"].as_array().context("a manifest has packages")?;
    let text =
        |package: &serde_json::Value, field: &str| package[field].as_str().unwrap_or_default().to_owned();
    let sources = packages.iter().map(|package| {
        let deb = workspace::cache().join("sha256").join(text(package, "sha256"));
        ensure!(
            deb.exists(),
            "{} is gone: run `make clean`, then `make assets DISTRO=debian`",
            deb.display()
        );
        Ok(Source { name: text(package, "name"), deb })
    });
    sources.collect()
}

fn make(sources: &[Source], root: &Path, work: &Path) -> Result<()> {
    let ubuntu = root.join("ubuntu");
    let (kernels, others): (Vec<_>, Vec<_>) =
        sources.iter().partition(|source| source.name.starts_with("linux-image-"));
    let mut names: BTreeSet<&str> = others.iter().map(|source| source.name.as_str()).collect();
    names.insert("qemu-system-common");
    let halves = others.split_at(others.len() / 2);
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| repack_all(halves.0, &names, &ubuntu, work));
        (first.join(), repack_all(halves.1, &names, &ubuntu, work))
    });
    let mut records = first.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    for (key, text) in second? {
        records.entry(key).or_default().push_str(&text);
    }
    let main = records.entry((RELEASE.to_owned(), "main")).or_default();
    for source in kernels {
        main.push_str(&kernel::repack(&source.deb, &ubuntu, work)?);
    }
    main.push_str(&qemu_common(&ubuntu, work)?);
    write_records(root, &records)?;
    ports(root, work)
}

fn repack_all(sources: &[&Source], names: &BTreeSet<&str>, ubuntu: &Path, work: &Path) -> Result<Records> {
    let mut records = Records::new();
    for source in sources {
        let dir = work.join(&source.name);
        command::output(Command::new("dpkg-deb").arg("--raw-extract").arg(&source.deb).arg(&dir), LIMIT)?;
        let control = pruned(&fs_err::read_to_string(dir.join("DEBIAN/control"))?, names);
        fs_err::write(dir.join("DEBIAN/control"), &control)?;
        let component = if UNIVERSE.contains(&source.name.as_str()) { "universe" } else { "main" };
        let mut suite = RELEASE.to_owned();
        if let Some((_, pocket)) = NEWER.iter().find(|(name, _)| *name == source.name) {
            let old = empty(&source.name, "0.1~release", "", ubuntu, work)?;
            records.entry((suite.clone(), component)).or_default().push_str(&old);
            suite = format!("{RELEASE}-{pocket}");
        }
        let text = record(&control, &dir, (component, "zstd"), ubuntu)?;
        records.entry((suite, component)).or_default().push_str(&text);
        fs_err::remove_dir_all(&dir)?;
    }
    Ok(records)
}

/// Packs `dir` into the pool and gives its record.
pub(super) fn record(
    control: &str,
    dir: &Path,
    (component, compression): (&str, &str),
    archive: &Path,
) -> Result<String> {
    let field = |name: &str| {
        let value = control.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        value.map(str::trim).with_context(|| format!("a package without {name}"))
    };
    let (name, version, arch) = (field("Package")?, field("Version")?, field("Architecture")?);
    // File names have no epoch.
    let plain = version.split_once(':').map_or(version, |(_, plain)| plain);
    let path = format!("pool/{component}/{}/{name}/{name}_{plain}_{arch}.deb", &name[..1]);
    pack(dir, compression, &archive.join(&path))?;
    let deb = fs_err::read(archive.join(&path))?;
    let (size, sha256) = (deb.len(), super::suite::hex(&deb));
    Ok(format!("{}\nFilename: {path}\nSize: {size}\nSHA256: {sha256}\n\n", control.trim_end()))
}

/// A package without files.
pub(super) fn empty(name: &str, version: &str, more: &str, archive: &Path, work: &Path) -> Result<String> {
    let dir = work.join(format!("{name}-empty"));
    fs_err::create_dir_all(dir.join("DEBIAN"))?;
    let arch = if archive.ends_with("ubuntu-ports") { "s390x" } else { "amd64" };
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: runq <tests@runq.test>\n{more}\
         Description: package of the test's archive\n"
    );
    fs_err::write(dir.join("DEBIAN/control"), &control)?;
    let record = record(&control, &dir, ("main", "zstd"), archive)?;
    fs_err::remove_dir_all(&dir)?;
    Ok(record)
}

/// Without the dependencies that the archive cannot meet, as it has only what a bundle is made of.
fn pruned(control: &str, names: &BTreeSet<&str>) -> String {
    let is_met = |clause: &&str| {
        clause
            .split('|')
            .any(|name| names.contains(name.trim().split([' ', ':', '(']).next().unwrap_or_default()))
    };
    let mut text = String::new();
    for line in control.lines() {
        match line.split_once(": ").filter(|(name, _)| matches!(*name, "Depends" | "Pre-Depends")) {
            None => text += &format!("{line}\n"),
            Some((name, clauses)) => {
                let clauses: Vec<_> = clauses.split(',').filter(is_met).map(str::trim).collect();
                if !clauses.is_empty() {
                    text += &format!("{name}: {}\n", clauses.join(", "));
                }
            }
        }
    }
    text
}

/// Ubuntu's QEMU has emulation as a module, Debian's has it built in: a module that nobody loads, with the stamp that
/// QEMU and the asset builder want to see.
fn qemu_common(ubuntu: &Path, work: &Path) -> Result<String> {
    let dir = work.join("qemu-common");
    let modules = dir.join("usr/lib/x86_64-linux-gnu/qemu");
    fs_err::create_dir_all(&modules)?;
    fs_err::create_dir_all(dir.join("DEBIAN"))?;
    let qemu = work.join("qemu");
    let newest = command::output(
        Command::new("find").arg(ubuntu.join("pool/main/q/qemu-system-x86")).args(["-size", "+100k"]),
        LIMIT,
    )?;
    command::output(Command::new("dpkg-deb").arg("--extract").arg(&newest).arg(&qemu), LIMIT)?;
    let version = command::output(Command::new("dpkg-deb").args(["--field", &newest, "Version"]), LIMIT)?;
    let program = fs_err::read(qemu.join("usr/bin/qemu-system-x86_64"))?;
    fs_err::remove_dir_all(&qemu)?;
    let start =
        program.windows(11).position(|window| window == b"qemu_stamp_").context("QEMU has no stamp")?;
    let stamp: String = program[start..]
        .iter()
        .map(|byte| char::from(*byte))
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let source = work.join("module.c");
    fs_err::write(&source, format!("void {stamp}(void) {{}}\n"))?;
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-nostdlib", "-o"]).arg(modules.join("accel-tcg-x86_64.so")).arg(&source);
    command::output(&mut cc, LIMIT)?;
    let control = format!(
        "Package: qemu-system-common\nVersion: {version}\nArchitecture: amd64\n\
         Maintainer: runq <tests@runq.test>\nDescription: modules of QEMU\n"
    );
    fs_err::write(dir.join("DEBIAN/control"), &control)?;
    record(&control, &dir, ("main", "zstd"), ubuntu)
}

/// The other host has another architecture.
fn ports(root: &Path, work: &Path) -> Result<()> {
    let ports = root.join("ubuntu-ports");
    let text = empty("qemu-system-s390x", "1:8.2.2", "", &ports, work)?;
    let folder = ports.join(format!("dists/{RELEASE}/main/binary-s390x"));
    fs_err::create_dir_all(&folder)?;
    Ok(fs_err::write(folder.join("Packages"), text)?)
}

fn write_records(root: &Path, records: &Records) -> Result<()> {
    for pocket in ["", "-updates", "-security"] {
        for component in ["main", "universe"] {
            let suite = format!("{RELEASE}{pocket}");
            let folder = root.join(format!("ubuntu/dists/{suite}/{component}/binary-amd64"));
            fs_err::create_dir_all(&folder)?;
            let mut text = String::new();
            if let Some(records) = records.get(&(suite, component)) {
                write!(text, "{records}")?;
            }
            fs_err::write(folder.join("Packages"), text)?;
        }
    }
    Ok(())
}
