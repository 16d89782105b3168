"""From host to guest: a queue of packets, and the one through which the guest gives their buffers back.

In here: frames go into buffers, those into ``rx``; what comes back through ``free`` is the host's again. The guest names only
the first buffer of a packet; which ones belonged to it is in the host's own books.

A queue that the guest has damaged stops, with a named diagnosis, until the guest configures the device again.

Sources: DPDK avp_ethdev.c ``avp_recv_pkts``, ``avp_recv_scattered_pkts``, ``avp_dev_copy_from_buffers``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from emulators.fabric.frames import HEADER, TAG, VLAN_TYPE, insert_tag
from emulators.host import Host
from emulators.nics.avp.arrangement import Arrangement
from emulators.nics.avp.buffers import DESCRIPTOR, NONE, Buffers, Indices
from emulators.nics.avp.fifo import Broken, Consumer, Producer
from emulators.nics.avp.packing import pack, unpack
from regmodel.function import Buffer
from regmodel.layout import layout
from regmodel.rings.avp import DESC
from regmodel.structures.avp import MAX_QUEUES

RX_VLAN = layout(DESC).field("ol_flags", "rx_vlan_pkt").mask
UNTAGGED = -1


class ReceiveQueue:
    """Queue ``number``; ``error`` is why it has stopped, empty if it has not."""

    def __init__(self, host: Host, number: int, memory: memoryview, arrangement: Arrangement, buffers: Buffers) -> None:
        self.host, self.number, self.buffers, self.memory = host, number, buffers, memory
        self.owner = MAX_QUEUES + number  # of the first buffer of a packet
        self.further = 2 * MAX_QUEUES + number  # and of its others
        self.rx = Producer(memory, arrangement.fifo("rx", number), arrangement.slots)
        self.free = Consumer(memory, arrangement.fifo("free", number), arrangement.slots)
        self.most = arrangement.properties.max_rx_pkt_len
        self._put = numpy.zeros(arrangement.slots, numpy.int64)
        """The first buffer of the packet in each slot of ``rx``, and the tag that was taken out of it."""
        self._tags = numpy.full(arrangement.slots, UNTAGGED, numpy.int32)
        self.error = ""
        self.packets = self.octets = self.too_long = 0

    def open(self) -> None:
        """Empty queues."""
        self.error = ""
        self.rx.clear()
        self.free.clear()

    # -- buffers come back

    def reclaim(self) -> bool:
        """Take back what the guest has done with; whether there was anything."""
        if self.error:
            return False
        try:
            count = self.free.waiting()
            if not count:
                return False
            first = self.buffers.find(self.free.look(count), self.owner)
            self.free.done(count)
            self._give_back(first)
        except Broken as broken:
            self._stop(broken)
        return True

    def _give_back(self, first: Indices) -> None:
        """Packets' buffers, named by their first ones."""
        follows = self.buffers.follows
        while len(first):
            self.buffers.give_back(first)
            after = follows[first]
            follows[first] = NONE
            first = after[after != NONE].astype(numpy.int64)

    def _stop(self, broken: Broken) -> None:
        self.error = broken.kind
        self.host.diagnose(broken.kind, queue=f"rx{self.number}", **broken.detail)

    # -- frames go out

    def deliver(self, frames: Sequence[Buffer], strip: bool, limit: int) -> int:
        """Put ``frames`` into the queue, without their tags if ``strip``; how many found a place, or can have none.

        ``limit`` is in octets; a tag that stays in its frame does not count, unless a packet would get too long for any.
        """
        self.reclaim()
        if self.error:  # it may have stopped just now
            return 0
        tags: list[int] = []
        if strip and any(frame[12:14] == VLAN_TYPE for frame in frames):
            parted = [_untag(frame) for frame in frames]
            frames, tags = [frame for frame, _ in parted], [tag for _, tag in parted]
        given = len(frames)
        if max(map(len, frames), default=0) > limit:
            most = self.most
            fits = [len(f) <= limit or (len(f) <= min(limit + TAG, most) and f[12:14] == VLAN_TYPE) for f in frames]
            frames = [frame for frame, fit in zip(frames, fits, strict=True) if fit]
            tags = [tag for tag, fit in zip(tags, fits, strict=True) if fit] if tags else []
            self.too_long += given - len(frames)
        try:
            return given - len(frames) + self._fill(frames[: self.rx.space()], tags)
        except Broken as broken:
            self._stop(broken)
            return 0

    def _fill(self, frames: Sequence[Buffer], tags: list[int]) -> int:
        """As many of ``frames``, for which there are slots, as there are buffers for."""
        buffers, room = self.buffers, self.buffers.room
        sizes = list(map(len, frames))
        if max(sizes, default=0) > room:
            return self._fill_chained(frames, sizes, tags)
        count = min(len(frames), buffers.left)
        if not count:
            return 0
        found = buffers.take(count, self.owner)
        rows = numpy.zeros(count, DESCRIPTOR)
        rows["data"] = buffers.addresses(found) + numpy.uint64(buffers.data_at)
        rows["data_len"] = rows["pkt_len"] = sizes[:count]
        rows["nb_segs"] = 1
        memory = self.memory
        starts = (found * buffers.stride + (buffers.at + buffers.data_at)).tolist()
        for at, frame, size in zip(starts, frames, sizes, strict=False):
            memory[at : at + size] = frame
        buffers.follows[found] = NONE
        self._hand_over(found, rows, found, tags[:count], sum(sizes[:count]))
        return count

    def _fill_chained(self, frames: Sequence[Buffer], sizes: list[int], tags: list[int]) -> int:
        """The same where a packet may need several buffers."""
        buffers, room = self.buffers, self.buffers.room
        needs = [max(-(-size // room), 1) for size in sizes]
        count, total = 0, 0
        while count < len(needs) and total + needs[count] <= buffers.left:
            total += needs[count]
            count += 1
        if not count:
            return 0
        found = buffers.take(total, self.further)
        rows = numpy.zeros(total, DESCRIPTOR)
        addresses = buffers.addresses(found)
        rows["data"] = addresses + numpy.uint64(buffers.data_at)
        buffers.follows[found] = NONE
        starts = (found * buffers.stride + (buffers.at + buffers.data_at)).tolist()
        heads, at = [], 0
        for frame, size, segments in zip(frames[:count], sizes, needs, strict=False):
            heads.append(at)
            rows["pkt_len"][at], rows["nb_segs"][at] = size, segments
            for segment in range(segments):
                part = frame[segment * room : (segment + 1) * room]
                start = starts[at + segment]
                self.memory[start : start + len(part)] = part
                rows["data_len"][at + segment] = len(part)
            rows["next"][at : at + segments - 1] = addresses[at + 1 : at + segments]
            buffers.follows[found[at : at + segments - 1]] = found[at + 1 : at + segments]
            at += segments
        first = found[heads]
        buffers.owner[first] = self.owner
        self._hand_over(found, rows, first, tags[:count], sum(sizes[:count]), heads)
        return count

    def _hand_over(
        self, found: Indices, rows: Any, first: Indices, tags: list[int], octets: int, heads: list[int] | None = None
    ) -> None:
        """Write descriptors ``rows`` of ``found``; packets begin with buffers ``first``, which are rows ``heads`` of them."""
        tci = numpy.array(tags or [UNTAGGED] * len(first), numpy.int32)
        if tags:
            with_tag = tci != UNTAGGED
            where = numpy.array(heads if heads is not None else range(len(first)))[with_tag]
            rows["ol_flags"][where] = RX_VLAN
            rows["vlan_tci"][where] = tci[with_tag]
        self.buffers.table[found] = rows
        slots = self.rx.own + numpy.arange(len(first)) & self.rx.slots - 1
        self._put[slots], self._tags[slots] = first, tci
        if self.host.on_descriptor is not None:
            begins = range(len(first)) if heads is None else heads
            for at, row in enumerate(rows):
                slot = int(slots[bisect_right(begins, at) - 1])
                self.host.on_descriptor("write-back", f"rx {self.number}", slot, "desc", row.tobytes())
        self.rx.put(self.buffers.addresses(first))
        self.packets += len(first)
        self.octets += octets

    def unread(self) -> list[bytes]:
        """The frames that the guest has not taken out, as they came."""
        if self.error:
            return []
        try:
            slots = self.rx.held()
        except Broken as broken:
            self._stop(broken)
            return []
        return [self._frame(slot) for slot in slots]

    def _frame(self, slot: int) -> bytes:
        buffers = self.buffers
        parts, number = [], int(self._put[slot])
        while number != NONE:
            at = buffers.at + number * buffers.stride + buffers.data_at
            size = min(int(buffers.table["data_len"][number]), buffers.room)
            parts.append(self.memory[at : at + size])
            number = int(buffers.follows[number])
        frame, tag = b"".join(parts), int(self._tags[slot])
        return frame if tag == UNTAGGED else insert_tag(frame, VLAN_TYPE + tag.to_bytes(2, "big"))

    def stats(self) -> dict[str, object]:
        return {"error": self.error, "packets": self.packets, "octets": self.octets, "too_long": self.too_long}

    def save(self) -> dict[str, object]:
        return {
            **self.stats(),
            "rx": [self.rx.own, self.rx.seen], "free": [self.free.own, self.free.seen],
            "put": pack(self._put), "tags": pack(self._tags),
        }  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
        self.error = str(state["error"])
        self.packets, self.octets, self.too_long = (int(state[name]) for name in ("packets", "octets", "too_long"))
        self._put[:] = unpack(state["put"], self._put.dtype, len(self._put))
        self._tags[:] = unpack(state["tags"], self._tags.dtype, len(self._tags))
        if self._put.max() >= self.buffers.count or self._put.min() < 0:
            raise ValueError("a packet is in no buffer")
        self.rx.load(state["rx"])
        self.free.load(state["free"])


def _untag(frame: Buffer) -> tuple[Buffer, int]:
    """The frame without its tag, and the tag; both as they are where there is none."""
    if frame[12:14] != VLAN_TYPE or len(frame) < HEADER + TAG:
        return frame, UNTAGGED
    return b"".join((frame[:12], frame[16:])), frame[14] << 8 | frame[15]
