//! `adopt` on copies that have lost one thing or another.

use crate::report::Report;
use crate::test_host::{DAEMON_JSON, Host};
use anyhow::Result;
use std::fs;
use std::os::unix::fs::MetadataExt;

fn host() -> Host {
    let host = Host::new();
    host.install(&host.bundle("1.0.0", "x86_64", "x86_64"), "--no-docker").unwrap();
    host
}

fn adopt(host: &Host, more: &str) -> Result<Report> {
    host.run(&format!(
        "adopt --prefix DIR/copy --public-key DIR/key.pub --no-reload --daemon-json DIR/daemon.json {more}"
    ))
}

fn is_good(host: &Host) -> bool {
    host.run("verify --prefix DIR/copy --public-key DIR/key.pub")
        .is_ok_and(|report| report.differences.is_empty())
}

#[test]
fn registers_a_copy_and_finds_nothing_to_do_the_second_time() {
    let host = host();
    host.copy("rm -f .lock");
    let report = adopt(&host, "").unwrap();
    assert_eq!(report.summary, "runq 1.0.0 (x86_64) is adopted");
    assert!(host.daemon_json().contains("/copy/runq\""), "{}", host.daemon_json());
    let report = adopt(&host, "").unwrap();
    assert_eq!(report.changes, [""; 0]);
    host.run("uninstall --prefix DIR/copy --no-reload").unwrap();
    assert!(!host.daemon_json().contains("/copy/runq\""));
}

#[test]
fn mends_what_copying_loses() {
    for loss in [
        "rm current runq qemu receipt.json",
        "chmod -R a-x,u+X versions",
        "chmod 0600 $V/runq $V/manifest.json; chmod 0700 versions $V/qemu .",
        "chmod -R 0777 .",
        "rm $V/qemu/proxy.link",
        "rm $V/qemu/proxy.link; cp $V/qemu/proxy $V/qemu/proxy.link",
        "ln -sfn elsewhere current; rm receipt.json",
        "rm qemu; cp -rL $V/qemu qemu; rm runq; cp $V/runq runq",
    ] {
        let host = host();
        host.copy(loss);
        let report = adopt(&host, "").unwrap_or_else(|error| panic!("{loss}: {error:#}"));
        assert!(!report.changes.is_empty(), "{loss}");
        assert!(is_good(&host), "{loss}");
        for name in ["current/runq", "qemu/proxy", "runq"] {
            assert!(host.path("copy").join(name).exists(), "{loss}: {name}");
        }
        assert_eq!(fs::metadata(host.path("copy")).unwrap().mode() & 0o022, 0, "{loss}");
        assert_eq!(fs::metadata(host.path("copy/runq")).unwrap().mode() & 0o7777, 0o755, "{loss}");
    }
}

#[test]
fn refuses_what_the_manifest_cannot_mend() {
    for (change, said) in [
        ("printf x >> $V/runq", "\"runq\" has size 65, the manifest has 64"),
        ("printf x | dd of=$V/runq conv=notrunc bs=1 seek=30 2>&1", "\"runq\" has SHA-256"),
        ("rm $V/sbom.spdx.json", "\"sbom.spdx.json\" is missing"),
        ("touch $V/qemu/more", "\"qemu/more\" does not belong there"),
        ("rm $V/runq; mkdir $V/qemu/../runq", "\"runq\" has kind directory"),
        ("echo ' ' >> $V/manifest.json", "does not match"),
        (
            "mv versions/1.0.0-* versions/9.9.9-00000000; rm current receipt.json",
            "which its name does not say",
        ),
        ("rm -r versions/*", "there is no version below"),
        ("cp -a versions/1.0.0-* versions/other; rm current receipt.json", "it is not clear which version"),
    ] {
        let host = host();
        host.copy(change);
        let error = format!("{:#}", adopt(&host, "").unwrap_err());
        assert!(error.contains(said), "{change}: {error}");
        assert_eq!(host.daemon_json(), DAEMON_JSON, "{change}");
    }
}

#[test]
fn refuses_a_tree_that_nobody_trusted_has_signed() {
    let host = host();
    host.copy(":");
    let other = runq_bundle::signature::keygen().unwrap();
    fs::write(host.path("key.pub"), other.public).unwrap();
    let error = format!("{:#}", adopt(&host, "").unwrap_err());
    assert!(error.contains("signature is by key"), "{error}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let host = host();
    host.copy("chmod 0700 $V/runq; rm runq");
    let report = adopt(&host, "--dry-run").unwrap();
    assert_eq!(report.changes.len(), 4, "{:?}", report.changes);
    assert!(
        report.changes[0].contains("\"runq\" has mode 0700, the manifest has 0755"),
        "{:?}",
        report.changes
    );
    assert!(report.diff.is_some());
    assert!(!is_good(&host));
    assert!(!host.path("copy/runq").exists());
    assert_eq!(host.daemon_json(), DAEMON_JSON);
}

#[test]
fn entries_of_the_machine_that_the_tree_came_from_are_forgotten() {
    let host = Host::new();
    host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap();
    host.copy(":");
    fs::write(host.path("daemon.json"), "{}").unwrap();
    adopt(&host, "").unwrap();
    let receipt = fs::read_to_string(host.path("copy/receipt.json")).unwrap();
    assert!(receipt.contains("/copy/runq") && !receipt.contains("/prefix/runq"), "{receipt}");
}
