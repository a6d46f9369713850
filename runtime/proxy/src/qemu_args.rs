//! QEMU's command line, as a pure function of the VM configuration, the machine data and the descriptors that QEMU
//! inherits. Nothing that an image or a user can choose freely gets here: sizes are numbers, the rest is ours.

use crate::machine::Machine;
use runq_contract::disk::{self, Cache, Drive, Format};
use runq_contract::network::MacAddress;
use runq_contract::paths;
use runq_contract::vm_config::{Accel, Hardware};
use serde_json::json;
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
    /// Disks in the order of the VM configuration.
    pub(crate) drives: Vec<DriveDevice>,
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

/// One virtio disk.
#[derive(Debug)]
pub(crate) struct DriveDevice {
    /// Open file or block device.
    pub(crate) fd: RawFd,
    /// Whether it is a block device of the host.
    pub(crate) is_device: bool,
    /// Format and cache.
    pub(crate) drive: Drive,
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
    for (number, drive) in devices.drives.iter().enumerate() {
        args.drive(suffix, number, drive);
    }
    if let Some(uuid) = &hardware.ap_uuid {
        args.option("-device", format!("vfio-ap,sysfsdev=/sys/devices/vfio_ap/matrix/{uuid}"));
    }
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

    /// A disk. QEMU gets the descriptor and the format and looks for neither: no name of a file, no backing file.
    fn drive(&mut self, suffix: &str, number: usize, device: &DriveDevice) {
        let DriveDevice { fd, is_device, drive: Drive { cache, format, read_only } } = device;
        let set = number + 1;
        self.option("-add-fd", format!("fd={fd},set={set}"));
        let file = json!({
            "driver": if *is_device { "host_device" } else { "file" },
            "node-name": format!("file{number}"),
            "filename": format!("/dev/fdset/{set}"),
            "cache": {"direct": *cache == Cache::None, "no-flush": *cache == Cache::Unsafe},
            "read-only": read_only,
        });
        self.option("-blockdev", file.to_string());
        let mut layer = json!({
            "driver": "raw", "node-name": format!("disk{number}"), "file": format!("file{number}"), "read-only": read_only,
        });
        if *format == Format::Qcow2 {
            layer["driver"] = json!("qcow2");
            layer["backing"] = json!(null);
        }
        self.option("-blockdev", layer.to_string());
        let write_cache = if *cache == Cache::Writethrough { "off" } else { "on" };
        let serial = disk::serial(number);
        self.option(
            "-device",
            format!("virtio-blk-{suffix},drive=disk{number},serial={serial},write-cache={write_cache}"),
        );
    }

    /// Machine, accelerator, processors and memory. The memory is a shared memfd because virtiofsd maps it.
    fn machine(&mut self, machine: &Machine, hardware: &Hardware) {
        let mut kind = format!("{},memory-backend=ram", machine.machine_type);
        for option in &machine.machine_options {
            kind.push(',');
            kind.push_str(option);
        }
        self.option("-machine", kind);
        self.option("-accel", accelerator(machine, hardware));
        self.option("-cpu", cpu(machine, hardware));
        self.option("-smp", processors(machine, hardware));
        self.option("-m", format!("{}M", hardware.memory_mib));
        self.option("-object", format!("memory-backend-memfd,id=ram,size={}M,share=on", hardware.memory_mib));
    }
}

/// The processor's model and features. Under emulation there is no nesting to switch off.
fn cpu(machine: &Machine, hardware: &Hardware) -> String {
    let mut words = match hardware.accel {
        Accel::Kvm => vec![machine.cpu_kvm.clone()],
        Accel::Tcg => vec![machine.cpu_tcg.clone()],
    };
    if !hardware.nested && hardware.accel == Accel::Kvm {
        words.extend(machine.cpu_nesting.iter().map(|feature| format!("{feature}=off")));
    }
    words.extend(hardware.cpu_features.iter().cloned());
    words.join(",")
}

/// The accelerator and its options. QEMU 10.0 that emulates several vCPUs in as many threads aborts now and then
/// (`iotlb_to_section: Assertion`); in one thread it does not. The translated code has 128 MiB, instead of an eighth of the
/// host's memory: it counts to the container's limit.
fn accelerator(machine: &Machine, hardware: &Hardware) -> &'static str {
    match hardware.accel {
        Accel::Kvm => "kvm",
        Accel::Tcg if hardware.vcpus > 1 && !machine.tcg_always_parallel => "tcg,tb-size=128,thread=single",
        Accel::Tcg => "tcg,tb-size=128",
    }
}

/// The vCPUs. One that could be plugged in, but never is, makes QEMU emulate the first as one of several.
fn processors(machine: &Machine, hardware: &Hardware) -> String {
    let vcpus = hardware.vcpus;
    if machine.smp_sockets {
        format!("{vcpus},sockets={vcpus}")
    } else if machine.tcg_always_parallel && hardware.accel == Accel::Tcg && vcpus == 1 {
        "1,maxcpus=2".to_owned()
    } else {
        vcpus.to_string()
    }
}

#[cfg(test)]
#[path = "qemu_args/tests.rs"]
mod tests;
