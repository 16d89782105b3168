"""Virtqueues of a network device, split and packed, for the tests of rings: VIRTIO 1.2, 2.7 and 2.8, 3.1.1 and 5.1.6.

Nothing of a driver is in here: one buffer per slot, no indirect descriptors. Who may be told of what is not negotiated, so each
side asks to be told of everything, except where a test of interrupts says otherwise.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from regmodel.conduct import Virtqueue
from regmodel.conformance.accesses import Allocate, Load, Steps, Store
from regmodel.conformance.checks import NotOffered
from regmodel.conformance.live import Live
from regmodel.conformance.places import Place
from regmodel.conformance.queues import ENTRIES, ROOM, UNTOUCHED, Piece, Queue
from regmodel.conformance.records import build, get
from regmodel.rings.virtio import LEGACY_ALIGN, PACKED_DESCRIPTOR, SPLIT_DESCRIPTOR

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8
"""Of the device status (2.1)."""
STEP = 16
"""Bytes of a descriptor of either kind."""
WRAP = 0xFFFF


class Virt(Queue):
    """What split and packed queues have in common: the negotiation, and the header of each packet."""

    areas: tuple[int, ...] = ()
    keeps = True

    def __init__(self, live: Live, traffic: Virtqueue, mac: bytes) -> None:
        super().__init__(live, traffic.number, mac)
        self.traffic, self.front = traffic, traffic.front
        self.header = int(traffic.schema.sizeof())
        self.inward, self.room = traffic.inward, traffic.room - self.header
        self._notify: Place = live.place(self.front.told, self._element())

    def _element(self) -> int:
        """Of the doorbell: all queues may have the same."""
        return self.number if len(self.live.place(self.front.told).entry.offsets) > 1 else 0

    def cut(self, frame: bytes, pieces: int) -> list[bytes]:
        rest = frame[self.room :]
        return [frame[: self.room], *(rest[i * self.traffic.room : (i + 1) * self.traffic.room] for i in range(pieces - 1))]

    # -- the negotiation (3.1.1)

    def start(self) -> Steps[bool]:
        live, front = self.live, self.front
        yield from self.stop()
        status = ACKNOWLEDGE | DRIVER
        yield from live.put(front.status, ACKNOWLEDGE)
        yield from live.put(front.status, status)
        offered = yield from self._features()
        if missing := self.traffic.features & ~offered:
            yield from live.put(front.status, 0)
            raise NotOffered(f"the device does not offer the features {missing:#x}")
        accepted = self.traffic.features | self.traffic.welcome & offered
        yield from self._features(accepted)
        if front.words:  # a legacy device is not asked whether it agrees
            status |= FEATURES_OK
            yield from live.put(front.status, status)
            said = f"does not accept the features {accepted:#x}, which it offers"
            if not live.claim((yield from live.get(front.status)) == status, said):
                return False
        yield from self._place()
        yield from live.put(front.status, status | DRIVER_OK)
        yield from self.begin()
        self.next = 0
        said = f"does not show {status | DRIVER_OK:#x} as its status"
        return live.claim((yield from live.get(front.status)) == status | DRIVER_OK, said)

    def _features(self, accepted: int | None = None) -> Steps[int]:
        """What is offered; or accept."""
        front, found = self.front, 0
        for word in range(2 if front.words else 1):
            if front.words:
                yield from self.live.put(front.words[accepted is not None], word)
            if accepted is None:
                found |= (yield from self.live.get(front.offered)) << 32 * word
            else:
                yield from self.live.put(front.accepted, accepted >> 32 * word & 0xFFFFFFFF)
        return found

    def _place(self) -> Steps[None]:
        """Memory of our queue, which the device is told of; it has none of the others."""
        live, front = self.live, self.front
        yield from live.put(front.queue, self.number)
        if front.enable:
            yield from live.put(front.size, ENTRIES)
        else:
            self.entries = yield from live.get(front.size)
        if not self.buffers:
            base = yield Allocate(self.layout())
            self.areas = tuple(base + at for at in self.places())
            self.buffers = yield Allocate(self.entries * ROOM)
        yield Store(self.areas[0], bytes(self.layout()))
        if self.vector is not None:
            yield from live.put(front.vector, self.vector)
        if front.enable:
            for name, address in zip(front.areas, self.areas, strict=True):
                yield from live.put(name, address)
            yield from live.put(front.enable, 1)
        else:
            yield from live.put(front.areas[0], self.areas[0] // LEGACY_ALIGN)

    def stop(self) -> Steps[None]:
        """A reset of the device, the only way for all that there are."""
        yield from self.live.put(self.front.status, 0)

        def over() -> Steps[bool]:
            return not (yield from self.live.get(self.front.status))

        self.live.claim((yield from self.live.until(over, self.front.seconds)), "does not come out of a reset by its status")

    def tell(self) -> Steps[None]:
        """There are buffers."""
        yield from self.live.put(self._notify.name, self.number, self._notify.element)

    # -- packets

    def offer(self, packets: Sequence[Sequence[bytes]]) -> Steps[list[int]]:
        chains, slots = [], iter(self.slots(sum(map(len, packets))))
        for pieces in packets:
            chain = []
            for i, data in enumerate(pieces):
                slot = next(slots)
                told = bytes(self.header) * (not i) + data
                yield Store(self.buffers + slot * ROOM, told)
                chain.append((slot, len(told)))
            chains.append(chain)
        yield from self.give(chains)
        return [self.name(chain) for chain in chains]

    def free(self, count: int, pieces: int = 1) -> Steps[None]:
        chains = [[(slot, self.traffic.room)] for slot in self.slots(count)]
        for slot in self.slots(count):
            yield Store(self.buffers + slot * ROOM, bytes([UNTOUCHED]) * ROOM)
        yield from self.give(chains)

    def received(self, slots: Sequence[int]) -> Steps[list[Piece]]:
        """The length of a used buffer counts its header; the header says how many buffers there are (5.1.6.4)."""
        found, many = [], len(slots)
        for i, slot in enumerate(slots):
            before = self.header * (not i)
            data = yield from self.content(slot, self.traffic.room + 1)
            if not i and self.traffic.merged:
                many = get(data, self.traffic.schema, self.traffic.merged)
            size = self.used[slot] - before
            found.append(Piece(size, i == many - 1, data[before : before + max(size, 0)], data[-1]))
        return found

    def is_done(self, slot: int) -> Steps[bool]:
        yield from self.collect()
        return slot in self.used

    def settled(self, why: str) -> Steps[None]:
        yield from self.collect()
        self.live.claim(not self.given, f"has not used all buffers after {why}: {sorted(self.given)} are left")

    # -- what differs

    given: dict[int, int]
    """Buffers that the device has, by name: how many descriptors each."""
    used: dict[int, int]
    """Those that it has used and that were not given again: how many bytes it has written."""
    at_end: ClassVar[bool]
    """A chain is named by its last slot, not by its first."""

    def name(self, chain: Sequence[tuple[int, int]]) -> int:
        return chain[-1 if self.at_end else 0][0]

    def took(self, name: int, size: int) -> int:
        """The device says that it has used a buffer; the number of its descriptors."""
        if not self.live.claim(name in self.given, f"says that it has used buffer {name}, which it has not got"):
            return 1
        self.used[name] = size
        return self.given.pop(name)

    def gave(self, chains: Sequence[Sequence[tuple[int, int]]]) -> None:
        for chain in chains:
            for slot, _ in chain:
                self.used.pop(slot, None)
            self.given[self.name(chain)] = len(chain)
            self.advance(len(chain))

    def begin(self) -> Steps[None]:
        """Nothing was given or used."""
        self.given, self.used = {}, {}
        return
        yield

    @abstractmethod
    def layout(self) -> int:
        """Bytes of all areas in one piece, page-aligned."""

    @abstractmethod
    def places(self) -> tuple[int, int, int]:
        """Where in it they are: descriptors, driver area, device area."""

    @abstractmethod
    def give(self, chains: Sequence[Sequence[tuple[int, int]]]) -> Steps[None]:
        """Give chains of buffers (slot, bytes) to the device."""

    @abstractmethod
    def collect(self) -> Steps[None]:
        """See what the device has used."""


class Split(Virt):
    """Three areas (2.7): descriptors by slot, the available ring, the used ring on a page of its own."""

    at_end = False

    def layout(self) -> int:
        return self.places()[2] + 6 + 8 * self.entries

    def places(self) -> tuple[int, int, int]:
        available = STEP * self.entries
        return 0, available, -(-(available + 6 + 2 * self.entries) // LEGACY_ALIGN) * LEGACY_ALIGN

    def begin(self) -> Steps[None]:
        yield from super().begin()
        self._available = self._used = 0

    def give(self, chains: Sequence[Sequence[tuple[int, int]]]) -> Steps[None]:
        table, available, _ = self.areas
        for chain in chains:
            for i, (slot, size) in enumerate(chain):
                after = chain[i + 1][0] if i + 1 < len(chain) else None
                flags = {"flags.next": int(after is not None), "flags.write": int(self.inward), "next": after or 0}
                where = {"addr": self.buffers + slot * ROOM, "len": size}
                yield Store(table + STEP * slot, build(SPLIT_DESCRIPTOR, where | flags))
            at = available + 4 + 2 * (self._available % self.entries)
            yield Store(at, self.name(chain).to_bytes(2, "little"))
            self._available += 1
        self.gave(chains)
        yield Store(available + 2, (self._available & WRAP).to_bytes(2, "little"))
        yield from self.tell()

    def collect(self) -> Steps[None]:
        used = self.areas[2]
        now = yield Load(used + 2, 2)
        while self._used & WRAP != now:
            element = yield Load(used + 4 + 8 * (self._used % self.entries), 8)
            self._used += 1
            self.took(element & 0xFFFFFFFF, element >> 32)
            if self._used > self._available:
                self.live.claim(False, f"its used index is {now}, with {self._available} buffers made available")
                return

    def wanted(self, wanted: bool) -> Steps[None]:
        yield Store(self.areas[1], int(not wanted).to_bytes(2, "little"))


class Packed(Virt):
    """One ring that both sides write (2.8), and what each wants to be told of."""

    at_end = True

    def layout(self) -> int:
        return STEP * self.entries + 8

    def places(self) -> tuple[int, int, int]:
        return 0, STEP * self.entries, STEP * self.entries + 4

    def begin(self) -> Steps[None]:
        yield from super().begin()
        self._lap = self._used_lap = 1
        self._looked = 0

    def give(self, chains: Sequence[Sequence[tuple[int, int]]]) -> Steps[None]:
        """The first descriptor is written last: it makes the others the device's."""
        written: list[tuple[int, bytes]] = []
        for chain in chains:
            for i, (slot, size) in enumerate(chain):
                lap = self._lap if slot >= self.next else 1 - self._lap
                flags = {"flags.next": int(i + 1 < len(chain)), "flags.write": int(self.inward)}
                marks = {"flags.avail": lap, "flags.used": 1 - lap}
                where = {"addr": self.buffers + slot * ROOM, "len": size, "id": self.name(chain)}
                written.append((slot, build(PACKED_DESCRIPTOR, where | flags | marks)))
        before = self.next
        self.gave(chains)
        if written and self.next <= before:
            self._lap = 1 - self._lap
        for slot, data in reversed(written):
            yield Store(self.areas[0] + STEP * slot, data)
        yield from self.tell()

    def collect(self) -> Steps[None]:
        while self.given:
            raw = (yield Load(self.areas[0] + STEP * self._looked, STEP)).to_bytes(STEP, "little")
            marks = {get(raw, PACKED_DESCRIPTOR, f"flags.{name}") for name in ("avail", "used")}
            if marks != {self._used_lap}:
                return
            name, size = (get(raw, PACKED_DESCRIPTOR, field) for field in ("id", "len"))
            self._looked += self.took(name, size)
            if self._looked >= self.entries:
                self._looked -= self.entries
                self._used_lap = 1 - self._used_lap

    def wanted(self, wanted: bool) -> Steps[None]:
        yield Store(self.areas[1] + 2, int(not wanted).to_bytes(2, "little"))


def virtqueue(live: Live, traffic: Virtqueue, mac: bytes) -> Virt:
    return (Packed if traffic.packed else Split)(live, traffic, mac)
