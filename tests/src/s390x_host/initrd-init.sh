#!/bin/busybox sh
# First program of the simulated host: loads what its disk needs and goes on there.
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox modprobe -a crc32c_generic ext4 virtio_blk
/bin/busybox umount /proc
tries=0
until [ -b /dev/vda ] || [ $tries = 300 ]; do /bin/busybox sleep 0.1; tries=$((tries + 1)); done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /sbin/host-init
