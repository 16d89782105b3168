#!/usr/bin/busybox sh
# The first process of a guest: mounts what Linux programs expect and hands over to the agent. It decides nothing.
export PATH=/usr/sbin:/usr/bin HOME=/root TERM=linux
chmod 755 / # the kernel leaves it world-writable, which DPDK refuses to load drivers under
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/hugepages /run /tmp /root /mnt
mount -t devpts pts /dev/pts
mount -t tmpfs run /run
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing
ln -s /proc/self/fd /dev/fd
hostname guest
ip link set lo up
if [ ! -e /sys/bus/virtio/drivers/virtio_console ]; then # a kernel that has it as a module
    modprobe -a virtio_pci virtio_console
    until [ -e /sys/class/virtio-ports/vport*p1/name ]; do usleep 10000; done
fi
exec busybox sh /etc/lab/agent.sh
