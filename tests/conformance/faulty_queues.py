"""Queues with one fault in them: virtqueues, split and packed, and the rings of VMXNET3.

Each fault makes every queue wrong that uses the code; what finds it is named by test. A queue of every kind has to have failed
every test once: see ``test_queues``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from emulators.nics.virtio import device as virtio
from emulators.nics.virtio import packed, receive, split, transmit
from emulators.nics.vmxnet3 import device as vmxnet3
from emulators.nics.vmxnet3 import interrupts, ring, statistics
from emulators.nics.vmxnet3 import receive as vmxnet3_receive
from emulators.nics.vmxnet3 import transmit as vmxnet3_transmit
from regmodel.catalogue import find
from tests.conformance.faults import Fault, Replacement, made
from tests.conformance.mutants import Mutant


def _nothing(honest: Any, *args: Any) -> None:
    """It is not done."""


def _always(honest: Any, *args: Any) -> bool:
    honest(*args)
    return True


def _never(honest: Any, *args: Any) -> bool:
    honest(*args)
    return False


# -- virtio


def _another(honest: Any, self: Any, heads: Any, written: Any, slots: Any) -> None:
    honest(self, [(head + 1) % self.size for head in heads], written, slots)


def _bare(honest: Any, self: Any, heads: Any, written: Any, slots: Any) -> None:
    """The length leaves the header out."""
    honest(self, heads, [max(length - 12, 0) for length in written], slots)


def _nothing_beyond_the_end(honest: Any, self: Any, heads: Any, written: Any, slots: Any) -> None:
    """What does not fit before the end of the ring is written to where it was."""
    if self.used + sum(slots) > self.size:
        self.used = 0
    honest(self, heads, written, slots)


def _one_buffer(honest: Any, self: Any, frame: Any, buffers: int) -> Any:
    return honest(self, frame, 1)


def _reversed(honest: Any, self: Any, readable: Any, writable: Any, *part: int) -> None:
    """The last piece of a packet comes first, behind the header that stands in it."""
    honest(self, readable, writable, *part)
    readable.reverse()


def _flipped(honest: Any, self: Any, *args: Any) -> Any:
    frames = honest(self, *args)
    return [bytes(frame[:-1]) + bytes([frame[-1] ^ 1]) for frame in frames]


def _loses_one(honest: Any, self: Any) -> Any:
    if self._waiting:
        self._octets -= len(self._waiting.popleft())
    return honest(self)


def _other_queue(honest: Any, self: Any, queue: int) -> None:
    honest(self, queue ^ 1)


def _loses_the(number: int) -> Replacement:
    """One of thousands of used buffers of each queue is not told."""
    told: Counter[int] = Counter()

    def given(honest: Any, self: Any, heads: Any, written: Any, slots: Any) -> None:
        told[id(self)] += len(heads)
        if told[id(self)] - len(heads) < number <= told[id(self)]:
            heads, written, slots = heads[:-1], written[:-1], slots[:-1]
        if heads:
            honest(self, heads, written, slots)

    return given


def _no_reset(honest: Any, self: Any, front: Any, status: int) -> None:
    if status:
        honest(self, front, status)


def _virtqueue(kind: str, where: Any, wrap: Replacement) -> tuple[Fault, ...]:
    return (
        Fault("used buffers", f"{kind}: are not told", "ring_one_packet", where, "_give", _nothing),
        Fault("used buffers", f"{kind}: are named wrongly", "ring_one_packet", where, "_give", _another),
        Fault("used buffers", f"{kind}: of the wrong length", "ring_one_packet", where, "_give", _bare),
        Fault("wrap broken", f"{kind}", "ring_wrap", where, "_give", wrap),
        Fault("wanted ignored", f"{kind}: interrupts always", "irq_queues", where, "should_interrupt", _always),
        Fault("wanted ignored", f"{kind}: interrupts never", "irq_queues", where, "should_interrupt", _never),
        Fault("wrong content", f"{kind}: pieces out of order", "ring_pieces", where, "add_part", _reversed),
    )


VIRTIO = (
    *_virtqueue("split", split.SplitQueue, _nothing_beyond_the_end),
    *_virtqueue("packed", packed.PackedQueue, _nothing_beyond_the_end),
    Fault("wrong count", "an index of 12 bits", "ring_4096_transfers", split, "_WRAP", 1 << 12),
    Fault("wrong count", "one of thousands is lost", "ring_4096_transfers", packed.PackedQueue, "_give", _loses_the(3000)),
    Fault("stop ignored", "0 as status does nothing", "ring_stop_restart", virtio.VirtioNet, "status_written", _no_reset),
    Fault("wrong piece", "one buffer whatever it takes", "ring_pieces", receive.ReceiveQueue, "_header", _one_buffer),
    Fault("wrong content", "a bit flipped when sent", "ring_one_packet", transmit.TransmitQueue, "_plain", _flipped),
    Fault("overrun", "one of those that wait is lost", "ring_overrun", receive.ReceiveQueue, "drain", _loses_one),
    Fault("stop ignored", "a reset closes no queue", "ring_stop_restart", virtio.VirtioNet, "_close", _nothing),
    Fault("vector", "that of the other queue", "irq_queues", virtio.VirtioNet, "interrupt", _other_queue),
)


# -- VMXNET3


def _one_generation(honest: Any, self: Any, entries: int) -> None:
    honest(self, entries)
    self.gen = 1


def _next_one(honest: Any, self: Any, host: Any, low: Any, high: Any, *names: Any) -> None:
    """Completions name the descriptor behind theirs."""
    honest(self, host, [word + 1 for word in low], high, *names)


def _shorter(honest: Any, self: Any, host: Any, low: Any, high: Any, *names: Any) -> None:
    honest(self, host, low, [word - 1 for word in high], *names)


def _first_again(honest: Any, self: Any, parts: Any, *args: Any) -> Any:
    """Of a packet in several pieces the first is sent twice."""
    return honest(self, [parts[0], parts[0], *parts[2:]] if len(parts) > 2 else parts, *args)


def _whole(honest: Any, self: Any, frame: Any, mark: Any, pieces: Any) -> None:
    """A packet in two pieces is put into them in the wrong order."""
    honest(self, frame, mark, [(*one[:2], other[2], one[3]) for one, other in zip(pieces, pieces[::-1], strict=True)])


def _octet_less(honest: Any, self: Any, frame: Any, packets: int, octets: int) -> None:
    honest(self, frame, packets, octets - 1)


def _uncounted(honest: Any, self: Any, *args: Any) -> Any:
    found = honest(self, *args)
    self.statistics.values["pktsRxOutOfBuf"] = 0
    return found


def _other_vector(honest: Any, self: Any, vector: int) -> None:
    honest(self, vector ^ 1)


def _unmasked(honest: Any, self: Any, vector: int) -> None:
    self._words[self._masks[vector]] = 0
    honest(self, vector)


def _restless(honest: Any, self: Any) -> None:
    """QUIESCE_DEV and RESET_DEV leave the queues alone."""
    queues = self.transmit, self.receive
    if queues[0]:
        self.transmit, self.receive = [], []
    else:
        honest(self)
    self.transmit, self.receive = queues


CR, CM = ring.CompletionRing, ring.Ring
VMXNET3 = (
    Fault("completions", "are not written", "ring_one_packet", CR, "put", _nothing),
    Fault("completions", "name the next descriptor", "ring_one_packet", CR, "put", _next_one),
    Fault("completions", "say a byte less", "ring_one_packet", CR, "put", _shorter),
    Fault("wrap broken", "generations never change", "ring_wrap", CM, "advance", _one_generation),
    Fault("wrong count", "an octet less", "ring_4096_transfers", statistics.Statistics, "add", _octet_less),
    Fault("wrong content", "the first piece twice", "ring_pieces", vmxnet3_transmit.TransmitQueue, "_packets", _first_again),
    Fault("wrong piece", "in the wrong order", "ring_pieces", vmxnet3_receive.ReceiveQueue, "_store", _whole),
    Fault("overrun", "is not counted", "ring_overrun", vmxnet3_receive.ReceiveQueue, "_drain", _uncounted),
    Fault("stop ignored", "the queues run on", "ring_stop_restart", vmxnet3.Vmxnet3, "stop", _restless),
    Fault("vector", "the next one", "irq_queues", interrupts.Interrupts, "cause", _other_vector),
    Fault("mask ignored", "each message unmasks", "irq_queues", interrupts.Interrupts, "cause", _unmasked),
)


def mutants() -> Iterator[tuple[Mutant, str]]:
    """Each with the test that has to find it."""
    yield from made(VIRTIO, find("virtio-net"), packed="on")
    yield from made(VMXNET3, find("vmxnet3"))
