//! QEMU's command line against golden files.

use super::*;

fn machine(arch: &str) -> Machine {
    let path = format!("{}/../../arch/{arch}/machine.toml", env!("CARGO_MANIFEST_DIR"));
    let document: toml::Table = toml::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();
    document["machine"].clone().try_into().unwrap()
}

fn assert_golden(arch: &str, hardware: &Hardware, devices: &Devices, golden: &str) {
    let found = qemu_args(&machine(arch), hardware, devices).join("\n");
    let path = format!("{}/golden/{golden}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs_err::write(&path, found + "\n").unwrap();
        return;
    }
    assert_eq!(
        found,
        fs_err::read_to_string(&path).unwrap().trim_end(),
        "see {path}; UPDATE_GOLDEN=1 rewrites it"
    );
}

#[test]
fn one_vcpu_one_network_under_tcg() {
    let hardware = Hardware { vcpus: 1, memory_mib: 256, accel: Accel::Tcg, ..Hardware::default() };
    let nets = vec![NetDevice { tap: 13, vhost: None, mac: MacAddress([2, 0x42, 0xac, 0x11, 0, 2]) }];
    let devices =
        Devices { channel: 10, console: 11, share: ShareDevice::Virtiofs(12), drives: Vec::new(), nets };
    assert_golden("x86_64", &hardware, &devices, "x86_64-tcg.args");
}

#[test]
fn one_vcpu_one_network_on_s390x() {
    let hardware = Hardware { vcpus: 1, memory_mib: 256, accel: Accel::Kvm, ..Hardware::default() };
    let nets = vec![NetDevice { tap: 13, vhost: None, mac: MacAddress([2, 0x42, 0xac, 0x11, 0, 2]) }];
    let devices =
        Devices { channel: 10, console: 11, share: ShareDevice::Virtiofs(12), drives: Vec::new(), nets };
    assert_golden("s390x", &hardware, &devices, "s390x-kvm.args");
}

#[test]
fn ap_adapters_features_and_nesting_on_s390x() {
    let hardware = Hardware {
        vcpus: 1,
        memory_mib: 256,
        accel: Accel::Kvm,
        cpu_features: vec!["ap=on".to_owned(), "apft=on".to_owned()],
        nested: true,
        ap_uuid: Some("4b0518fd-9237-493f-93c8-c5597f8006a3".to_owned()),
    };
    let devices = Devices {
        channel: 10,
        console: 11,
        share: ShareDevice::Virtiofs(12),
        drives: Vec::new(),
        nets: Vec::new(),
    };
    assert_golden("s390x", &hardware, &devices, "s390x-ap.args");
}

#[test]
fn four_vcpus_two_networks_under_kvm() {
    let hardware = Hardware { vcpus: 4, memory_mib: 2048, accel: Accel::Kvm, ..Hardware::default() };
    let nets = vec![
        NetDevice { tap: 13, vhost: Some(15), mac: MacAddress([2, 0x42, 0xac, 0x11, 0, 2]) },
        NetDevice { tap: 14, vhost: Some(16), mac: MacAddress([2, 0x42, 0xac, 0x12, 0, 2]) },
    ];
    let devices =
        Devices { channel: 10, console: 11, share: ShareDevice::Virtiofs(12), drives: Vec::new(), nets };
    assert_golden("x86_64", &hardware, &devices, "x86_64-kvm.args");
}

#[test]
fn foreign_guest_with_nine_p() {
    let hardware = Hardware { vcpus: 1, memory_mib: 256, accel: Accel::Tcg, ..Hardware::default() };
    let devices = Devices {
        channel: 10,
        console: 11,
        share: ShareDevice::NineP("/run/root"),
        drives: Vec::new(),
        nets: Vec::new(),
    };
    assert_golden("s390x", &hardware, &devices, "s390x-foreign.args");
}

#[test]
fn without_network_there_is_no_network_device() {
    let hardware = Hardware { vcpus: 1, memory_mib: 64, accel: Accel::Tcg, ..Hardware::default() };
    let devices = Devices {
        channel: 10,
        console: 11,
        share: ShareDevice::Virtiofs(12),
        drives: Vec::new(),
        nets: Vec::new(),
    };
    assert!(
        !qemu_args(&machine("x86_64"), &hardware, &devices).iter().any(|arg| arg.contains("virtio-net")),
        "no netdev"
    );
}

#[test]
fn disks_are_descriptors_with_a_format_that_is_settled() {
    let hardware = Hardware { vcpus: 1, memory_mib: 256, accel: Accel::Kvm, ..Hardware::default() };
    let disk = |fd, is_device, cache, format, read_only| DriveDevice {
        fd,
        is_device,
        drive: Drive { cache, format, read_only },
    };
    let drives = || {
        vec![
            disk(20, false, Cache::Writeback, Format::Raw, false),
            disk(21, false, Cache::None, Format::Qcow2, false),
            disk(22, true, Cache::Writethrough, Format::Raw, true),
            disk(23, true, Cache::Unsafe, Format::Raw, false),
        ]
    };
    for arch in ["x86_64", "s390x"] {
        let devices = Devices {
            channel: 10,
            console: 11,
            share: ShareDevice::Virtiofs(12),
            drives: drives(),
            nets: Vec::new(),
        };
        assert_golden(arch, &hardware, &devices, &format!("{arch}-disks.args"));
    }
}

#[test]
fn an_old_qemu_always_emulates_in_parallel() {
    let machine = Machine { tcg_always_parallel: true, ..machine("s390x") };
    let words = |vcpus, accel| {
        let hardware = Hardware { vcpus, memory_mib: 256, accel, ..Hardware::default() };
        let devices = Devices {
            channel: 10,
            console: 11,
            share: ShareDevice::NineP("/run/root"),
            drives: Vec::new(),
            nets: Vec::new(),
        };
        let args = qemu_args(&machine, &hardware, &devices);
        let after = |name| args.iter().skip_while(|arg| *arg != name).nth(1).cloned().unwrap();
        [after("-accel"), after("-smp")]
    };
    assert_eq!(words(1, Accel::Tcg), ["tcg,tb-size=128", "1,maxcpus=2"]);
    assert_eq!(words(2, Accel::Tcg), ["tcg,tb-size=128", "2"]);
    assert_eq!(words(1, Accel::Kvm), ["kvm", "1"]);
}
