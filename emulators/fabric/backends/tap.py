"""``tap:NAME``: a TAP device of this host, created if it does not exist. Its other end is a network interface.

Where the port's models know partial frames, a virtio header stands before each frame, both ways (IFF_VNET_HDR); it costs
0.3 us a frame, which other ports are spared. The kernel takes partial frames as they are; it hands in
as partial what all pools of the port take so, and finishes the rest itself, which is what it is good at: so TCP between a
guest and this host moves 64 KiB at a time where the guest can.

Source: Linux Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h, drivers/net/tun.c (``set_offload``: USO is
for IPv4 and IPv6 together, and nothing goes without CSUM).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from typing import Any

from emulators.fabric import vnet
from emulators.fabric.backends.options import Options
from emulators.fabric.backends.packets import PacketBackend
from emulators.fabric.offload import Partial, Takes
from regmodel.errors import UsageError
from regmodel.function import Buffer

TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
IFREQ = struct.Struct("16sH22x")
TUN_F = {Takes.CSUM: 0x01, Takes.TSO4: 0x02, Takes.TSO6: 0x04, Takes.ECN: 0x08, Takes.USO: 0x20 | 0x40}

REMEDY = {
    errno.EPERM: "this needs CAP_NET_ADMIN: run as root, or once: ip tuntap add dev {name} mode tap user $USER",
    errno.EBUSY: "another process has it open: name another one, or stop that process",
    errno.EINVAL: "there is an interface of this name which is no single-queue TAP device: name another one",
}


class Tap(PacketBackend):
    """``offered`` is what the kernel may hand in unfinished."""

    USAGE = "tap:NAME"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.name = options.word()
        if not 0 < len(self.name.encode()) < 16 or not self.name.isprintable() or set(self.name) & set("/ :=,"):
            raise options.error("NAME is an interface name of 1 to 15 bytes")
        self.offered = self._wanted = Takes.NONE
        self._headers = False

    def counters(self) -> dict[str, Any]:
        return {**super().counters(), "offloads_in": self.offered.names, "offloads_out": self.takes.names}

    def _start(self) -> int:
        try:
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"--net {self.spec}: cannot open /dev/net/tun ({error.strerror}): modprobe tun") from None
        self._headers = self._wire is not None and self._wire.partial
        try:
            fcntl.ioctl(fd, TUNSETIFF, IFREQ.pack(self.name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR * self._headers))
        except OSError as error:
            os.close(fd)
            remedy = REMEDY.get(error.errno or 0, error.strerror or "").format(name=self.name)
            raise UsageError(f"--net {self.spec}: {remedy}") from None
        if self._headers:
            fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", vnet.LEGACY))  # of a TAP device that stays, the last user chose
            self.takes = Takes.ALL if _set_offload(fd, Takes.ALL) else Takes.ALL & ~Takes.USO  # which Linux has since 6.2
        _set_offload(fd, Takes.NONE)
        self.offered = self._wanted = Takes.NONE
        return fd

    def _offer(self, wanted: Takes) -> None:
        """Tell the kernel what it may hand in unfinished."""
        self.offered = wanted & self.takes if Takes.CSUM in wanted else Takes.NONE
        _set_offload(self._fd, self.offered)

    def _stop(self, fd: int) -> None:
        os.close(fd)

    def _read(self, buffer: memoryview) -> int:
        return os.readv(self._fd, (buffer,))

    def _read_all(self) -> tuple[list[Buffer], bool]:
        """The same as without headers. What the receivers want is looked at once a burst, so it may be a burst late."""
        frames, more = super()._read_all()
        if not self._headers or self._wire is None:
            return frames, more
        if self._wire.wanted is not self._wanted and self._fd >= 0:
            self._wanted = self._wire.wanted
            self._offer(self._wanted)
        return _partial(frames), more

    def _write(self, frame: Buffer) -> None:
        if not self._headers:
            os.write(self._fd, frame)
        elif isinstance(frame, Partial):
            os.writev(self._fd, (vnet.build(frame), frame))
        else:
            os.write(self._fd, vnet.NOTHING + frame)

    def _lost(self, error: OSError) -> bool:
        return error.errno == errno.EBADFD  # the interface was deleted; EIO means that it is down


def _set_offload(fd: int, takes: Takes) -> bool:
    """False when this kernel does not know one of them."""
    try:
        fcntl.ioctl(fd, TUNSETOFFLOAD, sum(TUN_F[take] for take in takes))
    except OSError:
        return False
    return True


def _partial(frames: Sequence[Buffer]) -> list[Buffer]:
    """The frames behind their headers, partial where the header says anything."""
    found: list[Buffer] = []
    for frame in frames:
        offload = vnet.parse(bytes(frame[: vnet.LEGACY]))
        found.append(frame[vnet.LEGACY :] if offload is None else Partial(frame[vnet.LEGACY :], offload))
    return found
