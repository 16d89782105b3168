"""A function behind a vfio-user server: the client end of the socket, as a transport.

Any server that speaks version 0.0 of the protocol will do. What lives here: connecting and agreeing on a version
(``connecting``, ``version``), the one socket (``channel``), what the server says of its device (``info``), and the parts of
a transport that are made of messages: ``bars``, ``memory``, ``interrupts``, joined in ``transport``. What does not: the
layout of the messages (``regmodel.structures``), which both ends read; anything of a server, with which this room shares no
code, so that a fault of one end cannot hide behind the same fault of the other.

Source: "vfio-user Protocol Specification", QEMU docs/interop/vfio-user.rst.
"""

from __future__ import annotations

from drivers.transports.vfio_user.transport import VfioUser
from regmodel.catalogue import Device
from regmodel.errors import UsageError

__all__ = ["VfioUser", "open"]


def open(rest: str, device: Device | None, *, timeout: float = 5.0, dma: str = "shared") -> VfioUser:
    """The transport ``vfio-user:SOCKET``. ``rest`` is the path of the socket; the server must serve ``device``, if given.

    ``timeout``: seconds that the server may take for any one answer. ``dma``: ``shared`` gives it the descriptor of all
    DMA memory; ``messages`` keeps that back, so that it must ask by DMA_READ and DMA_WRITE.

    Raises ``UsageError`` for bad options and when another device is served there, and what ``VfioUser`` raises.
    """
    if not rest:
        raise UsageError("vfio-user: needs the path of a socket: vfio-user:/run/vf0.sock")
    if dma not in ("shared", "messages"):
        raise UsageError(f"dma={dma!r}: DMA memory is either shared or reached by messages")
    transport = VfioUser(rest, timeout=timeout, share_memory=dma == "shared")
    try:
        if device is not None:
            _require(transport, device)
    except BaseException:
        transport.close()
        raise
    return transport


def _require(transport: VfioUser, device: Device) -> None:
    ids = device.identity
    found = transport.config_read(0, 2), transport.config_read(2, 2)
    if found != (ids.vendor, ids.device):
        raise UsageError(
            f"{transport.name} serves the device {found[0]:04x}:{found[1]:04x}, which is not {device.name} "
            f"({ids.vendor:04x}:{ids.device:04x}): name the device that is served, or another socket"
        )
