//! What `runq-assets` tells of finished bundles, and how loud it is: `diff` of small real ones, progress on a terminal and
//! silence when asked for. Needs neither Docker nor root.

use anyhow::Result;
use runq_tests::assets::Build;
use runq_tests::bundle;
use runq_tests::command::{self, Finished};
use runq_tests::http_server::Answer;
use runq_tests::small_bundle::{Scheme, Signer, SmallBundle, compress};
use runq_tests::terminal::Terminal;
use runq_tests::ubuntu_archive::UbuntuArchive;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn diff(old: &Path, new: &Path, signer: &Signer, more: &[&str]) -> Result<Finished> {
    let mut diff = bundle::runq_assets();
    diff.arg("diff").arg(old).arg(new).arg("--public-key").arg(signer.public_key()).args(more);
    command::run(&mut diff, &[], LIMIT)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn diff_ends_as_diff_does_and_believes_signatures_alone() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let signer = Signer::generate(&dir.path().join("key"))?;
    let old = SmallBundle::new("1.0.0", 1).write(dir.path(), &signer)?;
    let new = SmallBundle::new("1.0.1", 2).write(dir.path(), &signer)?;

    let same = diff(&old, &old, &signer, &[])?;
    assert_eq!((same.code, same.stdout_text().as_str()), (0, ""), "{same:?}");
    let differ = diff(&old, &new, &signer, &[])?;
    assert_eq!(differ.code, 1, "{differ:?}");
    let said = differ.stdout_text();
    for line in ["version: 1.0.0 -> 1.0.1", "sequence: 1 -> 2", "  ~ runq: content (ours)"] {
        assert!(said.lines().any(|found| found == line), "{line:?}: {said}");
    }
    assert!(!said.contains("qemu/lib/empty"), "{said}");
    let json: serde_json::Value =
        serde_json::from_str(&diff(&old, &new, &signer, &["--json"])?.stdout_text())?;
    assert_eq!(json["same"], false);
    assert!(json["files"].as_array().is_some_and(|files| files.len() == 3), "{json:#}");

    // The same members, compressed again: other bytes, and nothing else.
    let again = dir.path().join("again.tar.zst");
    let tar = zstd::decode_all(&fs_err::read(&old)?[..])?;
    fs_err::write(&again, zstd::encode_all(&tar[..], 19)?)?;
    let recompressed = diff(&old, &again, &signer, &[])?;
    assert_eq!(recompressed.code, 1);
    assert!(recompressed.stdout_text().starts_with("the same content in other bytes"), "{recompressed:?}");

    let mut altered = tar;
    let last = altered.iter().rposition(|byte| *byte != 0).unwrap_or_default();
    altered[last] ^= 1;
    fs_err::write(&again, compress(&altered)?)?;
    let refused = diff(&old, &again, &signer, &[])?;
    assert!(refused.code > 1 && refused.stderr_text().contains("again.tar.zst"), "{refused:?}");
    let other = Signer::generate(&dir.path().join("other"))?;
    fs_err::write(&again, compress(&SmallBundle::new("1.0.0", 1).tar(&other, Scheme::Prehashed)?)?)?;
    let refused = diff(&old, &again, &signer, &[])?;
    assert!(refused.code > 1 && refused.stderr_text().contains("signature"), "{refused:?}");
    let both = diff(&old, &again, &signer, &["--public-key", &other.public_key().to_string_lossy()])?;
    assert!(both.code == 1 && both.stdout_text().starts_with("signer: "), "{both:?}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn progress_is_bars_on_a_terminal_lines_elsewhere_and_nothing_when_quiet() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    // The end of each build; what comes before is enough to be seen.
    archive.server.answer(&archive.deb("libc6")?, [Answer::Status(404)]);
    let build = || Build::new(&archive.recipe(&archive.fingerprint)?, &archive.mirror());
    let lines = build()?.run()?.stderr_text();
    assert!(lines.starts_with("[  0.") && !lines.contains('\x1b'), "{lines}");
    let quiet = build()?.options(&["--quiet"]).run()?;
    assert!(quiet.code == 125 && quiet.stderr_text().starts_with("runq-assets: "), "{quiet:?}");
    // Its directory goes with it.
    let shown = build()?;
    let mut terminal = Terminal::start(&mut shown.command_to("bundle")?, 40, 120)?;
    terminal.end(LIMIT)?;
    let shown = terminal.shown();
    for part in ["total", "MB", "/s", "qemu-system-x86", "\x1b["] {
        assert!(shown.contains(part), "{part:?}: {shown:?}");
    }
    Ok(())
}
