"""The card of NICs that have no PF: up to eight of them on one L2 switch.

virtio-net, VMXNET3 and AVP are such NICs: each says itself, by its own registers or queues, which frames it wants. So the
switch filters by the settings of each function's pool, as everywhere, but no PF programs them: the model does. In here: how
many there are, what address each gets, its properties, and the words that steer it.

``Device.model`` names what ``standalone`` makes::

    VirtioCard = standalone(VirtioNet, Properties.parse)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast, runtime_checkable

from emulators.fabric.frames import mac_bytes, seeded_mac
from emulators.fabric.link import Link
from emulators.fabric.pool import Pool
from emulators.fabric.switch import Switch
from emulators.loop import Loop
from emulators.model import Model
from regmodel.catalogue import Device
from regmodel.errors import StateError, UsageError

if TYPE_CHECKING:
    from emulators.fabric.pool import Endpoint
    from emulators.host import Host

VERSION = 1
FUNCTIONS = 8
"""NICs per card: a choice of this project; nothing limits them."""

MailboxObserver = Callable[[str, str, list[int]], None]
P = TypeVar("P")


@runtime_checkable
class Steerable(Protocol):
    """A model that understands words of ``ctl`` beyond those of its port, and tells its counters."""

    def control(self, words: Sequence[str]) -> object:
        """``regmodel ctl SERVER nic N WORDS...``: a JSON-able answer. Raises ``UsageError``."""

    def stats(self) -> Mapping[str, Any]:
        """Its own counters, JSON-able."""


class StandaloneSlot(Generic[P]):
    """The place of one NIC. ``mac`` is the address that the host gives it, None where it gives none."""

    def __init__(self, card: StandaloneCard[P], number: int, pool: Pool, mac: bytes | None) -> None:
        self.card, self.number, self.name, self.pool, self.mac = card, number, pool.name, pool, mac
        self.model: Model | None = None

    @property
    def properties(self) -> P:
        """What the user chose, checked; the same for all NICs of the card."""
        return self.card.properties

    @property
    def link(self) -> Link:
        """That of the port: ``up`` now, ``listen(callback)`` for changes."""
        return self.card.switch.link

    @property
    def packets(self) -> Pool:
        return self.pool

    def build(self, host: Host) -> Model:
        """The NIC's model; frames for it go to its ``deliver`` from now on."""
        self.model = self.card.make(self.card.device, host, self)
        if hasattr(self.model, "deliver"):
            self.pool.endpoint = cast("Endpoint", self.model)
        return self.model


class StandaloneCard(Generic[P]):
    """See the module. ``make(device, host, slot)`` builds a model, ``properties`` are for it to read.

    ``mac`` is ``seeded`` (locally administered addresses from ``seed``, the same in each run), ``none``, or the address of
    the first NIC, from which the others count on. Raises ``UsageError``.
    """

    def __init__(
        self,
        device: Device,
        loop: Loop,
        make: Callable[[Device, Host, StandaloneSlot[P]], Model],
        properties: P,
        *,
        mac: str = "seeded",
        seed: str = "0",
    ) -> None:
        self.device, self.loop, self.make, self.properties = device, loop, make, properties
        self.switch = Switch("port0", partial=True)
        self.switch.loopback = self.switch.replication = True
        self.ports = (StandalonePort(self),)
        self.slots: list[StandaloneSlot[P]] = []
        for number in range(FUNCTIONS):
            pool = self.switch.add_pool(f"nic{number}")
            self.slots.append(StandaloneSlot(self, number, pool, _address(device, mac, seed, number)))
        self.on_mailbox: MailboxObserver | None = None

    def control(self, words: Sequence[str]) -> object:
        """``nic N WORDS...`` to one NIC, ``link up|down`` and ``stats`` to the port. Raises ``UsageError``."""
        words = [str(word) for word in words]
        if not words:
            raise UsageError("say what to do: link up|down, stats, nic N WORDS")
        if words[0] == "nic":
            return self._model(words).control(words[2:])
        return self.ports[0].control(*words)

    def _model(self, words: Sequence[str]) -> Steerable:
        plugged = [slot.number for slot in self.slots if slot.model is not None]
        if len(words) < 3 or not words[1].isdecimal() or int(words[1]) not in plugged:
            text = f"write nic {', '.join(map(str, plugged)) or 'N'} and a command, not {' '.join(words)!r}"
            raise UsageError(text)
        model = self.slots[int(words[1])].model
        if not isinstance(model, Steerable):
            raise UsageError(f"{self.device.name} has nothing to be steered")
        return model

    def stats(self) -> Mapping[str, Any]:
        """The counters of the port, and of each NIC that has some of its own."""
        models: dict[str, object] = {slot.name: slot.model for slot in self.slots}
        nics = {name: model.stats() for name, model in models.items() if isinstance(model, Steerable)}
        return {"ports": [self.switch.counters()], "nics": nics}

    def save(self) -> dict[str, object]:
        """The port's state; the NICs are saved by their functions."""
        return {"version": VERSION, "device": self.device.name}

    def load(self, state: Mapping[str, object]) -> None:
        """Raises ``StateError`` for the state of another card."""
        if state.get("version") != VERSION or state.get("device") != self.device.name:
            whose = f"{state.get('device')!r} version {state.get('version')!r}"
            raise StateError(f"the saved state is of {whose}, not of {self.device.name!r} version {VERSION}")


class StandalonePort:
    """The one port of such a card."""

    def __init__(self, card: StandaloneCard[Any]) -> None:
        self._card = card

    @property
    def switch(self) -> Switch:
        return self._card.switch

    def control(self, verb: str, *words: str) -> object:
        """``link up|down`` and ``stats``. Raises ``UsageError`` for all else."""
        if verb == "stats" and not words:
            return self._card.stats()
        if verb == "link" and words in (("up",), ("down",)):
            self.switch.link.set_admin(words[0] == "up")
            return None
        raise UsageError(f"{' '.join((verb, *words))!r}: a card without PF knows 'link up', 'link down', 'stats', 'nic N ...'")


def standalone(
    make: Callable[[Device, Host, StandaloneSlot[P]], Model], properties: Callable[[Device, Mapping[str, str]], P]
) -> Callable[..., StandaloneCard[P]]:
    """What ``Device.model`` may name: the card class of NICs that ``make(device, host, slot)`` builds.

    ``properties(device, options)`` checks all options of the user but ``mac`` and ``seed``; it raises ``UsageError``.
    """

    def card(
        device: Device, loop: Loop, *, mac: str = "seeded", seed: str | int = "0", **options: object
    ) -> StandaloneCard[P]:
        if options.pop("ports", 1) not in (1, "1"):
            raise UsageError(f"a {device.name} card has one port: leave --ports away")
        chosen = properties(device, {name: str(value) for name, value in options.items()})
        return StandaloneCard(device, loop, make, chosen, mac=mac, seed=str(seed))

    return card


def _address(device: Device, mac: str, seed: str, number: int) -> bytes | None:
    if mac == "none":
        return None
    if mac == "seeded":
        return seeded_mac(f"{seed}/{device.identity}/nic", number)
    first = int.from_bytes(mac_bytes(mac), "big")
    return ((first + number) & 0xFFFF_FFFF_FFFF).to_bytes(6, "big")
