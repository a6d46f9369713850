# AppArmor's view of the host side of a container: proxy, virtiofsd and QEMU, whatever the user asks for the guest. Docker's
# own profile forbids the mounts by which the proxy leaves the image's root. `runq` gives this to the kernel when a container
# needs it. A kernel keeps a profile that it has: with each change the number in the name has to grow.
profile runq-1 flags=(attach_disconnected,mediate_deleted) {
  # The capabilities, system calls and devices are in runtime/runq/src/spec/confinement.rs.
  network,
  capability,
  file,
  mount,
  remount,
  umount,
  pivot_root,

  # Those who stop containers: Ubuntu 24.04 and later confine the delegates themselves.
  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (receive) peer=crun,
  signal (send, receive) peer=runq-1,
  ptrace (read, readby) peer=runq-1,

  deny /proc/sys/** wkl,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,
  deny /sys/** wkl,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
}
