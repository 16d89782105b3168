"""``VfioUser``: one function behind a vfio-user server, as a transport. Each part of the work is in a file beside this one."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from drivers.errors import DeviceTimeout, DriverError, NotSupported
from drivers.transports import MappedBar, Virtualised
from drivers.transports.access import check_config
from drivers.transports.capabilities import bus_master_off
from drivers.transports.mapped import Area, AreaBar
from drivers.transports.vfio_user import info, version
from drivers.transports.vfio_user.bars import make_bar, map_areas
from drivers.transports.vfio_user.channel import Channel
from drivers.transports.vfio_user.connecting import connect, no_version
from drivers.transports.vfio_user.info import CONFIG_REGION, RegionInfo
from drivers.transports.vfio_user.interrupts import Interrupts
from drivers.transports.vfio_user.memory import Memory, VfioUserBuffer
from regmodel.errors import UsageError
from regmodel.function import Irq
from regmodel.structures.vfio_user import Command

_BARS = range(6)
_BAR0 = 0x10
_IO_SPACE = 1
"""Bit 0 of a BAR register: the BAR lies in I/O space (PCI Express Base Specification 5.0, §7.5.1.2.1)."""
_FINE = 0.001
"""Seconds: the grain of poll(2). Less than this is slept without looking at the socket."""


class VfioUser:
    """The function served at the Unix socket ``path``; ``timeout`` seconds for each answer.

    ``share_memory``: the server gets descriptors of DMA memory and maps it; otherwise it must ask by message.

    Raises ``NoSuchFunction``, ``PermissionDenied``, ``NotViable`` (another client is attached), ``DeviceTimeout``,
    ``NotSupported``, ``UnsupportedReply``, ``DeviceGone``. Later calls raise ``DeviceGone`` once the server has hung up,
    ``DeviceTimeout`` when it does not answer, ``UnsupportedReply`` when it does not speak the protocol.
    """

    virtualised: frozenset[Virtualised] = frozenset()
    coherent = True

    def __init__(self, path: str, *, timeout: float = 5.0, share_memory: bool = True) -> None:
        self.name = f"vfio-user:{path}"
        with ExitStack() as on_failure:
            self._channel = Channel(connect(path, timeout), self.name, timeout)
            on_failure.callback(self._channel.close)
            self.session = self._negotiate(path, timeout)
            self._info = info.device_info(self._channel)
            self._config_size = self._region(CONFIG_REGION)[0].size
            self._regions, self._areas = self._all_bars()
            self._memory = Memory(self._channel, self.session, share=share_memory)
            self._interrupts = Interrupts(self._channel, self, self.session.max_msg_fds)
            on_failure.pop_all()
        self._bars: dict[int, MappedBar] = {}
        self._vectors: dict[Irq, int] = {}
        self._open = True

    def _negotiate(self, path: str, timeout: float) -> version.Session:
        try:
            reply = self._channel.call(Command.VERSION, version.proposal(), "VERSION")
        except DeviceTimeout as error:
            raise no_version(path, timeout) from error
        return version.agree(reply, self.name)

    def _all_bars(self) -> tuple[dict[int, RegionInfo], dict[int, list[Area]]]:
        """What there is of BARs, with their mapped areas. All are looked at now: one that is mapped changes all writes."""
        found = {index: self._region(index) for index in _BARS}
        there = {index: region for index, (region, _) in found.items() if region.size}
        return there, {index: found[index][1] for index in there}

    def _region(self, index: int) -> tuple[RegionInfo, list[Area]]:
        region, fd = info.region_info(self._channel, index)
        if fd < 0:
            return region, []
        try:
            return region, map_areas(region, fd)
        finally:
            os.close(fd)

    # -- configuration space and registers

    def config_read(self, offset: int, size: int) -> int:
        check_config(self._config_size, offset, size)
        return self._channel.read(CONFIG_REGION, offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        check_config(self._config_size, offset, size, value)
        self._channel.write(CONFIG_REGION, offset, size, value)

    def bar(self, index: int) -> MappedBar:
        self._check_open()
        if index not in self._bars:
            if index not in self._regions:
                there = ", ".join(str(i) for i in self._regions) or "none"
                raise UsageError(f"{self.name} has no BAR {index}; it has {there}")
            in_io_space = bool(self.config_read(_BAR0 + 4 * index, 4) & _IO_SPACE)
            posted = not in_io_space and not any(self._areas.values())
            self._bars[index] = make_bar(self._channel, self._regions[index], self._areas[index], posted=posted)
        return self._bars[index]

    # -- memory

    def alloc(self, size: int) -> VfioUserBuffer:
        self._check_open()
        return self._memory.alloc(size)

    # -- interrupts

    def irq_vectors(self, irq: Irq = Irq.MSIX) -> int:
        self._check_open()
        if irq not in self._vectors:
            self._vectors[irq] = info.irq_count(self._channel, self._info, irq)
        return self._vectors[irq]

    def enable_irqs(self, count: int, irq: Irq = Irq.MSIX) -> None:
        if not 1 <= count <= self.irq_vectors(irq):
            raise UsageError(f"{self.name} has {self.irq_vectors(irq)} {irq.name} vectors: {count} cannot be enabled")
        if not self._interrupts.can_be_armed:
            raise NotSupported(f"{self.name}: the server takes no descriptors, so it cannot deliver interrupts: poll instead")
        self._interrupts.disable()
        self._interrupts.enable(irq, count)

    def disable_irqs(self) -> None:
        self._check_open()
        self._interrupts.disable()

    def wait_irq(self, timeout: float) -> Sequence[int]:
        self._check_open()
        return self._interrupts.wait(_finite(timeout))

    # -- time, reset and the end

    def reset(self) -> None:
        """DEVICE_RESET. Raises ``NotSupported`` where the server does not take it."""
        self._check_open()
        if not self._info.resettable:
            raise NotSupported(f"{self.name}: the server's device takes no DEVICE_RESET: start the server again instead")
        self._interrupts.disable()
        bus_master_off(self)
        self._channel.call(Command.DEVICE_RESET, b"", "DEVICE_RESET")
        bus_master_off(self)

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """The server may ask for memory meanwhile."""
        self._check_open()
        deadline = time.monotonic() + _finite(seconds)
        while (left := deadline - time.monotonic()) > _FINE:
            self._channel.serve(left - _FINE)
        if left > 0:
            time.sleep(left)
        self._channel.serve()

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            if not self._channel.is_over:
                bus_master_off(self)
                self._interrupts.disable()
        except DriverError:  # it has gone, or hangs: then no more questions
            self._channel.close()
        with ExitStack() as all_of_them:
            all_of_them.callback(self._channel.close)
            all_of_them.callback(self._memory.close)
            all_of_them.callback(self._interrupts.close)
            for bar in self._bars.values():
                if isinstance(bar, AreaBar):
                    bar.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(f"{self.name} is closed")


def _finite(seconds: float) -> float:
    if not 0 <= seconds < math.inf:
        raise UsageError(f"{seconds} s cannot be waited for")
    return seconds
