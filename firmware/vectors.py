"""Tables of access vectors: written, placed in an image, and their results read.

``Program`` collects vectors and remembers what each was for; ``pack`` and ``unpack`` speak the layouts of ``format``. What
the vectors test, and against what, is decided by who writes them: ``compiled`` has the ones that follow from a description.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from construct import Construct

from firmware import format as f
from firmware.format import Flag, Kind, Match, Mode, Op, Space, Status
from regmodel.errors import UsageError
from regmodel.layout import layout

IO_SPACE, MEMORY_SPACE, BUS_MASTER = 1, 2, 4
"""Bits of the command register (PCI Local Bus 3.0, 6.2.2)."""
WHOLE = (1 << 64) - 1
SETTLE_US = 100_000
"""How long software leaves a function alone after a reset, and after VF Enable (PCIe Base 5.0, 6.6.1 and 6.6.2; SR-IOV 1.1,
3.3.3.1). Less is right only for a device that is known to be done when the write is: every device that QEMU emulates."""


class Vector(NamedTuple):
    """One row of the table. Members and units as in ``format.VECTOR``."""

    op: Op
    space: Space = Space.BAR0
    width: int = 0
    flags: Flag = Flag(0)
    target: int = 0
    number: int = 0
    offset: int = 0
    limit: int = 0
    value: int = 0
    mask: int = 0

    def __str__(self) -> str:
        where = f"target {self.target} {self.space.name}+{self.offset:#x}, {self.width} bytes"
        match self.op:
            case Op.READ if self.flags & Flag.CHECK:
                return f"read {where}, expecting {self.value:#x} under {self.mask:#x}"
            case Op.READ:
                return f"read {where}"
            case Op.WRITE:
                return f"write {self.value:#x} to {where}"
            case Op.POLL:
                return f"poll {where} for {self.value:#x} under {self.mask:#x}, at most {self.limit} us"
            case Op.DELAY:
                return f"wait {self.limit} us"
        return f"{self.op.name} of target {self.target} ({self.space.name}, number {self.number}, value {self.value:#x})"


class Result(NamedTuple):
    """What became of one vector. Members as in ``format.RESULT``."""

    status: Status
    fault: int
    times: int
    value: int

    @property
    def ok(self) -> bool:
        return self.status is Status.OK

    def __str__(self) -> str:
        if self.status is Status.FAULT:
            return f"exception {self.fault} at {self.value:#x}"
        return f"{self.status.name.lower().replace('_', ' ')}, {self.value:#x}"


@dataclass(frozen=True)
class Target:
    """Which function a vector is about; made by ``at``, ``known_as`` and ``vf_of``."""

    match: Match
    parent: int = 0
    index: int = 0
    vendor: int = 0
    device: int = 0
    bdf: int = 0


def at(bdf: str) -> Target:
    """The function at ``bus:device.function``, in hexadecimal (``00:01.0``). Raises ``UsageError``."""
    bus, _, rest = bdf.removeprefix("0000:").partition(":")
    device, _, function = rest.partition(".")
    try:
        numbers = int(bus, 16), int(device, 16), int(function or "0", 16)
    except ValueError:
        numbers = (-1, 0, 0)
    if not (0 <= numbers[0] < 256 and 0 <= numbers[1] < 32 and 0 <= numbers[2] < 8):
        raise UsageError(f"{bdf!r} is no PCI address: write it as 00:01.0")
    return Target(Match.BDF, bdf=numbers[0] << 8 | numbers[1] << 3 | numbers[2])


def known_as(vendor: int, device: int, index: int = 0) -> Target:
    """The ``index``-th function with these identifiers, in order of enumeration."""
    return Target(Match.ID, vendor=vendor, device=device, index=index)


@dataclass
class Program:
    """A table in the making. Each method that adds a vector returns its number, which is that of its result."""

    targets: list[Target] = field(default_factory=list)
    vectors: list[Vector] = field(default_factory=list)

    def target(self, target: Target) -> int:
        """Number a target. Raises ``UsageError`` when there are too many."""
        if target in self.targets:
            return self.targets.index(target)
        if len(self.targets) == f.TARGETS:
            raise UsageError(f"a table has room for {f.TARGETS} targets")
        self.targets.append(target)
        return len(self.targets) - 1

    def vf_of(self, parent: int, index: int) -> int:
        """Number VF ``index`` (from 0) of target ``parent``; it is there once ``vfs`` has run."""
        return self.target(Target(Match.VF, parent=parent, index=index))

    def add(self, vector: Vector) -> int:
        """Append one vector."""
        self.vectors.append(vector)
        return len(self.vectors) - 1

    def read(self, target: int, space: int, offset: int, width: int, expect: int | None = None, mask: int = WHOLE) -> int:
        """One read access; with ``expect``, a value that differs from it under ``mask`` is a mismatch."""
        flags = Flag(0) if expect is None else Flag.CHECK
        mask = mask & (1 << 8 * width) - 1 if expect is not None else 0
        return self.add(Vector(Op.READ, Space(space), width, flags, target, 0, offset, 0, expect or 0, mask))

    def write(self, target: int, space: int, offset: int, width: int, value: int) -> int:
        """One write access."""
        return self.add(Vector(Op.WRITE, Space(space), width, Flag(0), target, 0, offset, 0, value))

    def poll(self, target: int, space: int, offset: int, width: int, value: int, mask: int, limit_us: int) -> int:
        """Read until ``value`` is there under ``mask``, for at most ``limit_us``."""
        return self.add(Vector(Op.POLL, Space(space), width, Flag(0), target, 0, offset, limit_us, value, mask))

    def delay(self, us: int) -> int:
        """Let time pass."""
        return self.add(Vector(Op.DELAY, limit=us))

    def enable(self, target: int, command: int = MEMORY_SPACE | IO_SPACE) -> int:
        """Place the BARs and set bits 2:0 of the command register."""
        return self.add(Vector(Op.ENABLE, target=target, value=command))

    def size(self, target: int, bar: int) -> int:
        """Size a BAR; the value is in bytes, ``times`` are the BAR's type bits."""
        return self.add(Vector(Op.SIZE, Space(bar), target=target))

    def flr(self, target: int, settle_us: int = SETTLE_US) -> int:
        """Function level reset, and the time after it. Decoding is off then: ``enable`` it again."""
        return self.add(Vector(Op.FLR, target=target, limit=settle_us))

    def bus_reset(self, target: int, settle_us: int = SETTLE_US) -> int:
        """Secondary bus reset by the bridge above, and the time after it. Decoding is off then: ``enable`` it again."""
        return self.add(Vector(Op.BUS_RESET, target=target, limit=settle_us))

    def vfs(self, target: int, count: int, settle_us: int = SETTLE_US) -> int:
        """Enable VFs by the PF's SR-IOV capability."""
        return self.add(Vector(Op.VFS, target=target, number=count, limit=settle_us))

    def irqs(self, target: int, count: int, space: Space = Space.MSIX) -> int:
        """Have messages 0 to ``count`` - 1 counted; the value is the first one's index in ``irq_counts``."""
        return self.add(Vector(Op.IRQS, space, target=target, number=count))

    def irq_wait(self, target: int, message: int, times: int, limit_us: int, take: bool = True) -> int:
        """Wait until a message came so many times; the value is how often it came. ``take`` starts counting anew."""
        flags = Flag.TAKE if take else Flag(0)
        return self.add(Vector(Op.IRQ_WAIT, target=target, number=message, limit=limit_us, value=times, flags=flags))

    def locate(self, target: int) -> int:
        """Whether the target is there; the value is its routing ID."""
        return self.add(Vector(Op.LOCATE, target=target))

    def tables(self, mode: Mode = Mode.RUN) -> dict[str, bytes]:
        """What to place in an image, by symbol. Raises ``UsageError`` for more vectors than it has room for."""
        if len(self.vectors) > f.VECTORS:
            raise UsageError(f"{len(self.vectors)} vectors are more than the {f.VECTORS} of one table: split the run")
        control = layout(f.CONTROL).struct.pack(f.MAGIC, mode, len(self.targets), len(self.vectors))
        rows = [(t.match, t.parent, t.index, t.vendor, t.device, t.bdf, f.NONE, 0) for t in self.targets]
        return {"control": control, "targets": pack_rows(f.TARGET, rows), "vectors": pack(self.vectors)}


def pack_rows(schema: Construct, rows: Iterable[Sequence[int]]) -> bytes:
    """Rows of one layout."""
    return b"".join(layout(schema).struct.pack(*row) for row in rows)


def pack(vectors: Iterable[Vector]) -> bytes:
    """Vectors as the image reads them."""
    return pack_rows(f.VECTOR, vectors)


def unpack_vectors(data: bytes | memoryview) -> list[Vector]:
    """The same, back."""
    return [
        Vector(Op(op), Space(space), width, Flag(flags), *rest)
        for op, space, width, flags, *rest in layout(f.VECTOR).struct.iter_unpack(data)
    ]


_STATUS = {int(status): status for status in Status}


def unpack_results(data: bytes | memoryview) -> list[Result]:
    """Results as the image left them."""
    return [
        Result(_STATUS[status], fault, times, value)
        for status, fault, _, times, value in layout(f.RESULT).struct.iter_unpack(data)
    ]


@dataclass(frozen=True)
class Bar:
    """Where a BAR of the guest is. ``flags`` are ``format.BarFlag``."""

    address: int
    size: int
    flags: f.BarFlag


@dataclass(frozen=True)
class Found:
    """A function that the image found. ``bdf`` is the routing ID; ``bars`` by index, those of size 0 left out."""

    bdf: int
    upstream: int | None
    vendor: int
    device: int
    class_code: int
    kind: Kind
    revision: int
    vf: int
    bars: dict[int, Bar]

    @property
    def address(self) -> str:
        """``bus:device.function``."""
        return f"{self.bdf >> 8:02x}:{self.bdf >> 3 & 31:02x}.{self.bdf & 7}"

    def __str__(self) -> str:
        return f"{self.address} {self.vendor:04x}:{self.device:04x} {self.kind.name.lower()}"


def unpack_functions(data: bytes | memoryview, count: int) -> Iterator[Found]:
    """The first ``count`` functions of the image's table."""
    codec = layout(f.FUNCTION).struct
    for row in codec.iter_unpack(data[: count * codec.size]):
        bdf, upstream, vendor, device, class_code, kind, revision, vf, *words = row
        quads = [words[i : i + 4] for i in range(0, 24, 4)]
        bars = {i: Bar(address, size, f.BarFlag(flags)) for i, (address, size, flags, _) in enumerate(quads) if size}
        above = None if upstream == f.NONE else upstream
        yield Found(bdf, above, vendor, device, class_code, Kind(kind), revision, vf, bars)


class Report(NamedTuple):
    """How the image fared. Members as in ``format.REPORT``."""

    state: f.State
    failure: f.Failure
    done: int
    functions: int
    ecam: int
    acpi: int
    assigned: int
    first_bus: int
    last_bus: int
    tsc_khz: int
    boot_us: int
    run_us: int
    fault: int
    fault_code: int
    fault_at: int
    fault_access: int

    def __str__(self) -> str:
        if self.failure is f.Failure.FAULT:
            return f"exception {self.fault} (code {self.fault_code:#x}, CR2 {self.fault_access:#x}) at {self.fault_at:#x}"
        return f"{self.state.name.lower()}, {self.failure.name.lower()}, {self.done} vectors done"


def unpack_report(data: bytes | memoryview) -> Report:
    """The image's report."""
    codec = layout(f.REPORT).struct
    state, failure, *rest = codec.unpack(data[: codec.size])
    return Report(f.State(state), f.Failure(failure), *rest)
