"""The mailbox between one VF and the PF, as hardware: two control registers, sixteen shared words, three kinds of event.

In here: V2PMAILBOX and VMBMEM as the VF's register file shows them, P2VMAILBOX, MBVFICR and VFLRE as the PF sees them,
and who owns the buffer when. What the words mean is not in here: a message is words to the hardware.

Sources: 82576 datasheet, 7.10.2.9 (mailbox), 8.14 (VF registers); Linux igb/e1000_mbx.c and igbvf/mbx.c, which are its
two users; QEMU hw/net/igb_core.c ``igb_set_pfmailbox`` and ``igb_set_vfmailbox``, an independent reading. Where the
datasheet leaves room, the text says "here:".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from regmodel.bank import Bank, Cause, Path

WORDS = 16
"""Size of VMBMEM in 32-bit words (igb/e1000_mbx.h ``E1000_VFMAILBOX_SIZE``)."""

STS, ACK, VFU, PFU, RVFU = 0x01, 0x02, 0x04, 0x08, 0x10
"""P2VMAILBOX[n], the PF's register: message sent, message received, buffer owned by VF or PF, take it from the VF."""

Interrupt: TypeAlias = Callable[[], None]

Observer: TypeAlias = Callable[[str, tuple[int, ...]], None]
"""Called with the sender (``VF`` or ``PF``) and the sixteen words of the buffer as it was sent."""


def _nobody() -> None:
    """An interrupt that nobody takes."""


@dataclass
class PfEvents:
    """What waits for the PF driver: one bit per VF in each of three registers, and one interrupt for all (ICR.VMMB)."""

    requests: int = 0  # MBVFICR[15:0], a VF wrote REQ
    acks: int = 0  # MBVFICR[31:16], a VF wrote ACK
    resets: int = 0  # VFLRE, a VF was reset
    interrupt: Interrupt = field(default=_nobody, compare=False)

    def clear(self) -> None:
        """What a reset of the PF does to all three."""
        self.requests = self.acks = self.resets = 0


class VfMailbox:
    """The mailbox of one VF. It hooks onto the VF's register file, where all of its state lives.

    ``bank`` has a register ``v2pmailbox`` and a window ``vmbmem``; ``vf`` is the VF's bit in ``events``; ``interrupt``
    raises the VF's mailbox cause (IVAR_MISC decides on the vector).
    """

    def __init__(self, bank: Bank, events: PfEvents, vf: int, interrupt: Interrupt) -> None:
        self.events, self.vf, self.interrupt = events, vf, interrupt
        self.observer: Observer | None = None
        self._control = bank["v2pmailbox"]
        self._memory = bank.all("vmbmem")
        bank.on_write("v2pmailbox", self._written)

    @property
    def words(self) -> tuple[int, ...]:
        """The buffer. Neither side is kept from touching it while the other one owns it: ownership is a convention."""
        return tuple(word.value for word in self._memory)

    # -- the VF's side: V2PMAILBOX

    def _written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """REQ and ACK are events; VFU takes the buffer unless the PF has it, and writing it 0 gives it back.

        So REQ or ACK alone both signals and releases, which is what drivers write (igbvf/mbx.c ``e1000_write_mbx_vf``).
        """
        fields = self._control.fields
        taken = fields["vfu"].of(new) and not self._control.get("pfu")
        self._control.set(vfu=1 if taken else 0)
        bit = 1 << self.vf
        if fields["req"].of(new):
            self.events.requests |= bit
            self._tell("VF")
        if fields["ack"].of(new):
            self.events.acks |= bit
        if fields["req"].of(new) or fields["ack"].of(new):
            self.events.interrupt()

    # -- the PF's side: P2VMAILBOX and VMBMEM

    def read_p2v(self) -> int:
        """P2VMAILBOX: who owns the buffer. All other bits read 0."""
        return VFU * self._control.get("vfu") | PFU * self._control.get("pfu")

    def write_p2v(self, value: int) -> None:
        """STS and ACK latch in the VF's register and interrupt it; PFU works as VFU does; RVFU takes the buffer back."""
        if value & RVFU:
            self._control.set(vfu=0)
            bit = 1 << self.vf
            self.events.requests &= ~bit
            self.events.acks &= ~bit
        taken = value & PFU and not self._control.get("vfu")
        self._control.set(pfu=1 if taken else 0)
        if value & STS:
            self._control.set(pfsts=1)
            self._tell("PF")
        if value & ACK:
            self._control.set(pfack=1)
        if value & (STS | ACK):
            self.interrupt()

    def write(self, words: Sequence[int]) -> None:
        """The PF stores the first words of the buffer; the rest stays."""
        for cell, word in zip(self._memory, words, strict=False):
            cell.value = word

    # -- resets

    def pf_resets(self) -> None:
        """The PF was reset, and the mailbox with it: RSTI tells the VF for as long as that lasts, all else is gone.

        That the words are gone, too, is QEMU's reading (``igb_core_reset``).
        """
        self._control.set(rsti=1, rstd=0, pfu=0, vfu=0, pfsts=0, pfack=0)
        self.write((0,) * WORDS)

    def pf_is_back(self) -> None:
        """The PF wrote CTRL_EXT.PFRSTD: RSTI ends, and RSTD says so until it is read."""
        self._control.set(rsti=0, rstd=1)

    def vf_resets(self, *, pf_in_reset: bool) -> None:
        """The VF was reset, after its register file took on its reset values: nobody owns the buffer.

        RSTI and RSTD speak of the PF. Only where they are lost with the rest, at power-on, the PF has to announce itself
        anew (X550 datasheet, 4.2.2.1). Here: what the VF had asked for before is forgotten.
        """
        if pf_in_reset:
            self._control.set(rsti=1, rstd=0)
        elif self._control.get("rsti"):
            self._control.set(rsti=0, rstd=1)
        bit = 1 << self.vf
        self.events.requests &= ~bit
        self.events.acks &= ~bit
        self.events.resets |= bit
        self.events.interrupt()

    def _tell(self, sender: str) -> None:
        if self.observer is not None:
            self.observer(sender, self.words)
