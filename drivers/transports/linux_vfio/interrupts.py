"""Vectors of a VFIO device as eventfds, and waiting for them."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Sequence

from regmodel.function import Irq
from regmodel.structures import vfio
from regmodel.structures.vfio import IrqSetFlags

SetIrqs = Callable[[bytearray], None]
"""VFIO_DEVICE_SET_IRQS with this ``struct vfio_irq_set``."""


class Vectors:
    """The vectors of one interrupt index, enabled; ``close`` disables them."""

    def __init__(self, irq: Irq, count: int, set_irqs: SetIrqs) -> None:
        self.irq, self._set = irq, set_irqs
        self._fds = {os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC): vector for vector in range(count)}
        self._epoll = select.epoll()
        for fd in self._fds:
            self._epoll.register(fd, select.EPOLLIN)
        data = b"".join(fd.to_bytes(4, "little") for fd in self._fds)
        try:
            set_irqs(_request(irq, IrqSetFlags.DATA_EVENTFD | IrqSetFlags.TRIGGER, count, data))
        except BaseException:
            self._close_files()
            raise

    def wait(self, timeout: float) -> Sequence[int]:
        """The vectors that fired, in order of number; at most ``timeout`` seconds."""
        if self.irq is Irq.INTX:  # VFIO masks the line when it fires, until it has been seen to
            self._set(_request(self.irq, IrqSetFlags.DATA_NONE | IrqSetFlags.UNMASK, 1))
        fired = []
        for fd, _ in self._epoll.poll(max(timeout, 0), len(self._fds)):
            os.eventfd_read(fd)
            fired.append(self._fds[fd])
        return sorted(fired)

    def close(self) -> None:
        """Disable them; what was not waited for is forgotten."""
        try:
            self._set(_request(self.irq, IrqSetFlags.DATA_NONE | IrqSetFlags.TRIGGER, 0))
        finally:
            self._close_files()

    def _close_files(self) -> None:
        self._epoll.close()
        for fd in self._fds:
            os.close(fd)
        self._fds = {}


def _request(irq: Irq, flags: IrqSetFlags, count: int, data: bytes = b"") -> bytearray:
    """``struct vfio_irq_set`` of vectors from 0 on."""
    return bytearray(vfio.IRQ_SET.pack(vfio.IRQ_SET.size + len(data), flags, irq, 0, count) + data)
