//! Bundles: a good one installs, is removed and installed again; an altered one is refused.

use anyhow::Result;
use runq_tests::bundle::Bundle;
use runq_tests::command::{self, Finished};
use runq_tests::workspace;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn install(bundle: &Path, key: &Path, prefix: &Path) -> Result<Finished> {
    let mut install = Command::new(workspace::dist().join("runq-install"));
    install.args(["--arch", workspace::ARCH, "--no-docker"]).arg("--bundle").arg(bundle);
    command::run(install.arg("--public-key").arg(key).arg("--prefix").arg(prefix), &[], LIMIT)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn altered_bundles_are_refused_and_leave_nothing() -> Result<()> {
    let Bundle { file, public_key } = Bundle::any()?;
    let good = fs_err::read(&file)?;
    let dir = tempfile::tempdir()?;
    let (altered, prefix) = (dir.path().join("runq-altered-x86_64.tar.zst"), dir.path().join("prefix"));
    for position in [0, good.len() / 100, good.len() / 2, good.len() - 1000] {
        let mut bytes = good.clone();
        bytes[position] ^= 0x10;
        fs_err::write(&altered, bytes)?;
        let finished = install(&altered, &public_key, &prefix)?;
        assert_eq!(finished.code, 125, "byte {position}: {finished:?}");
        assert!(!prefix.join("current").exists(), "byte {position} was installed");
    }
    fs_err::write(&altered, &good[..good.len() / 2])?;
    assert_eq!(install(&altered, &public_key, &prefix)?.code, 125, "half a bundle");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn bundle_signed_by_another_key_is_refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let other = dir.path().join("other");
    let mut keygen = Command::new(workspace::dist().join("runq-assets"));
    command::output(keygen.args(["keygen", "-o"]).arg(&other), LIMIT)?;
    let finished = install(&Bundle::any()?.file, &other.with_extension("pub"), &dir.path().join("prefix"))?;
    assert_eq!(finished.code, 125, "{finished:?}");
    assert!(finished.stderr_text().contains("signature"), "{}", finished.stderr_text());
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn signature_is_one_that_minisign_accepts() -> Result<()> {
    let Bundle { file, public_key } = Bundle::any()?;
    let dir = tempfile::tempdir()?;
    let mut extract = Command::new("tar");
    extract
        .arg("--zstd")
        .arg("-xf")
        .arg(&file)
        .arg("-C")
        .arg(dir.path())
        .args(["manifest.json", "manifest.json.minisig"]);
    command::output(&mut extract, LIMIT)?;
    let mut verify = Command::new("minisign");
    command::output(
        verify.args(["-V", "-m"]).arg(dir.path().join("manifest.json")).arg("-p").arg(public_key),
        LIMIT,
    )?;
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn binaries_are_static() -> Result<()> {
    for name in ["runq", "proxy", "init", "runq-install", "runq-assets"] {
        let headers =
            command::output(Command::new("readelf").arg("-lW").arg(workspace::dist().join(name)), LIMIT)?;
        assert!(!headers.contains("INTERP"), "{name} needs a dynamic linker");
    }
    Ok(())
}
