"""A receive queue of VMXNET3: from frames of the switch to buffers of the guest, and completions that describe them.

In here: the two command rings, the data ring, how a frame is laid into buffers, and what happens when there are none. What a
completion says of a frame is in ``marks``.

A frame begins in a *head* buffer, which ring 1 has; what does not fit goes to *body* buffers of ring 1, where they follow,
else of ring 2. A frame that fits into an entry of the data ring (revision 3) goes there instead, and uses up the descriptor
of the same index. A burst reads descriptors once, stores once per buffer, stores one run of completions and causes at
most one interrupt.

Nobody tells the device of new buffers (drivers write RXPROD only while ``updateRxProd`` is set), so a frame that finds none
waits a while and is tried again; what waits too long, or is too much, is dropped and counted.

Sources: Linux vmxnet3_drv.c ``vmxnet3_rq_rx_complete``, ``vmxnet3_rq_alloc_rx_buf``; DPDK vmxnet3_rxtx.c ``vmxnet3_recv_pkts``;
QEMU hw/net/vmxnet3.c ``vmxnet3_indicate_packet``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from emulators.host import Host
from emulators.nics.igb.words import mask, place
from emulators.nics.vmxnet3.marks import RXCOMP, Mark
from emulators.nics.vmxnet3.ring import CommandRing, CompletionRing, command_ring
from emulators.nics.vmxnet3.shared import RxConf
from emulators.nics.vmxnet3.statistics import RxStatistics
from regmodel.errors import DmaFault
from regmodel.function import Buffer, Timer
from regmodel.rings.vmxnet3 import RX_COMP, RX_DESC
from regmodel.structures.vmxnet3 import QueueError

BURST = 64
"""Descriptors that are read at once."""
FRAGMENTS = 64
"""Descriptors that one frame may take where the driver gives no limit; one of 64 KiB takes 17 of a page each."""
USUAL = 17
"""Entries of ring 2 that are read at first: what a large packet takes of a page each."""
WAITING = 512 * 1024
"""Octets of frames that may wait for buffers: a few large packets."""
HEAD_LEAST = 128
"""Bytes of a head buffer (VMXNET3_MIN_T0_BUF_SIZE)."""
FIRST_TRY, LAST_TRY, PATIENCE = 50_000, 2_000_000, 100_000_000
"""ns until waiting frames are tried again, twice as long each time; and until they are dropped."""

_LENGTH, _BODY, _DTYPE, _GEN = (mask(RX_DESC, "buffer", name) for name in ("len", "btype", "dtype", "gen"))
_RING, _SOP, _EOP = place(RX_COMP, "index", "rqID").shift, mask(RX_COMP, "index", "sop"), mask(RX_COMP, "index", "eop")
_LEN = place(RX_COMP, "data", "len").shift
_UNHASHED = 0xFFFF_FFFF & ~mask(RX_COMP, "index", "rssType")


class ReceiveQueue:
    """Queue ``index`` of ``queues``, from activation to the next stop of the device.

    ``fragments`` is the most descriptors that a frame may take; ``lro``: the completions of large packets say so
    (revision 2). ``interrupt(vector)`` is a cause; ``stopped(error)`` is called when the queue gives up.
    """

    def __init__(
        self,
        host: Host,
        index: int,
        conf: RxConf,
        queues: int,
        fragments: int,
        lro: bool,
        interrupt: Callable[[int], None],
        stopped: Callable[[QueueError], None],
    ) -> None:
        self.host, self.index, self.conf = host, index, conf
        self._interrupt, self._stopped, self._lro = interrupt, stopped, lro
        self.fragments = min(fragments or FRAGMENTS, FRAGMENTS)
        self.rings = [CommandRing(base, size, _GEN) for base, size in zip(conf.rings, conf.sizes, strict=True)]
        self.completions = CompletionRing(conf.completions, conf.completions_size)
        self.statistics = RxStatistics()
        self.error: QueueError | None = None
        self.closed = False
        self.names = [f"receive {index}, ring {number}" for number in (1, 2)]
        self._completed = f"receive {index}, completions"
        self._ids = [(index + i * queues) << _RING for i in range(3)]  # ring 1, ring 2, data ring
        self._waiting: deque[tuple[bytes, Mark]] = deque()
        self._waiting_octets = 0
        self._timer: Timer | None = None
        self._pause, self._deadline = FIRST_TRY, 0

    def close(self) -> None:
        """The device stops: what waits is lost, and a burst under way ends without a trace."""
        self.closed = True
        self._waiting.clear()
        self._waiting_octets = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def doorbell(self) -> None:
        """New buffers."""
        if self._waiting and not self.closed:
            self.host.defer(self._drain)

    # -- frames

    def deliver(self, frames: Sequence[Buffer], marks: Sequence[Mark]) -> int:
        """Lay a burst into the rings, or keep or drop it; says how many were not dropped."""
        if self.closed or self.error is not None:
            return 0
        taken = 0 if self._waiting else self._write(frames, marks)
        if taken < len(frames) and not self.closed and self.error is None:
            taken += self._keep(frames[taken:], marks[taken:])
        return taken

    def _keep(self, frames: Sequence[Buffer], marks: Sequence[Mark]) -> int:
        """Let frames wait, in order, as long as there is room; count the others."""
        kept = 0
        for frame, mark in zip(frames, marks, strict=True):
            if self._waiting_octets + len(frame) > WAITING:
                break
            self._waiting.append((bytes(frame), mark))
            self._waiting_octets += len(frame)
            kept += 1
        self.statistics.values["pktsRxOutOfBuf"] += len(frames) - kept
        if kept and self._timer is None:
            now = self.host.clock.now()
            self._pause, self._deadline = FIRST_TRY, now + PATIENCE
            self._timer = self.host.clock.call_at(now + self._pause, self._try_again)
        return kept

    def _try_again(self) -> None:
        self._timer = None
        self.host.defer(self._drain)

    def _drain(self) -> bool:
        """A burst: frames that waited find buffers."""
        if self.closed or self.error is not None or not self._waiting:
            return False
        batch = [self._waiting[i] for i in range(min(len(self._waiting), BURST))]
        taken = self._write([frame for frame, _ in batch], [mark for _, mark in batch])
        if self.closed or self.error is not None:
            return False
        for _ in range(taken):
            self._waiting_octets -= len(self._waiting.popleft()[0])
        now = self.host.clock.now()
        if taken:
            self._pause, self._deadline = FIRST_TRY, now + PATIENCE
        elif now >= self._deadline:
            self.statistics.values["pktsRxOutOfBuf"] += len(self._waiting)
            self._waiting.clear()
            self._waiting_octets = 0
        else:
            self._pause = min(2 * self._pause, LAST_TRY)
        if self._waiting and self._timer is None:
            self._timer = self.host.clock.call_at(now + self._pause, self._try_again)
        return False

    def _write(self, frames: Sequence[Buffer], marks: Sequence[Mark]) -> int:
        """Lay frames into the rings as long as there are buffers; how many went."""
        taken = 0
        try:
            while taken < len(frames) and not self.closed and self.error is None:
                went = 0
                if not marks[taken].segments:
                    part = slice(taken, taken + BURST)
                    went = self._write_heads(frames[part], marks[part])
                if not went:
                    went = self._write_over(frames[taken], marks[taken])
                if not went:
                    break
                taken += went
        except DmaFault as fault:
            if not self.closed:
                self._stop("rx-unreachable", QueueError.DESC_NOT_SPT, fault=str(fault))  # the nearest that there is
        if taken and not self.closed:
            self._interrupt(self.conf.vector)
        return taken

    def _stop(self, kind: str, error: QueueError, **detail: object) -> None:
        self.error = error
        self.host.diagnose(kind, queue=self.index, descriptor=self.rings[0].next, **detail)
        self._stopped(error)

    def _write_heads(self, frames: Sequence[Buffer], marks: Sequence[Mark]) -> int:
        """Frames that fit into one head buffer each; how many went, 0 when the first is none of those."""
        ring, data_size = self.rings[0], self.conf.data_size
        words = ring.entries(self.host.dma, min(len(frames), ring.size))
        lengths = list(map(len, frames))
        n = len(words) // 2
        for i, (second, length) in enumerate(zip(words[1::2], lengths, strict=False)):
            room = second & _LENGTH
            if second & (_BODY | _DTYPE) or (length > room and length > data_size) or room < HEAD_LEAST or marks[i].segments:
                n = i
                break
        if not n or self.closed:
            return 0
        frames, lengths = frames[:n], lengths[:n]
        addresses = words[0 : 2 * n : 2]
        first, size = ring.next, ring.size
        places = list(range(first, first + n)) if first + n <= size else [at % size for at in range(first, first + n)]
        ids = self._ids[0] | _SOP | _EOP
        if data_size and min(lengths) <= data_size:
            small, base = self._ids[2] | _SOP | _EOP, self.conf.data
            addresses = [
                base + at * data_size if length <= data_size else address
                for at, length, address in zip(places, lengths, addresses, strict=True)
            ]
            low = [(small if length <= data_size else ids) | at | mark.low
                   for at, length, mark in zip(places, lengths, marks, strict=False)]  # fmt: skip
        else:
            low = [ids | at | mark.low for at, mark in zip(places, marks, strict=False)]
        high = [length << _LEN | mark.high for length, mark in zip(lengths, marks, strict=False)]
        self.host.dma.scatter(addresses, frames)
        if self.closed:
            return 0
        ring.take(self.host, n, self.names[0], "rx_desc")
        self.completions.put(self.host, low, high, self._completed, "rx_comp_desc")
        self.statistics.count(frames, sum(lengths))
        return n

    def _write_over(self, frame: Buffer, mark: Mark) -> int:
        """One frame over as many buffers as it takes; 1 when it went."""
        dma, (first, second) = self.host.dma, self.rings
        own = first.entries(dma, 2)
        if own and not (own[1] | own[-1]) & _BODY:
            went = self._in_pages(frame, mark, own)
            if went is not None:
                return went
        else:  # bodies among heads
            own = first.entries(dma, min(BURST, first.size))
        skipped = 0
        while skipped < len(own) and own[skipped + 1] & _BODY:  # that the frame before had no use for
            skipped += 2
        if skipped == len(own):
            first.take(self.host, skipped // 2, self.names[0], "rx_desc")
            return 0
        if own[skipped + 1] & _DTYPE or own[skipped + 1] & _LENGTH < HEAD_LEAST:
            first.tell(self.host, skipped // 2 + 1, self.names[0], "rx_desc")
            error = QueueError.DESC_NOT_SPT if own[skipped + 1] & _DTYPE else QueueError.SMALL_BUF
            self._stop("rx-descriptor", error, length=own[skipped + 1] & _LENGTH)
            return 0
        end = skipped + 2
        while end < len(own) and own[end + 1] & _BODY:
            end += 2
        chosen = [(0, at // 2, own[at], own[at + 1] & _LENGTH) for at in range(skipped, end, 2)]
        left = len(frame) - sum([length for _, _, _, length in chosen])
        room = self.fragments - len(chosen)
        if left > 0 and second.size and room > 0:
            chosen += self._bodies(left, room)
        return self._lay(frame, mark, chosen)

    def _in_pages(self, frame: Buffer, mark: Mark, own: Sequence[int]) -> int | None:
        """A frame over a head and bodies of ring 2 that are all of one size, as drivers have them; None where it is not so."""
        ring, octets, head = self.rings[1], len(frame), own[1] & _LENGTH
        if own[1] & _DTYPE or not HEAD_LEAST <= head < octets or not ring.size:
            return None
        words = ring.entries(self.host.dma, min(USUAL, ring.size))
        sizes = {second & _LENGTH for second in words[1::2]}
        if len(sizes) != 1 or not (size := sizes.pop()):
            return None
        count = -((head - octets) // size)
        if 2 * count > len(words) or count >= self.fragments:
            return None
        view, start = memoryview(frame), self._ids[1] | ring.next
        parts: list[Buffer] = [view[:head], *[view[at : at + size] for at in range(head, octets, size)]]
        low = [self._ids[0] | self.rings[0].next, *range(start, start + count)]
        if ring.next + count > ring.size:
            low[1:] = [self._ids[1] | (ring.next + n) % ring.size for n in range(count)]
        high = [head << _LEN | RXCOMP, *[size << _LEN | RXCOMP] * (count - 1), len(parts[-1]) << _LEN | mark.high]
        low[-1] |= mark.low
        return self._put(frame, mark, [own[0], *words[0 : 2 * count : 2]], parts, low, high, (1, count))

    def _bodies(self, octets: int, most: int) -> list[tuple[int, int, int, int]]:
        """Entries of ring 2 for so many octets, as far as there are any; as ``_store`` wants them."""
        dma, ring = self.host.dma, self.rings[1]
        most = min(most, ring.size)
        words = ring.entries(dma, min(most, USUAL))
        if len(words) == 2 * USUAL and sum([second & _LENGTH for second in words[1::2]]) < octets:
            words = ring.entries(dma, most)
        return [(1, at, words[2 * at], words[2 * at + 1] & _LENGTH) for at in range(len(words) // 2)]

    def _lay(self, frame: Buffer, mark: Mark, chosen: Sequence[tuple[int, int, int, int]]) -> int:
        """A frame into as many of the chosen entries as it takes; 1 when it went."""
        pieces, left = [], len(frame)
        for ring, at, address, length in chosen[: self.fragments]:
            if not left:
                break
            if length:
                pieces.append((ring, at, address, length if length < left else left))
                left -= pieces[-1][3]
        if left:
            return self._too_long(frame, len(chosen) >= self.fragments)
        return self._store(frame, mark, pieces)

    def _too_long(self, frame: Buffer, limited: bool) -> int:
        """No buffers now; or it would not fit into as many as a frame may take, and never will: then it is dropped."""
        if not limited:
            return 0
        self.statistics.values["pktsRxError"] += 1
        self.host.diagnose("rx-packet-fragments", queue=self.index, octets=len(frame), most=self.fragments)
        return 1

    def _store(self, frame: Buffer, mark: Mark, pieces: Sequence[tuple[int, int, int, int]]) -> int:
        """Fill the chosen buffers: (ring, entries from its next one, address, octets) each. 1 when it went."""
        view, at, last = memoryview(frame), 0, len(pieces) - 1
        parts: list[Buffer] = []
        low, high = [], []
        used = [0, 0]
        for i, (number, offset, _, length) in enumerate(pieces):
            ring = self.rings[number]
            parts.append(view[at : at + length])
            at += length
            used[number] = offset + 1
            low.append(self._ids[number] | (ring.next + offset) % ring.size | (mark.low if i == last else 0))
            high.append(length << _LEN | (mark.high if i == last else RXCOMP))
        return self._put(frame, mark, [address for _, _, address, _ in pieces], parts, low, high, used)

    def _put(
        self, frame: Buffer, mark: Mark, addresses: Sequence[int], parts: Sequence[Buffer], low: list[int], high: list[int],
        used: Sequence[int],
    ) -> int:  # fmt: skip
        """Store the parts of a frame, its completions, and count it; 1 when that was done. ``used``: entries, by ring."""
        low[0] |= _SOP
        low[-1] |= _EOP
        if mark.segments:
            self._mark_lro(mark, low, high)
        if not self.closed:
            self.host.dma.scatter(addresses, parts)
        if self.closed:
            return 0
        for ring, entries, name in zip(self.rings, used, self.names, strict=True):
            if entries:
                ring.take(self.host, entries, name, "rx_desc")
        form = "rx_comp_desc_ext" if mark.segments and self._lro else "rx_comp_desc"
        self.completions.put(self.host, low, high, self._completed, form)
        values = self.statistics.values
        if mark.segments:
            values["LROPktsRxOK"] += 1
            values["LROBytesRxOK"] += len(frame)
            self.statistics.add(frame, mark.segments, len(frame) + (mark.segments - 1) * mark.header)
        else:
            self.statistics.add(frame, 1, len(frame))
        return 1

    def _mark_lro(self, mark: Mark, low: list[int], high: list[int]) -> None:
        """The first completion of a large packet tells of its segments. Where it is the last one, too, there is no room
        for the hash.
        """
        if not self._lro:
            return
        segments, what = mark.lro()
        if len(low) == 1:
            low[0] &= _UNHASHED
        low[0] |= segments
        high[0] = high[0] & ~RXCOMP | what

    # -- state

    def save(self) -> dict[str, object]:
        return {
            "rings": [ring.save() for ring in self.rings],
            "completions": self.completions.save(),
            "statistics": dict(self.statistics.values),
            "error": self.error,
            "waiting": [[frame.hex(), *mark] for frame, mark in self._waiting],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Frames that waited look for buffers again."""
        self.rings = [command_ring(ring, _GEN) for ring in state["rings"]]
        loaded = CompletionRing.loaded(state["completions"])
        assert isinstance(loaded, CompletionRing)
        self.completions = loaded
        self.statistics.load(state["statistics"])
        self.error = None if state["error"] is None else QueueError(state["error"])
        self._waiting = deque((bytes.fromhex(frame), Mark(*map(int, mark))) for frame, *mark in state["waiting"])
        self._waiting_octets = sum(len(frame) for frame, _ in self._waiting)
        self._deadline = self.host.clock.now() + PATIENCE
        self.doorbell()
