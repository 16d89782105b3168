"""Whole virtio NICs for tests: the PCI function with its model, and a driver which works as the specification says.

``Nic`` knows one function by the names of its registers; ``Driver`` brings it up as a modern or a legacy driver does. Queues
are driven by the slow reference drivers of ``reference``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from emulators.alone import Alone, open_functions
from emulators.dma import BytesMemory
from emulators.nics.virtio.device import VirtioNet
from emulators.nics.virtio.notifications import SENT
from regmodel.bars.virtio import BAR0, BAR4
from regmodel.catalogue import find
from regmodel.function import Irq
from regmodel.registers import Register
from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.virtio.reference import Buffer, Memory, PackedDriver, SplitDriver

BASE, MEMORY = 0x100000, 1 << 20
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 0x40, 0x80
NO_VECTOR = 0xFFFF
LEGACY, TRANSITIONAL, MODERN = "virtio-net-legacy", "virtio-net-transitional", "virtio-net"


class Nic:
    """One function: registers by name, memory, and a record of what it signalled."""

    def __init__(self, alone: Alone, number: int) -> None:
        self.alone, self.function = alone, alone.functions[number]
        model = self.function.model
        assert isinstance(model, VirtioNet)
        self.model = model
        self.content = bytearray(MEMORY)
        memory = BytesMemory(0)
        memory._view = memoryview(self.content)
        self.function.dma_map(BASE, MEMORY, memory, read=True, write=True)
        self.memory = Memory(self.content, BASE)
        self.vectors: list[int] = []
        self.lines = 0
        self.config_write(4, 2, 7)  # command: I/O, memory, bus master
        self.function.set_irqs(Irq.INTX, 0, [self._line])

    def msix(self, on: bool = True) -> None:
        """Arm and enable all vectors, or disable MSI-X."""
        count = self.function.irqs()[Irq.MSIX]
        if on:
            self.function.set_irqs(Irq.MSIX, 0, [lambda n=n: self.vectors.append(n) for n in range(count)])  # type: ignore[misc]
        at = self.function.space.msix.at  # type: ignore[union-attr]
        self.config_write(at + 2, 2, 0x8000 if on else 0)

    def _line(self) -> None:
        self.lines += 1

    def signalled(self) -> list[int]:
        """The vectors since the last call."""
        found, self.vectors = self.vectors, []
        return found

    @property
    def diagnoses(self) -> dict[str, int]:
        return dict(self.function.host.diagnostics)

    # -- registers

    def read(self, name: str, instance: int = 0) -> int:
        index, register, at = self._place(name, instance)
        return self.function.region_read(index, at, register.size)

    def write(self, name: str, value: int, instance: int = 0) -> None:
        index, register, at = self._place(name, instance)
        self.function.region_write(index, at, register.size, value)

    def _place(self, name: str, instance: int) -> tuple[int, Register, int]:
        index, bar = (4, BAR4) if name in BAR4.entries else (0, BAR0)
        register = bar.entries[name]
        assert isinstance(register, Register)
        at = register.offsets[instance]
        if bar.moved is not None and not self.model.msix_enabled:
            at = bar.moved.shown(at)
        return index, register, at

    def config_read(self, at: int, size: int) -> int:
        return int.from_bytes(self.function.config_read(at, size), "little")

    def config_write(self, at: int, size: int, value: int) -> None:
        self.function.config_write(at, value.to_bytes(size, "little"))

    def settle(self) -> None:
        """Until the device has nothing left to do, and no interrupt waits."""
        clock = self.alone.clock
        assert clock is not None
        for _ in range(1000):
            if not self.alone.turn():
                clock.advance(SENT)
                if not self.alone.turn():
                    return
        raise AssertionError("the device never comes to rest")


class Driver:
    """A driver of ``nic``. ``modern`` says by which interface; ``queues`` are reference drivers by the number of the queue."""

    def __init__(self, nic: Nic, *, modern: bool = True, size: int = 16) -> None:
        self.nic, self.modern, self.size = nic, modern, size
        self.features = Feature(0)
        self.queues: dict[int, Any] = {}

    # -- bringing it up

    @property
    def status(self) -> int:
        return self.nic.read("device_status" if self.modern else "status")

    @status.setter
    def status(self, value: int) -> None:
        self.nic.write("device_status" if self.modern else "status", value)

    def offered(self) -> Feature:
        if not self.modern:
            return Feature(self.nic.read("host_features"))
        words = []
        for n in range(2):
            self.nic.write("device_feature_select", n)
            words.append(self.nic.read("device_feature"))
        return Feature(words[1] << 32 | words[0])

    def accept(self, features: Feature) -> bool:
        """Negotiate; whether the device agrees."""
        self.status = 0
        self.status = ACKNOWLEDGE | DRIVER
        self.features = features
        if not self.modern:
            self.nic.write("guest_features", int(features))
            return True
        for n in range(2):
            self.nic.write("driver_feature_select", n)
            self.nic.write("driver_feature", int(features) >> 32 * n & 0xFFFFFFFF)
        self.status = ACKNOWLEDGE | DRIVER | FEATURES_OK
        return bool(self.status & FEATURES_OK)

    def place(self, number: int) -> Any:
        """Memory for one queue; the reference driver of it."""
        event_index = Feature.EVENT_IDX in self.features
        if not self.modern:
            return LegacyQueue(self.nic.memory, self.size, event_index=event_index)
        kind = PackedDriver if Feature.RING_PACKED in self.features else SplitDriver
        return kind(self.nic.memory, self.size, event_index=event_index)

    def enable(self, number: int, vector: int = NO_VECTOR) -> Any:
        """Set one queue up."""
        queue = self.queues[number] = self.place(number)
        nic = self.nic
        if not self.modern:
            nic.write("queue_sel", number)
            if nic.model.msix_enabled:
                nic.write("queue_vector", vector)
            nic.write("queue_pfn", queue.desc >> 12)
            return queue
        nic.write("queue_select", number)
        nic.write("queue_size", self.size)
        nic.write("queue_msix_vector", vector)
        for name, address in (("queue_desc", queue.desc), ("queue_driver", queue.driver), ("queue_device", queue.device)):
            nic.write(name, address)
        nic.write("queue_enable", 1)
        return queue

    def start(self, features: Feature, *, queues: int = 0, msix: bool = True) -> None:
        """All of it: negotiate, set up (one pair and the control queue), DRIVER_OK. Queue ``n`` has vector ``n + 1``, the
        configuration has 0.
        """
        assert self.accept(features), self.nic.diagnoses
        self.nic.msix(msix)
        if msix:
            self.nic.write("config_msix_vector" if self.modern else "config_vector", 0)
        for number in range(queues or 2 + (Feature.CTRL_VQ in features)):
            self.enable(number, number + 1 if msix else NO_VECTOR).want_interrupts(True)
        self.status = self.status | DRIVER_OK

    # -- using it

    @property
    def header(self) -> int:
        if Feature.HASH_REPORT in self.features:
            return 20
        return 12 if self.features & (Feature.VERSION_1 | Feature.MRG_RXBUF) else 10

    def notify(self, number: int) -> None:
        if self.modern:
            self.nic.write("notify", number, number)
        else:
            self.nic.write("queue_notify", number)

    def offer(self, number: int = 0, count: int = 4, size: int = 2048) -> None:
        """Receive buffers."""
        queue = self.queues[number]
        for _ in range(count):
            assert queue.add(queue.place([], [size]))
        if queue.publish():
            self.notify(number)

    def transmit(self, frame: bytes, number: int = 1) -> None:
        queue = self.queues[number]
        assert queue.add(queue.place([bytes(self.header) + frame], []))
        if queue.publish():
            self.notify(number)

    def received(self, number: int = 0) -> list[bytes]:
        """Frames, without their headers; an interrupt is asked for at the next."""
        queue = self.queues[number]
        found = [queue.contents(buffer, written)[self.header :] for buffer, written in queue.poll()]
        queue.want_interrupts(True)
        return found

    def command(self, data: bytes, number: int = 2) -> int | None:
        """A command and its answer; None when there is none."""
        queue = self.queues[number]
        buffer: Buffer = queue.place([data[:2], data[2:]] if len(data) > 2 else [data], [1])
        self.nic.memory.write(buffer.writable[0][0], b"\xee")
        assert queue.add(buffer)
        if queue.publish():
            self.notify(number)
        self.nic.settle()
        done = queue.poll()
        return int(queue.contents(*done[0])[0]) if done else None


class LegacyQueue(SplitDriver):
    """A split queue in one piece, the used ring on a page of its own."""

    def __init__(self, memory: Memory, size: int, *, event_index: bool) -> None:
        super().__init__(memory, size, event_index=event_index)
        self.desc = memory.take(2 * 4096 + 4096 * (size // 512 + 1), 4096)
        self.driver = self.desc + 16 * size
        self.device = (self.driver + 6 + 2 * size + 4095) & ~4095
        memory.write(self.desc, bytes(3 * 4096))


@contextmanager
def nics(device: str = MODERN, count: int = 2, **options: str) -> Iterator[list[Nic]]:
    """NICs on one switch."""
    alone = open_functions(find(device), count, clock="manual", **options)
    try:
        yield [Nic(alone, number) for number in range(count)]
    finally:
        alone.close()
