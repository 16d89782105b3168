"""A VMXNET3 alone on a bench: memory, a clock that stands still, a switch with a neighbour that records; and its driver.

The driver is slow and obvious: one descriptor after the other, built and parsed with construct as ``regmodel`` describes them.
It shares no code with the model's own reading of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulators.dma import BytesMemory, DmaMap
from emulators.fabric.offload import Partial, Takes
from emulators.loop import Loop, ManualClock
from emulators.nics.vmxnet3.card import Vmxnet3Card
from regmodel.bars.vmxnet3 import Command
from regmodel.devices.vmxnet3 import VMXNET3, VMXNET3_LARGE
from regmodel.function import Buffer, OnDescriptor
from regmodel.rings.vmxnet3 import RX_COMP, RX_COMP_EXT, RX_DESC, TX_COMP, TX_DESC
from regmodel.structures.vmxnet3 import DRIVER_SHARED, MAGIC, RSS_CONF, RX_QUEUE_DESC, TX_QUEUE_DESC, Feature, RxMode
from tests.support.afterwards import closed_afterwards

MEMORY = 4 << 20
SHARED, QUEUES, GROUPS, RSS, SCHEME = 0x1000, 0x2000, 0x6000, 0x7000, 0x7800
TX_RINGS, TX_DONE, RX_RINGS, RX_DONE, RX_DATA = 0x10000, 0x40000, 0x60000, 0xA0000, 0xE0000
TX_BUFFERS, HEADS, BODIES = 0x100000, 0x200000, 0x300000
HEAD, BODY, DATA = 2048, 4096, 128
ALL_VECTORS = 25
PEER = b"\x02\x00\x00\x00\x00\x99"


class Host:
    """What a model may reach, recorded. ``wire`` is what the neighbour on the switch received."""

    def __init__(self, pool: Any) -> None:
        self.dma = DmaMap()
        self.dma.enabled = True
        self.on_descriptor: OnDescriptor | None = None
        self.memory = BytesMemory(MEMORY)
        self.dma.map(0, MEMORY, self.memory)
        self.clock = ManualClock(1_000_000_000)
        self.packets = pool
        self.irqs: list[int] = []
        self.level = False
        self.with_messages = True
        self.diagnosed: Counter[str] = Counter()
        self.deferred: dict[Callable[[], bool], None] = {}

    def messages(self) -> bool:
        return self.with_messages

    def irq(self, vector: int) -> None:
        self.irqs.append(vector)

    def line(self, asserted: bool) -> None:
        self.level = asserted

    def defer(self, burst: Callable[[], bool]) -> None:
        self.deferred[burst] = None

    def diagnose(self, kind: str, **detail: object) -> None:
        self.diagnosed[kind] += 1

    remark = diagnose

    def turn(self) -> None:
        """One turn of the loop: each waiting burst once."""
        ready, self.deferred = self.deferred, {}
        for burst in ready:
            if burst():
                self.deferred[burst] = None

    def settle(self) -> None:
        for _ in range(1000):
            if not self.deferred:
                return
            self.turn()
        raise AssertionError("the engine does not come to rest")


@dataclass
class Neighbour:
    """Another pool of the switch, which wants everything."""

    got: list[Buffer] = field(default_factory=list)
    bursts: int = 0

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        self.bursts += 1
        self.got += [frame if isinstance(frame, Partial) else bytes(frame) for frame in frames]
        return len(frames)


@dataclass
class Sizes:
    """Of the rings: entries."""

    tx: int = 64
    tx_done: int = 64
    rx: tuple[int, int] = (64, 32)
    rx_done: int = 96


class Station:
    """``start`` activates the device with ``queues`` pairs; vector n is that of queue pair n, the next one that of events."""

    def __init__(self, *, large: bool = False, takes: Takes = Takes.NONE, **options: str) -> None:
        self.card = Vmxnet3Card(VMXNET3_LARGE if large else VMXNET3, closed_afterwards(Loop()), **options)
        slot, other = self.card.slots[:2]
        self.host = Host(slot.pool)
        self.nic: Any = slot.build(self.host)  # type: ignore[arg-type]
        self.pool, self.mac = slot.pool, slot.mac
        self.neighbour = Neighbour()
        peer = other.pool
        peer.endpoint = self.neighbour
        peer.unicast_promiscuous = peer.multicast_promiscuous = peer.accept_broadcast = peer.accept_untagged = True
        peer.transmit_enable = peer.receive_enable = True
        peer.max_frame, peer.takes = 9728, takes
        self.peer = peer
        self.memory = self.host.memory.content
        self.queues = 1
        self.sizes = Sizes()

    # -- registers

    def write(self, name: str, value: int, index: int = 0) -> None:
        bank = self.nic.pt if name in self.nic.pt.bar.entries else self.nic.vd
        bank.write(bank[name, index].offset, 4, value)

    def read(self, name: str, index: int = 0) -> int:
        bank = self.nic.pt if name in self.nic.pt.bar.entries else self.nic.vd
        return int(bank.read(bank[name, index].offset, 4))

    def command(self, command: Command | int) -> int:
        self.write("cmd", int(command))
        return self.read("cmd")

    def settle(self) -> None:
        self.host.settle()

    def put(self, at: int, data: bytes) -> None:
        self.memory[at : at + len(data)] = data

    def get(self, at: int, size: int) -> bytes:
        return bytes(self.memory[at : at + size])

    # -- what the driver shares

    def share(self, *, rss: dict[str, Any] | None = None, **changes: Any) -> None:
        """Write all structures. ``changes`` are paths of DriverShared with ``__`` for dots."""
        n = self.queues
        ext = n > 8
        conf = {"autoMask": 1, "numIntrs": n + 1, "eventIntrIdx": n}
        shared: dict[str, Any] = {
            "magic": MAGIC,
            "size": DRIVER_SHARED.sizeof(),
            "devRead": {
                "misc": {
                    "driverInfo": {"version": 1, "gos": {"gosBits": 2, "gosType": 1}, "vmxnet3RevSpt": 1, "uptVerSpt": 1},
                    "uptFeatures": int(Feature.RXCSUM), "ddPA": 0, "queueDescPA": QUEUES, "ddLen": 0,
                    "queueDescLen": 512 * n, "mtu": 1500, "maxNumRxSG": 0, "numTxQueues": n, "numRxQueues": n,
                    "reserved": bytes(16),
                },
                "intrConf": {**({} if ext else conf), "modLevels": bytes(25), "intrCtrl": {}, "reserved": bytes(8)},
                "rxFilterConf": {
                    "rxMode": int(RxMode.UCAST | RxMode.BCAST), "mfTableLen": 0, "_pad1": 0, "mfTablePA": 0,
                    "vfTable": b"\x01".ljust(512, b"\0"),
                },
                "rssConfDesc": {"confVer": 1, "confLen": RSS_CONF.sizeof(), "confPA": RSS},
                "pmConfDesc": {"confVer": 0, "confLen": 0, "confPA": 0},
                "pluginConfDesc": {"confVer": 0, "confLen": 0, "confPA": 0},
            },
            "ecr": 0, "reserved": 0, "cu": {"data": bytes(16)},
            "devReadExt": {"intrConfExt": {**(conf if ext else {}), "reserved": 0, "intrCtrl": {}, "reserved1": 0,
                                           "modLevels": bytes(65), "reserved2": bytes(3)}},
        }  # fmt: skip
        for conf_of in (shared["devRead"]["intrConf"], shared["devReadExt"]["intrConfExt"]):
            for name in ("autoMask", "numIntrs", "eventIntrIdx"):
                conf_of.setdefault(name, 0)
        for path, value in changes.items():
            *way, last = path.split("__")
            inside = shared
            for step in way:
                inside = inside[step]
            inside[last] = value
        magic = shared.pop("magic")
        self.put(SHARED, DRIVER_SHARED.build({**shared, "magic": MAGIC}))
        self.put(SHARED, magic.to_bytes(4, "little"))
        for i in range(n):
            self.put(QUEUES + 256 * i, TX_QUEUE_DESC.build(self.tx_conf(i)))
            self.put(QUEUES + 256 * (n + i), RX_QUEUE_DESC.build(self.rx_conf(i)))
        if rss is not None:
            self.put(RSS, RSS_CONF.build(rss))

    def tx_conf(self, i: int) -> dict[str, Any]:
        conf = {"txRingBasePA": TX_RINGS + 0x1000 * i, "dataRingBasePA": 0, "compRingBasePA": TX_DONE + 0x1000 * i, "ddPA": 0,
                "reserved": 0, "txRingSize": self.sizes.tx, "dataRingSize": 0, "compRingSize": self.sizes.tx_done, "ddLen": 0,
                "intrIdx": i, "_pad1": 0, "txDataRingDescSize": 128, "_pad2": bytes(4)}  # fmt: skip
        return {"ctrl": {"txNumDeferred": 0, "txThreshold": 0, "reserved": 0}, "conf": conf,
                "status": {"stopped": 1, "_pad": bytes(3), "error": 7}, "stats": _zeros(TX_QUEUE_DESC, "stats"),
                "tsConf": {"txTSRingBasePA": 0, "txTSRingDescSize": 0, "pad": 0, "latencyConf": {"sampleRate": 0, "pad": 0}},
                "_pad": bytes(72)}  # fmt: skip

    def rx_conf(self, i: int) -> dict[str, Any]:
        rings = [RX_RINGS + 0x1000 * i, RX_RINGS + 0x20000 + 0x1000 * i]
        conf = {"rxRingBasePA": rings, "compRingBasePA": RX_DONE + 0x1000 * i, "ddPA": 0,
                "rxDataRingBasePA": RX_DATA + 0x4000 * i, "rxRingSize": list(self.sizes.rx),
                "compRingSize": self.sizes.rx_done, "ddLen": 0, "intrIdx": i, "_pad1": 0, "rxDataRingDescSize": DATA,
                "_pad2": bytes(4)}  # fmt: skip
        return {"ctrl": {"updateRxProd": 0, "_pad": bytes(7), "reserved": 0}, "conf": conf,
                "status": {"stopped": 1, "_pad": bytes(3), "error": 7}, "stats": _zeros(RX_QUEUE_DESC, "stats"),
                "tsConf": {"rxTSRingBasePA": 0, "rxTSRingDescSize": 0, "pad": bytes(6)}, "__pad": bytes(72)}  # fmt: skip

    def start(self, revision: int = 9, *, queues: int = 1, sizes: Sizes | None = None, activate: bool = True,
              rss: dict[str, Any] | None = None, **changes: Any) -> Station:  # fmt: skip
        """Select a revision, share, activate, unmask all vectors."""
        self.queues, self.sizes = queues, sizes or self.sizes
        self.put(TX_RINGS, bytes(RX_DATA - TX_RINGS))
        self.write("vrrs", 1 << revision - 1)
        self.write("uvrs", 1)
        self.share(rss=rss, **changes)
        self.write("dsal", SHARED)
        self.write("dsah", 0)
        self.tx = [TxDriver(self, i) for i in range(queues)]
        self.rx = [RxDriver(self, i) for i in range(queues)]
        if activate:
            assert self.command(Command.ACTIVATE_DEV) == 0
            for vector in range(queues + 1):
                self.write("imr", 0, vector)
        return self

    def queue_desc(self, way: str, i: int = 0) -> Any:
        """A queue descriptor as the device left it."""
        at = QUEUES + 256 * (i if way == "tx" else self.queues + i)
        return (TX_QUEUE_DESC if way == "tx" else RX_QUEUE_DESC).parse(self.get(at, 256))

    @property
    def shared(self) -> Any:
        return DRIVER_SHARED.parse(self.get(SHARED, 800))

    # -- traffic, of queue 0

    def send(self, *frames: bytes, **first: int) -> None:
        """Frames of one descriptor each, and the doorbell."""
        for frame in frames:
            self.tx[0].add([frame], **first)
        self.tx[0].ring()

    def wire(self) -> list[Buffer]:
        """What the neighbour has received since the last call."""
        got, self.neighbour.got = self.neighbour.got, []
        return got

    def arrive(self, *frames: Buffer) -> None:
        """Frames from the neighbour, in one burst."""
        self.peer.transmit(list(frames))
        self.settle()


class TxDriver:
    """Of one transmit ring. ``done`` are the indices that completions gave."""

    def __init__(self, station: Station, index: int) -> None:
        self.station, self.index = station, index
        self.size, self.done_size = station.sizes.tx, station.sizes.tx_done
        self.next, self.gen, self.done_next, self.done_gen = 0, 1, 0, 1
        self.buffer = TX_BUFFERS

    def add(self, parts: Sequence[bytes], *, cq: int = 1, eop: int = 1, hold: bool = False, **first: int) -> int:
        """One packet; the generation of its first descriptor last. The index of its last descriptor."""
        start = None
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            gen = self.gen ^ (i == 0)
            buffer = {"len": len(part) & 0x3FFF, "gen": gen}
            offload: dict[str, int] = {"eop": int(last and eop), "cq": int(last and cq)}
            if i == 0:
                start = (self.next, self.gen)
                for name, value in first.items():
                    (buffer if name in ("oco", "dtype", "ext1", "msscof") else offload)[name] = value
            self._store(self.next, TX_DESC.build({"addr": self.place(part), "buffer": buffer, "offload": offload}))
            ended = self.next
            self.next += 1
            if self.next == self.size:
                self.next, self.gen = 0, self.gen ^ 1
        assert start is not None
        if not hold:
            at, gen = start
            row = TX_DESC.parse(self._load(at))
            self._store(at, TX_DESC.build({"addr": row.addr, "buffer": {**row.buffer, "gen": gen}, "offload": row.offload}))
        return ended

    def place(self, part: bytes) -> int:
        if self.buffer + len(part) > HEADS:
            self.buffer = TX_BUFFERS
        at = self.buffer
        self.station.put(at, part)
        self.buffer += len(part)
        return at

    def _at(self, index: int) -> int:
        return TX_RINGS + 0x1000 * self.index + 16 * index

    def _store(self, index: int, row: bytes) -> None:
        self.station.put(self._at(index), row)

    def _load(self, index: int) -> bytes:
        return self.station.get(self._at(index), 16)

    def ring(self) -> None:
        """The doorbell, and all that follows."""
        self.station.write("txprod", self.next, self.index)
        self.station.settle()

    def done(self) -> list[int]:
        """Completions since the last call."""
        out = []
        while True:
            row = TX_COMP.parse(self.station.get(TX_DONE + 0x1000 * self.index + 16 * self.done_next, 16))
            if row.status.gen != self.done_gen:
                return out
            assert row.status.type == 0
            out.append(row.index.txdIdx)
            self.done_next += 1
            if self.done_next == self.done_size:
                self.done_next, self.done_gen = 0, self.done_gen ^ 1


class RxDriver:
    """Of one receive queue: ring 1 of heads (or what ``pattern`` says: H and B), ring 2 of bodies, both kept full."""

    def __init__(self, station: Station, index: int, pattern: str = "H", head: int = HEAD) -> None:
        self.station, self.index, self.head = station, index, head
        self.pattern = pattern
        self.sizes, self.done_size = station.sizes.rx, station.sizes.rx_done
        self.fill, self.gen = [0, 0], [1, 1]
        self.done_next, self.done_gen = 0, 1
        for ring in (0, 1):
            for _ in range(self.sizes[ring] - 1):
                self.give(ring)

    def _buffer(self, ring: int, at: int) -> tuple[int, int, int]:
        """(address, bytes, is a body)."""
        if ring == 0 and self.pattern[at % len(self.pattern)] == "H":
            return HEADS + HEAD * (at + self.sizes[0] * self.index), self.head, 0
        return BODIES + BODY * ((at + self.sizes[1] * self.index + 32 * (ring == 0)) % 256), BODY, 1

    def give(self, ring: int) -> None:
        at = self.fill[ring]
        address, size, body = self._buffer(ring, at)
        row = RX_DESC.build({"addr": address, "buffer": {"len": size, "btype": body, "gen": self.gen[ring]}, "ext1": 0})
        self.station.put(RX_RINGS + 0x20000 * ring + 0x1000 * self.index + 16 * at, row)
        self.fill[ring] += 1
        if self.fill[ring] == self.sizes[ring]:
            self.fill[ring], self.gen[ring] = 0, self.gen[ring] ^ 1

    def take(self, refill: bool = True) -> list[tuple[Any, bytes]]:
        """(last completion, frame) of each packet since the last call; ``first`` of the completion is its first one."""
        out: list[tuple[Any, bytes]] = []
        frame, first = b"", None
        while True:
            raw = self.station.get(RX_DONE + 0x1000 * self.index + 16 * self.done_next, 16)
            row = RX_COMP.parse(raw)
            if row.what.gen != self.done_gen:
                assert first is None, "a packet without an end"
                return out
            self.done_next += 1
            if self.done_next == self.done_size:
                self.done_next, self.done_gen = 0, self.done_gen ^ 1
            queues = self.station.queues
            number, queue = divmod(row.index.rqID, queues)
            assert queue == self.index and (first is None) == bool(row.index.sop)
            ring, at, size = (1 if number == 1 else 0), row.index.rxdIdx, row.data.len
            address, room, body = self._buffer(ring, at)
            if number == 2:
                address, room = RX_DATA + 0x4000 * self.index + DATA * at, DATA
            assert size <= room and bool(body) == (first is not None), "heads begin, bodies follow"
            first = first or RX_COMP_EXT.parse(raw)
            frame += self.station.get(address, size)
            if refill:
                self.refill(ring, at)
            if row.index.eop:
                row.first = first
                out.append((row, frame))
                frame, first = b"", None

    def refill(self, ring: int, at: int) -> None:
        """The driver keeps one descriptor to itself: with ``at`` used up, all before it are its own again."""
        while (self.fill[ring] + 1) % self.sizes[ring] != (at + 1) % self.sizes[ring]:
            self.give(ring)


def _zeros(schema: Any, name: str) -> dict[str, int]:
    part = next(part for part in schema.subcons if part.name == name)
    return {member.name: 0 for member in part.subcon.subcons}
