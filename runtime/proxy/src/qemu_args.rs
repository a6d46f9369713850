//! QEMU's command line, as a pure function of the VM configuration, the machine data and the descriptors that QEMU
//! inherits. Nothing that an image or a user can choose freely gets here: sizes are numbers, the rest is ours.

use crate::machine::Machine;
use runq_contract::network::MacAddress;
use runq_contract::paths;
use runq_contract::vm_config::{Accel, Hardware};
use std::os::fd::RawFd;

/// Descriptors and per-container devices.
#[derive(Debug)]
pub(crate) struct Devices {
    /// Our end is the channel; QEMU's end is this connected socket.
    pub(crate) channel: RawFd,
    /// Connected socket that receives the kernel's console.
    pub(crate) console: RawFd,
    /// The container's root file system.
    pub(crate) share: ShareDevice,
    /// Network devices in the order of the guest's interfaces.
    pub(crate) nets: Vec<NetDevice>,
}

/// Where QEMU gets the container's root file system from.
#[derive(Debug)]
pub(crate) enum ShareDevice {
    /// Connected vhost-user socket of virtiofsd.
    Virtiofs(RawFd),
    /// QEMU serves this directory itself.
    NineP(&'static str),
}

/// One virtio network device.
#[derive(Debug)]
pub(crate) struct NetDevice {
    /// Open tap character device.
    pub(crate) tap: RawFd,
    /// Open `/dev/vhost-net`, by which the host's kernel moves the packets.
    pub(crate) vhost: Option<RawFd>,
    /// Hardware address in the guest.
    pub(crate) mac: MacAddress,
}

/// The arguments without the program's name.
pub(crate) fn qemu_args(machine: &Machine, hardware: &Hardware, devices: &Devices) -> Vec<String> {
    let suffix = &machine.virtio_suffix;
    let mut args = Arguments::default();
    for dir in &machine.firmware_dirs {
        args.option("-L", format!("/{dir}"));
    }
    args.flags(&["-nodefaults", "-no-user-config", "-no-reboot"]);
    // QEMU locks itself in: no programs, no other users, no priorities, no system calls of old.
    args.option("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    args.option("-display", "none");
    args.option("-monitor", "none");
    args.machine(machine, hardware);
    args.option("-kernel", format!("/{}", paths::KERNEL));
    args.option("-initrd", format!("/{}", paths::INITRD));
    args.option("-append", machine.kernel_command_line.join(" "));

    args.option("-chardev", format!("socket,id=console,fd={}", devices.console));
    args.option("-device", format!("{},chardev=console", machine.console_device));
    args.option("-device", format!("virtio-serial-{suffix},max_ports=2"));
    args.option("-chardev", format!("socket,id=channel,fd={}", devices.channel));
    args.option("-device", format!("virtserialport,chardev=channel,name={}", paths::CHANNEL_PORT));
    args.share(suffix, &devices.share);
    args.option("-object", "rng-random,id=random,filename=/dev/urandom");
    args.option("-device", format!("{}-{suffix},rng=random", machine.random_device));
    for (number, net) in devices.nets.iter().enumerate() {
        let vhost = net.vhost.map_or_else(|| "off".to_owned(), |fd| format!("on,vhostfd={fd}"));
        args.option("-netdev", format!("tap,id=net{number},fd={},vhost={vhost}", net.tap));
        let mut device = format!("virtio-net-{suffix},netdev=net{number},mac={}", net.mac);
        for option in &machine.net_device_options {
            device.push(',');
            device.push_str(option);
        }
        args.option("-device", device);
    }
    args.0
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn option(&mut self, name: &str, value: impl Into<String>) {
        self.0.push(name.to_owned());
        self.0.push(value.into());
    }

    fn flags(&mut self, names: &[&str]) {
        self.0.extend(names.iter().map(|name| (*name).to_owned()));
    }

    fn share(&mut self, suffix: &str, device: &ShareDevice) {
        let tag = paths::ROOT_TAG;
        match device {
            ShareDevice::Virtiofs(socket) => {
                self.option("-chardev", format!("socket,id=share,fd={socket}"));
                self.option("-device", format!("vhost-user-fs-{suffix},chardev=share,tag={tag}"));
            }
            // The guest's users are the container's; volumes are other file systems with inode numbers of their own.
            ShareDevice::NineP(path) => {
                let options = "security_model=passthrough,multidevs=remap";
                self.option("-fsdev", format!("local,id=share,path={path},{options}"));
                self.option("-device", format!("virtio-9p-{suffix},fsdev=share,mount_tag={tag}"));
            }
        }
    }

    /// Machine, accelerator, processors and memory. The memory is a shared memfd because virtiofsd maps it.
    fn machine(&mut self, machine: &Machine, hardware: &Hardware) {
        let cpu = match hardware.accel {
            Accel::Kvm => &machine.cpu_kvm,
            Accel::Tcg => &machine.cpu_tcg,
        };
        let mut kind = format!("{},memory-backend=ram", machine.machine_type);
        for option in &machine.machine_options {
            kind.push(',');
            kind.push_str(option);
        }
        self.option("-machine", kind);
        self.option("-accel", accelerator(hardware));
        self.option("-cpu", cpu.clone());
        let vcpus = hardware.vcpus;
        self.option(
            "-smp",
            if machine.smp_sockets { format!("{vcpus},sockets={vcpus}") } else { vcpus.to_string() },
        );
        self.option("-m", format!("{}M", hardware.memory_mib));
        self.option("-object", format!("memory-backend-memfd,id=ram,size={}M,share=on", hardware.memory_mib));
    }
}

/// The accelerator and its options. QEMU 10.0 that emulates several vCPUs in as many threads aborts now and then
/// (`iotlb_to_section: Assertion`); in one thread it does not. The translated code has 128 MiB, instead of an eighth of the
/// host's memory: it counts to the container's limit.
fn accelerator(hardware: &Hardware) -> &'static str {
    match hardware.accel {
        Accel::Kvm => "kvm",
        Accel::Tcg if hardware.vcpus > 1 => "tcg,tb-size=128,thread=single",
        Accel::Tcg => "tcg,tb-size=128",
    }
}

#[cfg(test)]
mod tests {
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
        let hardware = Hardware { vcpus: 1, memory_mib: 256, accel: Accel::Tcg };
        let nets = vec![NetDevice { tap: 13, vhost: None, mac: MacAddress([2, 0x42, 0xac, 0x11, 0, 2]) }];
        let devices = Devices { channel: 10, console: 11, share: ShareDevice::Virtiofs(12), nets };
        assert_golden("x86_64", &hardware, &devices, "x86_64-tcg.args");
    }

    #[test]
    fn one_vcpu_one_network_on_s390x() {
        let hardware = Hardware { vcpus: 1, memory_mib: 256, accel: Accel::Kvm };
        let nets = vec![NetDevice { tap: 13, vhost: None, mac: MacAddress([2, 0x42, 0xac, 0x11, 0, 2]) }];
        let devices = Devices { channel: 10, console: 11, share: ShareDevice::Virtiofs(12), nets };
        assert_golden("s390x", &hardware, &devices, "s390x-kvm.args");
    }

    #[test]
    fn four_vcpus_two_networks_under_kvm() {
        let hardware = Hardware { vcpus: 4, memory_mib: 2048, accel: Accel::Kvm };
        let nets = vec![
            NetDevice { tap: 13, vhost: Some(15), mac: MacAddress([2, 0x42, 0xac, 0x11, 0, 2]) },
            NetDevice { tap: 14, vhost: Some(16), mac: MacAddress([2, 0x42, 0xac, 0x12, 0, 2]) },
        ];
        let devices = Devices { channel: 10, console: 11, share: ShareDevice::Virtiofs(12), nets };
        assert_golden("x86_64", &hardware, &devices, "x86_64-kvm.args");
    }

    #[test]
    fn foreign_guest_with_nine_p() {
        let hardware = Hardware { vcpus: 1, memory_mib: 256, accel: Accel::Tcg };
        let devices =
            Devices { channel: 10, console: 11, share: ShareDevice::NineP("/run/root"), nets: Vec::new() };
        assert_golden("s390x", &hardware, &devices, "s390x-foreign.args");
    }

    #[test]
    fn without_network_there_is_no_network_device() {
        let hardware = Hardware { vcpus: 1, memory_mib: 64, accel: Accel::Tcg };
        let devices =
            Devices { channel: 10, console: 11, share: ShareDevice::Virtiofs(12), nets: Vec::new() };
        assert!(
            !qemu_args(&machine("x86_64"), &hardware, &devices).iter().any(|arg| arg.contains("virtio-net")),
            "no netdev"
        );
    }
}
