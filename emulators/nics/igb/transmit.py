"""A transmit queue of one VF: from descriptors that the guest wrote, to frames for the switch, to write-backs.

In here: the ring, the descriptor formats and what a packet is. What is done to the bytes of a packet is in ``offload``.

A write of TDT starts a burst. One burst takes up to 64 descriptors in one piece of the ring, hands all frames to the
switch in one call, writes back, moves TDH and raises at most one interrupt. Two ways lead through it: ``_plain`` for what
fast drivers send, one descriptor per packet with nothing to do to it; ``_walk`` for everything else, one descriptor after
the other. Descriptors are read through ``memoryview.cast``: as fast as a numpy column for 64 of them, faster for fewer.

A burst may be suspended wherever it touches guest memory, and find its ring reset, stopped or moved afterwards. Each such
event counts ``_epoch`` up; a burst that finds another epoch than it began with leaves without a trace.

Sources: 82576 datasheet, chapter 7.2 (transmit: rings, descriptors); Linux igbvf/netdev.c and DPDK
igb_rxtx.c, which are the users; QEMU hw/net/igb_core.c ``igb_start_xmit``, an independent reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from emulators.fabric.frames import FCS
from emulators.fabric.pool import Pool, VlanInsert
from emulators.nics.igb import telling
from emulators.nics.igb.counters import Counters
from emulators.nics.igb.interrupts import Interrupts
from emulators.nics.igb.offload import (
    L4,
    SHORTEST,
    Context,
    OffloadError,
    insert_ip_checksum,
    insert_l4_checksum,
    insert_tag,
    legacy_checksum,
    pad,
    segment,
)
from emulators.nics.igb.words import mask, place
from regmodel.bank import Bank, Cause, Path
from regmodel.errors import DmaFault
from regmodel.function import Buffer, Host
from regmodel.rings.igb import TX_CONTEXT, TX_DATA, TX_LEGACY

BURST = 64
"""Descriptors per burst, so that the sockets are looked at between."""
FRAMES = 64
"""Frames after which a burst of segmented packets ends early."""
LONGEST = 9728
"""Octets of the longest packet without segmentation (82576 datasheet, DTXMXSZPKT after reset)."""
SEGMENTS = 2048
"""Here: a packet that would make more frames than this is dropped. No driver comes near; a hostile one would stall the port."""

# A descriptor as two words of 64 bits: the buffer address, and these (the masks are in place).
_LENGTH, _DTYP = mask(TX_DATA, "cmd_type_len", "dtalen"), place(TX_DATA, "cmd_type_len", "dtyp")
_EOP, _IFCS, _RS, _DEXT, _VLE, _TSE = (
    mask(TX_DATA, "cmd_type_len", name) for name in ("eop", "ifcs", "rs", "dext", "vle", "tse")
)
_IXSM, _TXSM, _DONE = (mask(TX_DATA, "olinfo_status", name) for name in ("ixsm", "txsm", "dd"))
_IDX, _CONTEXT_IDX = place(TX_DATA, "olinfo_status", "idx"), place(TX_CONTEXT, "mss_l4len_idx", "idx")
_PAYLEN = place(TX_DATA, "olinfo_status", "paylen").ones
_STATUS = 32  # what is written back is the upper half of the second word
_CONTEXT, _DATA = 2 << _DTYP.shift, 3 << _DTYP.shift
_IC, _CSO = mask(TX_LEGACY, "lower", "ic"), place(TX_LEGACY, "lower", "cso")
_CSS, _SPECIAL = place(TX_LEGACY, "upper", "css"), place(TX_LEGACY, "upper", "special")
_PLAIN_MASK = _DTYP.mask | _EOP | _IFCS | _DEXT | _VLE | _TSE | _IXSM | _TXSM
_PLAIN = _DATA | _EOP | _IFCS | _DEXT


class Stop(Exception):
    """The guest gave a descriptor that cannot be used: the queue stops at it. ``kind`` names the diagnosis."""

    def __init__(self, kind: str, **detail: object) -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail


class TransmitQueue:
    """Queue ``index`` of a VF. ``halted``: it met a descriptor or an address that cannot be, and waits to be enabled anew."""

    def __init__(self, bank: Bank, host: Host, pool: Pool, interrupts: Interrupts, counters: Counters, index: int) -> None:
        self.host, self.pool, self.interrupts, self.counters, self.index = host, pool, interrupts, counters, index
        self._low, self._high, self._length = bank["tdbal", index], bank["tdbah", index], bank["tdlen", index]
        self._head, self._tail, self._control = bank["tdh", index], bank["tdt", index], bank["txdctl", index]
        self._report_low, self._report_high = bank["tdwbal", index], bank["tdwbah", index]
        self._words = self._head.store  # all registers by index: the burst reads them so
        self._at = tuple(cell.index for cell in (self._head, self._tail, self._length, self._control, self._low, self._high))
        self._enable = self._control.fields["enable"].mask
        self._burst = self.burst
        self._epoch = 0
        self.halted = False
        self._forget()
        self._tail.on_write += (self._tail_written,)
        self._control.on_write += (self._control_written,)
        for cell in (self._low, self._high, self._length, self._head):
            cell.on_write += (self._moved,)

    def _forget(self) -> None:
        """No context is known, no packet is open."""
        self._contexts = [Context(), Context()]
        self._abandon()

    def _abandon(self) -> None:
        """No packet is open."""
        self._parts: list[Buffer] = []
        self._first = 0  # the command of the open packet's first descriptor, 0 when none is open
        self._octets = 0  # of the open packet
        self._dropping = False  # the open packet is too long: its descriptors are only counted

    # -- registers

    def _tail_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self.host.defer(self._burst)

    def _moved(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """Software moved the ring under us: a packet that was open there has lost its rest."""
        self._epoch += 1
        self._abandon()

    def _control_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """Setting ENABLE initializes the queue; clearing it stops after the descriptors that are in flight."""
        if (old ^ new) & self._enable:
            self._epoch += 1
            self.halted = False
            self._forget()
            self.wake()

    def wake(self) -> None:
        """Look at the ring again: something that kept it from moving may have changed."""
        self.host.defer(self._burst)

    def reset(self) -> None:
        """After the registers took on their reset values."""
        self._epoch += 1
        self.halted = False
        self._forget()

    # -- the burst

    def burst(self) -> bool:
        """Send what the ring holds, up to ``BURST`` descriptors. True when there is more."""
        head, tail, length, control, low, high = [self._words[i] for i in self._at]
        if head == tail or self.halted or not control & self._enable or not self.pool.transmit_enable:
            return False
        count = length >> 4
        if tail >= count or head >= count:
            self.host.diagnose("tx-tail-beyond-ring", queue=self.index, head=head, tail=tail, descriptors=count)
            return False
        n = min((tail if tail > head else count) - head, BURST)
        at = (high << 32 | low) + 16 * head
        epoch = self._epoch
        done = 0
        stop: Stop | None = None
        addresses: Sequence[int] = ()
        commands: Sequence[int] = ()
        try:
            words = memoryview(self.host.dma.read(at, 16 * n)).cast("Q").tolist()
            addresses, commands = words[0::2], words[1::2]
            frames = None if self._first else self._plain(addresses, commands)
            if frames is not None:
                done = n
            elif epoch == self._epoch:
                frames, done, stop = self._walk(addresses, commands, epoch)
        except DmaFault as fault:
            frames, stop = None, Stop("tx-descriptor-unreachable", fault=str(fault))
        if epoch != self._epoch:
            return False
        if self.host.on_descriptor is not None:
            end = done + (stop is not None)  # with the one that cannot be
            telling.transmit(self.host.on_descriptor, "fetch", self.index, head, addresses[:end], commands[:end])
        if frames:
            self.counters.transmit(self.pool, self.host.packets, frames)
        if epoch == self._epoch:
            self._finish(at, addresses, commands[:done] if done else (), (head + done) % count, stop)
        words, (first, last) = self._words, self._at[:2]
        return epoch == self._epoch and not self.halted and words[first] != words[last]

    def _finish(self, at: int, addresses: Sequence[int], commands: Sequence[int], head: int, stop: Stop | None) -> None:
        """Write back, move the head, raise the interrupt; halt when the burst met a ``stop``."""
        epoch = self._epoch
        try:
            reported = self._write_back(at, addresses, commands, head)
        except DmaFault as fault:
            reported, stop = False, Stop("tx-write-back-unreachable", fault=str(fault))
        if epoch != self._epoch:
            return
        self._words[self._head.index] = head
        if stop is not None:
            self.halted = True
            self.host.diagnose(stop.kind, queue=self.index, descriptor=head, **stop.detail)
        if reported:
            self.interrupts.cause(self.interrupts.transmit[self.index])

    def _write_back(self, at: int, addresses: Sequence[int], commands: Sequence[int], head: int) -> bool:
        """Set DD in the descriptors that ask for it (RS), or report the head where the guest wants that. True if any did."""
        done = [i for i, command in enumerate(commands) if command & _RS]
        if not done:
            return False
        report = self._words[self._report_low.index]
        if report & 1:
            self.host.dma.write(self._report_high.value << 32 | report & ~3, head.to_bytes(4, "little"))
            return True
        view = self.host.dma.view(at, 16 * len(commands), write=True)
        if view is None:
            for i in done:
                self.host.dma.write(at + 16 * i + 12, ((commands[i] | _DONE) >> _STATUS).to_bytes(4, "little"))
        else:
            status = view.cast("I")
            for i in done:
                status[4 * i + 3] = (commands[i] | _DONE) >> _STATUS
        if self.host.on_descriptor is not None:
            first, tell = self._words[self._head.index], self.host.on_descriptor
            for i in done:
                telling.transmit(tell, "write-back", self.index, first + i, (addresses[i],), (commands[i] | _DONE,))
        return True

    def _plain(self, addresses: Sequence[int], commands: Sequence[int]) -> list[Buffer] | None:
        """The frames of a burst in which every descriptor is a packet with nothing to do to it; None for any other burst."""
        for command in set(commands):
            if command & _PLAIN_MASK != _PLAIN or not SHORTEST <= command & _LENGTH <= LONGEST:
                return None
        try:
            return self.host.dma.gather(addresses, [command & _LENGTH for command in commands])
        except DmaFault:
            return None

    # -- one descriptor after the other

    def _walk(self, addresses: Sequence[int], commands: Sequence[int], epoch: int) -> tuple[list[Buffer], int, Stop | None]:
        """Frames, how many descriptors are done, and why not more are."""
        frames: list[Buffer] = []
        done = 0
        stop = None
        try:
            for address, command in zip(addresses, commands, strict=True):
                if not command & _DEXT or command & _DTYP.mask == _DATA:
                    frames += self._data(address, command)
                elif command & _DTYP.mask == _CONTEXT:
                    self._contexts[_CONTEXT_IDX.of(command) & 1] = _context(address, command)
                else:
                    self.host.diagnose("tx-descriptor-type", queue=self.index, dtyp=_DTYP.of(command))
                if epoch != self._epoch:
                    break
                done += 1
                if len(frames) >= FRAMES:
                    break
        except DmaFault as fault:
            stop = Stop("tx-buffer-unreachable", fault=str(fault))
        if epoch == self._epoch:
            self._parts = [bytes(part) for part in self._parts]  # views do not outlive a burst
        return frames, done, stop

    def _data(self, address: int, command: int) -> Sequence[Buffer]:
        """One data descriptor; the frames of its packet when it is the last one of it."""
        if not self._first:
            self._first = command | _DATA  # never 0
        size = command & _LENGTH
        self._octets += size
        limit = _PAYLEN + 512 if self._first & _TSE else LONGEST
        if self._octets > limit and not self._dropping:
            self._dropping, self._parts = True, []
            self.host.diagnose("tx-packet-too-long", queue=self.index, octets=self._octets)
        if size and not self._dropping:
            epoch = self._epoch
            part = self.host.dma.read(address, size)
            if epoch != self._epoch:
                return ()
            self._parts.append(part)
        if not command & _EOP:
            return ()
        parts, first, dropped = self._parts, self._first, self._dropping
        self._parts, self._first, self._octets, self._dropping = [], 0, 0, False
        if dropped or not parts:
            return ()
        packet = parts[0] if len(parts) == 1 else b"".join(parts)
        try:
            return self._legacy(packet, first, command) if not first & _DEXT else self._advanced(packet, first)
        except OffloadError as error:
            self.host.diagnose(error.kind, queue=self.index)
            return ()

    def _advanced(self, packet: Buffer, first: int) -> list[Buffer]:
        """A packet of advanced descriptors: the first one says what is to be done to it."""
        context = self._contexts[_IDX.of(first) & 1]
        frames: Sequence[Buffer]
        if first & _TSE:
            if len(packet) > SEGMENTS * context.mss:
                raise OffloadError("tx-segments-too-many")
            frames = segment(packet, context, bool(first & _TXSM))
        elif first & (_IXSM | _TXSM):
            frame = bytearray(packet)
            if first & _IXSM:
                insert_ip_checksum(frame, context)
            if first & _TXSM:
                insert_l4_checksum(frame, context)
            frames = (frame,)
        else:
            frames = (packet,)
        return self._on_the_wire(frames, first, context.vlan)

    def _legacy(self, packet: Buffer, first: int, last: int) -> list[Buffer]:
        """A packet of legacy descriptors: checksum and tag are those of the last one (82576 datasheet)."""
        if last & _IC:
            frame = bytearray(packet)
            legacy_checksum(frame, _CSS.of(last), _CSO.of(last))
            packet = frame
        return self._on_the_wire((packet,), last, _SPECIAL.of(last))

    def _on_the_wire(self, frames: Sequence[Buffer], command: int, tci: int) -> list[Buffer]:
        """The tag, if the descriptor asks for one and the PF lets it (VMVIR.VLANA), and padding (TCTL.PSP).

        Without IFCS the packet brings its FCS along, right or wrong; frames of the switch have none.
        """
        if not command & _IFCS:
            frames = [frame[:-FCS] for frame in frames]
        if command & _VLE and self.pool.vlan_insert is VlanInsert.DESCRIPTOR:
            frames = [insert_tag(frame, tci) for frame in frames]
        return [pad(frame) for frame in frames]

    # -- state

    def save(self) -> dict[str, object]:
        """What is not in registers: contexts and the open packet."""
        return {
            "halted": self.halted,
            "contexts": [[c.vlan, c.maclen, c.iplen, c.l4len, c.mss, int(c.ipv4), int(c.l4)] for c in self._contexts],
            "first": self._first,
            "octets": self._octets,
            "dropping": self._dropping,
            "parts": [bytes(part).hex() for part in self._parts],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """After the registers were loaded; a ring that has work goes on."""
        self.reset()
        self.halted, self._dropping = bool(state["halted"]), bool(state["dropping"])
        self._contexts = [
            Context(vlan, maclen, iplen, l4len, mss, bool(ipv4), L4(l4))
            for vlan, maclen, iplen, l4len, mss, ipv4, l4 in state["contexts"]
        ]
        self._first, self._octets = int(state["first"]), int(state["octets"])
        self._parts = [bytes.fromhex(part) for part in state["parts"]]
        self.wake()


_FIELDS = {
    name: place(TX_CONTEXT, word, name)
    for word, names in (
        ("vlan_macip_lens", ("vlan", "maclen", "iplen")),
        ("type_tucmd_mlhl", ("ipv4", "l4t")),
        ("mss_l4len_idx", ("l4len", "mss")),
    )
    for name in names
}


@lru_cache(maxsize=256)
def _context(low: int, high: int) -> Context:
    """An advanced context descriptor. Drivers send the same few over and over."""
    return Context(
        vlan=_FIELDS["vlan"].of(low),
        maclen=_FIELDS["maclen"].of(low),
        iplen=_FIELDS["iplen"].of(low),
        l4len=_FIELDS["l4len"].of(high),
        mss=_FIELDS["mss"].of(high),
        ipv4=bool(_FIELDS["ipv4"].of(high)),
        l4=L4(_FIELDS["l4t"].of(high)),
    )
