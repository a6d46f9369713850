//! The figures that decide whether runq is fast and small enough: medians over several runs, beside runc and bare QEMU in the
//! same minutes. On the host, in a sandbox that is up; the machine should have nothing else to do.

mod figures;

use crate::docker::Docker;
use crate::measure::{self, median};
use crate::sandbox::Sandbox;
use crate::sandbox_runtime::Runtime;
use crate::{bare_qemu, command, report};
use anyhow::{Context, Result};
use figures::{FIGURES, Figure};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// Runs of each figure.
const RUNS: usize = 5;

const LIMIT: Duration = Duration::from_secs(180);

/// What is compared; the first is the measure, the last two are runq with another cache and another share.
const RUNTIMES: [&str; 4] = ["runc", "runq", "always", "9p"];

/// A figure under each runtime.
struct Row {
    figure: &'static Figure,
    medians: Vec<f64>,
}

/// Measures, writes `bench.json` in the target directory and gives a table.
///
/// # Errors
/// When a run fails.
pub fn run(sandbox: &Sandbox, accel: &str) -> Result<String> {
    let (docker, prefix) = (&sandbox.docker(), &sandbox.prefix());
    report::step(format_args!("bench: medians of {RUNS}, accelerator {accel}"));
    let boots = (0..RUNS).map(|_| Ok(bare_qemu::boot(prefix, accel, LIMIT)?.as_secs_f64()));
    let bare = median(boots.collect::<Result<_>>()?)?;
    let nine_p = Runtime::with(sandbox, &["--share", "9p"])?;
    let always = Runtime::with(sandbox, &["--virtiofs-cache", "always"])?;
    let names = ["runc", "runq", &always.name, &nine_p.name];
    let mut rows = Vec::new();
    for figure in &FIGURES {
        report::detail(figure.name);
        let medians = names.iter().map(|runtime| {
            let runs = (0..figure.runs).map(|_| (figure.measure)(docker, runtime));
            median(runs.collect::<Result<_>>().with_context(|| format!("{} under {runtime}", figure.name))?)
        });
        rows.push(Row { figure, medians: medians.collect::<Result<_>>()? });
    }
    let installed_mib = installed_mib(prefix)?;
    measure::record(as_json(&rows, bare, installed_mib))?;
    let mut text = table(&rows)?;
    writeln!(
        text,
        "bare QEMU until the first line of init: {bare:.2} s; aim for `docker run`: 1.3 x (bare QEMU + runc)"
    )?;
    writeln!(text, "installed: {installed_mib} MiB; all figures: target/bench.json")?;
    Ok(text)
}

/// Measures the start of an emulated guest of another architecture, beside bare QEMU with the same kernel and initrd.
///
/// # Errors
/// When a run fails.
pub fn run_foreign(docker: &Docker, prefix: &Path, guest: &str) -> Result<String> {
    report::step(format_args!("bench: medians of {RUNS}, an emulated guest of {guest}"));
    let (runtime, image) = (format!("runq-{guest}"), format!("busybox-{guest}"));
    let boots = (0..RUNS).map(|_| Ok(bare_qemu::boot(prefix, "tcg", LIMIT)?.as_secs_f64()));
    let bare = median(boots.collect::<Result<_>>()?)?;
    let starts = (0..RUNS).map(|_| figures::start_of(docker, &runtime, &image));
    let start = median(starts.collect::<Result<_>>()?)?;
    Ok(format!(
        "docker run --rm --runtime {runtime} {image} true: {start:.2} s; bare QEMU until the first line of init: {bare:.2} s\n"
    ))
}

fn table(rows: &[Row]) -> Result<String> {
    let mut text = format!("{:<42}{:<9}", "", "");
    for runtime in RUNTIMES {
        write!(text, "{runtime:>11}")?;
    }
    text.push_str("   runq/runc\n");
    for Row { figure, medians } in rows {
        write!(text, "{:<42}{:<9}", figure.name, figure.unit)?;
        for value in medians {
            write!(text, "{value:>11.2}")?;
        }
        let ratio = medians.get(1).zip(medians.first()).map(|(runq, runc)| runq / runc);
        writeln!(text, "{:>12.2}", ratio.context("neither runc nor runq was measured")?)?;
    }
    Ok(text)
}

fn as_json(rows: &[Row], bare: f64, installed_mib: u64) -> Map<String, Value> {
    let figures = rows.iter().map(|Row { figure, medians }| {
        let values =
            RUNTIMES.iter().zip(medians).map(|(runtime, value)| ((*runtime).to_owned(), json!(value)));
        json!({
            "name": figure.name,
            "unit": figure.unit,
            "runs": figure.runs,
            "medians": values.collect::<serde_json::Map<_, _>>(),
        })
    });
    Map::from_iter([
        ("bare_qemu_boot_seconds".to_owned(), json!(bare)),
        ("installed_mib".to_owned(), json!(installed_mib)),
        ("figures".to_owned(), figures.collect()),
    ])
}

fn installed_mib(prefix: &Path) -> Result<u64> {
    let mut du = std::process::Command::new("du");
    let sizes = command::output(du.args(["-sm"]).arg(prefix.join("current/")), LIMIT)?;
    sizes.split_whitespace().next().context("du said nothing")?.parse().context("du printed no number")
}
