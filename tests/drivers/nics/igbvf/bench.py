"""Two VFs of one card in this process, a driver on each, and whatever has to be done to the card behind their backs.

Time is manual: it passes only while a driver sleeps or waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from drivers.ethdev import EthDev, RxOffload, TxOffload
from drivers.mempool import Indices, Mempool
from drivers.nics.igbvf import IgbVf
from drivers.transports.in_process import InProcess
from emulators.alone import Alone, open_functions
from regmodel.catalogue import Device
from regmodel.devices.igbvf import IGBVF
from regmodel.function import Buffer

ALL_TX = TxOffload.MULTI_SEGS | TxOffload.VLAN_INSERT | TxOffload.IPV4_CKSUM | TxOffload.TCP_TSO


class Wire:
    """A packet back end that keeps what is sent."""

    spec = "test"

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send(self, frames: Sequence[Buffer]) -> int:
        self.frames += [bytes(frame) for frame in frames]
        return len(frames)

    def close(self) -> None: ...


class Side:
    """A port with one queue pair and its pool, started."""

    def __init__(self, port: EthDev, *, rings: int = 64, buffers: int = 512, mtu: int = 1500, **more: Any) -> None:
        self.port, self.pool = port, Mempool(port.transport, buffers)
        port.configure(mtu=mtu, **more)
        port.rx_queue_setup(0, self.pool, rings)
        port.tx_queue_setup(0, self.pool, rings)
        port.start()
        self.out: Indices = np.empty(32, np.intp)

    def send(self, *packets: bytes) -> int:
        """Through the ring as often as it takes."""
        todo = np.array([self.pool.put(packet) for packet in packets], np.intp)
        assert (todo >= 0).all(), "the pool is too small for this test"
        return self.send_packets(todo)

    def send_packets(self, todo: Indices) -> int:
        sent = self.port.tx_burst(0, todo)
        self.port.tx_done_cleanup(0)
        return sent

    def receive(self) -> list[bytes]:
        """All that has come."""
        return [content for content, _ in self.receive_with_flags()]

    def receive_with_flags(self) -> list[tuple[bytes, int]]:
        got: list[tuple[bytes, int]] = []
        while n := self.port.rx_burst(0, self.out):
            packets = self.out[:n]
            got += [(self.pool.content(int(i)), int(self.pool.rx_flags[i])) for i in packets]
            self.pool.free(packets)
        return got

    def settle(self) -> None:
        """Everything that was sent is gone, and its buffers are back."""
        self.port.tx_done_cleanup(0)


class Meddler:
    """A ``Function`` with somebody between it and the driver. ``gone``: all reads answer ones, writes are lost.

    ``ignored`` are offsets of BAR 0 whose writes are lost.
    """

    def __init__(self, function: Any) -> None:
        self._function = function
        self.gone = False
        self.ignored: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def region_read(self, index: int, offset: int, size: int) -> int:
        value: int = self._function.region_read(index, offset, size)
        return (1 << 8 * size) - 1 if self.gone else value

    def region_write(self, index: int, offset: int, size: int, value: int) -> None:
        if not self.gone and not (index == 0 and offset in self.ignored):
            self._function.region_write(index, offset, size, value)


class Bounce:
    """A ``DmaBuffer`` of which driver and device each have their own copy: what is not handed over does not arrive."""

    def __init__(self, inner: Any, log: list[tuple[str, int]]) -> None:
        self._inner, self._log = inner, log
        self.iova, self.size = inner.iova, inner.size
        self.view = memoryview(bytearray(inner.size))

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        end = self.size if size is None else offset + size
        self._inner.view[offset:end] = self.view[offset:end]
        self._log.append(("device", self.iova))

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        self._inner.sync_for_cpu()
        end = self.size if size is None else offset + size
        self.view[offset:end] = self._inner.view[offset:end]
        self._log.append(("cpu", self.iova))

    def free(self) -> None:
        self._inner.free()


class Bouncing(InProcess):
    """The in-process transport with memory that is not coherent. ``log`` is each hand-over, by direction and buffer."""

    coherent = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.log: list[tuple[str, int]] = []

    def alloc(self, size: int) -> Any:
        return Bounce(super().alloc(size), self.log)


class Bench:
    """``transports`` of the first ``count`` VFs of a new card; ``open`` puts a driver on one."""

    def __init__(self, device: Device = IGBVF, count: int = 2, transport: type[InProcess] = InProcess, **options: str) -> None:
        self.device = device
        self.alone: Alone = open_functions(device, count, clock="manual", **options)
        self.meddlers = [Meddler(f) for f in self.alone.functions]
        self.transports = [transport(m, self.alone, name=f"inprocess {m.name}") for m in self.meddlers]
        self.wire = Wire()
        self.switch.uplink.backend = self.wire  # type: ignore[assignment]

    @property
    def card(self) -> Any:
        return self.alone.card

    @property
    def switch(self) -> Any:
        return self.card.ports[0].switch

    @property
    def pf(self) -> Any:
        return self.card.ports[0].pf

    def bank(self, vf: int) -> Any:
        """The register file of a VF's model, to be looked at and poked without side effects."""
        return self.card.slots[vf].model.bank

    def model(self, vf: int) -> Any:
        return self.card.slots[vf].model

    def open(self, vf: int = 0, **options: Any) -> IgbVf:
        return IgbVf(self.transports[vf], self.device, **options)

    def side(self, vf: int = 0, **options: Any) -> Side:
        return Side(self.open(vf), **options)

    def from_the_wire(self, frames: Iterable[bytes]) -> None:
        self.switch.receive(list(frames))

    def close(self) -> None:
        self.alone.close()


def frame(to: bytes, sender: bytes, size: int, seed: int = 0) -> bytes:
    """``size`` octets without FCS that do not look like IP."""
    body = bytes((seed + i * 7) & 0xFF for i in range(size - 14))
    return to + sender + b"\x88\xb5" + body


__all__ = ["ALL_TX", "Bench", "RxOffload", "Side", "Wire", "frame"]
