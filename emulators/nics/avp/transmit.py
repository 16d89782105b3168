"""From guest to host: a queue of packets, and the empty buffers that the guest sends with.

In here: what the guest has put into ``tx`` becomes frames for the switch, and their buffers go back into ``alloc``. Most
bursts are packets of one segment without a tag, and are looked at by column.

A queue that the guest has damaged stops, with a named diagnosis, until the guest configures the device again.

Sources: DPDK avp_ethdev.c ``avp_xmit_pkts``, ``avp_xmit_scattered_pkts``, ``avp_dev_copy_to_buffers``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy
from numpy.typing import NDArray

from emulators.fabric.frames import HEADER, SHORTEST, VLAN_TYPE, insert_tag, padded
from emulators.host import Host
from emulators.nics.avp.arrangement import Arrangement
from emulators.nics.avp.buffers import Buffers, Indices
from emulators.nics.avp.fifo import Broken, Consumer, Producer
from regmodel.function import Buffer
from regmodel.layout import layout
from regmodel.rings.avp import DESC
from regmodel.structures.avp import MAX_SEGMENTS

BURST = 64
"""Packets per look at a queue; as many as the driver takes at once (AVP_MAX_TX_BURST)."""
TX_VLAN = layout(DESC).field("ol_flags", "tx_vlan_pkt").mask
Rows: TypeAlias = NDArray[Any]


class TransmitQueue:
    """Queue ``number``; ``error`` is why it has stopped, empty if it has not."""

    def __init__(self, host: Host, number: int, memory: memoryview, arrangement: Arrangement, buffers: Buffers) -> None:
        self.host, self.number, self.buffers, self.memory = host, number, buffers, memory
        self.owner = number
        self.tx = Consumer(memory, arrangement.fifo("tx", number), arrangement.slots)
        self.alloc = Producer(memory, arrangement.fifo("alloc", number), arrangement.slots)
        self.error = ""
        self.packets = self.octets = self.dropped = 0

    def open(self, share: int) -> None:
        """Empty queues, and as many buffers for the guest as fit, ``share`` at most."""
        self.error = ""
        self.tx.clear()
        self.alloc.clear()
        found = self.buffers.take(min(share, self.alloc.slots - 1, self.buffers.left), self.owner)
        self.buffers.empty(found)
        self.alloc.put(self.buffers.addresses(found))

    def burst(self, send: Callable[[list[Buffer]], None]) -> bool:
        """Hand what waits to ``send``, ``BURST`` packets at most; whether there was anything."""
        if self.error:
            return False
        try:
            count = min(self.tx.waiting(), BURST)
            if not count:
                return False
            self._burst(count, send)
        except Broken as broken:
            self.error = broken.kind
            self.host.diagnose(broken.kind, queue=f"tx{self.number}", **broken.detail)
        return True

    def _burst(self, count: int, send: Callable[[list[Buffer]], None]) -> None:
        buffers = self.buffers
        found = buffers.find(self.tx.look(count), self.owner)
        rows = buffers.table[found]
        if (rows["nb_segs"] == 1).all():
            if self.host.on_descriptor is not None:
                for step in range(count):
                    self._tell(step, rows[step : step + 1])
            frames = self._simple(found, rows)
        else:
            frames, found = self._chained(found, rows)
        if frames:
            self.packets += len(frames)
            self.octets += sum(map(len, frames))
            send(frames)
        self.tx.done(count)
        buffers.empty(found)
        space = self.alloc.space()
        if len(found) > space:
            raise Broken("alloc-overfilled", buffers=len(found), space=space)
        self.alloc.put(buffers.addresses(found))

    def _simple(self, found: Indices, rows: Rows) -> list[Buffer]:
        """Packets of one segment each."""
        starts, lengths = self.buffers.starts(found, rows), rows["data_len"].astype(numpy.int64)
        if not (rows["pkt_len"] == lengths).all():
            raise Broken("packet-length", octets=int(lengths.sum()), said=int(rows["pkt_len"].sum()))
        memory = self.memory
        ends = starts + lengths
        frames: list[Buffer] = [memory[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
        tagged = (rows["ol_flags"] & TX_VLAN).any()
        return frames if not tagged and lengths.min() >= SHORTEST else self._finished(frames, rows)

    def _finished(self, frames: list[Buffer], rows: Rows) -> list[Buffer]:
        """Tags put in, short frames padded, and what is no frame left out."""
        out: list[Buffer] = []
        for frame, flags, tci in zip(frames, rows["ol_flags"].tolist(), rows["vlan_tci"].tolist(), strict=True):
            if len(frame) < HEADER:
                self.dropped += 1
                self.host.diagnose("packet-too-short", queue=f"tx{self.number}", octets=len(frame))
                continue
            out.append(padded(insert_tag(frame, VLAN_TYPE + tci.to_bytes(2, "big")) if flags & TX_VLAN else frame))
        return out

    def _chained(self, found: Indices, rows: Rows) -> tuple[list[Buffer], Indices]:
        """Packets of any number of segments; the buffers of all of them."""
        frames: list[Buffer] = []
        used: list[Indices] = []
        for step, (first, row) in enumerate(zip(found, rows, strict=True)):
            chain, described = self._chain(first, row)
            if self.host.on_descriptor is not None:
                self._tell(step, described)
            starts = self.buffers.starts(chain, described).tolist()
            parts = [self.memory[a : a + n] for a, n in zip(starts, described["data_len"].tolist(), strict=True)]
            frame = b"".join(parts)
            if len(frame) != row["pkt_len"]:
                raise Broken("packet-length", octets=len(frame), said=int(row["pkt_len"]))
            frames.append(frame)
            used.append(chain)
        every = numpy.concatenate(used)
        if len(numpy.unique(every)) < len(every):
            raise Broken("buffer-twice", packets=len(frames))
        return self._finished(frames, rows), every

    def _tell(self, step: int, rows: Rows) -> None:
        """The descriptors of one packet, ``step`` behind the first one of the burst, to whoever traces."""
        if self.host.on_descriptor is not None:
            slot = (self.tx.own + step) % self.tx.slots
            for row in rows:
                self.host.on_descriptor("fetch", f"tx {self.number}", slot, "desc", row.tobytes())

    def _chain(self, first: int, row: Any) -> tuple[Indices, Rows]:
        """The buffers of one packet and copies of their descriptors."""
        segments = int(row["nb_segs"])
        if not 1 <= segments <= MAX_SEGMENTS:
            raise Broken("segments", segments=segments, most=MAX_SEGMENTS)
        chain, rows = [first], [row]
        while len(chain) < segments:
            following = rows[-1]["next"]
            if not following:
                raise Broken("chain-ends", segments=segments, found=len(chain))
            (number,) = self.buffers.find(numpy.array([following], numpy.uint64), self.owner)
            chain.append(number)
            rows.append(self.buffers.table[number])
        return numpy.array(chain, numpy.int64), numpy.array(rows)

    def stats(self) -> dict[str, object]:
        return {"error": self.error, "packets": self.packets, "octets": self.octets, "dropped": self.dropped}

    def save(self) -> dict[str, object]:
        return {**self.stats(), "tx": [self.tx.own, self.tx.seen], "alloc": [self.alloc.own, self.alloc.seen]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
        self.error = str(state["error"])
        self.packets, self.octets, self.dropped = (int(state[name]) for name in ("packets", "octets", "dropped"))
        self.tx.load(state["tx"])
        self.alloc.load(state["alloc"])
