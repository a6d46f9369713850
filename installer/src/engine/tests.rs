//! Tests of the entries of other engines: their texts, and a whole round through the files.

use super::*;
use crate::test_host::Host;
use std::fs;

const PATH: &str = "/var/lib/runq/runq";

#[test]
fn podman_gets_a_file_of_its_own() {
    let one = podman::set(None, "runq", PATH).unwrap();
    assert!(one.ends_with("[engine.runtimes]\nrunq = [\"/var/lib/runq/runq\"]\n"), "{one}");
    assert_eq!(podman::set(Some(&one), "runq", PATH).unwrap(), one);
    let two = podman::set(Some(&one), "runq-2", "/opt/runq").unwrap();
    let parsed: toml::Table = two.parse().unwrap();
    assert_eq!(parsed["engine"]["runtimes"]["runq-2"][0].as_str(), Some("/opt/runq"));
    assert_eq!(podman::remove(&two, "runq-2").unwrap(), Some(one.clone()));
    assert_eq!(podman::remove(&one, "runq").unwrap(), None);
    let foreign = "[engine.runtimes]\nrunq = [\"/mine\"]\n";
    assert!(matches!(podman::set(Some(foreign), "runq", PATH), Err(EngineError::Foreign)));
}

#[test]
fn containerd_keeps_every_other_byte() {
    let texts = [
        "version = 2\n",
        "version = 3\n",
        "version=2",
        "# mine\nversion = 2 # two\r\n[plugins]\r\n",
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n  default_runtime_name = \"runc\"\n",
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n\truntime_type = \"io.containerd.runc.v2\"",
        "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata]\n",
        "version = 2\ndisabled_plugins = []\n[[x.y]]\na = 1\n",
    ];
    for text in texts {
        let set = containerd::set(text, "runq", PATH).unwrap();
        assert!(set.starts_with(text), "{set}");
        assert_eq!(containerd::set(&set, "runq", PATH).unwrap(), set);
        let moved = containerd::set(&set, "runq", "/opt/runq").unwrap();
        assert_eq!(moved, set.replace(PATH, "/opt/runq"));
        let second = containerd::set(&set, "runq-2", "/opt/runq").unwrap();
        assert_eq!(containerd::remove(&second, "runq-2").unwrap(), Some(set.clone()));
        let removed = containerd::remove(&set, "runq").unwrap().unwrap_or_else(|| "version = 2\n".into());
        assert_eq!(removed.trim_end(), text.trim_end());
        if text.ends_with('\n') {
            assert_eq!(removed, text);
        }
    }
}

#[test]
fn containerd_refuses_what_it_cannot_edit_and_says_where() {
    let message = |text: &str| {
        let error = containerd::set(text, "runq", PATH).unwrap_err();
        format!("{:#}", anyhow::Error::from(error))
    };
    assert!(message("version = 2\n[a\n").contains("line 2, column 3"), "{}", message("version = 2\n[a\n"));
    assert!(message("version = 4\n").contains("version 4 are not known"));
    assert!(message("root = \"/x\"\n").contains("version 1 are not known"));
    let theirs = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runq]\n";
    assert!(message(theirs).contains("runq is there already"));
    // An inline table is closed: nothing can be added below it.
    let inline = "version = 2\nplugins = {}\n";
    assert!(containerd::set(inline, "runq", PATH).is_err());
    assert!(matches!(containerd::remove("[a", "runq"), Err(EngineError::Syntax(_))));
}

#[test]
fn uninstalling_takes_every_engines_entry_along() {
    let host = Host::new();
    host.install(&host.bundle("1.0.0", "x86_64", "x86_64"), "--no-docker").unwrap();
    let config = "version = 2\nroot = \"/var/lib/containerd\"\n";
    fs::write(host.path("config.toml"), config).unwrap();
    let register = |engine: &str, file: &str| {
        host.run(&format!("register --prefix DIR/prefix --engine {engine} --config-file DIR/{file}"))
    };
    let podman = register("podman", "conf.d/50-runq.conf").unwrap();
    assert_eq!(podman.summary, "runtime runq is registered with podman");
    register("containerd", "config.toml").unwrap();
    assert_eq!(register("containerd", "config.toml").unwrap().changes, [""; 0]);
    assert!(fs::read_to_string(host.path("config.toml")).unwrap().contains("/prefix/runq\""));
    // An upgrade forgets none of it.
    host.install(&host.bundle("1.1.0", "x86_64", "x86_64"), "--no-docker").unwrap();

    host.run("unregister --prefix DIR/prefix --engine podman").unwrap();
    assert_eq!(fs::read_dir(host.path("conf.d")).unwrap().count(), 0);
    register("podman", "conf.d/50-runq.conf").unwrap();
    host.run("uninstall --prefix DIR/prefix --no-reload").unwrap();
    assert_eq!(fs::read_dir(host.path("conf.d")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(host.path("config.toml")).unwrap(), config);
}

#[test]
fn arguments_are_refused_where_they_would_be_lost() {
    let host = Host::new();
    host.install(&host.bundle("1.0.0", "x86_64", "x86_64"), "--no-docker").unwrap();
    let line = "register --prefix DIR/prefix --engine podman --config-file DIR/c --runtime-arg --accel";
    let error = host.run(line).unwrap_err().to_string();
    assert_eq!(error, "podman passes no arguments to a runtime");
    assert!(!host.path("c").exists());
}
