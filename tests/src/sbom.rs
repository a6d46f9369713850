//! The bill of materials of a bundle, by the validator of the SPDX project, which comes from PyPI into an environment of its own.
//! On the host; needs the network once.

use crate::bundle::Bundle;
use crate::{command, report, workspace};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);
const VALIDATOR: &str = "spdx-tools==0.8.5";

/// Validates, and gives a line about the licences.
///
/// # Errors
/// When the bill is not valid, a package has no licence, or the validator cannot be installed or accepts anything.
pub fn validate(bundle: &Bundle) -> Result<String> {
    let tools = workspace::target().join("spdx-tools");
    let validator = tools.join("bin/pyspdxtools");
    if !validator.exists() {
        report::step(format_args!("installing {VALIDATOR}"));
        command::output(Command::new("python3").args(["-m", "venv"]).arg(&tools), LIMIT)?;
        let mut pip = Command::new(tools.join("bin/pip"));
        command::output(pip.args(["install", "--quiet", VALIDATOR]), LIMIT)?;
    }
    let dir = tempfile::tempdir()?;
    let mut extract = Command::new("tar");
    extract.arg("--zstd").arg("-xf").arg(&bundle.file).arg("-C").arg(dir.path()).arg("sbom.spdx.json");
    command::output(&mut extract, LIMIT)?;
    let file = dir.path().join("sbom.spdx.json");
    let validate = |file: &Path| command::run(Command::new(&validator).arg("--infile").arg(file), &[], LIMIT);
    report::step("validating the bill of materials, which takes the validator half a minute");
    let finished = validate(&file)?;
    ensure!(finished.code == 0, "not valid: {} {}", finished.stdout_text(), finished.stderr_text());

    let mut bill: Value = serde_json::from_slice(&fs_err::read(&file)?)?;
    let packages = bill["packages"].as_array().context("no packages")?;
    let license = |package: &Value| package["licenseDeclared"].as_str().unwrap_or_default().to_owned();
    // The first one is the bundle.
    let licenses: Vec<String> = packages.iter().skip(1).map(license).collect();
    let count = |is: fn(&str) -> bool| licenses.iter().filter(|license| is(license)).count();
    let unknown = count(|license| license == "NOASSERTION");
    let text = format!(
        "{} packages: {} with licences of SPDX's list alone, {} with texts of their own, {unknown} without\n",
        licenses.len(),
        licenses.len() - unknown - count(|license| license.contains("LicenseRef-")),
        count(|license| license.contains("LicenseRef-")),
    );
    ensure!(unknown == 0, "packages without a licence: {text}");

    bill["files"] = Value::Array(Vec::new());
    bill["packages"][1]["licenseDeclared"] = "LicenseRef-Nowhere".into();
    fs_err::write(&file, bill.to_string())?;
    ensure!(validate(&file)?.code != 0, "the validator accepts a licence that is nowhere");
    Ok(text)
}
