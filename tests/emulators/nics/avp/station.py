"""An AVP port alone on a bench: a clock that stands still, a switch with a neighbour that records; and its driver.

The driver is slow and obvious, and goes about things as DPDK's does (avp_ethdev.c): it reads the tables through the registers'
front door, translates host addresses, and works queues and descriptors with construct as ``regmodel`` describes them. It shares
no code with the model's own reading of them.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulators.loop import Loop, ManualClock
from emulators.nics.avp.card import AvpCard
from emulators.pci.shared import SharedMemory
from regmodel.devices.avp import AVP
from regmodel.function import Buffer, OnDescriptor, Timer
from regmodel.mailboxes.avp import CHANGE_MTU, DEVICE, NETWORK_IF, REQUEST_SIZE, SHUTDOWN
from regmodel.rings.avp import DESC
from regmodel.structures.avp import DEVICE_INFO, GUEST_VERSION, MEMMAP_MAGIC, MEMMAP_VERSION
from tests.support.afterwards import closed_afterwards

MILLISECOND = 1_000_000
PEER = b"\x02\x00\x00\x00\x00\x99"
WRITE, READ = 0, 4


class Polled:
    """A burst that is tried whenever the bench says so."""

    def __init__(self, host: Host, burst: Callable[[], bool]) -> None:
        self.host, self.burst = host, burst
        host.polled.append(self)

    def cancel(self) -> None:
        self.host.polled.remove(self)


class Host:
    """What a model may reach, recorded."""

    def __init__(self, pool: Any) -> None:
        self.clock = ManualClock(1_000_000_000)
        self.on_descriptor: OnDescriptor | None = None
        self.packets = pool
        self.irqs: list[int] = []
        self.level = False
        self.with_messages = True
        self.diagnosed: Counter[str] = Counter()
        self.details: dict[str, dict[str, object]] = {}
        self.deferred: dict[Callable[[], bool], None] = {}
        self.polled: list[Polled] = []
        self.memories: dict[int, SharedMemory] = {}

    def shared_memory(self, bar: int, size: int) -> SharedMemory:
        if bar not in self.memories:
            self.memories[bar] = closed_afterwards(SharedMemory(size))
        return self.memories[bar]

    def messages(self) -> bool:
        return self.with_messages

    def irq(self, vector: int) -> None:
        self.irqs.append(vector)

    def line(self, asserted: bool) -> None:
        self.level = asserted

    def defer(self, burst: Callable[[], bool]) -> None:
        self.deferred[burst] = None

    def poll(self, burst: Callable[[], bool], quiet: Callable[[], bool] | None = None) -> Timer:
        return Polled(self, burst)

    def diagnose(self, kind: str, **detail: object) -> None:
        self.diagnosed[kind] += 1
        self.details[kind] = detail

    remark = diagnose

    def settle(self) -> None:
        """Polls and bursts until there is nothing to do."""
        for _ in range(1000):
            ready, self.deferred = self.deferred, {}
            worked = bool(ready)
            for burst in ready:
                if burst():
                    self.deferred[burst] = None
            for polled in list(self.polled):
                worked |= polled.burst()
            if not worked:
                return
        raise AssertionError("the engine does not come to rest")


@dataclass
class Neighbour:
    """Another pool of the switch, which wants everything."""

    got: list[bytes] = field(default_factory=list)

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        self.got += [bytes(frame) for frame in frames]
        return len(frames)


class Station:
    """``start`` does what a driver does until packets flow; ``queues`` of each kind."""

    def __init__(self, **options: str) -> None:
        self.card = AvpCard(AVP, closed_afterwards(Loop()), **options)
        slot, other = self.card.slots[:2]
        self.host = Host(slot.pool)
        self.nic: Any = slot.build(self.host)  # type: ignore[arg-type]
        self.mac = slot.mac or bytes(6)
        self.neighbour = Neighbour()
        peer = other.pool
        peer.endpoint = self.neighbour
        peer.unicast_promiscuous = peer.multicast_promiscuous = peer.accept_broadcast = peer.accept_untagged = True
        peer.transmit_enable = peer.receive_enable = True
        peer.max_frame = 9728
        self.peer = peer
        self.memory = self.host.memories[2].view
        self.info: Any = None
        self.queues, self.vlan = 1, False

    # -- registers and memory

    def write(self, name: str, value: int) -> None:
        self.nic.registers.write(self.nic.registers[name].offset, 4, value)

    def read(self, name: str) -> int:
        return int(self.nic.registers.read(self.nic.registers[name].offset, 4))

    def table(self, bar: int, size: int) -> bytes:
        return b"".join(self.nic.banks[bar].read(at, 4).to_bytes(4, "little") for at in range(0, size, 4))

    def get(self, at: int, size: int = 4) -> int:
        return int.from_bytes(self.memory[at : at + size], "little")

    def put(self, at: int, value: int, size: int = 4) -> None:
        self.memory[at : at + size] = value.to_bytes(size, "little")

    def settle(self) -> None:
        self.host.settle()

    def pass_time(self, milliseconds: int) -> None:
        for _ in range(milliseconds):
            self.host.clock.advance(MILLISECOND)
            self.settle()

    # -- as the driver probes

    def probe(self) -> Station:
        """Read the tables, let interrupts through, translate."""
        assert self.read("migration_status") != 1
        head = self.table(4, 16)
        assert (int.from_bytes(head[:4], "little"), int.from_bytes(head[4:8], "little")) == (MEMMAP_MAGIC, MEMMAP_VERSION)
        table = self.table(4, 16 + 24 * int.from_bytes(head[8:12], "little"))
        self.maps = list(struct.iter_unpack("<3Q", table[16:]))
        self.info = DEVICE_INFO.parse(self.table(5, 376))
        self.write("interrupt_mask", 0xFFFFFFFF)
        i = self.info
        self.req, self.resp, self.sync, self.mbuf = (
            self.at(p) for p in (i.req_phys, i.resp_phys, i.sync_phys, i.mbuf_phys)
        )  # fmt: skip
        return self

    def at(self, physical: int) -> int:
        """Where BAR 2 has a physical address of the host."""
        before = 0
        for _, start, length in self.maps:
            if start <= physical < start + length:
                return int(before + physical - start)
            before += length
        raise AssertionError(f"no region has {physical:#x}")

    def fifo(self, role: str, number: int = 0) -> int:
        return self.at(self.info[f"{role}_phys"] + number * self.info[f"{role}_size"])

    def buffer(self, virtual: int) -> int:
        """Where BAR 2 has a virtual address of the host."""
        return int(virtual - self.info.mbuf_va + self.mbuf)

    # -- queues

    def count(self, at: int) -> int:
        write, read, slots = self.get(at), self.get(at + 4), self.get(at + 8)
        return (slots + write - read) & slots - 1

    def add(self, at: int, *pointers: int) -> None:
        write, slots = self.get(at), self.get(at + 8)
        assert self.get(at + 12) == 8
        for pointer in pointers:
            self.put(at + 16 + 8 * write, pointer, 8)
            write = write + 1 & slots - 1
        self.put(at + WRITE, write)

    def take(self, at: int, count: int) -> list[int]:
        read, slots = self.get(at + 4), self.get(at + 8)
        assert count <= self.count(at)
        found = [self.get(at + 16 + 8 * (read + i & slots - 1), 8) for i in range(count)]
        self.put(at + READ, read + count & slots - 1)
        return found

    # -- requests

    def request(self, request: bytes) -> int:
        """Ask, and return the result."""
        self.memory[self.sync : self.sync + REQUEST_SIZE] = request
        self.add(self.req, self.info.sync_va)
        self.settle()
        assert self.take(self.resp, 1) == [self.info.sync_va]
        return int.from_bytes(self.memory[self.sync + 32 : self.sync + 36], "little", signed=True)

    def configure(self, queues: int = 1, *, rx: int = 0, vlan: bool = False, up: bool = False, **changes: Any) -> int:
        self.queues, self.vlan = queues, vlan
        release, major, minor = GUEST_VERSION
        config = {
            "device_id": self.info.device_id, "driver_type": {"type": 1},
            "driver_version": {"release": release, "major": major, "minor": minor},
            "features": {"vlan_offload": int(vlan)}, "num_tx_queues": queues, "num_rx_queues": rx or queues, "if_up": int(up),
        }  # fmt: skip
        return self.request(DEVICE.build({"config": config | changes, "result": -95}))

    def link(self, up: bool) -> int:
        return self.request(NETWORK_IF.build({"if_up": int(up), "result": -95}))

    def mtu(self, mtu: int) -> int:
        return self.request(CHANGE_MTU.build({"new_mtu": mtu, "result": -95}))

    def shut_down(self) -> int:
        return self.request(SHUTDOWN.build({"result": -95}))

    def start(self, queues: int = 1, **more: Any) -> Station:
        self.probe()
        assert self.configure(queues, **more) == 0
        assert self.link(True) == 0
        return self

    # -- packets

    def describe(self, virtual: int, **changes: Any) -> None:
        """Change what a descriptor says."""
        at = self.buffer(virtual)
        row = DESC.parse(self.memory[at : at + 64])
        row.update(changes)
        self.memory[at : at + 64] = DESC.build(row)

    def descriptor(self, virtual: int) -> Any:
        at = self.buffer(virtual)
        return DESC.parse(self.memory[at : at + 64])

    def fill(self, parts: Sequence[bytes], queue: int = 0, vlan: int | None = None) -> list[int]:
        """Buffers from ``alloc`` with the segments of one packet, chained; not yet sent."""
        pointers = self.take(self.fifo("alloc", queue), len(parts))
        for i, (pointer, part) in enumerate(zip(pointers, parts, strict=True)):
            data = self.buffer(self.descriptor(pointer).data)
            self.memory[data : data + len(part)] = part
            following = pointers[i + 1] if i + 1 < len(pointers) else 0
            self.describe(pointer, data_len=len(part), next=following, nb_segs=1)
        first = self.descriptor(pointers[0])
        flags = dict(first.ol_flags) | ({"tx_vlan_pkt": 1} if vlan is not None else {})
        self.describe(pointers[0], nb_segs=len(parts), pkt_len=sum(map(len, parts)), ol_flags=flags,
                      vlan_tci=first.vlan_tci if vlan is None else vlan)  # fmt: skip
        return pointers

    def send(self, *frames: bytes, queue: int = 0, vlan: int | None = None) -> None:
        """Packets, in as many segments as they need, and let the host look."""
        size = self.info.mbuf_size
        for frame in frames:
            parts = [frame[i : i + size] for i in range(0, len(frame), size)]
            self.add(self.fifo("tx", queue), self.fill(parts, queue, vlan)[0])
        self.settle()

    def receive(self, queue: int = 0) -> list[tuple[bytes, Any]]:
        """Packets that have come, with their first descriptors; their buffers go back."""
        at = self.fifo("rx", queue)
        found = []
        pointers = self.take(at, self.count(at))
        for pointer in pointers:
            first = row = self.descriptor(pointer)
            frame, segments = self._segment(row), 1
            while row.next:
                row = self.descriptor(row.next)
                frame += self._segment(row)
                segments += 1
            assert (len(frame), segments) == (first.pkt_len, first.nb_segs)
            found.append((frame, first))
        self.add(self.fifo("free", queue), *pointers)
        return found

    def _segment(self, row: Any) -> bytes:
        at = self.buffer(row.data)
        return bytes(self.memory[at : at + row.data_len])

    def frames_of(self, queue: int) -> list[bytes]:
        return [frame for frame, _ in self.receive(queue)]

    def frames(self) -> list[bytes]:
        """What has come, by queue, without more."""
        return [frame for queue in range(self.queues) for frame, _ in self.receive(queue)]

    def wire(self) -> list[bytes]:
        """What the neighbour has received since the last call."""
        got, self.neighbour.got = self.neighbour.got, []
        return got

    def arrive(self, *frames: bytes) -> None:
        """Frames from the neighbour, in one burst."""
        self.peer.transmit(list(frames))
        self.settle()

    # -- migration, as the driver's interrupt handler does it

    def handle_interrupt(self) -> int:
        """What the driver does; the status that it found, 0 for no interrupt."""
        if not self.read("interrupt_status") & 2:
            return 0
        status = self.read("migration_status")
        if status == 1:
            assert self.shut_down() == 0
        elif status == 2:
            self.probe()
            assert self.configure(self.queues, vlan=self.vlan, up=True) == 0
        self.write("migration_ack", status)
        return status


def frame(number: int = 0, size: int = 60, *, to: bytes = PEER, source: bytes = b"\x02\x00\x00\x00\x00\x01") -> bytes:
    """An Ethernet frame of ``size`` octets that no other number gives."""
    head = to + source + b"\x88\xb5" + number.to_bytes(4, "big")
    return head + bytes((number + i) & 0xFF for i in range(size - len(head)))


def flow(number: int, *, to: bytes = PEER) -> bytes:
    """A UDP packet of flow ``number``."""
    ip = bytes.fromhex("4500002e0000000040110000") + bytes((10, 0, 0, 1)) + bytes((10, 0, 0, 2))
    udp = (1024 + number).to_bytes(2, "big") + (9).to_bytes(2, "big") + (26).to_bytes(2, "big") + bytes(2)
    return to + b"\x02\x00\x00\x00\x00\x01" + b"\x08\x00" + ip + udp + bytes(18)


def tagged(plain: bytes, tci: int) -> bytes:
    return plain[:12] + b"\x81\x00" + tci.to_bytes(2, "big") + plain[12:]

