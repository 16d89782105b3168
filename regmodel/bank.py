"""The executable register file: what a described BAR does when somebody accesses it.

Two planes. ``read`` and ``write`` are accesses of the bus, with all side effects of the description; ``peek`` and
``poke`` (and ``bank["eicr"].value``) are the device's and the debugger's, without any. State is flat bytes per BAR, so a
window that may be mapped and a saved image are the same bytes; precomputed masks per register do the rest.

Semantics, in the order in which one access applies them:

- A read takes the value under the readable bits, then clears or sets what reading clears or sets.
- A write changes, bit by bit under its access, only the bytes that it covers, and no field whose lock is shut as the write
  finds it (``regmodel.locks``); then the hooks run. Hooks get
  ``(path, old, new, size, cause)``, where ``new`` still shows pulse bits that were written and the state does not.
- A doorbell stores nothing; a command stores nothing and reads as the result that the device poked.
- A pair is stored half by half, but its hooks see the whole 64-bit value when the high half is written.
- A bank of registers shows the instance that its index register selects; beyond the last it reads 0 and ignores writes.
- What hits no register, or hits one in a way that the policy refuses, is a miss: reads answer all zeros or ones.
- A reset writes reset values without running write hooks; fields that survive the cause keep their value.

Always on: a ring of the last accesses (tuples, formatted by whoever looks) and coverage per register and bit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
from enum import Enum
from mmap import MAP_PRIVATE, mmap
from typing import Any, TypeAlias, TypeGuard

from regmodel.access import OnRead, OnWrite
from regmodel.bits import Field, Lock
from regmodel.errors import StateError
from regmodel.function import ResetCause
from regmodel.registers import Bar, Entry, Kind, Miss, Partial, Register, Status, Wide, Window


class Cause(Enum):
    """Why a hook runs."""

    READ = "read"
    WRITE = "write"
    RESET = "reset"


class Path(str):
    """The path of one register instance, ``rdt[1]``, with its parts: ``name`` and ``instance`` (0 where there is no array)."""

    name: str
    instance: int

    def __new__(cls, name: str, index: int | None) -> Path:
        self = super().__new__(cls, name if index is None else f"{name}[{index}]")
        self.name, self.instance = name, index or 0
        return self


Hook: TypeAlias = Callable[[Path, int, int, int, Cause], None]
Record: TypeAlias = tuple[int, Cause, "Path | None", int, int, int]
"""One access: time in ns, cause, path (None for a miss), offset, size, value."""

MAPPED = 1 << 20
"""Bytes from which on a BAR is mapped, page by page."""
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_ALL = (1 << 64) - 1
_READ, _WRITE = Cause.READ, Cause.WRITE  # members of an enumeration are found through its metaclass, which takes a while


class _Selected(MutableSequence[int]):
    """Storage of a banked register: one value per selection, addressed by what the index register holds."""

    def __init__(self, select: Cell, count: int) -> None:
        self.select, self.values = select, [0] * count

    @property
    def shown(self) -> bool:
        """The index register selects an instance that exists."""
        return self.select.value < len(self.values)

    def __getitem__(self, _: Any) -> Any:
        at = self.select.value
        return self.values[at] if at < len(self.values) else 0

    def __setitem__(self, _: Any, value: Any) -> None:
        at = self.select.value
        if at < len(self.values):
            self.values[at] = value

    def __len__(self) -> int:
        return len(self.values)

    def __delitem__(self, _: Any) -> None:
        raise TypeError("a bank of registers does not shrink")

    def insert(self, index: int, value: int) -> None:
        raise TypeError("a bank of registers does not grow")


class Cell:
    """One register instance (or one word of a window): where it is stored, its masks, hooks and coverage.

    ``value`` is the raw state, without side effects; ``get`` and ``set`` do the same by field name.
    """

    __slots__ = (
        "banked", "before_read", "doorbell", "entry", "fields", "index", "locks", "offset", "on_read", "on_write",
        "once", "ones", "pair", "partial", "partner", "path", "plain", "pulse", "rc", "readable", "reads", "reserved",
        "reset_values", "rs", "simple", "size", "spent", "status", "store", "stored", "w0c", "w1c", "w1s", "w1t",
        "width_mask", "writes", "zeros",
    )  # fmt: skip

    def __init__(self, path: Path, offset: int, size: int, fields: Sequence[Field], entry: Entry) -> None:
        self.path, self.offset, self.size, self.entry = path, offset, size, entry
        self.fields = {f.name: f for f in fields if f.name}
        self.width_mask = (1 << 8 * size) - 1
        self.store: Any = None
        self.index = 0

        def bits(*behaviours: OnWrite) -> int:
            return sum(f.mask for f in fields if f.access.onwrite in behaviours)

        self.stored, self.once = bits(OnWrite.STORE), bits(OnWrite.ONCE)
        self.w1c, self.w0c, self.w1s = bits(OnWrite.ONE_CLEARS), bits(OnWrite.ZERO_CLEARS), bits(OnWrite.ONE_SETS)
        self.w1t, self.pulse = bits(OnWrite.ONE_TOGGLES), bits(OnWrite.PULSE)
        self.rc = sum(f.mask for f in fields if f.access.onread is OnRead.CLEAR)
        self.rs = sum(f.mask for f in fields if f.access.onread is OnRead.SET)
        self.readable = sum(f.mask for f in fields if f.access.readable)
        self.reserved = sum(f.mask for f in fields if f.access.reserved)
        kind = entry.kind
        self.doorbell = kind in (Kind.DOORBELL, Kind.COMMAND)
        if kind is Kind.DOORBELL:
            self.readable = self.rc = self.rs = 0
        acts = self.once or self.w1c or self.w0c or self.w1s or self.w1t or self.pulse or self.doorbell
        self.plain = not (acts or any(f.lock for f in fields))
        self.status = entry.status
        self.partial = entry.status is not Status.IMPLEMENTED
        self.banked = False
        self.simple = self.plain and not self.partial
        """A whole write does nothing but store: what is left to ask are reserved bits and hooks."""
        self.locks: tuple[tuple[Cell, int, int, int], ...] = ()
        """Where the key of each is, under which mask it is shut by which word, and the bits that it locks."""
        self.pair: tuple[Cell, Cell] | None = None
        self.partner = False
        self.spent = 0  # write-once bits that have been written
        self.reads = self.writes = self.ones = self.zeros = 0
        self.before_read: tuple[Callable[[Path], None], ...] = ()
        self.on_read: tuple[Hook, ...] = ()
        self.on_write: tuple[Hook, ...] = ()
        self.reset_values: dict[ResetCause, tuple[int, int]] = {}

    @property
    def value(self) -> int:
        """The state, all bits, no side effects."""
        return int(self.store[self.index])

    @value.setter
    def value(self, value: int) -> None:
        self.store[self.index] = value & self.width_mask

    def get(self, name: str) -> int:
        """Field ``name`` of the state."""
        return self.fields[name].of(self.value)

    def set(self, **values: int) -> None:
        """Change fields of the state; ``set(lu=1)``."""
        word = self.value
        for name, value in values.items():
            word = self.fields[name].into(word, value)
        self.store[self.index] = word

    def whole(self) -> int:
        """The 64-bit value of a pair (from either half), else the value."""
        if self.pair is None:
            return self.value
        low, high = self.pair
        return high.value << 32 | low.value


class Bank:
    """The state and behaviour of one ``Bar``. ``now`` stamps the access ring, in nanoseconds."""

    def __init__(self, bar: Bar, *, now: Callable[[], int] = time.monotonic_ns, history: int = 4096) -> None:
        self.bar, self.now = bar, now
        self.memory = self._bytes(bar.size)
        self.ring: deque[Record] = deque(maxlen=history)
        self.observer: Callable[[Record], None] | None = None
        self.notice: Callable[[str, str, int], None] | None = None
        """Told (kind, path or offset, value) the first time a guest does what silicon would not answer for."""
        self.misses = 0
        self._noticed: set[tuple[str, str]] = set()
        self._miss_word = _ALL if bar.policy.unmapped is Miss.ONES else 0
        view = memoryview(self.memory)
        self._views: dict[int, Any] = {
            n: view[: bar.size - bar.size % n].cast(f)  # type: ignore[call-overload]
            for n, f in _FORMATS.items()
        }
        self._cells: dict[int, Cell] = {}
        self._owner: dict[int, Cell] = {}
        self._windows: list[tuple[int, int, Window, Path]] = []
        self._named: dict[tuple[str, int], Cell] = {}
        self._build()
        self.reset(ResetCause.POWER_ON)

    # -- construction ------------------------------------------------------------------------------------------------

    def _bytes(self, size: int) -> bytearray | memoryview:
        """Where the registers stand: ``size`` zeros. Of many, mostly between registers, those cost memory that are written."""
        return bytearray(size) if size < MAPPED else memoryview(mmap(-1, size, MAP_PRIVATE))

    def _build(self) -> None:
        for _, index, offset, entry in self.bar.placed():
            name = next(n for n, e in self.bar.entries.items() if e is entry)
            if isinstance(entry, Window):
                self._build_window(name, entry)
                continue
            cell = Cell(Path(name, index if entry.is_array else None), offset, entry.size, entry.fields, entry)
            cell.store, cell.index = self._views[entry.size], offset // entry.size
            if entry.kind is not Kind.DOORBELL:
                cell.reset_values = {cause: _reset_of(entry, cause) for cause in ResetCause}
            self._place(cell, index)
        for (name, index), cell in list(self._named.items()):
            if isinstance(cell.entry, Register):
                self._link(name, index, cell, cell.entry)

    def _place(self, cell: Cell, index: int) -> None:
        self._cells[cell.offset] = cell
        self._named[cell.path.name, index] = cell
        for byte in range(cell.offset, cell.offset + cell.size):
            self._owner[byte] = cell

    def _build_window(self, name: str, window: Window) -> None:
        """Small windows are words (one cell each); large ones stay bytes."""
        if window.at % 4 or window.size % 4 or window.size > 4096:
            self._windows.append((window.at, window.at + window.size, window, Path(name, None)))
            return
        for i in range(window.size // 4):
            cell = Cell(Path(name, i), window.at + 4 * i, 4, (Field(window.access, 0, 32, name="value"),), window)
            cell.store, cell.index = self._views[4], cell.offset // 4
            cell.reset_values = {cause: (0, cell.width_mask) for cause in ResetCause if cause not in window.survives}
            self._place(cell, i)

    def _link(self, name: str, index: int, cell: Cell, entry: Register) -> None:
        if entry.of is not None:
            target = self._named[entry.of, index]
            cell.store, cell.index = target.store, target.index
            cell.reset_values = {}
        if entry.banked_by is not None:
            select, count = entry.banked_by
            cell.store, cell.index, cell.banked = _Selected(self._named[select, 0], count), 0, True
            cell.simple = False
        cell.locks = tuple(self._lock(index, lock, f.mask) for f in entry.fields if (lock := f.lock) is not None)
        if entry.pair is not None:
            low, high = entry.pair
            cell.pair = (self._named[low, index], self._named[high, index])
            cell.partner = name == low
            cell.simple = False

    def _lock(self, index: int, lock: Lock, mask: int) -> tuple[Cell, int, int, int]:
        """As ``Cell.locks`` has it, for element ``index`` of the register of a field of ``mask``."""
        key = self._named[lock.register, index if self.bar.entries[lock.register].is_array else 0]
        field = key.fields[lock.field]
        return key, field.mask, lock.value << field.lsb, mask

    # -- names -------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: str | tuple[str, int]) -> Cell:
        """The cell of a register: ``bank["ctrl"]``, ``bank["rdt", 1]``. Raises KeyError."""
        return self._named[key] if isinstance(key, tuple) else self._named[key, 0]

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._named.values())

    def all(self, name: str) -> list[Cell]:
        """All instances of a register, or all words of a window."""
        return [cell for (n, _), cell in self._named.items() if n == name]

    def cell_at(self, offset: int) -> Cell | None:
        """The cell that owns a byte, or None."""
        return self._owner.get(offset)

    def on_write(self, name: str, hook: Hook) -> None:
        """Run ``hook(path, old, new, size, cause)`` after each write of ``name`` (of any instance)."""
        for cell in self._each(name):
            cell.on_write += (hook,)

    def on_read(self, name: str, hook: Hook) -> None:
        """Run ``hook(path, old, new, size, cause)`` after each read of ``name``: ``old`` was returned, ``new`` is left."""
        for cell in self._each(name):
            cell.on_read += (hook,)

    def before_read(self, name: str, hook: Callable[[Path], None]) -> None:
        """Run ``hook(path)`` before each read of ``name``, so that it can poke a value which is computed when asked for."""
        for cell in self._each(name):
            cell.before_read += (hook,)

    def _each(self, name: str) -> list[Cell]:
        cells = self.all(name)
        if not cells:
            raise KeyError(f"{self.bar.bar} has no register {name!r}")
        return cells

    # -- the bus plane -----------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """One read access of 1, 2, 4 or 8 bytes."""
        cell = self._cells.get(offset)
        if cell is None or cell.size != size:
            return self._read_odd(offset, size)
        for before in cell.before_read:
            before(cell.path)
        state = cell.store[cell.index]
        value: int = state & cell.readable
        cell.reads += 1
        record = (self.now(), _READ, cell.path, offset, size, value)
        self.ring.append(record)
        if self.observer is not None:
            self.observer(record)
        if cell.rc or cell.rs or cell.on_read or cell.partial:
            self._after_read(cell, state, _ALL, size)
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """One write access of 1, 2, 4 or 8 bytes."""
        cell = self._cells.get(offset)
        if cell is None or cell.size != size:
            self._write_odd(offset, size, value)
            return
        record = (self.now(), _WRITE, cell.path, offset, size, value)
        self.ring.append(record)
        if self.observer is not None:
            self.observer(record)
        if not cell.simple:
            self._store(cell, value, cell.width_mask, size)
            return
        store, index, keep = cell.store, cell.index, cell.stored  # ``_store`` for most registers, doorbells above all
        old: int = store[index]
        cell.writes += 1
        cell.ones |= value
        cell.zeros |= value ^ cell.width_mask
        store[index] = new = old ^ (old ^ value) & keep
        if (value ^ old) & cell.reserved:
            self._complain(cell, value)
        for hook in cell.on_write:
            hook(cell.path, old, new, size, _WRITE)

    def _store(self, cell: Cell, value: int, lanes: int, size: int) -> None:
        """Write the bits of ``value`` under ``lanes`` into one cell, under its access, and run its hooks."""
        store, index = cell.store, cell.index
        old: int = store[index]
        if cell.banked and not store.shown:
            return
        cell.writes += 1
        cell.ones |= value
        cell.zeros |= ~value & lanes
        if cell.plain:
            keep = cell.stored & lanes
            new = store[index] = (old & ~keep) | (value & keep)
        elif cell.doorbell:
            new = value & lanes
        else:
            new = self._apply(cell, old, value & lanes, lanes)
        if (value ^ old) & cell.reserved & lanes or cell.partial:
            self._complain(cell, value)
        if cell.on_write:
            if cell.pair is None:
                for hook in cell.on_write:
                    hook(cell.path, old, new, size, _WRITE)
            elif not cell.partner:
                low = cell.pair[0].value
                for hook in cell.on_write:
                    hook(cell.path, old << 32 | low, new << 32 | low, size, _WRITE)

    def _apply(self, cell: Cell, old: int, value: int, lanes: int) -> int:
        """The axes other than store, and locks. Returns the new value with written pulse bits still in it."""
        if cell.locks:
            for key, under, shut, locked in cell.locks:
                if key.value & under == shut:
                    if _acts(cell, old, value) & locked & lanes:
                        self._say("locked", cell.path, value)
                    lanes &= ~locked
            value &= lanes
        keep = cell.stored & lanes
        new = (old & ~keep) | (value & keep)
        new &= ~(value & cell.w1c)
        new &= value | ~(cell.w0c & lanes)
        new |= value & cell.w1s
        new ^= value & cell.w1t
        once = cell.once & lanes & ~cell.spent
        if once:
            new = (new & ~once) | (value & once)
            cell.spent |= once
        new &= ~(cell.pulse & lanes)
        cell.store[cell.index] = new
        return new | (value & cell.pulse)

    def _after_read(self, cell: Cell, state: int, lanes: int, size: int) -> None:
        new = (state & ~(cell.rc & lanes)) | (cell.rs & lanes)
        if new != state:
            cell.store[cell.index] = new
        if cell.partial:
            self._complain(cell, state)
        for hook in cell.on_read:
            hook(cell.path, state, new, size, _READ)

    # -- accesses that are not exactly one register ------------------------------------------------------------------

    def _hits(self, offset: int, size: int) -> list[tuple[Cell | Window | None, int, int]] | None:
        """The (owner, first byte, byte count) runs of an access, in order of address; None if the policy refuses it."""
        policy = self.bar.policy
        if offset < 0 or offset + size > self.bar.size or (offset % size and policy.unaligned is Partial.IGNORE):
            return None
        runs: list[tuple[Cell | Window | None, int, int]] = []
        for byte in range(offset, offset + size):
            owner: Cell | Window | None = self._owner.get(byte)
            if owner is None:
                owner = next((w for first, end, w, _ in self._windows if first <= byte < end), None)
            if runs and runs[-1][0] is owner:
                runs[-1] = (owner, runs[-1][1], runs[-1][2] + 1)
            else:
                runs.append((owner, byte, 1))
        if policy.wide is Wide.IGNORE and len({id(o.entry if _is_word(o) else o) for o, _, _ in runs}) > 1:
            return None
        registers = ((o, n) for o, _, n in runs if isinstance(o, Cell) and not _is_word(o))
        if policy.partial is Partial.IGNORE and any(n != cell.size for cell, n in registers):
            return None
        return runs

    def _read_odd(self, offset: int, size: int) -> int:
        runs = self._hits(offset, size)
        value = 0
        for owner, first, count in runs or [(None, offset, size)]:
            shift = 8 * (first - offset)
            ones = (1 << 8 * count) - 1
            if owner is None:
                part = self._miss_word & ones
            elif isinstance(owner, Window):
                part = int.from_bytes(self.memory[first : first + count], "little") if owner.access.readable else 0
            else:
                part = self._read_lanes(owner, 8 * (first - owner.offset), ones, size)
            value |= part << shift
        self._log_odd(runs, _READ, offset, size, value)
        return value

    def _read_lanes(self, cell: Cell, shift: int, ones: int, size: int) -> int:
        for before in cell.before_read:
            before(cell.path)
        state = int(cell.store[cell.index])
        cell.reads += 1
        self._after_read(cell, state, ones << shift, size)
        return (state & cell.readable) >> shift & ones

    def _write_odd(self, offset: int, size: int, value: int) -> None:
        runs = self._hits(offset, size)
        self._log_odd(runs, _WRITE, offset, size, value)
        for owner, first, count in runs or []:
            ones = (1 << 8 * count) - 1
            part = value >> 8 * (first - offset) & ones
            if isinstance(owner, Window):
                if owner.access.writable:
                    self.memory[first : first + count] = part.to_bytes(count, "little")
            elif owner is not None:
                shift = 8 * (first - owner.offset)
                self._store(owner, part << shift, ones << shift, size)

    def _log_odd(self, runs: Any, cause: Cause, offset: int, size: int, value: int) -> None:
        owner = next((o for o, _, _ in runs or () if o is not None), None)
        path = owner.path if isinstance(owner, Cell) else None
        if owner is None:
            self.misses += 1
            self._say("unmapped", f"{self.bar.bar}+{offset:#x}", value)
        record = (self.now(), cause, path, offset, size, value)
        self.ring.append(record)
        if self.observer is not None:
            self.observer(record)

    def _complain(self, cell: Cell, value: int) -> None:
        kind = "reserved" if cell.status is Status.IMPLEMENTED else cell.status.value
        self._say(kind, cell.path, value)

    def _say(self, kind: str, path: str, value: int) -> None:
        if self.notice is not None and (kind, path) not in self._noticed:
            self._noticed.add((kind, path))
            self.notice(kind, path, value)

    # -- the device's plane ------------------------------------------------------------------------------------------

    def peek(self, offset: int, size: int) -> int:
        """What is stored, raw: no side effects, no log. Registers that store nothing give 0."""
        value = 0
        for byte in range(size):
            cell = self._owner.get(offset + byte)
            raw = cell.value >> 8 * (offset + byte - cell.offset) if cell else self.memory[offset + byte]
            value |= (raw & 0xFF) << 8 * byte
        return value

    def poke(self, offset: int, size: int, value: int) -> None:
        """Store raw bytes: no side effects, no hooks, no log. What stores nothing ignores them."""
        for byte in range(size):
            part, cell = value >> 8 * byte & 0xFF, self._owner.get(offset + byte)
            if cell is None:
                if any(first <= offset + byte < end for first, end, _, _ in self._windows):
                    self.memory[offset + byte] = part
            elif cell.entry.kind is not Kind.DOORBELL:
                shift = 8 * (offset + byte - cell.offset)
                cell.value = (cell.value & ~(0xFF << shift)) | part << shift

    def reset(self, cause: ResetCause) -> None:
        """Take on the reset values of ``cause``; fields that survive it keep theirs. No hooks run."""
        for cell in self._named.values():
            if cause not in cell.reset_values:
                continue
            value, mask = cell.reset_values[cause]
            cell.spent &= ~mask
            stores = cell.store.values if isinstance(cell.store, _Selected) else None
            if stores is not None:
                stores[:] = [(old & ~mask) | (value & mask) for old in stores]
            else:
                cell.store[cell.index] = (cell.store[cell.index] & ~mask) | (value & mask)
        for first, end, window, _ in self._windows:
            if cause not in window.survives:
                self.memory[first:end] = bytes(end - first)
        if cause is not ResetCause.SOFTWARE:
            self._noticed.clear()

    # -- state and coverage ------------------------------------------------------------------------------------------

    def save(self) -> dict[str, object]:
        """A JSON-able image of all state."""
        return {
            "bar": self.bar.bar,
            "size": self.bar.size,
            "memory": self.memory.hex(),
            "banked": {c.path: list(c.store.values) for c in self if isinstance(c.store, _Selected)},
            "spent": {c.path: c.spent for c in self if c.spent},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take on a saved image. Raises ``StateError`` and changes nothing when it is not of this BAR."""
        if state.get("bar") != self.bar.bar or state.get("size") != self.bar.size:
            raise StateError(f"the saved state is of {state.get('bar')!r}, not of {self.bar.bar!r}")
        try:
            memory = bytes.fromhex(state["memory"])
            banked = {path: [int(v) for v in values] for path, values in state["banked"].items()}
            spent = {path: int(bits) for path, bits in state["spent"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(f"the saved state of {self.bar.bar} is damaged: {error}") from error
        if len(memory) != self.bar.size:
            raise StateError(f"the saved state of {self.bar.bar} holds {len(memory)} bytes, not {self.bar.size}")
        ours = {str(c.path): (len(c.store), c.width_mask) for c in self if isinstance(c.store, _Selected)}
        fits = banked.keys() == ours.keys() and all(
            len(values) == ours[path][0] and all(0 <= v <= ours[path][1] for v in values) for path, values in banked.items()
        )
        if not fits:
            raise StateError(f"the saved state of {self.bar.bar} has other banks of registers")
        self.memory[:] = memory
        for cell in self:
            cell.spent = spent.get(cell.path, 0)
            if isinstance(cell.store, _Selected):
                cell.store.values[:] = banked[cell.path]

    def coverage(self) -> dict[str, dict[str, object]]:
        """Per register: reads, writes, and for each field whether 0s and 1s were written to all of its bits."""
        return {
            str(cell.path): {
                "reads": cell.reads,
                "writes": cell.writes,
                "fields": {
                    name: {"ones": f.of(cell.ones), "zeros": f.of(cell.zeros)} for name, f in cell.fields.items()
                },
            }
            for cell in self
        }


def _is_word(owner: Cell | Window | None) -> TypeGuard[Cell]:
    """A word of a window: memory, to which the policies of partial and wide accesses do not apply."""
    return isinstance(owner, Cell) and isinstance(owner.entry, Window)


def _acts(cell: Cell, old: int, value: int) -> int:
    """The bits that writing ``value`` changes, or in which it is a pulse, as far as no lock is shut."""
    changed = (value ^ old) & (cell.stored | cell.once & ~cell.spent)
    cleared = old & (value & cell.w1c | ~value & cell.w0c)
    return changed | cleared | value & (~old & cell.w1s | cell.w1t | cell.pulse)


def _reset_of(entry: Register, cause: ResetCause) -> tuple[int, int]:
    """The reset value for ``cause`` and the mask of the bits that take it on."""
    mask = sum(f.mask for f in entry.fields if cause not in f.survives)
    return entry.reset_value(cause), mask
