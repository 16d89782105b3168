"""One virtqueue pair on a bench: memory with holes around it, a device that records, and reference drivers for its queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from emulators.dma import BytesMemory, DmaMap
from emulators.loop import ManualClock
from emulators.nics.virtio.notifications import SENT
from emulators.nics.virtio.queue import Layout, Queue, QueueError, open_queue
from emulators.nics.virtio.receive import ReceiveQueue
from emulators.nics.virtio.transmit import TransmitQueue
from regmodel.function import Buffer, OnDescriptor
from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.virtio.reference import Driver, Memory, PackedDriver, SplitDriver

BASE, MEMORY = 0x10000, 1 << 18
MODERN = Feature.VERSION_1 | Feature.MRG_RXBUF | Feature.INDIRECT_DESC
OFFLOADS = (
    Feature.CSUM | Feature.HOST_TSO4 | Feature.HOST_TSO6 | Feature.HOST_ECN | Feature.HOST_USO | Feature.GUEST_CSUM
    | Feature.GUEST_TSO4 | Feature.GUEST_TSO6 | Feature.GUEST_ECN | Feature.GUEST_USO4 | Feature.GUEST_USO6
)  # fmt: skip


class Station:
    """An ``Owner`` and its ``Host`` in one. ``pieces``: memory is mapped in so many maps, so that there is no view of rings."""

    def __init__(self, features: Feature = MODERN, *, size: int = 16, pieces: int = 1, seed: int = 0) -> None:
        self.features, self.size = features, size
        self.dma, self.clock = DmaMap(), ManualClock()
        self.dma.enabled = True
        self.on_descriptor: OnDescriptor | None = None
        self.content = bytearray(MEMORY)
        for n in range(pieces):
            part = MEMORY // pieces
            memory = BytesMemory(0)
            memory._view = memoryview(self.content)[n * part : (n + 1) * part]
            self.dma.map(BASE + n * part, part, memory)
        self.memory = Memory(self.content, BASE, seed)
        self.sent: list[Buffer] = []
        self.bursts = 0
        self.interrupts: list[int] = []
        self.errors: list[tuple[int, QueueError]] = []
        self.diagnoses: Counter[str] = Counter()
        self.deferred: dict[Callable[[], bool], None] = {}
        self.on_send: Callable[[], None] | None = None
        self.transmit_driver, self.tx = self._pair(TransmitQueue, 1)
        self.receive_driver, self.rx = self._pair(ReceiveQueue, 0)

    def _pair(self, kind: Any, number: int) -> tuple[Any, Any]:
        driver = self.driver()
        return driver, kind(self, number, self.queue(driver), self.features)

    def driver(self) -> Driver:
        """A driver with a ring of its own."""
        kind = PackedDriver if Feature.RING_PACKED in self.features else SplitDriver
        return kind(
            self.memory, self.size, event_index=Feature.EVENT_IDX in self.features, in_order=Feature.IN_ORDER in self.features
        )

    def queue(self, driver: Any) -> Queue:
        return open_queue(self.dma, Layout(driver.size, driver.desc, driver.driver, driver.device), self.features)

    # -- the Owner

    @property
    def host(self) -> Any:
        return self

    @property
    def pool(self) -> Any:
        return self

    @property
    def packets(self) -> Any:
        return self

    def interrupt(self, queue: int) -> None:
        self.interrupts.append(queue)

    def broken(self, queue: int, error: QueueError) -> None:
        self.errors.append((queue, error))

    # -- the Host

    def defer(self, burst: Callable[[], bool]) -> None:
        self.deferred[burst] = None

    def diagnose(self, kind: str, **detail: object) -> None:
        self.diagnoses[kind] += 1

    def send(self, frames: Sequence[Buffer]) -> None:
        self.bursts += 1
        self.sent += [frame if hasattr(frame, "offload") else bytes(frame) for frame in frames]
        if self.on_send is not None:
            self.on_send()

    # -- turns

    def turn(self) -> bool:
        """One burst; False when there was none to run."""
        for burst in self.deferred:
            del self.deferred[burst]
            if burst():
                self.deferred[burst] = None
            return True
        return False

    def settle(self, most: int = 1000) -> None:
        """Run what is to be done, and let pass what interrupts wait."""
        for _ in range(most):
            if not self.turn():
                self.clock.advance(SENT)
                if not self.deferred:
                    return
        raise AssertionError(f"still busy after {most} bursts")

    # -- a driver's turn

    def transmit(self, parts: list[bytes], *, indirect: bool = False) -> bool:
        """One message on the transmit ring, and the doorbell if it is wanted."""
        if not self.transmit_driver.add(self.transmit_driver.place(parts, [], indirect)):
            return False
        if self.transmit_driver.publish():
            self.tx.notify()
        return True

    def offer(self, sizes: list[int], *, indirect: bool = False) -> bool:
        """One buffer on the receive ring, and the doorbell if it is wanted."""
        if not self.receive_driver.add(self.receive_driver.place([], sizes, indirect)):
            return False
        if self.receive_driver.publish():
            self.rx.notify()
        return True

    def received(self) -> list[bytes]:
        """The contents of what came back on the receive ring, headers included."""
        return [self.receive_driver.contents(buffer, written) for buffer, written in self.receive_driver.poll()]
