"""The model of one virtual function of an 82576 or I350: its register file, and what ties the parts behind it together.

In here: resets, link, timer, queue selection, state. Queues are in ``transmit`` and ``receive``, causes and vectors in
``interrupts``, the mailbox in ``mailbox``; what the PF does with a VF is in ``pf``, and reaches in through the few
methods below.

Sources: 82576 datasheet, chapters 7.10 (virtualization) and 8 (registers); ``regmodel.bars.igbvf``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from emulators.fabric.pool import Pool
from emulators.nics.igb.counters import Counters
from emulators.nics.igb.interrupts import Interrupts
from emulators.nics.igb.mailbox import Interrupt, VfMailbox
from emulators.nics.igb.receive import ReceiveQueue
from emulators.nics.igb.rss import Rss
from emulators.nics.igb.transmit import TransmitQueue
from emulators.state import take_on
from regmodel.bank import Bank, Cause, Path
from regmodel.catalogue import Device
from regmodel.function import Buffer, Host, ResetCause

VERSION = 1
SPEEDS = {10: 0, 100: 1, 1000: 2}
"""STATUS.SPEED by Mbit/s."""

OUTLIVE_THE_PORT = ("status", "frtimer", "v2pmailbox", "vmbmem", "vf")
"""What a reset of the port does not reset for the VF's driver, by the start of the name; "vf" are the statistics."""


class VfLink(Protocol):
    """The link as the PF lets this VF see it."""

    @property
    def up(self) -> bool: ...


class VfSlot(Protocol):
    """Where the VF sits: its pool, and its way to the PF."""

    pool: Pool

    @property
    def vfs(self) -> int:
        """How many VFs the PF has enabled."""

    @property
    def link(self) -> VfLink: ...

    def mailbox(self, bank: Bank, interrupt: Interrupt) -> VfMailbox:
        """The mailbox on the VF's register file; ``interrupt`` raises the VF's mailbox cause."""

    def vf_reset(self, cause: ResetCause) -> None:
        """The VF was reset, after its register file took on reset values."""


class IgbVf:
    """A ``Model``, and the ``Endpoint`` of its pool. ``device.variant["loopback_vlan_swapped"]``: as the I350 does."""

    def __init__(self, device: Device, host: Host, slot: VfSlot) -> None:
        self.device, self.host, self.slot = device, host, slot
        self.bank = Bank(device.bars[0], now=host.clock.now)
        self.banks: Mapping[int, Bank] = {0: self.bank}
        queues = range(len(self.bank.all("tdt")))
        swapped = bool(device.variant.get("loopback_vlan_swapped"))
        self.interrupts = Interrupts(self.bank, host, queues=len(queues), vectors=device.msix_vectors)
        self.counters = Counters(self.bank)
        parts = (self.bank, host, slot.pool, self.interrupts, self.counters)
        self.transmit = [TransmitQueue(*parts, n) for n in queues]
        self.receive = [ReceiveQueue(*parts, n, swapped=swapped) for n in queues]
        self._rss: Rss | None = None
        self.bank.on_write("ctrl", self._ctrl_written)
        self.bank.on_write("ctrl_dup", self._ctrl_written)
        self.bank.before_read("frtimer", self._show_time)
        self.mailbox = slot.mailbox(self.bank, self.mailbox_interrupt)
        slot.pool.endpoint = self
        self.link_changed(slot.link.up)

    # -- the PF's reach

    def mailbox_interrupt(self) -> None:
        """A message, an acknowledgement or a reset of the PF waits in V2PMAILBOX: the cause of IVAR_MISC."""
        self.interrupts.cause(self.interrupts.mailbox)

    def link_changed(self, up: bool, speed: int = 1000) -> None:
        """Show the link in STATUS; ``speed`` in Mbit/s. A VF gets no interrupt for it: the PF sends a message."""
        self.bank["status"].set(lu=int(up), fd=1, speed=SPEEDS[speed], num_vfs=self.slot.vfs, iov_mode=1)

    def port_was_reset(self) -> None:
        """CTRL.RST of the PF: the VF's registers are as after power-on, but for what counts and what speaks of the port.

        The VF has to notice (V2PMAILBOX.RSTI, RSTD) and to set itself up again (X550 datasheet, 4.2.3, "Virtual function
        resources"; QEMU hw/net/igb_core.c ``igb_reset``).
        """
        for cell in self.bank:
            if ResetCause.POWER_ON in cell.reset_values and not cell.path.startswith(OUTLIVE_THE_PORT):
                cell.value = cell.reset_values[ResetCause.POWER_ON][0]
        self._restart()

    def disable_first_queue(self) -> None:
        """The PF's driver writes 0 to RXDCTL(0) and TXDCTL(0) (igb_main.c ``igb_setup_rctl``, ``igb_setup_tctl``)."""
        self.bank["rxdctl"].value = self.bank["txdctl"].value = 0

    def wake(self) -> None:
        """The PF let the VF transmit (VFTE): rings that waited for it go on."""
        for queue in self.transmit:
            queue.wake()

    @property
    def queue_drop_enable(self) -> bool:
        """QDE: the queues drop whatever SRRCTL.DROP_EN says."""
        return self.receive[0].drop_enable

    @queue_drop_enable.setter
    def queue_drop_enable(self, drop: bool) -> None:
        for queue in self.receive:
            queue.drop_enable = drop

    @property
    def rss(self) -> Rss | None:
        """VMOLR.RSSE with what else of the PF decides on RSS; None under stock igb."""
        return self._rss

    @rss.setter
    def rss(self, rss: Rss | None) -> None:
        self._rss = rss
        for queue in self.receive:
            queue.rss = rss

    # -- the switch

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        """Frames that passed the pool's filters; how many found a place (see ``emulators.fabric.pool.Endpoint``)."""
        if self._rss is None or len(self.receive) == 1:
            return self.receive[0].deliver(frames, loopback)
        groups: dict[int, list[Buffer]] = {}
        for frame in frames:
            groups.setdefault(self._rss.queue(frame), []).append(frame)
        return sum(self.receive[queue].deliver(group, loopback) for queue, group in groups.items())

    # -- registers

    def _ctrl_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        if self.bank["ctrl"].fields["rst"].of(new):
            self.reset(ResetCause.SOFTWARE)

    def _show_time(self, path: Path) -> None:
        """FRTIMER: microseconds, milliseconds and seconds since the device's clock began."""
        now = self.host.clock.now() // 1000
        self.bank["frtimer"].set(microsecond=now % 1000, millisecond=now // 1000 % 1000, second=now // 1_000_000 & 0xFFF)

    # -- resets and state

    def reset(self, cause: ResetCause) -> None:
        """Registers, engine, then the PF learns of it."""
        self.bank.reset(cause)
        self._restart()
        self.slot.vf_reset(cause)
        self.link_changed(self.slot.link.up)

    def _restart(self) -> None:
        """What is behind the registers, after they took on their reset values."""
        for sender in self.transmit:
            sender.reset()
        for receiver in self.receive:
            receiver.reset()
        self.interrupts.reset()

    def save(self) -> dict[str, object]:
        """A JSON-able image of registers and engine; what the PF holds for this VF is saved with the card."""
        return {
            "version": VERSION,
            "device": self.device.name,
            "bank": self.bank.save(),
            "interrupts": self.interrupts.save(),
            "transmit": [queue.save() for queue in self.transmit],
            "receive": [queue.save() for queue in self.receive],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take on a saved image. Raises ``StateError`` and changes nothing when it is not of this device."""
        take_on(state, self.device.name, VERSION, self.save, self._take)

    def _take(self, state: Mapping[str, Any]) -> None:
        self.bank.load(state["bank"])
        self.interrupts.load(state["interrupts"])
        for sender, image in zip(self.transmit, state["transmit"], strict=True):
            sender.load(image)
        for receiver, image in zip(self.receive, state["receive"], strict=True):
            receiver.load(image)
