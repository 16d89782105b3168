"""Two AVP ports of one card in this process, and a driver on each. Time is manual: it passes while a driver sleeps or waits.

There are no doorbells, so nothing happens until some time has: ``Side`` sleeps before it looks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from drivers.ethdev import RxOffload, TxOffload
from drivers.mempool import Indices, Mempool
from drivers.nics.avp import Avp
from drivers.transports.in_process import InProcess
from emulators.alone import Alone, open_functions
from regmodel.devices.avp import AVP
from tests.drivers.nics.igbvf.bench import frame

MOMENT = 0.008
"""Seconds: longer than the slowest look of the host."""


class Side:
    """A port with ``queues`` queue pairs and its pool, started."""

    def __init__(self, port: Avp, *, queues: int = 1, buffers: int = 512, mtu: int = 1500, vlan: bool = False) -> None:
        self.port, self.pool, self.queues = port, Mempool(port.transport, buffers), queues
        rx, tx = (RxOffload.VLAN_STRIP, TxOffload.VLAN_INSERT) if vlan else (RxOffload.NONE, TxOffload.NONE)
        port.configure(queues, queues, mtu=mtu, rx_offloads=rx, tx_offloads=tx)
        for queue in range(queues):
            port.rx_queue_setup(queue, self.pool, 64)
            port.tx_queue_setup(queue, self.pool, 64)
        port.start()
        self.out: Indices = np.empty(64, np.intp)

    def send(self, *packets: bytes, queue: int = 0) -> int:
        sent = self.port.tx_burst(queue, np.array([self.pool.put(packet) for packet in packets], np.intp))
        self.port.transport.sleep(MOMENT)
        return sent

    def receive(self, queue: int = 0) -> list[bytes]:
        self.port.transport.sleep(MOMENT)
        got: list[bytes] = []
        while n := self.port.rx_burst(queue, self.out):
            got += [self.pool.content(int(i)) for i in self.out[:n]]
            self.pool.free(self.out[:n])
        return got


class Bench:
    """``transports`` of the first ``count`` ports of a new card; ``side`` puts a driver on one."""

    def __init__(self, count: int = 2, **options: str) -> None:
        self.alone: Alone = open_functions(AVP, count, clock="manual", **options)
        self.transports = [InProcess(f, self.alone, name=f"inprocess {f.name}") for f in self.alone.functions]

    @property
    def card(self) -> Any:
        return self.alone.card

    def model(self, number: int = 0) -> Any:
        return self.card.slots[number].model

    def open(self, number: int = 0) -> Avp:
        return Avp(self.transports[number], AVP)

    def side(self, number: int = 0, **options: Any) -> Side:
        return Side(self.open(number), **options)

    def pair(self, **options: Any) -> tuple[Side, Side]:
        return self.side(0, **options), self.side(1, **options)

    def close(self) -> None:
        self.alone.close()


__all__ = ["Bench", "Side", "frame"]
