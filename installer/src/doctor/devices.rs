//! Device files and drivers that virtual machines want. Runs on the host; opens, and changes nothing.

use super::Check;
use std::fs;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;

const NO_KVM: &str = "no container starts, unless the runtime is told to emulate (--accel tcg), which is slow and no \
                      security boundary";

/// `emulated`: every runtime that is registered emulates.
pub(super) fn checks(emulated: bool) -> Vec<Check> {
    vec![
        kvm(emulated),
        vhost("vhost-net", "vhost_net", "network packets take the way through QEMU, which is slower"),
        vhost("vhost-vsock", "vhost_vsock", "host and guest talk over a serial port, which is slower"),
        tun(),
        macvtap(),
    ]
}

fn kvm(emulated: bool) -> Check {
    let name = "kvm";
    let problem = match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Ok(_) => return Check::ok(name, "/dev/kvm opens"),
        Err(error) => error,
    };
    if emulated {
        return Check::ok(name, format!("/dev/kvm: {problem}; the registered runtime emulates"));
    }
    let mend = if problem.kind() == ErrorKind::NotFound { mend_kvm() } else { "run as root".into() };
    Check::failure(name, format!("/dev/kvm: {problem}"), NO_KVM).mended_by(mend)
}

fn mend_kvm() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| cpu.split_whitespace().any(|word| word == flag);
    let module = match (std::env::consts::ARCH, has("vmx"), has("svm")) {
        ("s390x", _, _) => {
            "modprobe kvm; inside of a virtual machine or a partition, its host has to allow nesting"
        }
        (_, true, _) => "modprobe kvm_intel",
        (_, _, true) => "modprobe kvm_amd",
        _ => "switch virtualisation on in the firmware, or nesting on in the host of this virtual machine",
    };
    module.to_owned()
}

fn vhost(name: &'static str, module: &str, means: &'static str) -> Check {
    let path = format!("/dev/{name}");
    if Path::new(&path).exists() {
        return Check::ok(name, format!("{path} is there"));
    }
    Check::warning(name, format!("{path} is missing"), means)
        .mended_by(format!("modprobe {module}; a line in /etc/modules-load.d keeps it"))
}

fn tun() -> Check {
    let path = "/dev/net/tun";
    if Path::new(path).exists() {
        return Check::ok("tun", format!("{path} is there"));
    }
    Check::failure("tun", format!("{path} is missing"), "containers have no network")
        .mended_by("modprobe tun")
}

fn macvtap() -> Check {
    let name = "macvtap";
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let loaded = Path::new("/sys/module/macvtap").exists() || lists("/proc/devices", " macvtap");
    let folder = format!("/lib/modules/{}", release.trim());
    if loaded {
        return Check::ok(name, "the driver is in the kernel");
    }
    if lists(&format!("{folder}/modules.dep"), "/macvtap.ko")
        || lists(&format!("{folder}/modules.builtin"), "/macvtap.ko")
    {
        return Check::ok(name, "the kernel can load the driver");
    }
    Check::failure(name, "neither in the kernel nor among its modules", "containers have no network")
        .mended_by("install the distribution's full kernel, with its extra modules")
}

fn lists(path: &str, what: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.contains(what)))
}
