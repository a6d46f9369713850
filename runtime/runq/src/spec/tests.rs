//! The rewrite of specs that Docker 20.10 made, against golden files. The rewrite is the same on every architecture.

use super::*;
use crate::settings::Sources;

fn read(name: &str) -> Value {
    let path = format!("{}/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

fn host() -> Host {
    Host {
        assets: "/var/lib/runq/versions/1/qemu".to_owned(),
        vm_config: "/bundle/runq.json".to_owned(),
        macvtap_major: Some(246),
        has_tun: true,
        has_vhost_net: false,
        has_modules: true,
        has_seccomp: true,
        share: Share::Virtiofs,
        seccomp_archs: Vec::new(),
        network: Network::Own,
        vfio: Vec::new(),
        sigusr: None,
        disks: Vec::new(),
        drives: Vec::new(),
        shm_bytes: None,
    }
}

fn rewrite_golden(name: &str, args: &[(&str, &str)]) -> Rewritten {
    let spec = read(&format!("{name}.json"));
    let args = args.iter().map(|(flag, value)| ((*flag).to_owned(), (*value).to_owned())).collect();
    let (limits, env) = (limits(&spec), environment(&spec));
    let settings = Settings::resolve(&Sources { args, limits, env, ..Sources::default() }).unwrap();
    rewrite(spec, &settings, &host(), ("c0ffee", None)).unwrap()
}

fn assert_golden(name: &str, args: &[(&str, &str)]) {
    let mut rewritten = rewrite_golden(name, args);
    // The build id changes with every change of the contract.
    rewritten.config.build_id = "BUILD".to_owned();
    rewritten.spec["annotations"][MARK] = json!("BUILD");
    for (suffix, value) in
        [("host", rewritten.spec), ("guest", serde_json::to_value(rewritten.config).unwrap())]
    {
        let file = format!("{name}.{suffix}.json");
        let path = format!("{}/golden/{file}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs_err::write(&path, serde_json::to_string_pretty(&value).unwrap() + "\n").unwrap();
        }
        assert_eq!(value, read(&file), "see {path}; UPDATE_GOLDEN=1 rewrites it");
    }
}

#[test]
fn plain_container() {
    assert_golden("plain", &[]);
}

#[test]
fn user_volume_tmpfs_ports_and_limits() {
    assert_golden("options", &[("cpu", "2"), ("accel", "tcg"), ("tmpfs", "/scratch:size=8m")]);
}

#[test]
fn readonly_root_with_capability_sysctl_and_init() {
    assert_golden("readonly", &[("dns", "9.9.9.9")]);
}

#[test]
fn unknown_fields_survive() {
    let mut spec = read("plain.json");
    spec["future"] = json!({"a": [1, 2]});
    spec["linux"]["futureToo"] = json!(true);
    spec["process"]["futureThree"] = json!(null);
    let settings = Settings::default();
    let rewritten = rewrite(spec, &settings, &host(), ("id", None)).unwrap().spec;
    assert_eq!(rewritten["future"], json!({"a": [1, 2]}));
    assert_eq!(rewritten["linux"]["futureToo"], json!(true));
    assert!(rewritten["process"].as_object().unwrap().contains_key("futureThree"));
}

#[test]
fn a_rewritten_spec_is_recognised() {
    assert!(!is_marked(&read("plain.json")));
    assert!(is_marked(&rewrite_golden("plain", &[]).spec));
}

#[test]
fn accepts_every_version_one_and_no_other() {
    let settings = Settings::default();
    for (version, accepted) in
        [("1.0.2-dev", true), ("1.2.1", true), ("1.99", true), ("2.0.0", false), ("", false)]
    {
        let mut spec = read("plain.json");
        spec["ociVersion"] = json!(version);
        assert_eq!(rewrite(spec, &settings, &host(), ("id", None)).is_ok(), accepted, "{version}");
    }
}

#[test]
fn refuses_what_a_vm_cannot_share() {
    let settings = Settings::default();
    let refused = |change: fn(&mut Value)| {
        let mut spec = read("plain.json");
        change(&mut spec);
        rewrite(spec, &settings, &host(), ("id", None)).unwrap_err().to_string()
    };
    let joining = Host { network: Network::Host, ..host() };
    let joined = rewrite(read("plain.json"), &settings, &joining, ("id", None)).unwrap_err();
    assert!(joined.to_string().starts_with("--network host"));
    let joining = Host { network: Network::Container, ..host() };
    let joined = rewrite(read("plain.json"), &settings, &joining, ("id", None)).unwrap_err();
    assert!(joined.to_string().starts_with("--network container"));
    fn without(spec: &mut Value, kind: &str) {
        spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
    }
    assert!(refused(|spec| without(spec, "network")).starts_with("--network host"));
    assert!(refused(|spec| without(spec, "pid")).starts_with("--pid host"));
    assert!(refused(|spec| without(spec, "ipc")).starts_with("--ipc host"));
    let privileged = |spec: &mut Value| {
        spec["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
    };
    assert!(refused(privileged).starts_with("--privileged"));
    let joined = |spec: &mut Value| {
        without(spec, "pid");
        spec["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "pid", "path": "/proc/1/ns/pid"}));
    };
    assert!(refused(joined).starts_with("--pid container"));
    let hook = |spec: &mut Value| spec["hooks"]["startContainer"] = json!([{"path": "/evil"}]);
    assert!(refused(hook).starts_with("a startContainer hook"));
    assert!(refused(|spec| spec["linux"]["intelRdt"] = json!({"closID": "x"})).starts_with("Intel RDT"));
}

#[test]
fn vhost_goes_with_kvm_where_the_host_has_it() {
    let host = Host { has_vhost_net: true, ..host() };
    for (accel, expected) in [(Accel::Kvm, true), (Accel::Tcg, false)] {
        let mut settings = Settings::default();
        settings.hardware.accel = accel;
        let rewritten = rewrite(read("plain.json"), &settings, &host, ("id", None)).unwrap().spec;
        let has = |list: &Value, name: &str, value: Value| {
            list.as_array().unwrap().iter().any(|item| item[name] == value)
        };
        let linux = &rewritten["linux"];
        assert_eq!(has(&linux["devices"], "path", json!("/dev/vhost-net")), expected);
        assert_eq!(has(&linux["resources"]["devices"], "minor", json!(238)), expected);
    }
}

#[test]
fn qemu_may_open_the_nodes_of_an_ap_device() {
    let vfio = vec![("/dev/vfio/vfio".to_owned(), (10, 196)), ("/dev/vfio/7".to_owned(), (511, 0))];
    let host = Host { vfio, ..host() };
    let linux =
        rewrite(read("plain.json"), &Settings::default(), &host, ("id", None)).unwrap().spec["linux"].take();
    for (path, (major, minor)) in &host.vfio {
        let numbers = |item: &&Value| item["major"] == *major && item["minor"] == *minor;
        let node = linux["devices"].as_array().unwrap().iter().find(numbers).unwrap();
        assert_eq!((&node["path"], &node["fileMode"]), (&json!(path), &json!(0o666)), "QEMU is no root");
        let rule = linux["resources"]["devices"].as_array().unwrap().iter().find(numbers).unwrap();
        assert_eq!(rule["allow"], true);
    }
}

#[test]
fn a_device_that_the_user_asked_for_is_open_to_qemu() {
    let mut spec = read("plain.json");
    spec["linux"]["devices"] = json!([
        {"path": "/dev/kvm", "type": "c", "major": 10, "minor": 232, "fileMode": 0o660, "gid": 106},
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
    let rewritten = rewrite(spec, &Settings::default(), &host(), ("id", None)).unwrap().spec;
    let devices = rewritten["linux"]["devices"].as_array().unwrap();
    let modes: Vec<_> =
        devices.iter().map(|device| (device["path"].as_str().unwrap(), &device["fileMode"])).collect();
    assert_eq!(
        modes,
        [("/dev/fuse", &json!(null)), ("/dev/kvm", &json!(0o666)), ("/dev/net/tun", &json!(0o666))]
    );
}

#[test]
fn shared_memory_of_the_engine_becomes_a_tmpfs_of_its_size() {
    let mut spec = read("plain.json");
    let shm =
        json!({"destination": "/dev/shm", "type": "bind", "source": "/docker/shm", "options": ["rbind"]});
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev/shm");
    mounts.push(shm.clone());
    assert_eq!(bound_shm(&spec), Some("/docker/shm"));
    let settings = Settings::default();
    let host = Host { shm_bytes: Some(1024), ..host() };
    let rewritten = rewrite(spec, &settings, &host, ("id", None)).unwrap();
    assert!(rewritten.spec["mounts"].as_array().unwrap().contains(&shm), "runc still makes the mount point");
    let mount = rewritten.config.guest.mounts.last().unwrap();
    assert_eq!((mount.kind.as_str(), mount.options.last().unwrap().as_str()), ("tmpfs", "size=1024"));
}

#[test]
fn files_are_shared_as_the_bundle_can() {
    let shared = |wanted: Option<Share>, bundles| {
        let args = wanted.iter().map(|share: &Share| ("share".to_owned(), share.name().to_owned())).collect();
        let settings = Settings::resolve(&Sources { args, ..Sources::default() }).unwrap();
        let host = Host { share: bundles, ..host() };
        rewrite(read("plain.json"), &settings, &host, ("id", None)).map(|rewritten| rewritten.config.share)
    };
    use Share::{NineP, Virtiofs};
    assert_eq!(shared(None, Virtiofs).unwrap(), Virtiofs);
    assert_eq!(shared(None, NineP).unwrap(), NineP);
    assert_eq!(shared(Some(NineP), Virtiofs).unwrap(), NineP);
    let refused = shared(Some(Virtiofs), NineP).unwrap_err().to_string();
    assert!(refused.starts_with("--share virtiofs is not supported: the asset bundle"), "{refused}");
}

#[test]
fn binds_over_what_is_the_kernels_are_refused_or_become_the_guests() {
    let with = |destination: &str| {
        let mut spec = read("plain.json");
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != destination);
        mounts.push(
            json!({"destination": destination, "type": "bind", "source": "/x", "options": ["rbind", "ro"]}),
        );
        rewrite(spec, &Settings::default(), &host(), ("id", None)).map(|rewritten| rewritten.config.guest)
    };
    for place in ["/dev", "/sys", "/sys/kernel/debug", "/proc/meminfo"] {
        let refused = with(place).unwrap_err().to_string();
        assert!(refused.contains("the guest has those of its own kernel"), "{place}: {refused}");
    }
    assert!(with("/dev/log").unwrap().binds.contains(&"/dev/log".to_owned()));
    let guest = with("/sys/fs/cgroup").unwrap();
    assert!(!guest.binds.contains(&"/sys/fs/cgroup".to_owned()));
    let mount = guest.mounts.last().unwrap();
    assert_eq!((mount.kind.as_str(), mount.options.last().unwrap().as_str()), ("cgroup", "ro"));
}
