"""A slow and obvious driver of virtqueues, split and packed, to judge the device's side by.

It is written after VIRTIO 1.3, 2.7 and 2.8, reads and builds every descriptor with construct from ``regmodel.rings.virtio``,
and shares no code with ``emulators.nics.virtio``. It waits for nothing: a test says when to look.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from construct import Int16ul

from regmodel.rings.virtio import AVAIL, EVENT_SUPPRESSION, PACKED_DESCRIPTOR, SPLIT_DESCRIPTOR, USED, USED_ELEMENT

ENABLE, DISABLE, DESC = 0, 1, 2
"""Values of the event suppression flags (VIRTIO 1.3, 2.8.14)."""
NOTHING = {"next": 0, "write": 0, "indirect": 0}


@dataclass
class Buffer:
    """One message: parts for the device to read, then parts for it to write (address and length of each)."""

    readable: list[tuple[int, int]]
    writable: list[tuple[int, int]]
    indirect: bool = False
    slots: int = 1
    descriptors: list[int] = field(default_factory=list)


class Memory:
    """Guest memory from ``base`` on, handed out piece by piece; ``free`` makes all of the part behind ``keep`` free again."""

    def __init__(self, content: bytearray, base: int, seed: int = 0) -> None:
        self.content, self.base, self.at = content, base, 0
        self.random = Random(seed)

    def take(self, size: int, align: int = 1, data: bytes = b"") -> int:
        """The address of ``size`` octets, with some unused ones between."""
        self.at = (self.at + align - 1) // align * align
        at = self.at
        assert at + size <= len(self.content), "the test wants more memory than it has"
        self.at = at + size + self.random.choice((0, 0, 1, 2, 7)) * (align == 1)
        self.content[at : at + len(data)] = data
        return self.base + at

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.content[address - self.base : address - self.base + size])

    def write(self, address: int, data: bytes) -> None:
        self.content[address - self.base : address - self.base + len(data)] = data


class Driver:
    """What both formats share: placing messages in memory, and what is outstanding."""

    def __init__(self, memory: Memory, size: int, *, event_index: bool, in_order: bool = False) -> None:
        self.memory, self.size, self.event_index, self.in_order = memory, size, event_index, in_order
        self.outstanding: dict[int, Buffer] = {}
        self.order: list[int] = []  # of ids, as they were made available

    def place(self, readable: list[bytes], writable: list[int], indirect: bool = False) -> Buffer:
        """A message in memory, in the given parts."""
        return Buffer(
            [(self.memory.take(len(part), data=part), len(part)) for part in readable],
            [(self.memory.take(size), size) for size in writable],
            indirect,
        )

    def contents(self, buffer: Buffer, written: int) -> bytes:
        """What the device wrote."""
        whole = b"".join(self.memory.read(address, size) for address, size in buffer.writable)
        return whole[:written]

    def get16(self, address: int) -> int:
        return int(Int16ul.parse(self.memory.read(address, 2)))

    def put16(self, address: int, value: int) -> None:
        self.memory.write(address, Int16ul.build(value))


class SplitDriver(Driver):
    """VIRTIO 1.3, 2.7. ``desc``, ``driver`` and ``device`` are the addresses of the areas."""

    def __init__(self, memory: Memory, size: int, *, event_index: bool, in_order: bool = False) -> None:
        super().__init__(memory, size, event_index=event_index, in_order=in_order)
        self.desc = memory.take(16 * size, 16)
        self.driver = memory.take(6 + 2 * size, 2)
        self.device = memory.take(6 + 8 * size, 4)
        self.free = list(range(size))
        if not in_order:
            memory.random.shuffle(self.free)
        self.idx = self.published = self.seen = 0

    def entry(self, address: int, length: int, *, write: bool, following: int | None, indirect: bool = False) -> bytes:
        flags = {"next": int(following is not None), "write": int(write), "indirect": int(indirect)}
        return bytes(SPLIT_DESCRIPTOR.build({"addr": address, "len": length, "flags": flags, "next": following or 0}))

    def add(self, buffer: Buffer) -> bool:
        """Make it available, to be seen by ``publish``; False when the table is full."""
        parts = [(*part, False) for part in buffer.readable] + [(*part, True) for part in buffer.writable]
        needed = 1 if buffer.indirect else len(parts)
        if needed > len(self.free):
            return False
        buffer.descriptors = [self.free.pop(0) for _ in range(needed)]
        if buffer.indirect:
            rows = [
                self.entry(address, size, write=write, following=n + 1 if n + 1 < len(parts) else None)
                for n, (address, size, write) in enumerate(parts)
            ]
            table = self.memory.take(16 * len(rows), 16, b"".join(rows))
            self.set(buffer.descriptors[0], self.entry(table, 16 * len(rows), write=False, following=None, indirect=True))
        else:
            followers = [*buffer.descriptors[1:], None]
            for number, (address, size, write), following in zip(buffer.descriptors, parts, followers, strict=True):
                self.set(number, self.entry(address, size, write=write, following=following))
        head = buffer.descriptors[0]
        self.outstanding[head] = buffer
        self.order.append(head)
        self.put16(self.driver + 4 + 2 * (self.idx % self.size), head)
        self.idx = (self.idx + 1) % 0x10000
        return True

    def set(self, number: int, entry: bytes) -> None:
        self.memory.write(self.desc + 16 * number, entry)

    def publish(self) -> bool:
        """Let the device see what was added; True when it wants a doorbell."""
        old, self.published = self.published, self.idx
        self.put16(self.driver + 2, self.idx)
        if old == self.idx:
            return False
        if self.event_index:
            event = self.get16(self.device + 4 + 8 * self.size)
            passed = [(old + n) % 0x10000 for n in range((self.idx - old) % 0x10000)]
            return event in passed
        used = USED.parse(self.memory.read(self.device, 4))
        return not used.flags.no_notify

    @property
    def notification(self) -> int:
        """The upper half of a doorbell with NOTIFICATION_DATA."""
        return self.idx

    def poll(self) -> list[tuple[Buffer, int]]:
        """What the device gave back, with how many octets it says to have written."""
        done: list[tuple[Buffer, int]] = []
        while self.seen != (used := int(USED.parse(self.memory.read(self.device, 4)).idx)):
            element = USED_ELEMENT.parse(self.memory.read(self.device + 4 + 8 * (self.seen % self.size), 8))
            # in order, an element may stand for all that came before: then nothing was written to any of them
            batch = self.order[: self.order.index(element.id) + 1] if self.in_order else [element.id]
            assert len(batch) <= (used - self.seen) % 0x10000, "given back more than the index says"
            for head in batch:
                self.order.remove(head)
                buffer = self.outstanding.pop(head)
                self.free += buffer.descriptors
                done.append((buffer, int(element.len) if head == element.id else 0))
            self.seen = (self.seen + len(batch)) % 0x10000
        return done

    def want_interrupts(self, wanted: bool) -> bool:
        """Ask for an interrupt at the next buffer (or for none); True when there is one already."""
        if self.event_index:
            if wanted:
                self.put16(self.driver + 4 + 2 * self.size, self.seen)
        else:
            self.memory.write(self.driver, AVAIL.build({"flags": {"no_interrupt": int(not wanted)}, "idx": self.published}))
        return self.seen != int(USED.parse(self.memory.read(self.device, 4)).idx)


class PackedDriver(Driver):
    """VIRTIO 1.3, 2.8."""

    def __init__(self, memory: Memory, size: int, *, event_index: bool, in_order: bool = False) -> None:
        super().__init__(memory, size, event_index=event_index, in_order=in_order)
        self.desc = memory.take(16 * size, 16)
        self.driver = memory.take(4, 4)
        self.device = memory.take(4, 4)
        self.ids = list(range(size))
        if not in_order:
            memory.random.shuffle(self.ids)
        self.place_, self.wrap = 0, 1
        self.used_place, self.used_wrap = 0, 1
        self.room = size
        self.hidden: list[tuple[int, bytes]] = []  # first descriptors, which publish shows
        self.added: list[tuple[int, int]] = []  # place and wrap counter of what publish will show

    def entry(self, address: int, length: int, id_: int, wrap: int, *, write: bool, following: bool, indirect: bool) -> bytes:
        flags = {"next": int(following), "write": int(write), "indirect": int(indirect), "avail": wrap, "used": 1 - wrap}
        return bytes(PACKED_DESCRIPTOR.build({"addr": address, "len": length, "id": id_, "flags": flags}))

    def add(self, buffer: Buffer) -> bool:
        parts = [(*part, False) for part in buffer.readable] + [(*part, True) for part in buffer.writable]
        buffer.slots = 1 if buffer.indirect else len(parts)
        if buffer.slots > self.room or not self.ids:
            return False
        id_ = self.ids.pop(0)
        if buffer.indirect:
            rows = [
                bytes(PACKED_DESCRIPTOR.build({
                    "addr": address, "len": size, "id": 0, "flags": NOTHING | {"write": int(write), "avail": 0, "used": 0},
                }))
                for address, size, write in parts
            ]  # fmt: skip
            parts = [(self.memory.take(16 * len(rows), 16, b"".join(rows)), 16 * len(rows), False)]
        for number, (address, size, write) in enumerate(parts):
            entry = self.entry(
                address, size, id_, self.wrap, write=write, following=number + 1 < len(parts), indirect=buffer.indirect
            )
            self.added.append((self.place_, self.wrap))
            if number == 0:
                self.hidden.append((self.desc + 16 * self.place_, entry))
            else:
                self.memory.write(self.desc + 16 * self.place_, entry)
            self.place_ += 1
            if self.place_ == self.size:
                self.place_, self.wrap = 0, 1 - self.wrap
        self.room -= buffer.slots
        self.outstanding[id_] = buffer
        self.order.append(id_)
        return True

    def publish(self) -> bool:
        for address, entry in reversed(self.hidden):
            self.memory.write(address, entry)
        added, self.added, self.hidden = self.added, [], []
        event = EVENT_SUPPRESSION.parse(self.memory.read(self.device, 4))
        if not added or event.flags.flags == DISABLE:
            return False
        if event.flags.flags == DESC:
            assert self.event_index
            return (event.off_wrap.off, event.off_wrap.wrap) in added
        return True

    @property
    def notification(self) -> int:
        return self.place_ | self.wrap << 15

    def poll(self) -> list[tuple[Buffer, int]]:
        done: list[tuple[Buffer, int]] = []
        while (entry := self._used()) is not None:
            batch = self.order[: self.order.index(entry.id) + 1] if self.in_order else [entry.id]
            for id_ in batch:
                self.order.remove(id_)
                buffer = self.outstanding.pop(id_)
                self.ids.append(id_)
                self.room += buffer.slots
                self.used_place += buffer.slots
                if self.used_place >= self.size:
                    self.used_place, self.used_wrap = self.used_place - self.size, 1 - self.used_wrap
                done.append((buffer, int(entry.len) if id_ == entry.id and entry.flags.write else 0))
        return done

    def _used(self):  # type: ignore[no-untyped-def]
        entry = PACKED_DESCRIPTOR.parse(self.memory.read(self.desc + 16 * self.used_place, 16))
        return entry if entry.flags.avail == entry.flags.used == self.used_wrap else None

    def want_interrupts(self, wanted: bool) -> bool:
        flags = (DESC if self.event_index else ENABLE) if wanted else DISABLE
        place = {"off": self.used_place, "wrap": self.used_wrap}
        self.memory.write(self.driver, EVENT_SUPPRESSION.build({"off_wrap": place, "flags": {"flags": flags}}))
        return self._used() is not None
