"""Who else is on the wire of a function under test: a second function of the card, or the switch of a model in this process.

Nothing in here knows the device: a neighbour is driven by whatever drives it elsewhere. Both have ``send``, ``heard`` (the
frames that the function under test has sent since the last time, in order) and ``close``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from drivers.errors import DriverError, NotSupported
from drivers.mempool import Indices, Mempool
from drivers.nics import driver_for
from drivers.transports import Transport
from regmodel.catalogue import Device
from regmodel.conformance.accesses import ALIVE, ROUNDS
from regmodel.function import Buffer

ADDRESS = bytes.fromhex("02005e10fffe")
"""Where the suite's frames say that they come from (``regmodel.conformance.rings.frame``)."""
BUFFERS, DESCRIPTORS, BURST = 1024, 256, 32
PATIENCE = 1.0
"""Seconds that a frame may wait for room in the ring."""
NAP = 1e-4


def looks(transport: Transport, seconds: float, nap: float) -> Iterator[None]:
    """Time to look, again and again until ``seconds`` have passed, and then as often as ``ROUNDS`` says."""
    end = transport.now() + seconds
    yield
    while transport.now() < end:
        transport.sleep(nap)
        yield
    for _ in range(ROUNDS):
        transport.config_read(ALIVE.offset, ALIVE.size)
        transport.sleep(nap)
        yield


class Neighbour:
    """``transport`` leads to the function, which is ours until ``close``. One queue each way, and all broadcasts."""

    def __init__(self, transport: Transport, device: Device) -> None:
        self._transport = transport
        self._port = driver_for(device)(transport, device)
        self._pool = Mempool(transport, BUFFERS)
        self._out: Indices = np.empty(BURST, np.intp)
        self._port.configure()
        self._port.rx_queue_setup(0, self._pool, DESCRIPTORS)
        self._port.tx_queue_setup(0, self._pool, DESCRIPTORS)
        self._port.start()
        self._claim()

    def send(self, frame: bytes) -> None:
        """One frame on its way. Raises ``DriverError`` when the ring takes none."""
        self._revive()
        packet = np.array([self._pool.put(frame)], np.intp)
        for _ in looks(self._transport, PATIENCE, NAP):
            if self._port.tx_burst(0, packet):
                return
        raise DriverError(f"{self._transport.name}: the neighbour cannot send; see to its PF and its link")

    def heard(self) -> list[bytes]:
        """What has come."""
        self._revive()
        frames: list[bytes] = []
        while n := self._port.rx_burst(0, self._out):
            packets = self._out[:n]
            frames += [self._pool.content(int(packet)) for packet in packets]
            self._pool.free(packets)
        self._port.tx_done_cleanup(0)
        return frames

    def _revive(self) -> None:
        """The PF may have been reset in the course of a test."""
        self._port.watch()
        if self._port.reset_needed:
            self._port.reset()
            self._claim()

    def _claim(self) -> None:
        """The address, so that no check for spoofing stands in the way. A port whose address is for ever has no such check."""
        with suppress(NotSupported):
            self._port.mac_addr_set(ADDRESS)

    def close(self) -> None:
        with suppress(DriverError):
            self._port.close()
        self._transport.close()


class Switch:
    """The switch that a model in this process hangs on; ``world`` is what holds both (``emulators.alone``, say)."""

    def __init__(self, world: Any) -> None:
        self._world, self._frames = world, list[bytes]()
        self._switch = world.card.ports[0].switch
        self._ours = self._switch.pools[0].name
        self._switch.observer = self._observe

    def _observe(self, port: str, way: str, frames: Sequence[Buffer]) -> None:
        if way == "in" and port == self._ours:
            self._frames += [bytes(frame) for frame in frames]

    def send(self, frame: bytes) -> None:
        """One frame from outside."""
        self._switch.receive([frame])

    def heard(self) -> list[bytes]:
        """What has come, from the function itself, wherever it went."""
        self._world.turn()
        found, self._frames = self._frames, []
        return found

    def close(self) -> None:
        self._switch.observer = None
