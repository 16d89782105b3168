"""A receive queue of one VF: from frames of the switch to buffers of the guest, and write-backs that describe them.

In here: the ring, the ways to lay a frame into buffers (SRRCTL.DESCTYPE), and what happens when there are none. What the
parser finds in a frame is in ``headers``.

A burst of frames takes descriptors in pieces of the ring without a wrap: one read, a store per buffer, one write-back per
piece, at most one interrupt per burst. A frame that finds too few descriptors is dropped and counted when the queue drops
(SRRCTL.DROP_EN, or QDE of the PF), else it waits in the packet buffer until software moves RDT.

Sources: 82576 datasheet, chapter 7.1 (receive: queues, descriptors, header splitting); Linux
igbvf/netdev.c ``igbvf_clean_rx_irq`` and DPDK igb_rxtx.c, which are the users.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from emulators.fabric.checksums import swap16
from emulators.fabric.pool import Pool
from emulators.nics.igb import telling
from emulators.nics.igb.buffers import DescType, Piece, lay_out
from emulators.nics.igb.counters import Counters
from emulators.nics.igb.headers import Found, examine_all
from emulators.nics.igb.interrupts import Interrupts
from emulators.nics.igb.rss import Rss
from emulators.nics.igb.words import mask, place
from regmodel.bank import Bank, Cause, Path
from regmodel.errors import DmaFault
from regmodel.function import Buffer, Host
from regmodel.rings.igb import RX_LEGACY, RX_WRITEBACK

BURST = 64
"""Descriptors that are read at once."""
PACKET_BUFFER = 64 * 1024
"""Octets of frames that may wait for descriptors: RXPBS after reset; silicon shares them among all queues of the port."""
RCTL_BSIZE = 2048
"""Size of packet buffers while SRRCTL.BSIZEPACKET is 0: RCTL.BSIZE, a register of the PF, which stock igb leaves at 00b."""
_BROADCAST, _VLAN = b"\xff" * 6, b"\x81\x00"

# The write-back as two words of 64 bits; in the second one, over status and errors: length and VLAN tag.
_DD, _EOP, _VP, _LB = (mask(RX_WRITEBACK, "status_error", name) for name in ("dd", "eop", "vp", "lb"))
_PAIR = Struct("<QQ").pack
_LENGTH, _TAG = place(RX_WRITEBACK, "length").shift, place(RX_WRITEBACK, "vlan").shift


class ReceiveQueue:
    """Queue ``index`` of a VF. ``halted``: a descriptor or buffer could not be reached; it waits to be enabled anew."""

    def __init__(
        self, bank: Bank, host: Host, pool: Pool, interrupts: Interrupts, counters: Counters, index: int, *, swapped: bool
    ) -> None:
        self.host, self.pool, self.interrupts, self.counters, self.index = host, pool, interrupts, counters, index
        self.swapped = swapped  # tags of loopback frames are big-endian (I350)
        self.drop_enable = False  # QDE of the PF
        self.rss: Rss | None = None
        self._low, self._high, self._length = bank["rdbal", index], bank["rdbah", index], bank["rdlen", index]
        self._head, self._tail, self._control = bank["rdh", index], bank["rdt", index], bank["rxdctl", index]
        self._split, self._dropped, self._types = bank["srrctl", index], bank["rqdpc", index], bank["psrtype"]
        self._words = self._head.store  # all registers by index: bursts read them so
        self._enable = self._control.fields["enable"].mask
        self._size_field, self._kind_field = self._split.fields["bsizepacket"], self._split.fields["desctype"]
        self._epoch = 0
        self.halted = False
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._waiting_octets = 0
        self._drain_burst = self._drain
        self._tail.on_write += (self._tail_written,)
        self._control.on_write += (self._control_written,)
        for cell in (self._low, self._high, self._length):
            cell.on_write += (self._moved,)

    # -- registers

    def _tail_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        count = self._words[self._length.index] >> 4
        if new & 0xFFFF >= count and new:
            self.host.diagnose("rx-tail-beyond-ring", queue=self.index, tail=new & 0xFFFF, descriptors=count)
        if self._waiting:
            self.host.defer(self._drain_burst)

    def _moved(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self._epoch += 1

    def _control_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """Setting ENABLE initializes the queue, its head included (RDH is read-only to software); clearing it stops it."""
        if (old ^ new) & self._enable:
            self.reset()
            if new & self._enable:
                self._head.value = 0

    def reset(self) -> None:
        """After the registers took on their reset values: what waited is lost."""
        self._epoch += 1
        self.halted = False
        self._waiting.clear()
        self._waiting_octets = 0

    # -- frames

    def deliver(self, frames: Sequence[Buffer], loopback: bool) -> int:
        """Write a burst of frames into the ring, or keep or drop it; says how many were not dropped."""
        if not self._words[self._control.index] & self._enable or self.halted:
            return 0
        taken = 0 if self._waiting else self._write(frames, loopback)
        if taken < len(frames):
            taken += self._without_descriptors(frames[taken:], loopback)
        return taken

    def _without_descriptors(self, frames: Sequence[Buffer], loopback: bool) -> int:
        """Keep what fits into the packet buffer, in order, or count what is dropped. How many were kept."""
        kept = 0
        if self.drop_enable or self._split.get("drop_en") or self.halted:
            self._dropped.value = min(self._dropped.value + len(frames), self._dropped.fields["rqdpc"].mask)
            return 0
        for frame in frames:
            if len(frame) > self._room():
                self.host.diagnose("rx-frame-exceeds-ring", queue=self.index, octets=len(frame))
            elif self._waiting_octets + len(frame) <= PACKET_BUFFER:
                self._waiting.append((bytes(frame), loopback))
                self._waiting_octets += len(frame)
                kept += 1
            else:
                break
        self.host.defer(self._drain_burst)
        return kept

    def _room(self) -> int:
        """Octets of a frame that would fit into an empty ring."""
        size = self._size_field.of(self._split.value) << 10 or RCTL_BSIZE
        return size * max((self._length.value >> 4) - 1, 0)

    def _drain(self) -> bool:
        """A burst: frames that waited find descriptors."""
        while self._waiting and not self.halted:
            loopback = self._waiting[0][1]
            frames = [frame for frame, origin in list(self._waiting)[:BURST] if origin == loopback]
            epoch = self._epoch
            taken = self._write(frames, loopback)
            if epoch != self._epoch:
                return False
            for _ in range(taken):
                self._waiting_octets -= len(self._waiting.popleft()[0])
            if taken < len(frames):
                return False
        return False

    def _free(self) -> tuple[int, int, int]:
        """Head, descriptors from there on that are ours, and how many of them lie before the ring's end."""
        words = self._words
        head, tail, count = words[self._head.index], words[self._tail.index], words[self._length.index] >> 4
        if tail >= count or head >= count:
            return head, 0, 0
        free = (tail - head) % count
        return head, free, min(free, count - head)

    def _place(self, index: int) -> int:
        """The address of a descriptor."""
        base: int = self._words[self._high.index] << 32 | self._words[self._low.index]
        return base + 16 * index

    def _write(self, frames: Sequence[Buffer], loopback: bool) -> int:
        """Lay frames into the ring as long as there are descriptors; how many went."""
        srrctl = self._words[self._split.index]
        size, kind = self._size_field.of(srrctl) << 10 or RCTL_BSIZE, self._kind_field.of(srrctl)
        lengths = list(map(len, frames))
        simple = kind == DescType.ONE_BUFFER and max(lengths) <= size
        taken = 0
        epoch = self._epoch
        try:
            while taken < len(frames) and epoch == self._epoch:
                head, free, straight = self._free()
                if not free:
                    break
                if simple:
                    part = slice(taken, taken + min(straight, BURST))
                    went = self._write_plain(head, frames[part], lengths[part], loopback)
                else:
                    went = self._write_laid_out(head, free, frames[taken], loopback, kind, size)
                if not went:
                    break
                taken += went
        except DmaFault as fault:
            if epoch == self._epoch:
                self._halt(fault)
        if taken and epoch == self._epoch:
            self._count(frames[:taken], sum(lengths[:taken]), loopback)
            self.interrupts.cause(self.interrupts.receive[self.index])
        return taken

    def _count(self, frames: Sequence[Buffer], octets: int, loopback: bool) -> None:
        multicast = [frame for frame in frames if frame[0] & 1]
        if multicast:
            multicast = [frame for frame in multicast if frame[:6] != _BROADCAST]
        self.counters.received(len(frames), octets, len(multicast), loopback)

    def _halt(self, fault: DmaFault) -> None:
        self.halted = True
        self.host.diagnose("rx-unreachable", queue=self.index, descriptor=self._head.value, fault=str(fault))

    def _write_plain(self, head: int, frames: Sequence[Buffer], lengths: list[int], loopback: bool) -> int:
        """One descriptor per frame of so many octets, without a wrap; how many went, 0 when the ring was reset meanwhile."""
        n, at = len(frames), self._place(head)
        epoch, dma = self._epoch, self.host.dma
        words = memoryview(dma.read(at, 16 * n)).cast("Q")
        addresses = words[::2].tolist()
        if self.host.on_descriptor is not None:
            self._tell("fetch", head, addresses, words[1::2].tolist())
        found, plain = self._look_at_all(frames)
        if not plain and [frame for frame in frames if frame[12] == _VLAN[0]]:
            frames, found = self._untag_all(frames, found, loopback)
            lengths = list(map(len, frames))
        dma.scatter(addresses, frames)
        end = self._end(loopback)
        if lengths.count(lengths[0]) == n == found.count(found[0]):  # all alike, as in most bursts
            low, high = array("Q", found[0][:1]) * n, array("Q", (found[0][1] | end | lengths[0] << _LENGTH,)) * n
        else:
            low = array("Q", [kind for kind, _ in found])
            high = array("Q", [status | end | length << _LENGTH for (_, status), length in zip(found, lengths, strict=True)])
        if epoch != self._epoch or not self._write_back(at, low, high, (head + n) % (self._words[self._length.index] >> 4)):
            return 0
        return n

    def _look(self, frame: Buffer) -> Found:
        """Packet type (with RSS, where the PF gives this pool any) and checksum verdicts."""
        return self._look_at_all((frame,))[0][0]

    def _look_at_all(self, frames: Sequence[Buffer]) -> tuple[list[Found], bool]:
        """The same for a burst; and whether no frame of it can have a tag."""
        found, plain = examine_all(frames)
        if self.rss is not None:
            hashed = map(self.rss.hash, frames)
            found = [(low | kind | value << 32, status) for (low, status), (kind, value) in zip(found, hashed, strict=True)]
        return found, plain

    def _untag(self, frame: Buffer, loopback: bool) -> tuple[Buffer, int]:
        """Take the VLAN tag out where the PF says so (VMOLR.STRVLAN, RPLOLR.STRVLAN); the frame and bits of its write-back."""
        strip = self.pool.strip_vlan_replicated if frame[0] & 1 else self.pool.strip_vlan
        if not strip or frame[12:14] != _VLAN or len(frame) < 16:
            return frame, 0
        tag = frame[14] << 8 | frame[15]
        if loopback and self.swapped:
            tag = swap16(tag)
        return b"".join((frame[:12], frame[16:])), _VP | tag << _TAG

    def _untag_all(self, frames: Sequence[Buffer], found: list[Found], loopback: bool) -> tuple[list[Buffer], list[Found]]:
        """``_untag`` for a burst, the bits added to what was found."""
        untagged = [self._untag(frame, loopback) for frame in frames]
        found = [(low, status | tag) for (low, status), (_, tag) in zip(found, untagged, strict=True)]
        return [frame for frame, _ in untagged], found

    def _write_laid_out(self, head: int, free: int, frame: Buffer, loopback: bool, kind: int, size: int) -> int:
        """One frame over as many descriptors as it takes; 1 when it went."""
        low, status = self._look(frame)
        frame, tag = self._untag(frame, loopback)
        types = [name for name, field in self._types.fields.items() if field.of(self._types.value)]
        pieces = lay_out(frame, kind, size, self._split.get("bsizeheader") * 64, types)
        count = self._words[self._length.index] >> 4
        if len(pieces) > free:
            return 0
        last = len(pieces) - 1
        for i, piece in enumerate(pieces):
            end = status | tag | self._end(loopback) if i == last else 0
            words = self._fill(head, piece, kind == DescType.LEGACY, low, end)
            if words is None or not self._write_back(self._place(head), *words, (head + 1) % count):
                return 0
            head = (head + 1) % count
        return 1

    @staticmethod
    def _end(loopback: bool) -> int:
        """Status of the last descriptor of a frame."""
        return _DD | _EOP | _LB if loopback else _DD | _EOP

    def _fill(self, head: int, piece: Piece, legacy: bool, low: int, status: int) -> tuple[array[int], array[int]] | None:
        """Fill the buffers of one descriptor; its write-back, or None when the ring was reset meanwhile."""
        epoch, dma = self._epoch, self.host.dma
        address, header = memoryview(dma.read(self._place(head), 16)).cast("Q").tolist()
        if self.host.on_descriptor is not None:
            self._tell("fetch", head, (address,), (header,))
        if piece.data:
            dma.write(address, piece.data)
        if piece.header:
            dma.write(header & ~1, piece.header)
        high = status | piece.status | _DD | len(piece.data) << _LENGTH
        if epoch != self._epoch:
            return None
        low, high = (address, _legacy(high)) if legacy else (low | piece.low, high)
        return array("Q", (low,)), array("Q", (high,))

    def _write_back(self, at: int, low: array[int], high: array[int], head: int) -> bool:
        """Both words of each descriptor, those with DD last; then move the head. False when the ring was reset meanwhile."""
        epoch = self._epoch
        view = self.host.dma.view(at, 16 * len(low), write=True)
        if view is None:
            self.host.dma.write(at, b"".join([_PAIR(*words) for words in zip(low, high, strict=True)]))
        else:
            words = view.cast("Q")
            words[::2] = low
            words[1::2] = high  # a word at a time: the guest looks at them meanwhile
        if epoch != self._epoch:
            return False
        if self.host.on_descriptor is not None:
            self._tell("write-back", self._words[self._head.index], low, high)
        self._words[self._head.index] = head
        return True

    def _tell(self, op: str, first: int, low: Sequence[int], high: Sequence[int]) -> None:
        """Both words of descriptors from place ``first`` on, to whoever traces."""
        if self.host.on_descriptor is not None:
            legacy = self._split.get("desctype") == DescType.LEGACY
            telling.receive(self.host.on_descriptor, op, self.index, first, low, high, legacy=legacy)

    # -- state

    def save(self) -> dict[str, object]:
        """What is not in registers: frames that wait."""
        return {"halted": self.halted, "waiting": [[frame.hex(), loopback] for frame, loopback in self._waiting]}

    def load(self, state: Mapping[str, Any]) -> None:
        """After the registers were loaded; frames that waited look for descriptors again."""
        self.reset()
        self.halted = bool(state["halted"])
        self._waiting.extend((bytes.fromhex(frame), bool(loopback)) for frame, loopback in state["waiting"])
        self._waiting_octets = sum(len(frame) for frame, _ in self._waiting)
        self.host.defer(self._drain_burst)


_STATUS, _ERRORS = place(RX_LEGACY, "status"), place(RX_LEGACY, "errors")


def _legacy(high: int) -> int:
    """The second word of a legacy write-back from that of an advanced one, whose status and errors begin and end alike."""
    status, errors = high & _STATUS.ones, high >> 24 & _ERRORS.ones
    return high >> _LENGTH & 0xFFFF | status << _STATUS.shift | errors << _ERRORS.shift | high >> _TAG << _TAG
