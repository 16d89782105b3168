"""What a device model is to the house that carries it: model, slot, port, card; and how a device's card is found.

A *card* is what is plugged: its ports, the switch of each, and the slots in which its functions sit. A *slot* builds the
*model* of one function when a front end (``emulators.pci``) gives it a ``Host``. PF and VFs of a card know each other; front
ends and packet back ends know only what is declared here.

``SingleCard`` is the card of a device that has no PF: one port, one function, every frame of the wire.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast, runtime_checkable

from regmodel.bank import Bank
from regmodel.catalogue import Device
from regmodel.errors import StateError, UsageError
from regmodel.function import Packets, ResetCause, State

if TYPE_CHECKING:
    from emulators.fabric.pool import Endpoint
    from emulators.fabric.switch import Switch
    from emulators.host import Host
    from emulators.loop import Loop
    from emulators.pci.function import PciFunction
    from emulators.pci.shared import SharedMemory


class Model(State, Protocol):
    """The behaviour behind the BARs of one function. Register accesses go straight to its banks."""

    @property
    def banks(self) -> Mapping[int, Bank]:
        """The register file of each BAR that the model serves, by BAR index; the same objects for its whole life."""

    def reset(self, cause: ResetCause) -> None:
        """Reset registers and engine. Configuration space and MSI-X were reset before; DMA is off."""


@runtime_checkable
class Sharing(Protocol):
    """A model some of whose BARs offer pages to be mapped by the guest."""

    @property
    def shared(self) -> Mapping[int, SharedMemory]:
        """The memory of such a BAR, by BAR index; its bank was made over the same bytes."""


@runtime_checkable
class Movable(Protocol):
    """A model whose driver takes part when it is handed over to another process (``emulators.handover``)."""

    def detach(self, done: Callable[[str], None]) -> None:
        """Have the driver let go: ``done("")`` when it has, or need not; ``done(why)`` when it will not. Returns at once."""

    def attach(self) -> None:
        """The device is where it stays: in the new process, or in the old one after all. Have the driver take it up."""

    def save_all_but_memory(self) -> dict[str, object]:
        """As ``save``, without what is in memory that guests map: that is handed over itself."""


@runtime_checkable
class Staying(Protocol):
    """A model that cannot be handed over to another process."""

    @property
    def stays(self) -> str:
        """Why, and what to do instead: what follows the name of the function."""


class RingState(NamedTuple):
    """A ring as it stands: ``waiting`` entries of ``size``, from ``head`` on, are the device's."""

    name: str
    head: int
    waiting: int
    size: int


@runtime_checkable
class Ringed(Protocol):
    """A model whose registers do not tell where its rings stand: that is in memory."""

    def rings(self) -> list[RingState]:
        """Those that work, looked at without side effects. Raises ``DmaFault`` where their memory is gone."""


@runtime_checkable
class Wired(Protocol):
    """A model to which its function's configuration space matters: where interrupts go, a window to its registers."""

    def wire(self, function: PciFunction) -> None:
        """Told once, when the function stands."""


class Slot(Protocol):
    """One place in a card for one function, e.g. VF 0 of port 0."""

    name: str
    """As users write it: ``vf0``."""
    number: int
    """As the vendor's guide counts over all ports of the card."""

    @property
    def packets(self) -> Packets:
        """Where frames of this function go."""

    def build(self, host: Host) -> Model:
        """The model, once. The function owns it from then on."""


@runtime_checkable
class Particular(Protocol):
    """A slot whose function differs from the device that was named: its memory has another size, say."""

    @property
    def device(self) -> Device:
        """The description of what sits in it."""


class Port(Protocol):
    """One Ethernet port: its switch, and what a host administrator may say about it."""

    @property
    def switch(self) -> Switch: ...

    def control(self, verb: str, *words: str) -> object:
        """``vf N mac|vlan|spoofchk|trust|state VALUE``, ``pf-reset``, ``link up|down``, ``stats``: a JSON-able answer.

        Raises ``UsageError`` for what this port does not know.
        """


class Card(State, Protocol):
    """A card, whole. Its class, which ``Device.model`` names, takes ``(device, loop, *, ports=1, **options)``."""

    @property
    def ports(self) -> Sequence[Port]: ...

    @property
    def slots(self) -> Sequence[Slot]:
        """By number."""

    on_mailbox: Callable[[str, str, list[int]], None] | None
    """Told the slot's name, the sender (``VF``, ``PF``) and the words of each mailbox message; None costs nothing."""

    def control(self, words: Sequence[str]) -> object:
        """The words of ``regmodel ctl SERVER``, for the whole card: a JSON-able answer. Raises ``UsageError``."""

    def stats(self) -> Mapping[str, Any]:
        """All counters by port, JSON-able."""


@runtime_checkable
class Closing(Protocol):
    """A card with files or sockets of its own."""

    def close(self) -> None:
        """Give them back. Harmless the second time."""


def load_card(device: Device, loop: Loop, **options: Any) -> Card:
    """The card of ``device``, built with ``options`` (``ports=2``). Raises ``UsageError`` when nothing behaves like it."""
    make = _resolve(device)
    try:
        inspect.signature(make).bind(device, loop, **options)
    except TypeError as error:
        raise UsageError(f"{device.name}: its model {device.model} does not take these options: {error}") from None
    card: Card = make(device, loop, **options)
    return card


def _resolve(device: Device) -> Callable[..., Card]:
    module, _, attribute = device.model.partition(":")
    if not module or not attribute:
        raise UsageError(f"{device.name}: its model {device.model!r} is not written as module:attribute")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"{device.name}: its model {device.model} cannot be imported: {error}") from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise UsageError(f"{device.name}: its model {device.model} does not exist: {module} has no {attribute}")
        found = getattr(found, name)
    if not callable(found):
        raise UsageError(f"{device.name}: its model {device.model} is no class or function that makes a card")
    make: Callable[..., Card] = found
    return make


class SingleCard:
    """The card of a device with one function, which sees all frames of its one port.

    ``build(device, host)`` makes the model; where the model has ``deliver``, received frames go there. ``single`` makes
    what ``Device.model`` may name.
    """

    def __init__(self, device: Device, build: Callable[[Device, Host], Model]) -> None:
        from emulators.fabric.switch import Switch

        switch = Switch("port0")
        self.ports = (SinglePort(switch),)
        self.slots = (SingleSlot(device, switch, build),)
        self.on_mailbox: Callable[[str, str, list[int]], None] | None = None

    def control(self, words: Sequence[str]) -> object:
        """What its one port knows. Raises ``UsageError``."""
        return self.ports[0].control(*words)

    def stats(self) -> Mapping[str, Any]:
        """The counters of its one port."""
        return {"port0": self.ports[0].switch.counters()}

    def save(self) -> dict[str, object]:
        """Nothing: all there is belongs to the function."""
        return {"version": 1}

    def load(self, state: Mapping[str, object]) -> None:
        """Raises ``StateError`` for the state of another card."""
        if state.get("version") != 1:
            raise StateError(f"the saved state is of version {state.get('version')!r}, not 1, of a single card")


class SinglePort:
    """A ``Port`` behind which there is no PF to talk to."""

    def __init__(self, switch: Switch) -> None:
        self.switch = switch

    def control(self, verb: str, *words: str) -> object:
        """``link up|down`` and ``stats``. Raises ``UsageError`` for all else."""
        if verb == "stats" and not words:
            return self.switch.counters()
        if verb == "link" and words in (("up",), ("down",)):
            self.switch.link.set_admin(words[0] == "up")
            return None
        raise UsageError(f"{' '.join((verb, *words))!r}: a device without PF knows 'link up', 'link down' and 'stats'")


class SingleSlot:
    """A ``Slot`` with a pool of its own that lets every frame pass."""

    name, number = "0", 0

    def __init__(self, device: Device, switch: Switch, build: Callable[[Device, Host], Model]) -> None:
        self._device, self._build = device, build
        self.packets = pool = switch.add_pool(self.name)
        pool.transmit_enable = pool.receive_enable = True
        pool.unicast_promiscuous = pool.multicast_promiscuous = True
        pool.accept_broadcast = pool.accept_untagged = True
        switch.default_pool, switch.replication = pool, True

    def build(self, host: Host) -> Model:
        model = self._build(self._device, host)
        if hasattr(model, "deliver"):
            self.packets.endpoint = cast("Endpoint", model)
        return model


def single(build: Callable[[Device, Host], Model]) -> Callable[[Device, Loop], SingleCard]:
    """The card class of a device whose model is ``build(device, host)``: ``VmxnetCard = single(Vmxnet)``."""

    def card(device: Device, loop: Loop) -> SingleCard:
        return SingleCard(device, build)

    return card
