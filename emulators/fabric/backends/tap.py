"""``tap:NAME``: a TAP device of this host, created if it does not exist. Its other end is a network interface.

Source: Linux Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from emulators.fabric.backends.options import Options
from emulators.fabric.backends.packets import PacketBackend
from regmodel.errors import UsageError
from regmodel.function import Buffer

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
IFREQ = struct.Struct("16sH22x")

REMEDY = {
    errno.EPERM: "this needs CAP_NET_ADMIN: run as root, or once: ip tuntap add dev {name} mode tap user $USER",
    errno.EBUSY: "another process has it open: name another one, or stop that process",
    errno.EINVAL: "there is an interface of this name which is no single-queue TAP device: name another one",
}


class Tap(PacketBackend):
    """Frames as they are, without packet information and without virtio headers, so checksums are complete."""

    USAGE = "tap:NAME"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.name = options.word()
        if not 0 < len(self.name.encode()) < 16 or not self.name.isprintable() or set(self.name) & set("/ :=,"):
            raise options.error("NAME is an interface name of 1 to 15 bytes")

    def _start(self) -> int:
        try:
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"--net {self.spec}: cannot open /dev/net/tun ({error.strerror}): modprobe tun") from None
        try:
            fcntl.ioctl(fd, TUNSETIFF, IFREQ.pack(self.name.encode(), IFF_TAP | IFF_NO_PI))
        except OSError as error:
            os.close(fd)
            remedy = REMEDY.get(error.errno or 0, error.strerror or "").format(name=self.name)
            raise UsageError(f"--net {self.spec}: {remedy}") from None
        return fd

    def _stop(self, fd: int) -> None:
        os.close(fd)

    def _read(self, buffer: memoryview) -> int:
        return os.readv(self._fd, (buffer,))

    def _write(self, frame: Buffer) -> None:
        os.write(self._fd, frame)

    def _lost(self, error: OSError) -> bool:
        return error.errno == errno.EBADFD  # the interface was deleted; EIO means that it is down
