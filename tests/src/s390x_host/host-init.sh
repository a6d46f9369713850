#!/bin/bash
# PID 1 of the simulated host, a machine without a network. Each step says a line on the console, which the test reads:
# `step NAME EXIT-CODE SECONDS-SINCE-BOOT`, after what the step printed.
export PATH=/usr/sbin:/usr/bin
mount -t devtmpfs devtmpfs /dev
exec < /dev/null > /dev/console 2>&1

step() {
    local name=$1
    shift
    "$@"
    local code=$?
    echo "step $name $code $(cut -d. -f1 /proc/uptime)"
    return $code
}

mounts() {
    mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t cgroup2 cgroup /sys/fs/cgroup &&
        mkdir -p /dev/pts /dev/shm && mount -t devpts devpts /dev/pts &&
        for dir in /dev/shm /run /tmp; do mount -t tmpfs tmpfs $dir || return; done
    dmesg -n 1
    ip link set lo up
    modprobe -a overlay bridge veth macvtap tun ip_tables ip6_tables iptable_nat iptable_filter \
        xt_MASQUERADE xt_conntrack xt_addrtype
}

# A daemon that has ended is not waited for.
daemon() {
    local socket=$1
    shift
    "$@" > "/tmp/$1.log" 2>&1 &
    until [ -S "$socket" ]; do kill -0 $! && sleep 0.2 || return 1; done
}

image() {
    mkdir -p /image/bin && cp /bin/busybox /image/bin/
    for applet in sh uname true cat; do ln -s busybox /image/bin/$applet; done
    tar -C /image -c . | docker import - busybox
}

registered() {
    cat /etc/docker/daemon.json
    docker info --format '{{range $name, $_ := .Runtimes}}runtime:{{$name}} {{end}}'
}

step mounts mounts
runq_install=/var/lib/runq/current/runq-install
step verify $runq_install verify --public-key /runq.pub
step containerd daemon /run/containerd/containerd.sock containerd
step dockerd daemon /run/docker.sock dockerd
# Emulated twice, a VM boots for ten minutes.
step adopt $runq_install adopt --public-key /runq.pub --runtime-arg=--accel --runtime-arg=tcg --runtime-arg=--boot-timeout=1500
step registered registered
step image image
step runc docker run --rm busybox uname -m
step runq docker run --rm --runtime runq busybox uname -a &&
    step exit-code docker run --rm --runtime runq busybox sh -c 'exit 42'
step list $runq_install list
echo "the end"
sync
echo o > /proc/sysrq-trigger
sleep 60
