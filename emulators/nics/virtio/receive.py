"""The receive queues of a virtio network device: from frames of the switch to buffers that the driver made available.

In here: headers before frames, merged buffers, frames that wait for buffers, and which queue takes a frame (``Receiver``); how
that is decided is in ``rss``.

A burst of frames takes as many buffers as it needs and gives them back with one write to the used ring and at most one
interrupt. Two ways lead through it: ``_plain`` for finished frames that fit one descriptor each, ``_laid_out`` for everything
else. When the driver has run out of buffers, frames wait up to a limit, and the driver is asked for a doorbell; at all other
times it is asked for none.

Sources: VIRTIO 1.3, 5.1.6.3 (setting up receive buffers) and 5.1.6.4 (processing of incoming packets); Linux virtio_net.c
``receive_buf`` and DPDK virtio_rxtx.c ``virtio_recv_pkts``, which are the users; QEMU hw/net/virtio-net.c
``virtio_net_receive_rcu``, an independent reading.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from emulators.fabric.offload import Offload, Partial
from emulators.nics.virtio.header import LEGACY, build, finish, header_size
from emulators.nics.virtio.notifications import Notifications
from emulators.nics.virtio.queue import Chain, Owner, Part, Plain, Queue, QueueError
from emulators.nics.virtio.rss import Automatic, Rss
from regmodel.errors import DmaFault
from regmodel.function import Buffer
from regmodel.structures.virtio_features import Feature

BURST = 64
"""Frames that are laid out at once."""
WAITING = 4 << 20
"""Octets of frames that may wait for buffers, per queue: what the kernel's TAP holds is 1000 frames of up to 64 KiB."""
_NOTHING = Offload()


class ReceiveQueue:
    """Virtqueue ``number``, which is even. ``hashing`` reports the hash of each frame in its header (HASH_REPORT)."""

    def __init__(self, owner: Owner, number: int, queue: Queue, features: Feature) -> None:
        self.owner, self.host, self.number, self.queue = owner, owner.host, number, queue
        self.mergeable = Feature.MRG_RXBUF in features
        self.valid = Feature.GUEST_CSUM in features  # the driver understands flags
        self.header = header_size(features)
        self.hashing: Rss | None = None
        self.doorbells = self.bursts = self.frames = self.dropped = 0
        self._zero = bytes(LEGACY) + finish(self.header)
        self._waiting: deque[Buffer] = deque()
        self._octets = 0  # of what waits
        self._usual = 1536  # octets of the driver's buffers, as they were last
        self._drain_burst = self.drain
        self.notifications = Notifications(owner, number, queue)

    def notify(self) -> None:
        """A doorbell: there are buffers."""
        self.doorbells += 1
        if self._waiting:
            self.host.defer(self._drain_burst)

    def close(self) -> None:
        """The queue is reset or broken: what waited is lost."""
        self.queue.close()
        self._waiting.clear()
        self._octets = 0

    def counters(self) -> dict[str, int]:
        """By name, since the queue was enabled; ``waiting`` is now."""
        names = ("doorbells", "bursts", "frames", "dropped")
        return {name: getattr(self, name) for name in names} | {
            "interrupts": self.notifications.sent, "waiting": len(self._waiting),
        }  # fmt: skip

    # -- frames

    def deliver(self, frames: Sequence[Buffer]) -> int:
        """Write a burst into buffers, or keep it; says how many were not dropped."""
        taken = 0 if self._waiting else self._write(frames)
        if taken < len(frames) and not self.queue.closed:
            taken += self._keep(frames[taken:])
        self.dropped += len(frames) - taken
        return taken

    def _keep(self, frames: Sequence[Buffer]) -> int:
        """Let frames wait, in order, as far as there is room for them. How many did."""
        kept = 0
        for frame in frames:
            if self._octets + len(frame) > WAITING:
                break
            self._waiting.append(frame if isinstance(frame, bytes) else bytes(frame))
            self._octets += len(frame)
            kept += 1
        return kept

    def drain(self) -> bool:
        """A burst: frames that waited find buffers. True when there may be more of both."""
        frames = [frame for frame, _ in zip(self._waiting, range(BURST), strict=False)]
        taken = self._write(frames) if frames else 0
        for _ in range(min(taken, len(self._waiting))):  # a queue that broke has forgotten them
            self._octets -= len(self._waiting.popleft())
        return bool(taken and self._waiting)

    def _write(self, frames: Sequence[Buffer]) -> int:
        """Lay frames into buffers as long as there are any, give those back, interrupt; how many went."""
        try:
            taken, queue = 0, self.queue
            queue.quiet()
            while taken < len(frames) and not queue.closed:
                went = self._piece(frames[taken : taken + BURST])
                if not went:
                    if not queue.listen():
                        break
                    went = self._piece(frames[taken : taken + BURST])
                    if not went:  # what there is, is too little, and a doorbell will come with more
                        break
                    queue.quiet()
                taken += went
            if taken:
                self.notifications.used()
            return taken
        except QueueError as error:
            self.close()
            self.owner.broken(self.number, error)
            return len(frames)  # they are lost with the queue, not for want of buffers

    def _piece(self, frames: Sequence[Buffer]) -> int:
        """Up to ``BURST`` frames; how many went."""
        self.bursts += 1
        simple = self.hashing is None and Partial not in set(map(type, frames))
        went = self._plain(frames) if simple else None
        if went is None:
            went = self._merged(frames)
        return self._laid_out(frames) if went is None else went

    def _plain(self, frames: Sequence[Buffer]) -> int | None:
        """Finished frames, one buffer of one descriptor each; None when it is not so simple."""
        run = self.queue.take_plain(len(frames), writable=True)
        if run is None:
            return None
        count, header = len(run.heads), self._zero
        if not count:
            return 0
        buffers = [header + frame for frame in frames[:count]]
        written = list(map(len, buffers))
        if max(written) > min(run.lengths) and any(map(int.__gt__, written, run.lengths)):
            self.queue.untake_plain(count)
            return None
        self._scatter(run.addresses, buffers)
        self.queue.give_plain(run.heads, written)
        self.frames += count
        return count

    def _merged(self, frames: Sequence[Buffer]) -> int | None:
        """Any frames, each in as many buffers of one descriptor as it takes; None when it is not so simple."""
        if not self.mergeable:
            return None
        size = self._usual
        run = self.queue.take_plain(sum([(len(frame) + self.header + size - 1) // size for frame in frames]), writable=True)
        if run is None or not run.heads:
            return None if run is None else 0
        self._usual = run.lengths[0]
        if min(run.lengths) < self.header:
            self.queue.untake_plain(len(run.heads))
            return None
        addresses: list[int] = []
        pieces: list[Buffer] = []
        written: list[int] = []
        went = 0
        for frame in frames:
            if not self._fill(run, len(written), frame, addresses, pieces, written):
                break
            went += 1
        self.queue.untake_plain(len(run.heads) - len(written))
        if not went:
            return None  # more of them than was thought
        self._scatter(addresses, pieces)
        self.queue.give_plain(run.heads[: len(written)], written)
        self.frames += went
        return went

    def _fill(
        self, run: Plain, first: int, frame: Buffer, addresses: list[int], pieces: list[Buffer], written: list[int]
    ) -> bool:
        """One frame from buffer ``first`` on: what goes where; False when there are too few buffers for it."""
        lengths, header = run.lengths, self.header
        size = len(frame)
        room, last = lengths[first] - header if first < len(lengths) else -1, first
        while room < size:
            last += 1
            if last >= len(lengths):
                return False
            room += lengths[last]
        addresses.append(run.addresses[first])
        pieces.append(self._header(frame, last - first + 1))
        data, at = memoryview(frame), lengths[first] - header
        addresses.append(run.addresses[first] + header)
        pieces.append(data[:at])
        if last == first:
            written.append(header + size)
            return True
        written.append(lengths[first])
        for number in range(first + 1, last + 1):
            end = at + lengths[number]
            addresses.append(run.addresses[number])
            pieces.append(data[at:end])
            written.append(lengths[number])
            at = end
        written[-1] -= at - size
        return True

    def _scatter(self, addresses: Sequence[int], data: Sequence[Buffer]) -> None:
        try:
            self.host.dma.scatter(addresses, data)
        except DmaFault as fault:
            raise QueueError("rx-buffer-unreachable", fault=str(fault)) from None

    # -- any frame into any buffers

    def _laid_out(self, frames: Sequence[Buffer]) -> int:
        """Frame after frame; those that went are given back at once. How many went."""
        done: list[tuple[Chain, int]] = []
        went = 0
        for frame in frames:
            laid = self._lay_out(frame)
            if laid is None:
                break
            went += 1
            done += laid
        self.queue.give(done)
        return went

    def _lay_out(self, frame: Buffer) -> list[tuple[Chain, int]] | None:
        """One frame into as many chains as it needs; None when there are too few. A frame that can never fit is dropped."""
        need = self.header + len(frame)
        chains = self._chains(need)
        if chains is None:
            return None
        if not chains:
            self.dropped += 1
            return []
        data = memoryview(b"".join((self._header(frame, len(chains)), frame)))
        addresses: list[int] = []
        pieces: list[Buffer] = []
        done: list[tuple[Chain, int]] = []
        at = 0
        for chain in chains:
            start = at
            for address, length in chain.writable:
                if at >= need:
                    break
                addresses.append(address)
                pieces.append(data[at : at + length])
                at = min(at + length, need)
            done.append((chain, at - start))
        self._scatter(addresses, pieces)
        self.frames += 1
        return done

    def _chains(self, need: int) -> list[Chain] | None:
        """Chains with room for ``need`` octets; None when there are too few, none when the frame is to be dropped."""
        queue = self.queue
        chains: list[Chain] = []
        room, used = 0, 0
        while True:
            for chain in chains[used:]:
                used += 1
                room += self._room(chain.writable)
                if room >= need:
                    queue.untake(chains[used:])
                    return chains[:used]
            if used and not self.mergeable:
                return self._refuse(chains, "rx-frame-exceeds-buffer", need)
            most = -(-(need - room) * used // room) if room else 1
            more = queue.take(most)
            if not more:
                if sum(chain.slots for chain in chains) >= queue.size:
                    return self._refuse(chains, "rx-frame-exceeds-ring", need)
                queue.untake(chains)
                return None
            chains += more

    def _room(self, parts: Sequence[Part]) -> int:
        """Octets that the writable parts of a chain take. A header has to fit into any of them (VIRTIO 1.3, 5.1.6.3.1)."""
        room = sum(length for _, length in parts)
        if room < self.header:
            raise QueueError("rx-buffer-without-room", octets=room)
        return room

    def _refuse(self, chains: Sequence[Chain], kind: str, need: int) -> list[Chain]:
        self.queue.untake(chains)
        self.host.diagnose(kind, queue=self.number, octets=need)
        return []

    def _header(self, frame: Buffer, buffers: int) -> bytes:
        offload = frame.offload if isinstance(frame, Partial) and self.valid else _NOTHING
        report, value = self.hashing.hash(frame) if self.hashing is not None else (0, 0)
        return build(offload) + finish(self.header, buffers, report, value)

    # -- state

    def save(self) -> dict[str, object]:
        """Finished frames that wait; what is unfinished is lost, as a frame may be."""
        return {"waiting": [bytes(frame).hex() for frame in self._waiting if not isinstance(frame, Partial)]}

    def load(self, state: Mapping[str, Any]) -> None:
        """What ``save`` gave, into a queue that was just opened."""
        self._waiting = deque(bytes.fromhex(frame) for frame in state["waiting"])
        self._octets = sum(map(len, self._waiting))
        self.host.defer(self._drain_burst)


class Receiver:
    """All receive queues of one device: the part of an ``Endpoint`` that comes after the device's own filters."""

    def __init__(self) -> None:
        self.queues: list[ReceiveQueue | None] = []
        """By queue pair; None while it is not enabled."""
        self.steering: Automatic | Rss = Automatic()

    def deliver(self, frames: Sequence[Buffer]) -> int:
        """Hand each frame to its queue; how many found a place."""
        queues, steering = self.queues, self.steering
        if len(queues) == 1 or (steering.pairs == 1 and isinstance(steering, Automatic)):
            return self._to(0, frames)
        groups: dict[int, list[Buffer]] = {}
        for frame in frames:
            groups.setdefault(steering.pair(frame), []).append(frame)
        return sum(self._to(pair, group) for pair, group in groups.items())

    def _to(self, pair: int, frames: Sequence[Buffer]) -> int:
        queue = self.queues[pair] if pair < len(self.queues) else None
        return 0 if queue is None or queue.queue.closed else queue.deliver(frames)
