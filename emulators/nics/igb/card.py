"""The card: one, two or four ports of an 82576 or I350, each with its switch, its PF and the slots of its VFs.

In here: how many there are, how they are numbered and named, which address each gets, and the words that steer the whole
card. What a port does is in ``pf``, what a VF does in ``vf``.

Seven VFs per port stand beside the PF's own pool, as stock ``igb`` enables them (``igb_probe_vfs``); with eight, the figure
that the DPDK guide gives for these cards, the PF has no pool: then nobody takes unicast that no VF wants.

VFs are numbered over the ports in turn, as the DPDK guide does ("Intel VF NIC configuration"): with two ports, VF0 and
VF2 are on port 0, VF1 and VF3 on port 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emulators.fabric.counters import Traffic
from emulators.fabric.frames import kind_of, seeded_mac
from emulators.fabric.pool import Pool
from emulators.fabric.switch import Switch
from emulators.loop import Loop
from emulators.model import Model
from emulators.nics.igb.mailbox import Interrupt, VfMailbox
from emulators.nics.igb.pf import SPEED, PfDriver
from emulators.nics.igb.pf_control import PfControl
from emulators.nics.igb.pf_filters import ZERO
from emulators.nics.igb.pf_registers import I350, I82576, Silicon
from emulators.state import take_on
from regmodel.bank import Bank
from regmodel.catalogue import Device
from regmodel.errors import UsageError
from regmodel.function import Buffer, ResetCause

if TYPE_CHECKING:
    from emulators.host import Host

VERSION = 1
PORTS = (1, 2, 4)
VFS, MOST_VFS = 7, 8

SILICON = {0x10CA: I82576, 0x1520: I350}
"""The PF behind a VF, by the VF's device id (igbvf/vf.h ``E1000_DEV_ID_82576_VF``, ``E1000_DEV_ID_I350_VF``)."""

MailboxObserver = Callable[[str, str, list[int]], None]
"""Told the name of the slot, the sender (``VF`` or ``PF``), and the sixteen words of the buffer."""


class PfEndpoint:
    """The PF's own pool ends here: it counts what it is sent and sends nothing."""

    def __init__(self) -> None:
        self.received = Traffic()

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        for frame in frames:
            self.received.count(1, len(frame), kind_of(bytes(frame[:6])))
        return len(frames)


@dataclass
class SlotLink:
    """The link as one VF sees it."""

    slot: IgbSlot

    @property
    def up(self) -> bool:
        return self.slot.pf.link_of(self.slot.local)

    @property
    def speed(self) -> int:
        """Mbit/s."""
        return SPEED


class IgbSlot:
    """The place of one VF: its pool of the switch, and its way to the PF."""

    def __init__(self, card: IgbCard, port: IgbPort, number: int, local: int, pool: Pool) -> None:
        self.card, self.port, self.pf = card, port, port.pf
        self.name = pool.name
        self.number = number
        self.local = local  # its number within the port, as ``ip link set PF vf N`` counts
        self.pool = pool
        self.link = SlotLink(self)
        self.model: Model | None = None

    @property
    def vfs(self) -> int:
        """How many VFs its port has enabled."""
        return len(self.port.pools)

    @property
    def packets(self) -> Pool:
        return self.pool

    def build(self, host: Host) -> Model:
        """The VF's model; the port tells it of the link from now on."""
        from emulators.nics.igb.vf import IgbVf

        model = IgbVf(self.card.device, host, self)
        model.queue_drop_enable = True  # QDE, which the PF sets for all queues (igb_main.c igb_setup_rctl)
        self.model = self.pf.models[self.local] = model
        self.pf.tell_link(self.local)
        self._was_powered()
        return model

    def mailbox(self, bank: Bank, interrupt: Interrupt) -> VfMailbox:
        """The mailbox on the VF's register file ``bank``; ``interrupt()`` raises the VF's mailbox cause."""
        mailbox = VfMailbox(bank, self.pf.events, self.local, interrupt)
        self.pf.connect(self.local, mailbox)
        self.card.observe_mailboxes()
        return mailbox

    def vf_reset(self, cause: ResetCause) -> None:
        """The VF was reset, by whatever ``cause``, and its register file has taken on its reset values."""
        self.pf.vf_was_reset(self.local)
        if cause in (ResetCause.POWER_ON, ResetCause.BUS):
            self._was_powered()

    def _was_powered(self) -> None:
        """All registers are at their reset values, and the PF's driver has come up since."""
        if self.local == 0:
            self.pf.disable_first_queue()


class IgbPort:
    """One port: switch, PF, control."""

    def __init__(self, name: str, loop: Loop, silicon: Silicon, vfs: Sequence[str], mac: bytes) -> None:
        self.name = name
        self.switch = Switch(name)
        self.pools = [self.switch.add_pool(vf) for vf in vfs]
        own = None
        self.pf_endpoint: PfEndpoint | None = None
        if len(vfs) < MOST_VFS:
            own = self.switch.add_pool("pf")
            own.endpoint = self.pf_endpoint = PfEndpoint()
        self.pf = PfDriver(name, loop, self.switch, silicon, self.pools, own, mac)
        self._control = PfControl(self.pf)

    def control(self, verb: str, *words: str) -> object:
        """A command to this port; VFs count within it. Raises ``UsageError``."""
        return self._control(verb, *(str(word) for word in words))


class IgbCard:
    """A card of ``ports`` ports with ``vfs`` VFs each.

    ``mac`` says what address a VF has that the host has not given one: ``seeded`` (the default) are locally administered
    addresses from ``seed``, the same in each run, offered at reset and free to be changed by the guest; ``none`` is what
    stock ``igb`` does: the reset is answered by NACK, and the guest's driver invents one.

    All options may be strings. Raises ``UsageError`` for values that no such card has.
    """

    def __init__(
        self,
        device: Device,
        loop: Loop,
        *,
        ports: int | str = 1,
        vfs: int | str | None = None,
        mac: str = "seeded",
        seed: int | str = 0,
        **unknown: object,
    ) -> None:
        if unknown:
            raise UsageError(f"{device.name} has no option {next(iter(unknown))!r}: it has vfs, mac and seed")
        port_count = _number("ports", ports, PORTS)
        vf_count = _number("vfs", VFS if vfs is None else vfs, range(1, MOST_VFS + 1))
        if mac not in ("seeded", "none"):
            raise UsageError(f"mac is 'seeded' or 'none', not {mac!r}")
        self.device, self.loop = device, loop
        self.seed = str(seed)
        silicon = SILICON.get(device.identity.device, I82576)
        names = [[f"vf{local * port_count + port}" for local in range(vf_count)] for port in range(port_count)]
        self.ports = [IgbPort(f"port{p}", loop, silicon, names[p], self._address("pf", p)) for p in range(port_count)]
        self.slots: list[IgbSlot] = []
        for local in range(vf_count):
            for port in self.ports:
                number = len(self.slots)
                self.slots.append(IgbSlot(self, port, number, local, port.pools[local]))
                given = self._address("vf", number) if mac == "seeded" else ZERO
                port.pf.give_mac(local, given)
        self._observer: MailboxObserver | None = None

    def _address(self, kind: str, last: int) -> bytes:
        return seeded_mac(f"{self.seed}/{self.device.identity}/{kind}", last)

    # -- observer

    @property
    def on_mailbox(self) -> MailboxObserver | None:
        """Told of every message, as the hardware sees it: all sixteen words, at REQ and at STS. None costs nothing."""
        return self._observer

    @on_mailbox.setter
    def on_mailbox(self, observer: MailboxObserver | None) -> None:
        self._observer = observer
        self.observe_mailboxes()

    def observe_mailboxes(self) -> None:
        """Pass the observer on to mailboxes that came later."""
        for slot in self.slots:
            slot.pf.observe(slot.local, slot.name, self._observer)

    # -- control

    def control(self, words: Sequence[str]) -> object:
        """``[port P] vf N ...``, ``[port P] link up|down``, ``[port P] pf-reset``, ``[port P] stats``.

        With ``port P``, VFs count within the port, as for ``ip link set PF vf N``; without, over the card, as in the
        names of the slots. Raises ``UsageError``.
        """
        words = [str(word) for word in words]
        if not words:
            raise UsageError("say what to do: [port P] vf N mac|vlan|spoofchk|trust|state VALUE, link up|down, pf-reset")
        if words[0] == "port":
            return self._port(words).control(*words[2:])
        if words[0] == "vf" and len(words) > 1:
            slot = self._slot(words[1])
            return slot.port.control("vf", str(slot.local), *words[2:])
        if words == ["stats"]:
            return self.stats()
        if len(self.ports) > 1:
            raise UsageError(f"this card has several ports: say port 0..{len(self.ports) - 1} {' '.join(words)}")
        return self.ports[0].control(*words)

    def _port(self, words: Sequence[str]) -> IgbPort:
        if len(words) < 3 or not words[1].isdecimal() or int(words[1]) >= len(self.ports):
            raise UsageError(f"write port 0..{len(self.ports) - 1} and a command, not {' '.join(words)!r}")
        return self.ports[int(words[1])]

    def _slot(self, number: str) -> IgbSlot:
        if not number.isdecimal() or int(number) >= len(self.slots):
            raise UsageError(f"there is no VF {number}: this card has VFs 0 to {len(self.slots) - 1}")
        return self.slots[int(number)]

    def stats(self) -> dict[str, Any]:
        """All counters of all ports, JSON-able."""
        return {"ports": [port.control("stats") for port in self.ports]}

    # -- state

    def save(self) -> dict[str, object]:
        """All that is of the card: PFs and link. The models of VFs are saved by their functions."""
        return {"version": VERSION, "device": self.device.name, "ports": [port.pf.save() for port in self.ports]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Load it before the VFs. Raises ``StateError`` and changes nothing when it is not of such a card."""
        take_on(state, self.device.name, VERSION, self.save, self._take)

    def _take(self, state: Mapping[str, Any]) -> None:
        for port, image in zip(self.ports, state["ports"], strict=True):
            port.pf.load(image)


def _number(name: str, value: int | str, allowed: Sequence[int]) -> int:
    if not str(value).isdecimal() or int(value) not in allowed:
        raise UsageError(f"{name} is one of {', '.join(map(str, allowed))}, not {value}")
    return int(value)
