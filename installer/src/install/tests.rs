//! `install`, `verify` and `uninstall` from end to end.

use crate::test_host::{DAEMON_JSON, Host, elf_of};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

#[test]
fn installs_activates_and_registers() {
    let host = Host::new();
    let report = host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap();
    assert_eq!(report.summary, "runq 1.0.0 (x86_64) is installed");
    assert_eq!(host.names(""), [".lock", "current", "qemu", "receipt.json", "runq", "versions"]);
    assert_eq!(fs::read(host.prefix("runq")).unwrap(), elf_of("x86_64"));
    assert_eq!(fs::read_link(host.prefix("current")).unwrap().parent().unwrap(), Path::new("versions"));
    assert_eq!(fs::metadata(host.prefix("current/runq")).unwrap().mode() & 0o7777, 0o755);
    let expected = format!(
        "{{\n\t\"debug\": true,\n\t\"runtimes\": {{\n\t\t\"runq\": {{\n\t\t\t\"path\": \"{}\",\n\t\t\t\"runtimeArgs\": [\"--accel\", \"tcg\"]\n\t\t}}\n\t}}\n}}",
        host.prefix("runq").display()
    );
    assert_eq!(host.daemon_json(), expected);
    let report = host.run("verify --prefix DIR/prefix --public-key DIR/key.pub").unwrap();
    assert_eq!(report.differences, [""; 0]);
}

#[test]
fn a_second_run_has_nothing_to_do() {
    let host = Host::new();
    let bundle = host.bundle("1.0.0", "x86_64", "x86_64");
    host.with_docker(&bundle).unwrap();
    let state =
        || (fs::metadata(host.prefix("receipt.json")).unwrap().ino(), host.daemon_json(), host.names(""));
    let before = state();
    // Without --runtime-arg the user's arguments stay.
    let report = host.install(&bundle, "--daemon-json DIR/daemon.json").unwrap();
    assert_eq!(report.changes, [""; 0]);
    assert!(report.summary.ends_with("nothing to do"), "{}", report.summary);
    assert_eq!(state(), before);
}

#[test]
fn repairs_what_is_damaged_or_missing() {
    let host = Host::new();
    let bundle = host.bundle("1.0.0", "x86_64", "x86_64");
    host.with_docker(&bundle).unwrap();
    fs::write(host.prefix("current/runq"), "tampered").unwrap();
    fs::remove_file(host.prefix("qemu")).unwrap();
    let report = host.run("verify --prefix DIR/prefix").unwrap();
    assert_eq!(report.differences, ["\"runq\" has size 8, the manifest has 64"]);

    let report = host.with_docker(&bundle).unwrap();
    assert_eq!(report.changes.len(), 2, "{:?}", report.changes);
    assert!(report.changes[0].contains("\"runq\" has size 8"), "{:?}", report.changes);
    assert_eq!(host.run("verify --prefix DIR/prefix").unwrap().differences, [""; 0]);
    assert_eq!(host.names("versions").len(), 1);
}

#[test]
fn continues_after_a_run_that_was_killed() {
    let host = Host::new();
    let bundle = host.bundle("1.0.0", "x86_64", "x86_64");
    fs::create_dir_all(host.prefix("versions/.staging-1/qemu")).unwrap();
    fs::write(host.prefix(".new-current"), "").unwrap();
    host.with_docker(&bundle).unwrap();
    fs::remove_file(host.prefix("receipt.json")).unwrap();
    fs::remove_file(host.prefix("current")).unwrap();
    let report = host.with_docker(&bundle).unwrap();
    assert_eq!(report.changes.len(), 2, "{:?}", report.changes);
    assert_eq!(host.names("versions").len(), 1);
    assert_eq!(host.names(""), [".lock", "current", "qemu", "receipt.json", "runq", "versions"]);
}

#[test]
fn an_upgrade_keeps_the_old_version_beside_the_new_one() {
    let host = Host::new();
    host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap();
    let docker = host.daemon_json();
    let report = host.with_docker(&host.bundle("1.1.0", "x86_64", "x86_64")).unwrap();
    assert!(report.changes[1].contains("in place of 1.0.0-"), "{:?}", report.changes);
    assert_eq!(fs::read_to_string(host.prefix("current/sbom.spdx.json")).unwrap(), "1.1.0");
    assert_eq!(host.names("versions").len(), 2);
    assert_eq!(host.daemon_json(), docker);
    assert_eq!(host.run("list --prefix DIR/prefix").unwrap().versions.len(), 2);
}

#[test]
fn a_downgrade_has_to_be_asked_for() {
    let host = Host::new();
    let old = host.bundle("1.0.0", "x86_64", "x86_64");
    host.with_docker(&host.bundle("1.1.0", "x86_64", "x86_64")).unwrap();
    let error = host.install(&old, "--no-docker").unwrap_err().to_string();
    assert_eq!(error, "1.0.0 (sequence 100) is older than the active 1.1.0 (sequence 110)");
    assert_eq!(host.names("versions").len(), 1);
    host.install(&old, "--no-docker --allow-downgrade").unwrap();
    assert_eq!(fs::read_to_string(host.prefix("current/sbom.spdx.json")).unwrap(), "1.0.0");
}

#[test]
fn refuses_a_bundle_of_another_architecture_and_names_both() {
    let host = Host::new();
    let bundle = host.bundle("1.0.0", "s390x", "s390x");
    let line =
        format!("--arch x86_64 --bundle {} --public-key DIR/key.pub --prefix DIR/prefix", bundle.display());
    let error = host.run(&line).unwrap_err();
    assert_eq!(error.to_string(), "the bundle is for s390x, asked for is x86_64");
}

#[test]
fn refuses_a_file_for_another_machine_and_leaves_nothing() {
    let host = Host::new();
    let error = host.with_docker(&host.bundle("1.0.0", "x86_64", "s390x")).unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("qemu/proxy is an ELF file for machine 22, the manifest says x86_64 (62)"),
        "{text}"
    );
    assert_eq!(host.names(""), [".lock", "versions"]);
    assert_eq!(host.names("versions"), [""; 0]);
    assert_eq!(host.daemon_json(), DAEMON_JSON);
}

#[test]
fn stages_for_another_machine_and_leaves_docker_alone() {
    let host = Host::new();
    let foreign = if std::env::consts::ARCH == "s390x" { "x86_64" } else { "s390x" };
    let report = host.install(&host.bundle("1.0.0", foreign, foreign), "").unwrap();
    assert_eq!(report.notes, ["Docker was left alone: the bundle is for a machine of another architecture"]);
    assert_eq!(host.names("versions").len(), 1);
    assert_eq!(host.daemon_json(), DAEMON_JSON);
}

#[test]
fn a_tampered_bundle_changes_nothing() {
    let host = Host::new();
    let path = host.bundle("1.0.0", "x86_64", "x86_64");
    let good = fs::read(&path).unwrap();
    for position in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[position] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        assert!(host.with_docker(&path).is_err(), "byte {position}");
        assert_eq!(host.names("versions"), [""; 0], "byte {position}");
        assert_eq!(host.daemon_json(), DAEMON_JSON);
    }
}

#[test]
fn a_broken_daemon_json_is_refused_before_anything_is_extracted() {
    let host = Host::new();
    fs::write(host.path("daemon.json"), "{\n  \"a\": 1,\n}").unwrap();
    let error = host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("daemon.json: not valid JSON: trailing comma at line 3 column 1"), "{text}");
    assert_eq!(host.names("versions"), [""; 0]);
}

#[test]
fn a_dry_run_shows_everything_and_changes_nothing() {
    let host = Host::new();
    let bundle = host.bundle("1.0.0", "x86_64", "x86_64");
    let report = host.install(&bundle, "--daemon-json DIR/daemon.json --dry-run").unwrap();
    assert_eq!(report.changes.len(), 6, "{:?}", report.changes);
    let diff = report.diff.unwrap();
    assert!(diff.contains("+\t\"runtimes\": {"), "{diff}");
    assert!(!host.path("prefix").exists());
    assert_eq!(host.daemon_json(), DAEMON_JSON);
}

#[test]
fn refuses_a_prefix_that_others_can_write() {
    let host = Host::new();
    fs::create_dir(host.path("prefix")).unwrap();
    fs::set_permissions(host.path("prefix"), PermissionsExt::from_mode(0o777)).unwrap();
    let error = host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap_err();
    assert!(error.to_string().ends_with("can be written by other users"), "{error}");
}

#[test]
fn uninstalling_removes_what_was_installed_and_nothing_else() {
    let host = Host::new();
    fs::write(
        host.path("daemon.json"),
        "{\n  \"runtimes\": {\n    \"crun\": {\"path\": \"/usr/bin/crun\"}\n  }\n}\n",
    )
    .unwrap();
    let before = host.daemon_json();
    host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap();
    assert_ne!(host.daemon_json(), before);
    let report = host.run("uninstall --prefix DIR/prefix --no-reload").unwrap();
    assert_eq!(report.summary.split('-').next(), Some("runq 1.0.0"));
    assert_eq!(host.daemon_json(), before);
    assert!(!host.path("prefix").exists());
    let report = host.run("uninstall --prefix DIR/prefix --no-reload").unwrap();
    assert!(report.summary.ends_with("nothing to do"), "{}", report.summary);
}

#[test]
fn uninstalling_spares_an_entry_that_the_user_has_taken_over() {
    let host = Host::new();
    host.with_docker(&host.bundle("1.0.0", "x86_64", "x86_64")).unwrap();
    let theirs = "{\"runtimes\":{\"runq\":{\"path\":\"/opt/mine\"}}}";
    fs::write(host.path("daemon.json"), theirs).unwrap();
    host.run("uninstall --prefix DIR/prefix --no-reload").unwrap();
    assert_eq!(host.daemon_json(), theirs);
}
