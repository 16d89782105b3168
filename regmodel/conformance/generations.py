"""Rings whose entries carry a generation and are reported in a ring of completions (``Generations``), for tests of rings."""

from __future__ import annotations

from collections.abc import Sequence

from regmodel.catalogue import Ring
from regmodel.conduct import Generations
from regmodel.conformance.accesses import Allocate, Load, Steps, Store
from regmodel.conformance.live import Live
from regmodel.conformance.queues import ROOM, UNTOUCHED, Piece, Queue
from regmodel.conformance.records import build, get, locate, put

DONE = 0
"""What the register of commands reads when a device has started."""


class Generational(Queue):
    """The first queue of its kind. What else the description wants in memory is there and stays empty."""

    pends = True

    def __init__(self, live: Live, traffic: Generations, ring: Ring, mac: bytes) -> None:
        super().__init__(live, 0, mac)
        self.traffic, self.tail = traffic, ring.tail
        self.inward, self.room, self.entries = traffic.inward, traffic.room, traffic.entries
        self.dropped, self.most = traffic.dropped[1], traffic.most
        self.at: dict[str, int] = {}
        """Where each block is."""
        self.step = int(traffic.format.sizeof())
        self._wrote = int(traffic.written.sizeof())
        self._reports = traffic.memory[traffic.back].size // self._wrote
        self._missed = 0
        self._forget()

    def _forget(self) -> None:
        self.next, self._lap = 0, 1
        self._looked, self._told = 0, 1
        self.given: list[int] = []
        """Slots that the device has, in order."""
        self.back: dict[int, bytes] = {}
        """What it has said of those that it is done with."""

    # -- starting and stopping

    def start(self) -> Steps[bool]:
        t, live = self.traffic, self.live
        if not self.at:
            for name, block in t.memory.items():
                self.at[name] = yield Allocate(block.size or block.schema.sizeof())  # type: ignore[union-attr]
            self.buffers = yield Allocate(self.entries * ROOM)
        yield from self.stop()
        for name, block in t.memory.items():
            data = bytearray(block.size or block.schema.sizeof())  # type: ignore[union-attr]
            for path, value in {**block.values, **self._spoken(name)}.items():
                put(data, block.schema, path, self.at[value] if isinstance(value, str) else value)
            yield Store(self.at[name], bytes(data))
        self._forget()
        for register, value in t.setup.items():
            yield from live.put(register, value)
        for register, shift in zip(t.registers, (0, 32), strict=True):
            yield from live.put(register, self.at[t.root] >> shift & 0xFFFFFFFF)
        yield from live.put(t.command, t.start)
        answer = yield from live.get(t.command)
        return live.claim(answer == DONE, f"does not start: {t.command} reads {answer:#x} after {t.start:#x} was written")

    def stop(self) -> Steps[None]:
        for command in self.traffic.stop:
            yield from self.live.put(self.traffic.command, command)

    def _spoken(self, block: str) -> dict[str, int]:
        """Fields of a block that are otherwise when the queue has a vector."""
        if self.vector is None:
            return {}
        every = {**self.traffic.speaks, self.traffic.vector: self.vector}
        return {path: value for (name, path), value in every.items() if name == block}

    def wanted(self, wanted: bool) -> Steps[None]:
        assert self.vector is not None
        yield from self.live.put(self.traffic.mask, int(not wanted), self.vector)

    def settled(self, why: str) -> Steps[None]:
        yield from self._collect()
        self.live.claim(not self.given, f"has not completed all descriptors after {why}: {self.given} are left")

    # -- counters

    def _counter(self, where: tuple[str, str]) -> Steps[int]:
        block, path = where
        schema = self.traffic.memory[block].schema
        at, size, _, _ = locate(schema, path)
        return (yield Load(self.at[block] + at, size))

    def counted(self) -> Steps[tuple[int, int] | None]:
        yield from self.live.put(self.traffic.command, self.traffic.count)
        yield from self.live.get(self.traffic.command)  # which has come when the command was done
        packets = yield from self._counter(self.traffic.counter)
        return packets, (yield from self._counter(self.traffic.octets))

    def overlooked(self) -> Steps[int]:
        yield from self.live.put(self.traffic.command, self.traffic.count)
        yield from self.live.get(self.traffic.command)
        before, self._missed = self._missed, (yield from self._counter(self.traffic.dropped))
        return self._missed - before

    # -- descriptors

    def _give(self, descriptors: Sequence[dict[str, int]]) -> Steps[None]:
        """Give them to the device, the first one last: it stops where it stands."""
        t, written = self.traffic, []
        for slot, values in zip(self.slots(len(descriptors)), descriptors, strict=True):
            values = {t.address: self.buffers + slot * ROOM, t.generation: self._lap} | values
            written.append((slot, build(t.format, values)))
            self.given.append(slot)
            self.back.pop(slot, None)
            self._lap ^= slot == self.entries - 1
        for slot, data in reversed(written):
            yield Store(self.at[t.given] + slot * self.step, data)
        self.advance(len(descriptors))
        yield from self.live.put(self.tail, self.next)

    def offer(self, packets: Sequence[Sequence[bytes]]) -> Steps[list[int]]:
        t, descriptors, ends = self.traffic, list[dict[str, int]](), []
        slots = iter(self.slots(sum(map(len, packets))))
        for pieces in packets:
            for i, data in enumerate(pieces):
                slot = next(slots)
                yield Store(self.buffers + slot * ROOM, data)
                descriptors.append({t.length: len(data), **dict.fromkeys(t.last, int(i == len(pieces) - 1))})
            ends.append(slot)
        yield from self._give(descriptors)
        return ends

    def free(self, count: int, pieces: int = 1) -> Steps[None]:
        t = self.traffic
        for slot in self.slots(count):
            yield Store(self.buffers + slot * ROOM, bytes([UNTOUCHED]) * ROOM)
        yield from self._give([{t.length: self.room, t.kind: int(i % pieces > 0)} for i in range(count)])

    # -- completions

    def _collect(self) -> Steps[None]:
        """See what the device says."""
        t = self.traffic
        while self.given:
            where = self.at[t.back] + self._looked * self._wrote
            said = (yield Load(where, self._wrote)).to_bytes(self._wrote, "little")
            if get(said, t.written, t.told) != self._told:
                return
            self._looked += 1
            if self._looked == self._reports:
                self._looked, self._told = 0, 1 - self._told
            slot = get(said, t.written, t.index)
            if not self.live.claim(slot in self.given, f"completes descriptor {slot}, which it has not got"):
                return
            del self.given[: self.given.index(slot) + 1]
            self.back[slot] = said

    def is_done(self, slot: int) -> Steps[bool]:
        yield from self._collect()
        return slot in self.back

    def received(self, slots: Sequence[int]) -> Steps[list[Piece]]:
        t, pieces = self.traffic, []
        for slot in slots:
            said, data = self.back[slot], (yield from self.content(slot, self.room + 1))
            size = get(said, t.written, t.got)
            pieces.append(Piece(size, bool(get(said, t.written, t.end)), data[:size], data[-1]))
        return pieces
