"""What a check asks of a device, one small object at a time, and the trampolines that carry it there and back.

A check is a generator: it yields an access and is sent the answer. So it is written once, as straight-line text, and runs
wherever somebody can perform an access: ``run`` calls a ``Target``; ``arun`` awaits one, under cocotb; ``rehearse`` and
``Answers`` split the two directions for a target that takes the whole list first and answers later (firmware).

Checks keep one promise for the sake of the last: *what* they ask depends on the description alone, never on an answer.

Offsets and sizes are in bytes; values are unsigned and little-endian as on the bus. What is no access does not enter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar
from zlib import crc32

from regmodel.errors import RegmodelError
from regmodel.function import ResetCause


class ConformanceError(RegmodelError):
    """The suite cannot go on: the device hangs or is gone, or a target cannot do what it said it can."""


class TargetGone(ConformanceError):
    """There is nobody there any more; the next access would fail as well."""


class Diverged(ConformanceError):
    """A check that was rehearsed asked for something else when it ran: it broke its promise."""


@dataclass(frozen=True, slots=True)
class Read:
    """One read access of a BAR; answered by the value."""

    bar: int
    offset: int
    size: int

    def __str__(self) -> str:
        return f"read BAR{self.bar}+{self.offset:#x}, {self.size} bytes"


@dataclass(frozen=True, slots=True)
class Write:
    """One write access of a BAR."""

    bar: int
    offset: int
    size: int
    value: int

    def __str__(self) -> str:
        return f"write {self.value:#x} to BAR{self.bar}+{self.offset:#x}, {self.size} bytes"


@dataclass(frozen=True, slots=True)
class ConfigRead:
    """One read access of configuration space, of 1, 2 or 4 bytes; answered by the value."""

    offset: int
    size: int

    def __str__(self) -> str:
        return f"read config+{self.offset:#x}, {self.size} bytes"


@dataclass(frozen=True, slots=True)
class ConfigWrite:
    """One write access of configuration space, of 1, 2 or 4 bytes."""

    offset: int
    size: int
    value: int

    def __str__(self) -> str:
        return f"write {self.value:#x} to config+{self.offset:#x}, {self.size} bytes"


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the function. Its BARs answer afterwards, so whoever resets puts back what that takes (COMMAND, BARs)."""

    cause: ResetCause

    def __str__(self) -> str:
        return f"reset ({self.cause.value})"


@dataclass(frozen=True, slots=True)
class Drive:
    """Be the hardware: store ``value`` into register ``path`` (``bar0.eicr``, ``bar0.eitr[1]``), without side effects.

    ``mask`` are the bits to change. Only for targets with hardware-side ports.
    """

    path: str
    value: int
    mask: int

    def __str__(self) -> str:
        return f"hardware sets {self.path} to {self.value:#x} under {self.mask:#x}"


@dataclass(frozen=True, slots=True)
class Observe:
    """Be the hardware: what register ``path`` holds, without side effects. Only for targets with hardware-side ports."""

    path: str

    def __str__(self) -> str:
        return f"hardware looks at {self.path}"


@dataclass(frozen=True, slots=True)
class Told:
    """Be the hardware: what it was told of accesses to register ``path`` since it was last asked; see ``telling``.

    Only for targets that tell.
    """

    path: str

    def __str__(self) -> str:
        return f"what hardware was told of {self.path}"


def telling(writes: int, reads: int, ones: int) -> int:
    """The answer to ``Told``: how often it was written and was read with a side effect, and the ones of pulses or data."""
    return ones << 16 | min(reads, 0xFF) << 8 | min(writes, 0xFF)


@dataclass(frozen=True, slots=True)
class During:
    """An access of a BAR, and ``drive`` in the same clock; answered as the access is.

    The target uses all inputs that it has for that by turns. Only for targets whose hardware side is clocked.
    """

    access: Read | Write
    drive: Drive

    def __str__(self) -> str:
        return f"{self.access}, while {self.drive}"


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass, for the device too."""

    seconds: float

    def __str__(self) -> str:
        return f"wait {self.seconds} s"


@dataclass(frozen=True, slots=True)
class Listen:
    """Have MSI-X vectors 0 to ``count - 1`` delivered; with 0, none. Only for targets with interrupts."""

    count: int

    def __str__(self) -> str:
        return f"listen to {self.count} vectors"


@dataclass(frozen=True, slots=True)
class Fired:
    """Which vectors have fired since the last time, as a mask; waits up to ``seconds`` for a first one."""

    seconds: float

    def __str__(self) -> str:
        return f"wait {self.seconds} s for an interrupt"


@dataclass(frozen=True, slots=True)
class Allocate:
    """Zeroed DMA memory, page-aligned; answered by its address on the bus. Only for targets with DMA memory."""

    size: int

    def __str__(self) -> str:
        return f"allocate {self.size} bytes"


@dataclass(frozen=True, slots=True)
class Store:
    """Put ``data`` where the device reads it."""

    address: int
    data: bytes

    def __str__(self) -> str:
        return f"store {len(self.data)} bytes at {self.address:#x}"


@dataclass(frozen=True, slots=True)
class Load:
    """``size`` bytes that the device may have written; answered as one little-endian number."""

    address: int
    size: int

    def __str__(self) -> str:
        return f"load {self.size} bytes at {self.address:#x}"


@dataclass(frozen=True, slots=True)
class Now:
    """The time at the device, in microseconds from an arbitrary origin."""

    def __str__(self) -> str:
        return "look at the clock"


@dataclass(frozen=True, slots=True)
class Inject:
    """A frame arrives at the device from outside. Only for targets with a wire."""

    frame: bytes

    def __str__(self) -> str:
        return f"a frame of {len(self.frame)} bytes arrives"


@dataclass(frozen=True, slots=True)
class Heard:
    """What the device has sent since the last time, as ``digest`` makes it; waits up to ``seconds`` for ``frames`` frames.

    Before frames are missing, the device has answered ``ROUNDS`` times. Only frames of type ``CHECKS`` count: others may be on
    the same wire. Only for targets with a wire.
    """

    frames: int
    seconds: float

    def __str__(self) -> str:
        return f"wait {self.seconds} s for {self.frames} frames of the device"


ALIVE = ConfigRead(0x06, 2)
"""STATUS, which the device answers itself wherever it is: a round trip without a side effect."""
ROUNDS = 100
"""What has to come is missing when its time is up by the clock and the device has since answered ``ALIVE`` so often, with a nap
and a look after each.

By the clock alone, a device would be accused whose process stood still. An answer comes after all that the device was told
before. The work that it then has comes after the answer: a turn of its loop for each queue, or when some of its own time has
passed. So one answer is not enough, and a nap belongs to each: a loop that is not the one that answers goes on meanwhile.
"""
CHECKS = bytes.fromhex("88b5")
"""The Ethernet type of frames that checks send: local experimental 1 (IEEE 802)."""


def digest(frames: Iterable[bytes]) -> int:
    """A number for frames in their order: a CRC-32 of each with its length, one after the other; 0 for none."""
    value = 0
    for frame in frames:
        value = crc32(frame, crc32(len(frame).to_bytes(4, "little"), value))
    return value


@dataclass(frozen=True, slots=True)
class ResetPeer:
    """The PF is reset under the function. Only for targets whose peer can be told to."""

    def __str__(self) -> str:
        return "the PF is reset"


Access: TypeAlias = (
    Read | Write | ConfigRead | ConfigWrite | Reset | Drive | Observe | Told | During | Wait | Listen | Fired
    | Allocate | Store | Load | Now | Inject | Heard | ResetPeer
)  # fmt: skip
T = TypeVar("T")
Steps: TypeAlias = Generator[Access, int, T]
"""A check in progress: yields accesses, is sent answers (0 where there is nothing to answer)."""

READS = (Read, ConfigRead, Observe, Told, During, Fired, Allocate, Load, Now, Heard)
"""The accesses that are answered."""


class Target(Protocol):
    """Something that performs accesses. Raises ``TargetGone``, or any other ``RegmodelError`` for one that failed."""

    def perform(self, access: Access) -> int:
        """Do it, and answer it (0 where there is nothing to answer)."""


def run(steps: Steps[T], target: Target) -> T:
    """Carry a check to a target. What the target raises is raised in the check, at the access that failed."""
    perform = target.perform
    try:
        access = next(steps)
        while True:
            try:
                answer = perform(access)
            except RegmodelError as error:
                access = steps.throw(error)
            else:
                access = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def arun(steps: Steps[T], perform: Callable[[Access], Awaitable[int]]) -> T:
    """The same where performing has to be awaited."""
    try:
        access = next(steps)
        while True:
            try:
                answer = await perform(access)
            except RegmodelError as error:
                access = steps.throw(error)
            else:
                access = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


def rehearse(steps: Steps[T], answer: Callable[[Access], int]) -> tuple[list[Access], T]:
    """Everything that a check will ask for, when ``answer`` (a predictor) plays the device; and its result."""
    asked: list[Access] = []

    class Rehearsal:
        def perform(self, access: Access) -> int:
            asked.append(access)
            return answer(access)

    return asked, run(steps, Rehearsal())


class Answers:
    """A ``Target`` that was asked beforehand: ``asked`` as rehearsed, and one answer for each of ``READS`` among it."""

    def __init__(self, asked: Iterable[Access], answers: Iterable[int]) -> None:
        self._asked, self._answers = iter(asked), iter(answers)

    def perform(self, access: Access) -> int:
        expected = next(self._asked, None)
        if access != expected:
            raise Diverged(f"rehearsed: {expected}; now asked for: {access}")
        if not isinstance(access, READS):
            return 0
        answer = next(self._answers, None)
        if answer is None:
            raise TargetGone(f"no answer to: {access}")
        return answer
