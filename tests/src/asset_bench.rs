//! How fast the asset builder is, beside what zstd alone needs for the same content, and how small its bundles are, beside the
//! parts of them compressed one by one and beside all libraries that the packages' dependencies bring. On the host, on the disk of
//! the target directory.

use crate::apt::Apt;
use crate::bundle;
use crate::measure::{self, median};
use crate::{command, report, workspace};
use anyhow::{Context, Result};
use serde_json::{Map, json};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const RUNS: usize = 5;
const LIMIT: Duration = Duration::from_secs(900);

/// The level of bundles.
const LEVEL: &str = "-12";

/// What the original copied: the library directory of a base image, and what QEMU depends on, ceph for its block driver included.
/// Debian's essential packages stand for the image.
const ORIGINAL: [&str; 11] = [
    "qemu-system-x86",
    "qemu-block-extra",
    "virtiofsd",
    "seabios",
    "apt",
    "bash",
    "coreutils",
    "dpkg",
    "perl-base",
    "tar",
    "util-linux",
];

/// Of a program that has ended.
struct Cost {
    seconds: f64,
    memory_mib: f64,
}

/// Measures, adds to `bench.json`, and gives a table.
///
/// # Errors
/// When a run fails. Without a network, only the comparison with the original is left out.
pub fn run() -> Result<String> {
    report::step(format_args!("bench: the asset builder, medians of {RUNS}"));
    let scratch = tempfile::tempdir_in(workspace::target())?;
    let dir = scratch.path();
    command::show(bundle::runq_assets().args([
        "fetch",
        "--arch",
        workspace::ARCH,
        "--distro",
        "debian",
        "--locked",
    ]))?;
    cost(&mut build(dir)?, dir)?;
    shell("zstd -dcq bundle > content.tar && mkdir tree && tar -xf content.tar -C tree", dir)?;
    let (mut builds, mut compressions, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    // In turns: both meet the same neighbours.
    for _ in 0..RUNS {
        let built = cost(&mut build(dir)?, dir)?;
        builds.push(built.seconds);
        memory.push(built.memory_mib);
        let mut zstd = Command::new("zstd");
        zstd.args(["-T2", LEVEL, "-qf", "content.tar", "-o", "content.zst"]).current_dir(dir);
        compressions.push(cost(&mut zstd, dir)?.seconds);
    }
    let (build, zstd, memory) = (median(builds)?, median(compressions)?, median(memory)?);
    let sizes = Sizes::measure(dir)?;
    let mut text = String::new();
    writeln!(
        text,
        "warm build --locked --offline             {build:>8.2} s  = {:.2} x zstd -T2, aim: 1.5",
        build / zstd
    )?;
    writeln!(text, "its memory, at most                       {memory:>8.0} MiB, aim: 512")?;
    writeln!(
        text,
        "bundle                                    {:>8.1} MB = {:.3} x its parts, aim: 1.05",
        sizes.bundle,
        sizes.ratio()
    )?;
    writeln!(
        text,
        "closure of QEMU, unpacked / compressed    {:>8.1} / {:.1} MB",
        sizes.closure.0, sizes.closure.1
    )?;
    let mut figures = json!({
        "build_seconds": build, "zstd_seconds": zstd, "memory_mib": memory, "bundle_mb": sizes.bundle,
        "kernel_mb": sizes.kernel, "modules_mb": sizes.modules, "closure_mb": sizes.closure, "bundle_to_parts": sizes.ratio(),
    });
    match original(dir) {
        Ok((files, unpacked, compressed)) => {
            writeln!(text, "all libraries by Depends, {files} files   {unpacked:>8.1} / {compressed:.1} MB")?;
            figures["original_mb"] = json!((unpacked, compressed));
        }
        Err(error) => writeln!(text, "all libraries by Depends: not measured, because {error:#}")?,
    }
    measure::record(Map::from_iter([("assets".to_owned(), figures)]))?;
    Ok(text)
}

/// Megabytes; pairs are plain and compressed.
struct Sizes {
    bundle: f64,
    kernel: (f64, f64),
    modules: (f64, f64),
    closure: (f64, f64),
}

impl Sizes {
    /// Of the bundle that is unpacked in `tree`.
    fn measure(dir: &Path) -> Result<Self> {
        let pack = |what: &str| {
            packed(&format!("tar -c --sort=name --owner=0 --group=0 --mtime=@0 -C tree/qemu {what}"), dir)
        };
        Ok(Self {
            bundle: megabytes(fs_err::metadata(dir.join("bundle"))?.len()),
            kernel: pack("kernel")?,
            modules: pack("usr/lib/modules")?,
            closure: pack("--exclude=usr/lib/modules usr")?,
        })
    }

    fn ratio(&self) -> f64 {
        self.bundle / (self.kernel.1 + self.modules.1 + self.closure.1)
    }
}

/// Files, and megabytes plain and compressed.
fn original(dir: &Path) -> Result<(usize, f64, f64)> {
    let root = dir.join("original");
    fs_err::create_dir_all(&root)?;
    Apt::update("trixie", "amd64")?.unpack(&ORIGINAL, &root)?;
    let libraries = "original/usr/lib/x86_64-linux-gnu";
    let files = shell(&format!("find {libraries} -type f | wc -l"), dir)?.parse()?;
    let (plain, compressed) = packed(&format!("tar -c -C {libraries} ."), dir)?;
    Ok((files, plain, compressed))
}

/// The size of what a command writes, plain and compressed.
fn packed(command: &str, dir: &Path) -> Result<(f64, f64)> {
    let sizes =
        shell(&format!("{command} > part && wc -c < part && zstd -T2 {LEVEL} -qc part | wc -c"), dir)?;
    let (plain, compressed) = sizes.split_once('\n').context("no two sizes")?;
    Ok((megabytes(plain.trim().parse()?), megabytes(compressed.trim().parse()?)))
}

#[expect(clippy::cast_precision_loss, reason = "far from 2^52 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn build(dir: &Path) -> Result<Command> {
    let mut build = bundle::runq_assets();
    build.args([
        "build",
        "--arch",
        workspace::ARCH,
        "--distro",
        "debian",
        "--locked",
        "--offline",
        "--binaries",
    ]);
    build.arg(workspace::dist()).arg("--key").arg(bundle::secret_key()?).arg("-o").arg(dir.join("bundle"));
    Ok(build)
}

/// By time(1).
fn cost(command: &mut Command, dir: &Path) -> Result<Cost> {
    let report = dir.join("cost");
    let mut time = Command::new("/usr/bin/time");
    time.args(["-f", "%e %M", "-o"])
        .arg(&report)
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(dir);
    command::output(&mut time, LIMIT)?;
    let text = fs_err::read_to_string(report)?;
    let (seconds, kib) = text.trim().split_once(' ').context("time(1) says nothing")?;
    Ok(Cost { seconds: seconds.parse()?, memory_mib: kib.parse::<f64>()? / 1024.0 })
}

fn shell(script: &str, dir: &Path) -> Result<String> {
    command::output(Command::new("sh").args(["-ec", script]).current_dir(dir), LIMIT)
}
