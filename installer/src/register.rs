//! `register` and `unregister`: the entry of daemon.json alone. Runs on the host, as root; the tree is installed already,
//! and stays.

use crate::cli::{Register, Unregister};
use crate::in_use;
use crate::installed;
use crate::layout::Layout;
use crate::preflight;
use crate::receipt::{DockerReceipt, Receipt};
use crate::registering::DockerPlan;
use crate::registration::Registration;
use crate::report::Report;
use crate::transaction::{lock, read_receipt, write_receipt};
use anyhow::{Context, Result, bail};

const ORPHANED: &str = "it cannot be started again until its runtime is registered again";

/// Adds the runtime to Docker, or changes its entry.
pub(crate) fn register(options: &Register) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let runtime = layout.runtime().display().to_string();
    preflight::check_runtime(&options.runtime.name, &runtime, &options.runtime.runtime_args)?;
    let id = installed::chosen_or_active(&layout, None)?;
    let _lock = if options.runtime.trial.dry_run { None } else { Some(lock(&layout)?) };
    let receipt = receipt(&layout)?;
    let (manifest, _) = installed::read_manifest(&layout.version(&id))?;
    let foreign = manifest.host_arch != std::env::consts::ARCH;

    let docker = DockerPlan::register(&options.runtime, foreign, &runtime)?;
    let wanted = Receipt { docker: docker.receipts(receipt.docker.clone()), ..receipt.clone() };
    let mut report = Report::new(facts(&layout, id));
    if options.runtime.trial.dry_run {
        docker.show(&mut report);
        return Ok(report.of_dry_run());
    }
    // First: an entry that no receipt knows would stay for ever.
    if wanted != receipt {
        write_receipt(&layout, &wanted)?;
    }
    docker.apply(&mut report)?;
    let state =
        if report.changes.is_empty() { "was registered before: nothing to do" } else { "is registered" };
    report.summary = format!("runtime {} {state}", options.runtime.name);
    Ok(report)
}

/// Takes our entries out of daemon.json, and brings the default runtime back that was there before.
pub(crate) fn unregister(options: &Unregister) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let id = installed::chosen_or_active(&layout, None)?;
    let _lock = if options.trial.dry_run { None } else { Some(lock(&layout)?) };
    let receipt = receipt(&layout)?;
    let is_meant = |entry: &DockerReceipt| options.name.as_ref().is_none_or(|name| *name == entry.name);
    let (meant, kept): (Vec<_>, Vec<_>) = receipt.docker.iter().cloned().partition(is_meant);
    if let (Some(name), true) = (&options.name, meant.is_empty()) {
        bail!("the receipt of {} has no runtime {name}", layout.prefix().display());
    }

    let mut report = Report::new(facts(&layout, id));
    let orphans = in_use::containers(&meant, &options.docker)?;
    report.notes.extend(orphans.iter().map(|container| format!("{container}: {ORPHANED}")));
    for entry in &meant {
        let registration = Registration::remove(entry, &options.docker)?;
        if options.trial.dry_run {
            registration.show(&mut report);
        } else {
            registration.apply(&mut report)?;
        }
    }
    if options.trial.dry_run {
        return Ok(report.of_dry_run());
    }
    if kept != receipt.docker {
        write_receipt(&layout, &Receipt { docker: kept, ..receipt })?;
    }
    report.summary = match meant.as_slice() {
        [] => "no runtime is registered: nothing to do".into(),
        entries => {
            let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            format!("runtime {} is not registered any more", names.join(", "))
        }
    };
    Ok(report)
}

fn receipt(layout: &Layout) -> Result<Receipt> {
    let prefix = layout.prefix().display();
    read_receipt(layout)?.with_context(|| format!("there is no receipt in {prefix}: adopt the tree first"))
}

fn facts(layout: &Layout, id: String) -> Vec<(&'static str, String)> {
    vec![("version", id), ("prefix", layout.prefix().display().to_string())]
}

#[cfg(test)]
mod tests {
    use crate::test_host::{DAEMON_JSON, Host};

    const REGISTER: &str = "register --prefix DIR/prefix --no-reload --daemon-json DIR/daemon.json";
    const UNREGISTER: &str = "unregister --prefix DIR/prefix --no-reload";

    fn host() -> Host {
        let host = Host::new();
        host.install(&host.bundle("1.0.0", "x86_64", "x86_64"), "--no-docker").unwrap();
        host
    }

    #[test]
    fn registers_without_installing_and_back() {
        let host = host();
        let report = host.run(&format!("{REGISTER} --dry-run")).unwrap();
        assert!(report.diff.is_some());
        assert_eq!(host.daemon_json(), DAEMON_JSON);
        host.run(&format!("{REGISTER} --runtime-arg --accel --runtime-arg tcg")).unwrap();
        assert!(host.daemon_json().contains("/prefix/runq\""), "{}", host.daemon_json());
        assert_eq!(host.run(REGISTER).unwrap().changes, [""; 0]);
        host.run(UNREGISTER).unwrap();
        assert_eq!(host.daemon_json(), "{\n\t\"debug\": true,\n\t\"runtimes\": {}\n}");
        assert!(host.run(UNREGISTER).unwrap().summary.ends_with("nothing to do"));
        assert!(host.prefix("current/runq").exists());
    }

    #[test]
    fn several_names_are_remembered_and_removed_one_by_one_or_all() {
        let host = host();
        for name in ["runq", "runq-big", "runq-third"] {
            host.run(&format!("{REGISTER} --name {name}")).unwrap();
        }
        let error = host.run(&format!("{UNREGISTER} --name other")).unwrap_err().to_string();
        assert!(error.ends_with("has no runtime other"), "{error}");
        host.run(&format!("{UNREGISTER} --name runq-big")).unwrap();
        assert!(!host.daemon_json().contains("runq-big") && host.daemon_json().contains("runq-third"));
        host.run("uninstall --prefix DIR/prefix --no-reload").unwrap();
        assert!(!host.daemon_json().contains("runq"), "{}", host.daemon_json());
    }

    #[test]
    fn a_default_runtime_comes_back() {
        for before in [
            "{\n  \"runtimes\": {},\n  \"debug\": true\n}\n",
            "{\n  \"runtimes\": {\"crun\": {\"path\": \"crun\"}},\n  \"default-runtime\": \"crun\"\n}\n",
        ] {
            let host = host();
            std::fs::write(host.path("daemon.json"), before).unwrap();
            host.run(&format!("{REGISTER} --set-default")).unwrap();
            assert!(host.daemon_json().contains("\"default-runtime\": \"runq\""), "{}", host.daemon_json());
            // Again, and without: what was there first is what counts.
            host.run(&format!("{REGISTER} --set-default")).unwrap();
            host.run(REGISTER).unwrap();
            host.run(UNREGISTER).unwrap();
            assert_eq!(host.daemon_json(), before);
        }
    }

    #[test]
    fn a_default_that_somebody_has_changed_meanwhile_stays() {
        let host = host();
        host.run(&format!("{REGISTER} --set-default")).unwrap();
        let theirs =
            host.daemon_json().replace("\"default-runtime\": \"runq\"", "\"default-runtime\": \"runc\"");
        std::fs::write(host.path("daemon.json"), theirs).unwrap();
        host.run(UNREGISTER).unwrap();
        assert!(host.daemon_json().contains("\"default-runtime\": \"runc\""), "{}", host.daemon_json());
    }
}
