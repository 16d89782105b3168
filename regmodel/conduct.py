"""What a judge must know of a device beyond its registers one by one: what stirs when a bit is written, what stays quiet.

A register file says how each bit behaves by itself. It does not say that CTRL.RST resets the file, that a mailbox request
makes somebody else write to the memory beside it, or that a bit which hardware may set stays alone while no queue runs.
That knowledge is data, stands beside the device's description (``Device.conduct``) and cites its source like everything
else there. The conformance suite reads it; no behaviour and no test enters.

Names are ``register``, ``register.field`` or ``register[0].field``; each must be of a BAR, or of configuration space, of the
device that the conduct is of. What only some devices of a family have belongs into the conduct of those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from construct import Construct

from regmodel.access import declaring_line
from regmodel.errors import DescriptionError
from regmodel.function import ResetCause
from regmodel.sources import Source

if TYPE_CHECKING:
    from regmodel.registers import Entry


def _reasoned(what: str, why: str) -> None:
    """Reports print the reason of everything that a judge leaves out. Raises ``DescriptionError`` where there is none."""
    if not why.strip():
        raise DescriptionError("why-missing", what, declaring_line(), "tests would leave it out without a reason; say why")


def _here() -> Any:
    """The line that declares it, as ``file:line``; two that say the same are equal."""
    return field(default_factory=declaring_line, kw_only=True, compare=False, repr=False)


@dataclass(frozen=True)
class Effect:
    """Writing a 1 to ``register.field`` makes the device do something that registers show.

    ``resets`` is the reset that it does, which takes ``seconds`` at most. ``changes`` are registers of which nothing is
    known afterwards.
    """

    field: str
    why: str
    resets: ResetCause | None = None
    changes: tuple[str, ...] = ()
    seconds: float = 0.0
    sources: tuple[Source, ...] = ()
    where: str = _here()

    def __post_init__(self) -> None:
        _reasoned(self.field, self.why)


@dataclass(frozen=True)
class Held:
    """Tests of registers leave ``register.field`` at its reset value, because of what it would set going."""

    field: str
    why: str
    where: str = _here()

    def __post_init__(self) -> None:
        _reasoned(self.field, self.why)


@dataclass(frozen=True)
class Same:
    """``registers`` of two BARs show one state, as far as their fields have the same names: a write to one is one to both."""

    registers: tuple[str, str]
    why: str
    sources: tuple[Source, ...] = ()
    where: str = _here()


@dataclass(frozen=True)
class Touched:
    """Somebody else, such as the driver of the PF, writes to ``register.field`` after resets by these ``causes``."""

    field: str
    why: str
    causes: tuple[ResetCause, ...]
    sources: tuple[Source, ...] = ()
    where: str = _here()

    def __post_init__(self) -> None:
        _reasoned(self.field, self.why)


@dataclass(frozen=True)
class Excluded:
    """``test`` (a name, or ``*``) is not done on ``register``. A judge that can do it all the same reports it as needless."""

    test: str
    register: str
    why: str
    where: str = _here()

    def __post_init__(self) -> None:
        _reasoned(f"{self.register} ({self.test})", self.why)


@dataclass(frozen=True)
class Route:
    """Where the cause of queue ``queue`` of ``ring``, or of the mailbox (no ring), is given its vector: the field ``vector``
    holds its number, and without ``valid`` there is none.
    """

    vector: str
    valid: str
    ring: str = ""
    queue: int = 0


@dataclass(frozen=True, kw_only=True)
class Interrupts:
    """The interrupt block: registers which have one bit per MSI-X vector in ``field``, and the throttle of each vector.

    A vector is signalled when its bit becomes set in ``cause`` and ``mask`` together. ``auto_clear`` and ``auto_mask`` name
    the bits of these two that a message clears; a cause set by software takes back what ``auto_mask`` did. ``interval`` is
    the field of ``throttle`` (an array by vector) that keeps messages apart, in ``unit`` seconds.
    """

    field: str
    cause: str
    set_cause: str
    mask: str
    mask_clear: str
    auto_clear: str
    auto_mask: str
    throttle: str
    interval: str
    unit: float
    routes: tuple[Route, ...] = ()
    sources: tuple[Source, ...] = ()

    def named(self) -> Iterator[str]:
        """The registers and fields that it names."""
        by_vector = (self.cause, self.set_cause, self.mask, self.mask_clear, self.auto_clear, self.auto_mask)
        yield from (f"{register}.{self.field}" for register in by_vector)
        yield f"{self.throttle}.{self.interval}"
        for route in self.routes:
            yield from (route.vector, route.valid)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and what comes back, while nobody has configured the other side otherwise.

    ``fields`` are of the first word of ``message`` and of its other words; ``words`` are what is said instead where no
    message is like that, and ``name`` what to call it. The first word of the answer repeats that of the request, with the
    fields of ``reply`` changed; None means that the request is taken and not answered. ``either``: it prepares the next
    one, and may be granted or not. ``pause`` seconds pass first (of what is ``unheard`` only).
    """

    message: str
    fields: Mapping[str, object] = field(default_factory=dict)
    reply: Mapping[str, int] | None = None
    name: str = ""
    words: tuple[int, ...] = ()
    either: bool = False
    pause: float = 0.0
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Talk:
    """How the parties of ``mailbox`` pass messages: fields of its control register, by what they are for.

    ``own`` takes the memory, which ``others`` shows the other side to have. ``request`` and ``acknowledge`` are events at
    the other side; ``arrived``, ``taken`` and ``was_reset`` are events at ours, ``in_reset`` is a state.

    ``opening`` is what a function says first: only then is it listened to, and may it send and receive. Its answer has
    ``granted`` or ``refused`` set, and brings an address in ``address`` or zeros. ``unheard`` is said before it, ``exchanges``
    after it, by row of the report. ``unasked`` is the message that the other side sends when it restarts.
    """

    mailbox: str
    own: str
    others: str
    request: str
    acknowledge: str
    arrived: str
    taken: str
    in_reset: str
    was_reset: str
    opening: Exchange
    granted: str
    refused: str
    address: str
    claim: Exchange
    """What takes an address where the opening brought none."""
    unasked: str
    unheard: tuple[Exchange, ...] = ()
    rebuke: int | None = None
    """The first word of what the other side says to one who acknowledges the last of ``unheard``; None: nothing."""
    exchanges: Mapping[str, tuple[Exchange, ...]] = field(default_factory=dict)
    announced: tuple[ResetCause, ...] = ()
    """Resets of ours after which the other side says ``was_reset``, because we have forgotten that it is there."""
    patience: float = 0.0
    """How long the other side waits for memory that we keep, in seconds."""
    seconds: float = 0.5
    """The longest that the other side takes."""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """How a queue of ``ring`` is set going and a descriptor of it is filled. Paths are of the schema, with dots.

    ``setup`` are fields (``register.field``) to write before ``enable`` is set. ``constant`` are fields of every descriptor,
    ``address``, ``length``, ``whole`` (bytes of the packet) those that say where the packet is; ``last`` are set in its last
    one. ``done``, ``got`` (bytes) and ``end`` (of the packet) are of the format that the device writes back: in place of
    every descriptor, or of the ``last`` only.
    """

    ring: str
    enable: str
    setup: Mapping[str, int]
    format: str
    constant: Mapping[str, int]
    address: str
    length: str = ""
    whole: str = ""
    last: tuple[str, ...] = ()
    written: str = ""
    done: str = ""
    got: str = ""
    end: str = ""
    counter: str = ""
    """A register that counts packets of all queues."""
    octets: str = ""
    """One that counts their bytes, ``overhead`` more for each."""
    overhead: int = 0
    dropped: str = ""
    """One, by queue, that counts packets for which there was no descriptor, and is cleared by reading."""
    inward: bool = False
    """Packets come in: descriptors are offered before there is anything."""
    room: int = 0
    """Bytes that a buffer has, after ``setup``, where packets come in."""
    unreached: str = ""
    """Why packets come to the first queue only; empty if they can come to all."""
    sources: tuple[Source, ...] = ()

    def named(self) -> Iterator[str]:
        """The registers and fields that it names."""
        yield from (self.enable, *self.setup, self.counter, self.octets, self.dropped)


@dataclass(frozen=True, kw_only=True)
class Front:
    """The registers by which a virtio device is negotiated with and handed its queues, by what they are for.

    ``offered`` shows the device's features and ``accepted`` takes those of the driver, 32 bits at a time, of which ``words``
    (one register for each of the two) say which; without them there are 32 only. ``queue`` selects what ``size``, ``areas``,
    ``enable`` and ``vector`` are of. ``areas`` are the addresses of descriptors, driver area and device area, or the number
    of the page of 4096 bytes in which all of them begin; then ``size`` is the device's to say, and there is no ``enable``.
    ``told`` is the doorbell: an array by queue, or one register for all.
    """

    status: str
    offered: str
    accepted: str
    queue: str
    size: str
    areas: tuple[str, ...]
    vector: str
    told: str
    words: tuple[str, str] | tuple[()] = ()
    enable: str = ""
    seconds: float = 1.0
    """The longest that a reset takes."""


@dataclass(frozen=True, kw_only=True)
class Virtqueue:
    """How packets go through virtqueue ``number`` of a network device: ``features`` are accepted, ``welcome`` ones where they
    are offered, and each packet has ``header`` bytes before it, in the buffer of its first bytes. Buffers have ``room`` bytes
    where packets come in, header included; a packet may take several, and ``merged`` is the path in ``schema`` (the header)
    that says how many.
    """

    ring: str
    number: int
    front: Front
    features: int
    schema: Construct
    merged: str
    packed: bool = False
    inward: bool = False
    room: int = 0
    welcome: int = 0
    sources: tuple[Source, ...] = ()

    def named(self) -> Iterator[str]:
        """The registers that it names."""
        front = self.front
        yield from (front.status, front.offered, front.accepted, front.queue, front.size, *front.areas)
        yield from (front.vector, front.told, *front.words, front.enable)


@dataclass(frozen=True)
class Block:
    """A structure in memory: what its fields are (by path, 0 where none is given) before a device is started. A value that is
    a name is the address of that block; ``size`` is that of a block without ``schema``, in bytes.
    """

    schema: Construct | None = None
    values: Mapping[str, int | str] = field(default_factory=dict)
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class Generations:
    """How packets go through a ring whose entries carry a generation, which is 1 at first and flips at each wrap, and are
    reported in a ring of completions that does the same. Structures in memory place both: ``memory``, of which the block
    ``root`` stands in ``registers`` (low, high).

    ``setup`` are registers to write first; ``start``, ``stop`` and ``count`` are written to ``command``, which then reads 0
    when the device has started, and has stored its counters when asked to count. Paths are of the entries: ``address``,
    ``length``, ``generation`` and ``last`` of those given in the block ``given``, ``told`` (its generation), ``index`` (of an
    entry given), ``got`` (bytes) and ``end`` of those in ``back``. ``kind`` is 1 for all buffers of a packet but its first.
    """

    ring: str
    entries: int
    given: str
    back: str
    format: Construct
    written: Construct
    memory: Mapping[str, Block]
    root: str
    registers: tuple[str, str]
    command: str
    setup: Mapping[str, int]
    start: int
    stop: tuple[int, ...]
    count: int
    counter: tuple[str, str]
    """Block and path of the number of broadcasts, as all packets of the suite are."""
    octets: tuple[str, str]
    address: str
    length: str
    generation: str
    index: str
    told: str
    got: str = ""
    end: str = ""
    kind: str = ""
    last: tuple[str, ...] = ()
    dropped: tuple[str, str] = ("", "")
    most: int = 0
    """Descriptors of a packet that goes out, at most."""
    vector: tuple[str, str]
    """Block and path of the queue's vector; ``mask`` is the register (an array by vector) that holds it back."""
    speaks: Mapping[tuple[str, str], int]
    """What is otherwise in these fields, so that the device sends interrupts."""
    mask: str
    inward: bool = False
    room: int = 0
    sources: tuple[Source, ...] = ()

    def named(self) -> Iterator[str]:
        """The registers that it names."""
        yield from (*self.registers, self.command, *self.setup, self.mask)


Way: TypeAlias = Traffic | Virtqueue | Generations
"""How packets go through a queue."""


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """How one device behaves as a whole."""

    effects: tuple[Effect, ...] = ()
    held: tuple[Held, ...] = ()
    same: tuple[Same, ...] = ()
    touched: tuple[Touched, ...] = ()
    quiet: tuple[str, ...] = ()
    """Hardware changes these in consequence of something only: while nothing is set going they keep their value."""
    free_running: tuple[str, ...] = ()
    """Hardware changes these all the time, even what a hardware-side port stores there."""
    excluded: tuple[Excluded, ...] = ()
    interrupts: Interrupts | None = None
    talk: Talk | None = None
    traffic: tuple[Way, ...] = ()
    where: str = _here()

    def named(self) -> Iterator[tuple[str, str, str]]:
        """What it names of the device: in which list, the name, and the line that does."""
        for e in self.effects:
            yield from (("effects", name, e.where) for name in (e.field, *e.changes))
        yield from (("held", h.field, h.where) for h in self.held)
        yield from (("same", name, s.where) for s in self.same for name in s.registers)
        yield from (("touched", t.field, t.where) for t in self.touched)
        yield from (("quiet", name, self.where) for name in self.quiet)
        yield from (("free_running", name, self.where) for name in self.free_running)
        yield from (("excluded", e.register, e.where) for e in self.excluded)
        if self.interrupts is not None:
            yield from (("interrupts", name, self.where) for name in self.interrupts.named())
        for way in self.traffic:
            yield from (("traffic", name, self.where) for name in way.named() if name)


WHOLE = frozenset({"same", "excluded"})
"""Lists of whole registers and arrays: a field or an element of one says nothing there."""


def knows(entries: Mapping[str, Entry], name: str) -> bool:
    """Whether a register file has what a name means: registers of several files may be called alike."""
    register, dot, part = name.partition(".")
    register, bracket, index = register.partition("[")
    entry = entries.get(register)
    if entry is None or (bracket and index not in {f"{i}]" for i in range(len(entry.offsets))}):
        return False
    return not dot or part in getattr(entry, "named", ())


def base_of(name: str) -> str:
    """The register of ``register[0].field``."""
    return name.partition(".")[0].partition("[")[0]


def find_field(entries: Mapping[str, Entry], name: str) -> tuple[str, int | None, int]:
    """The register, the element of an array (None for all) and the bits that a name means. Raises KeyError."""
    register, _, part = name.partition(".")
    register, _, index = register.partition("[")
    entry = entries[register]
    mask = entry.named[part].mask if part else (1 << 8 * entry.size) - 1
    return register, int(index[:-1]) if index else None, mask
