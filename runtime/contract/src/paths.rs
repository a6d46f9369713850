//! The few paths that two of the programs must agree on.

use crate::guest::Share;

/// Where `runq` bind-mounts the asset tree (`qemu/` of the installed version), read-only, in the container.
pub const ASSETS: &str = "/.runq-assets";

/// Where `runq` bind-mounts the VM configuration, seen from the container's root. The file lies in the asset
/// tree, which has an empty file there as the mount point, so that the image is left untouched.
pub const VM_CONFIG: &str = "/.runq-assets/etc/runq/vm.json";

/// The proxy, seen from the container's root before the proxy pivots into the asset tree and, through the
/// link `/.runq-assets -> .` in that tree, after it as well.
pub const PROXY: &str = "/.runq-assets/proxy";

/// Runtime data of the machine (rendered from `arch/<arch>/machine.toml`), relative to the asset tree.
pub const MACHINE: &str = "machine.json";

/// Guest kernel, relative to the asset tree.
pub const KERNEL: &str = "kernel";

/// Guest initial RAM disk with `init` and the modules that booting needs, relative to the asset tree.
pub const INITRD: &str = "initrd";

/// An empty directory of the asset tree: the proxy mounts a tmpfs there and puts the share below it.
pub const RUN: &str = "run";

/// In the initrd: one kernel module path a line, in the order in which `init` loads them; `#` starts a comment. A second path
/// on the line is a condition: the module is loaded only where it exists.
pub const INITRD_MODULES: &str = "/etc/modules";

/// The same for the modules of one share, of which the guest needs only one.
#[must_use]
pub fn share_modules(share: Share) -> String {
    format!("{INITRD_MODULES}.{}", share.name())
}

/// Tag of the share (virtiofs or 9p) that carries the container's root file system.
pub const ROOT_TAG: &str = "runq-root";

/// Name of the virtio-serial port that carries the channel; the guest finds it in
/// `/sys/class/virtio-ports/*/name`.
pub const CHANNEL_PORT: &str = "runq.channel";

/// Where the programs are, in the container, that run instead of a signal being sent.
pub const SIGUSR: &str = "/.runq";
