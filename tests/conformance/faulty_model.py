"""Behaviour with one fault in it: what goes wrong behind registers that are all right.

They are chosen by hand, for what hardware and PF drivers have been seen to get wrong; ``faulty_code`` turns the same code over
mechanically. Those of queues of other families are in ``faulty_queues``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from emulators.nics.igb import counters, pf, pf_settings, receive, transmit
from emulators.nics.igb import interrupts as irq
from emulators.nics.igb import mailbox as box
from emulators.pci import msix
from regmodel.catalogue import Device
from regmodel.function import ResetCause
from tests.conformance.faults import Fault, Replacement, made
from tests.conformance.mutants import Mutant

# -- interrupts


def _without(bits: int) -> Replacement:
    return lambda honest, self, cause: honest(self, cause & ~bits)


def _unmasked(honest: Any, self: Any) -> None:
    words, at = self._words, self._eims
    kept, words[at] = words[at], self._known
    honest(self)
    words[at] = kept & words[at]


def _keeps_cause(honest: Any, self: Any, vector: int) -> None:
    honest(self, vector)
    self._words[self._eicr] |= 1 << vector
    self._asserted |= 1 << vector & self._words[self._eims]


def _clears_all(honest: Any, self: Any, vector: int) -> None:
    honest(self, vector)
    if self._words[self._eiac]:
        self._words[self._eicr] = self._asserted = 0


def _keeps_mask(honest: Any, self: Any, vector: int) -> None:
    kept = self._words[self._eims]
    honest(self, vector)
    self._words[self._eims] = kept


def _stays_masked(honest: Any, self: Any, *args: Any) -> None:
    kept = self._words[self._eims]
    auto, self._words[self._eiam] = self._words[self._eiam], 0
    self._words[self._eims] = kept
    honest(self, *args)
    self._words[self._eiam] = auto


def _masks_all(honest: Any, self: Any, vector: int) -> None:
    honest(self, vector)
    if self._words[self._eiam]:
        self._words[self._eims] = 0


def _one_throttle(honest: Any, self: Any, path: Any, old: int, new: int, size: int, cause: Any) -> None:
    honest(self, path, old, new, size, cause)
    self._interval = [max(self._interval)] * self.vectors


def _level(honest: Any, self: Any) -> None:
    """Every look signals again what is still set."""
    self._asserted = 0
    honest(self)


def _nothing(honest: Any, *args: Any, **more: Any) -> None:
    return None


def _next_vector(honest: Any, self: Any, vector: int) -> None:
    honest(self, (vector + 1) % self.vectors)


def _always_valid(honest: Any, self: Any, ivar: Any, entry: str) -> int:
    return 1 << int(ivar.get(f"int_alloc{entry}"))


def _always(bit: int) -> Replacement:
    return lambda honest, self, ivar, entry: bit if honest(self, ivar, entry) else 0


def _unrouted(way: str) -> Replacement:
    def route(honest: Any, self: Any, *args: Any) -> None:
        honest(self, *args)
        if way == "mailbox":
            self.mailbox = 0
        else:
            setattr(self, way, [0] * len(self.receive))

    return route


def _crossed(honest: Any, self: Any, *args: Any) -> None:
    honest(self, *args)
    self.receive, self.transmit = self.transmit, self.receive


INTERRUPTS = (
    *(Fault("lost interrupt cause", f"of vector {v}", "irq_causes", irq.Interrupts, "cause", _without(1 << v))
      for v in range(3)),
    Fault("mask ignored", "by all", "irq_masks", irq.Interrupts, "_evaluate", _unmasked),
    Fault("mask ignored", "signalled again while set", "irq_causes", irq.Interrupts, "_evaluate", _level),
    Fault("auto-clear", "does not", "irq_automatic", irq.Interrupts, "_signal", _keeps_cause),
    Fault("auto-clear", "of everything", "irq_automatic", irq.Interrupts, "_signal", _clears_all),
    Fault("auto-mask", "does not", "irq_automatic", irq.Interrupts, "_signal", _keeps_mask),
    Fault("auto-mask", "of everything", "irq_automatic", irq.Interrupts, "_signal", _masks_all),
    Fault("auto-mask", "not taken back by software", "irq_automatic", irq.Interrupts, "_eics_written", _stays_masked),
    Fault("moderation", "ignored", "irq_moderation", irq.Interrupts, "_eitr_written", _nothing),
    Fault("moderation", "half as long", "irq_moderation", irq, "MICROSECOND", 500),
    Fault("moderation", "loses messages", "irq_moderation", irq.Interrupts, "_expired", _nothing),
    Fault("moderation", "of all vectors", "irq_moderation", irq.Interrupts, "_eitr_written", _one_throttle),
    Fault("vector", "the next one", "irq_causes", msix.Msix, "signal", _next_vector),
    Fault("vector mask", "ignored", "irq_vector_masks", msix.Msix, "_mask_written", _nothing),
    Fault("vector mask", "loses messages", "irq_vector_masks", msix.Msix, "_pend", _nothing),
    Fault("route", "valid without being so", "irq_routes", irq.Interrupts, "_allocated", _always_valid),
    *(Fault("route", f"to vector {v} always", "irq_routes", irq.Interrupts, "_allocated", _always(1 << v)) for v in range(3)),
    *(Fault("route", f"none for {w}", "irq_routes", irq.Interrupts, "_route", _unrouted(w))
      for w in ("receive", "transmit", "mailbox")),
    Fault("route", "receive for transmit", "irq_routes", irq.Interrupts, "_route", _crossed),
)  # fmt: skip


# -- mailbox


def _written(change: Callable[[Any, int], int]) -> Replacement:
    """The VF's write, as if it had been another one."""

    def written(honest: Any, self: Any, path: Any, old: int, new: int, size: int, cause: Any) -> None:
        honest(self, path, old, change(self._control.fields, new), size, cause)

    return written


def _and_then(**fields: int) -> Replacement:
    """The honest thing, and then these fields of V2PMAILBOX."""

    def done(honest: Any, self: Any, *args: Any, **more: Any) -> Any:
        found = honest(self, *args, **more)
        self._control.set(**fields)
        return found

    return done


def _p2v(change: Callable[[Any, int], int]) -> Replacement:
    return lambda honest, self, value: honest(self, change(self, value))


def _robber(honest: Any, self: Any, value: int) -> None:
    """The PF takes the memory whoever has it."""
    if value & box.PFU:
        self._control.set(vfu=0)
    honest(self, value)


def _scribbles(honest: Any, self: Any, path: Any, old: int, new: int, size: int, cause: Any) -> None:
    honest(self, path, old, new, size, cause)
    if self._control.get("vfu"):
        self._memory[15].value = 0


def _tells(honest: Any, self: Any, *, pf_in_reset: bool) -> None:
    honest(self, pf_in_reset=pf_in_reset)
    self._control.set(rstd=1)


def _answers(change: Callable[[int, int], int]) -> Replacement:
    """The PF's answer, another one: ``change(request, answer)``."""
    return lambda honest, self, vf, words: change(words[0], honest(self, vf, words))


def _granted(number: int) -> Replacement:
    return _answers(lambda said, word: word & ~box_nack | box_ack if said & 0xFFFF == number else word)


def _refused(number: int) -> Replacement:
    return _answers(lambda said, word: word & ~box_ack | box_nack if said & 0xFFFF == number else word)


box_ack, box_nack, box_cts = pf_settings.ACK, pf_settings.NACK, pf_settings.CTS


def _hears_all(honest: Any, self: Any, vf: int, words: list[int]) -> Any:
    self.vfs[vf].clear_to_send = True
    return honest(self, vf, words)


def _hears_itself(honest: Any, self: Any, vf: int, words: list[int]) -> Any:
    return honest(self, vf, [words[0] & ~(box_ack | box_nack), *words[1:]])


def _deaf(honest: Any, self: Any, vf: int, words: list[int]) -> Any:
    return None if words[0] & 0xFFFF == pf_settings.SET_LPE else honest(self, vf, words)


def _welcome(change: Callable[[list[int]], list[int]]) -> Replacement:
    return lambda honest, self, vf: change(honest(self, vf))


def _forgetful(honest: Any, self: Any, cause: ResetCause) -> None:
    """A reset of the VF leaves the mailbox in its hands."""
    vfu = self.mailbox._control.get("vfu")
    honest(self, cause)
    self.mailbox._control.set(vfu=vfu)


def _mailbox() -> tuple[Fault, ...]:
    from emulators.nics.igb.vf import IgbVf

    hw, driver, settings = box.VfMailbox, pf.PfDriver, pf_settings.VfSettings

    def of(kind: str, name: str, found_by: str, where: Any, what: str, instead: Any) -> Fault:
        return Fault(kind, name, f"mailbox_{found_by}", where, what, instead)

    messages = (("SET_MAC_ADDR", 2), ("SET_MULTICAST", 3), ("SET_VLAN", 4), ("SET_LPE", 5), ("SET_PROMISC", 6))
    return (
        of("ownership", "VFU does not stick", "ownership", hw, "_written", _and_then(vfu=0)),
        of("ownership", "VFU cannot be given back", "ownership", hw, "_written", _and_then(vfu=1)),
        of("ownership", "PFU shows while VFU is set", "ownership", hw, "_written", _and_then(pfu=1)),
        of("ownership", "the PF takes it from the VF", "ownership", hw, "write_p2v", _robber),
        of("ownership", "the memory changes", "ownership", hw, "_written", _scribbles),
        of("mailbox bit not latched", "PFACK", "edges", hw, "write_p2v", _p2v(lambda m, v: v & ~box.ACK)),
        of("mailbox bit not latched", "PFSTS", "edges", hw, "write_p2v", _p2v(lambda m, v: v & ~box.STS)),
        of("mailbox bit not latched", "RSTI", "resets", hw, "pf_resets", _and_then(rsti=0)),
        of("mailbox bit not latched", "RSTD", "resets", hw, "pf_is_back", _and_then(rstd=0)),
        of("mailbox bit not latched", "RSTD after power-on", "resets", hw, "vf_resets", _and_then(rstd=0)),
        of("mailbox bit stays", "RSTI", "resets", hw, "pf_is_back", _and_then(rsti=1)),
        of("mailbox bit stays", "RSTD after a reset of the VF", "resets", hw, "vf_resets", _tells),
        of("mailbox bit stays", "PFSTS after a reset of the VF", "resets", hw, "vf_resets", _and_then(pfsts=1)),
        of("mailbox bit stays", "VFU after a reset of the VF", "resets", IgbVf, "reset", _forgetful),
        of("request", "has no effect", "edges", hw, "_written", _written(lambda f, v: v & ~f["req"].mask)),
        of("request", "without edge: VFU is one", "ownership", hw, "_written",
           _written(lambda f, v: v | f["req"].mask if v & f["vfu"].mask else v)),
        of("request", "without edge: ACK is one", "edges", hw, "_written",
           _written(lambda f, v: v | f["req"].mask if v & f["ack"].mask else v)),
        of("acknowledgement", "has no effect", "messages", hw, "_written", _written(lambda f, v: v & ~f["ack"].mask)),
        of("request", "keeps the memory", "edges", hw, "_written",
           _written(lambda f, v: v | f["vfu"].mask if v & f["req"].mask else v)),
        of("acknowledgement", "keeps the memory", "edges", hw, "_written",
           _written(lambda f, v: v | f["vfu"].mask if v & f["ack"].mask else v)),
        of("wrong reply", "the PF answers its own answers", "edges", driver, "_answer", _hears_itself),
        of("wrong reply", "the PF is not told to have been reset", "resets", driver, "ping_all", _nothing),
        of("wrong reply", "everybody is clear to send", "messages", driver, "_answer", _hears_all),
        of("wrong reply", "none to SET_LPE", "messages", driver, "_answer", _deaf),
        of("wrong reply", "RESET brings no address", "messages", driver, "_vf_reset_message", _welcome(lambda w: [w[0], 0, 0])),
        of("wrong reply", "RESET refused with an address", "messages", driver, "_vf_reset_message",
           _welcome(lambda w: [w[0] ^ box_ack ^ box_nack, *w[1:]])),
        of("wrong reply", "RESET with CTS", "messages", driver, "_vf_reset_message",
           _welcome(lambda w: [w[0] | box_cts, *w[1:]])),
        of("wrong reply", "without CTS", "messages", settings, "answer", _answers(lambda said, word: word & ~box_cts)),
        of("wrong reply", "does not repeat what was asked", "messages", settings, "answer",
           _answers(lambda said, word: word & ~0xFF0000)),
        of("wrong reply", "unknown messages granted", "messages", settings, "answer",
           _answers(lambda said, word: word & ~box_nack | box_ack if said & 0xFFFF > 6 else word)),
        of("wrong reply", "group addresses granted", "messages", pf_settings, "is_valid", lambda honest, address: any(address)),
        *(of("wrong reply", f"{name} always granted", "messages", settings, "answer", _granted(number))
          for name, number in messages if name in ("SET_MAC_ADDR", "SET_VLAN", "SET_PROMISC")),
        *(of("wrong reply", f"{name} never granted", "messages", settings, "answer", _refused(number))
          for name, number in messages),
    )  # fmt: skip


# -- rings


def _says_done(honest: Any, self: Any, at: int, commands: Any, head: int) -> bool:
    return bool(commands)


def _reports_all(honest: Any, self: Any, at: int, commands: Any, head: int) -> bool:
    return bool(honest(self, at, [command | transmit._RS for command in commands], head))


def _head(change: Callable[[int, int], int], place: int) -> Replacement:
    """Another head, which is argument ``place``: ``change(head, descriptors)``."""

    def moved(honest: Any, self: Any, *args: Any) -> Any:
        count = max(self._length.value >> 4, 1)
        new = list(args)
        new[place] = change(new[place], count)
        return honest(self, *new)

    return moved


def _skips_first(head: int, count: int) -> int:
    """Around the end of the ring, the first descriptor is left out."""
    return head or 1


def _too_far(head: int, count: int) -> int:
    return (head + 1) % count


def _runs_on(honest: Any, self: Any, *args: Any) -> Any:
    """A queue that is not enabled runs as well."""
    kept = self._control.value
    self._control.value = kept | self._enable
    try:
        return honest(self, *args)
    finally:
        self._control.value = kept


def _half(honest: Any, self: Any, *args: Any) -> None:
    """A start that leaves the head where it was."""
    head = self._head.value
    honest(self, *args)
    self._head.value = head


def _twice(honest: Any, self: Any, pool: Any, packets: Any, frames: Any) -> None:
    honest(self, pool, packets, frames)
    self._add(self._gptc, 1)


def _short(honest: Any, self: Any, frames: int, octets: int, *more: Any) -> None:
    honest(self, frames, octets - 1, *more)


def _uncounted(honest: Any, self: Any, frames: int, *more: Any) -> None:
    honest(self, frames - 1, *more)


def _flipped(honest: Any, frame: Any, *more: Any) -> Any:
    return honest(bytes(frame[:-1]) + bytes([frame[-1] ^ 1]), *more)


def _garbles(honest: Any, self: Any, pool: Any, packets: Any, frames: Any) -> None:
    honest(self, pool, packets, [bytes(frame[:-1]) + bytes([frame[-1] ^ 0x80]) for frame in frames])


def _backwards(honest: Any, self: Any, address: int, command: int) -> Any:
    """The pieces of a packet, but for the last one, in the wrong order."""
    if command & transmit._EOP:
        self._parts.reverse()
    return honest(self, address, command)


def _larger(honest: Any, frame: Any, kind: int, size: int, *more: Any) -> Any:
    return honest(frame, kind, size + 1, *more)


def _every_is_last(honest: Any, self: Any, head: int, piece: Any, legacy: bool, low: int, status: int) -> Any:
    return honest(self, head, piece, legacy, low, status | receive._EOP)


def _keeps(honest: Any, self: Any, frames: Any, loopback: bool) -> Any:
    """Frames wait for descriptors though they should not."""
    self.drop_enable, drop = False, self._split.get("drop_en")
    self._split.set(drop_en=0)
    try:
        return honest(self, frames, loopback)
    finally:
        self._split.set(drop_en=drop)


TX, RX = transmit.TransmitQueue, receive.ReceiveQueue
RINGS = (
    Fault("DD never written", "transmit", "ring_one_packet", TX, "_write_back", _says_done),
    Fault("DD never written", "receive", "ring_one_packet", receive, "_DD", 0),
    Fault("DD in every descriptor", "transmit", "ring_pieces", TX, "_write_back", _reports_all),
    Fault("head off by one", "transmit", "ring_one_packet", TX, "_finish", _head(_too_far, -2)),
    Fault("head off by one", "receive", "ring_one_packet", RX, "_write_back", _head(_too_far, -1)),
    Fault("wrap broken", "transmit", "ring_wrap", TX, "_finish", _head(_skips_first, -2)),
    Fault("wrap broken", "receive", "ring_wrap", RX, "_write_back", _head(_skips_first, -1)),
    Fault("overrun", "is not counted", "ring_overrun", RX, "_without_descriptors", lambda honest, self, frames, loopback: 0),
    Fault("overrun", "comes later", "ring_overrun", RX, "_without_descriptors", _keeps),
    Fault("stop ignored", "transmit", "ring_stop_restart", TX, "burst", _runs_on),
    Fault("stop ignored", "receive", "ring_stop_restart", RX, "deliver", _runs_on),
    Fault("start from the old head", "receive", "ring_stop_restart", RX, "_control_written", _half),
    Fault("wrong count", "packets sent", "ring_one_packet", counters.Counters, "transmit", _twice),
    Fault("wrong count", "octets without FCS", "ring_4096_transfers", counters, "FCS", 0),
    Fault("wrong count", "octets received", "ring_4096_transfers", counters.Counters, "received", _short),
    Fault("wrong count", "packets received", "ring_one_packet", counters.Counters, "received", _uncounted),
    Fault("wrong content", "a bit flipped when sent", "ring_one_packet", counters.Counters, "transmit", _garbles),
    Fault("wrong content", "pieces out of order", "ring_pieces", TX, "_data", _backwards),
    Fault("wrong piece", "larger than its buffer", "ring_pieces", receive, "lay_out", _larger),
    Fault("wrong piece", "a bit flipped", "ring_pieces", receive, "lay_out", _flipped),
    Fault("wrong piece", "each marked as the last", "ring_pieces", RX, "_fill", _every_is_last),
    Fault("wrong piece", "none marked as the last", "ring_one_packet", receive, "_EOP", 0),
)

FAULTS = (*INTERRUPTS, *_mailbox(), *RINGS)



def mutants(device: Device) -> Iterator[tuple[Mutant, str]]:
    """Each with the test that has to find it."""
    return made(FAULTS, device)
