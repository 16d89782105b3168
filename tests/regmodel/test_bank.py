"""The bank against the oracle: whatever is described and whatever is done to it, both answer alike and hold the same state."""

from __future__ import annotations

import json
from typing import Any

import pytest
from construct import Array, Bytes, Construct, Int32ul
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from regmodel.access import CONST, RSVD, RW, VOCABULARY, Access, OnRead, OnWrite
from regmodel.bank import Bank
from regmodel.bits import Field, Lock
from regmodel.conformance.oracle import Event, Oracle
from regmodel.function import ResetCause
from regmodel.registers import Bar, Each, Kind, Miss, Partial, Policy, Register, Wide, Window
from tests.regmodel.described import bars
from tests.support.thorough import THOROUGH

CAUSES = list(ResetCause)
SIZES = st.sampled_from([0, 0, 0, 0, 1, 2, 4, 8])
"""Bytes of an access; 0 stands for exactly one register, whatever its size."""
VALUES = st.one_of(st.sampled_from([0, (1 << 64) - 1]), st.integers(0, (1 << 64) - 1))
OFFSETS = st.integers(0, 1 << 16)
"""Indexes into the interesting offsets of a BAR, which is not known yet when an example is drawn."""

ACCESSES = st.one_of(
    st.sampled_from(VOCABULARY),
    st.builds(
        Access,
        st.just("any"),
        st.just("any combination of the axes"),
        st.booleans(),
        st.sampled_from(OnWrite),
        st.sampled_from(OnRead),
    ),
)
POLICIES = st.builds(Policy, st.sampled_from(Miss), st.sampled_from(Partial), st.sampled_from(Partial), st.sampled_from(Wide))


# -- random descriptions ---------------------------------------------------------------------------------------------------


KeysThere = list[tuple[str, int]]
"""Fields that may be keys, and their widths."""


@st.composite
def fields(draw: st.DrawFn, width: int, shared: bool, keys: KeysThere = []) -> list[Any]:  # noqa: B006 - never changed
    """Fields of a ``width``-bit register; ``shared`` ones have no write-once bits. Some are locked by one of ``keys``."""
    found: list[Any] = []
    lsb = 0
    while lsb < width:
        size = draw(st.integers(1, width - lsb))
        access = draw(ACCESSES)
        if shared and access.onwrite is OnWrite.ONCE:
            access = RW
        survives = frozenset(draw(st.sets(st.sampled_from(CAUSES), max_size=2)))
        name = "" if access.reserved else f"f{lsb}"
        lock = None
        if keys and access.writable and draw(st.booleans()):
            key, bits = draw(st.sampled_from(keys))
            lock = Lock(key, draw(st.integers(0, (1 << bits) - 1)))
        if draw(st.booleans()):
            found.append(Field(access, lsb, size, name=name, survives=survives, lock=lock))
        lsb += size
    return [*found, RSVD[...]]


@st.composite
def resets(draw: st.DrawFn, width: int) -> dict[ResetCause, int]:
    return draw(st.dictionaries(st.sampled_from(CAUSES), st.integers(0, (1 << width) - 1), max_size=3))


@st.composite
def register_files(draw: st.DrawFn) -> Bar:
    """A BAR of up to a dozen entries of every kind, with holes, under any policy."""
    entries: list[Construct] = []
    at = 0
    selects: list[str] = []
    targets: list[tuple[str, int, int]] = []  # name, width, elements
    keys: KeysThere = []  # of registers that are there already, so that no lock is shut for ever

    def place(size: int, step: int) -> int:
        nonlocal at
        at = -(-at // size) * size + size * draw(st.integers(0, 2))
        here = at
        at += step
        return here

    for i in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["plain", "array", "alias", "doorbell", "command", "pair", "banked", "window"]))
        width = draw(st.sampled_from([8, 16, 32, 64]))
        size, name = width // 8, f"r{i}"
        if kind == "window":
            count, access = draw(st.integers(1, 6)), draw(st.sampled_from([RW, CONST]))
            layout = draw(st.sampled_from([Bytes(count), Array(count, Int32ul)]))
            survives = draw(st.sets(st.sampled_from(CAUSES), max_size=2))
            entries.append(name / Window(place(4, int(layout.sizeof())), layout, access, survives=survives))
        elif kind == "pair":
            apart = draw(st.sampled_from([4, 12]))
            here = place(4, apart + 4)
            for half, offset in ((f"{name}low", here), (f"{name}high", here + apart)):
                what = tuple(draw(fields(32, False, keys)))
                both = (f"{name}low", f"{name}high")
                entries.append(half / Register(Kind.PLAIN, 32, offset, what, reset=draw(resets(32)), pair=both))
        elif kind == "alias" and targets:
            of, width, elements = draw(st.sampled_from(targets))
            size = width // 8
            spot = place(size, size * elements)
            offsets = Each(spot, size, elements) if elements > 1 else spot
            entries.append(name / Register(Kind.ALIAS, width, offsets, tuple(draw(fields(width, True, keys))), of=of))
        elif kind == "banked" and selects:
            bank = (draw(st.sampled_from(selects)), draw(st.integers(1, 4)))
            what = tuple(draw(fields(width, True, keys)))
            reset = draw(resets(width))
            entries.append(name / Register(Kind.PLAIN, width, place(size, size), what, reset=reset, banked_by=bank))
        elif kind in ("doorbell", "command"):
            event = Kind.DOORBELL if kind == "doorbell" else Kind.COMMAND
            left = draw(resets(width)) if kind == "command" else {}
            entries.append(name / Register(event, width, place(size, size), tuple(draw(fields(width, True))), reset=left))
        else:
            elements = draw(st.integers(2, 3)) if kind == "array" else 1
            spot = place(size, 2 * size * elements)
            offsets = Each(spot, size * draw(st.integers(1, 2)), elements) if kind == "array" else spot
            what = tuple(draw(fields(width, False, keys)))
            entries.append(name / Register(Kind.PLAIN, width, offsets, what, reset=draw(resets(width))))
            targets.append((name, width, elements))
            selects += [name] if kind != "array" else []
            stores = [f for f in what if isinstance(f, Field) and f.access.onwrite is OnWrite.STORE and f.lsb >= 0]
            keys += [(f"{name}.{f.name}", f.width) for f in stores if kind != "array"]
    return Bar("random", at + draw(st.integers(0, 9)), *entries, policy=draw(POLICIES))


# -- both side by side -----------------------------------------------------------------------------------------------------


class Both:
    """A bank and an oracle to which the same is done. Each step compares what is answered."""

    def __init__(self, bar: Bar) -> None:
        self.bar, self.bank, self.oracle = bar, Bank(bar, history=16), Oracle(bar)
        self.told: list[Event] = []
        self.offsets = sorted(
            {o + d for e in bar.entries.values() for o in e.offsets for d in (*range(-4, 8), e.size - 1)}
            | {bar.size - 1, bar.size, bar.size + 5}
        )
        self.offsets = [offset for offset in self.offsets if offset >= 0]
        self.exact = [(o, e.size if e.size in (1, 2, 4, 8) else 4) for e in bar.entries.values() for o in e.offsets]
        for name, entry in bar.entries.items():
            if isinstance(entry, Register):
                self.bank.on_write(name, lambda path, old, new, *_: self.told.append(Event(path.name, path.instance, old, new)))

    def _at(self, at: int, size: int) -> tuple[int, int]:
        """An interesting offset; with size 0, exactly one register."""
        return (self.offsets[at % len(self.offsets)], size) if size else self.exact[at % len(self.exact)]

    def read(self, at: int, size: int) -> None:
        offset, size = self._at(at, size)
        assert self.bank.read(offset, size) == self.oracle.read(offset, size), f"read of {size} at {offset:#x}"

    def write(self, at: int, size: int, value: int) -> None:
        offset, size = self._at(at, size)
        value &= (1 << 8 * size) - 1
        self.bank.write(offset, size, value)
        self.oracle.write(offset, size, value)
        assert self.told == self.oracle.events, f"write of {size} at {offset:#x}"
        self.told.clear()
        self.oracle.events.clear()

    def peek(self, at: int, size: int) -> None:
        offset = min(self.offsets[at % len(self.offsets)], self.bar.size - size)
        if offset >= 0:
            assert self.bank.peek(offset, size) == self.oracle.peek(offset, size), f"peek of {size} at {offset:#x}"

    def poke(self, at: int, size: int, value: int) -> None:
        offset = min(self.offsets[at % len(self.offsets)], self.bar.size - size)
        if offset >= 0:
            self.bank.poke(offset, size, value & (1 << 8 * size) - 1)
            self.oracle.poke(offset, size, value)

    def reset(self, cause: ResetCause) -> None:
        self.bank.reset(cause)
        self.oracle.reset(cause)
        assert not self.told, "a reset runs no write hooks"

    def compare(self) -> None:
        """The whole state, all instances of all banks included."""
        banked = {str(c.path): c.store.values for c in self.bank if c.banked}
        for path, element, offset, entry in self.bar.placed():
            name = path.partition("[")[0]
            if isinstance(entry, Window):
                size = entry.size if entry.size <= 4096 else 0
                assert self.bank.peek(offset, size) == self.oracle.peek(offset, size), path
            elif entry.banked_by is None:
                assert self.bank[name, element].value == self.oracle.value(name, element), path
            else:
                assert banked[path] == self.oracle.instances(name, element), path


READS = st.tuples(st.just("read"), OFFSETS, SIZES)
WRITES = st.tuples(st.just("write"), OFFSETS, SIZES, VALUES)


class BankAgainstOracle(RuleBasedStateMachine):
    both: Both

    @initialize(bar=register_files(), ones=st.booleans())
    def describe(self, bar: Bar, ones: bool) -> None:
        """``ones``: hardware has set every bit, so that there is something to clear."""
        self.both = Both(bar)
        for at in range(len(self.both.offsets)) if ones else ():
            self.both.poke(at, 1, 0xFF)
        self.saved: tuple[str, dict[Any, int], set[Any]] | None = None

    @rule(accesses=st.lists(st.one_of(READS, WRITES), min_size=1, max_size=8))
    def access(self, accesses: list[tuple[Any, ...]]) -> None:
        for step, *arguments in accesses:
            getattr(self.both, step)(*arguments)

    @rule(at=OFFSETS, size=st.sampled_from([1, 2, 4, 8]))
    def peek(self, at: int, size: int) -> None:
        self.both.peek(at, size)

    @rule(at=OFFSETS, size=st.sampled_from([1, 2, 4, 8]), value=VALUES)
    def poke(self, at: int, size: int, value: int) -> None:
        self.both.poke(at, size, value)

    @rule(cause=st.sampled_from(CAUSES))
    def reset(self, cause: ResetCause) -> None:
        self.both.reset(cause)

    @rule()
    def save(self) -> None:
        state = json.dumps(self.both.bank.save())
        self.saved = state, dict(self.both.oracle.bits), set(self.both.oracle.spent)

    @rule()
    def load(self) -> None:
        if self.saved is not None:
            state, bits, spent = self.saved
            self.both.bank.load(json.loads(state))
            self.both.oracle.bits, self.both.oracle.spent = dict(bits), set(spent)

    @invariant()
    def same_state(self) -> None:
        if hasattr(self, "both"):
            self.both.compare()


TestBankAgainstOracle = BankAgainstOracle.TestCase
TestBankAgainstOracle.settings = settings(
    max_examples=120 * THOROUGH, stateful_step_count=30, suppress_health_check=list(HealthCheck)
)

STEPS = st.lists(
    st.one_of(
        READS,
        WRITES,
        st.tuples(st.just("poke"), OFFSETS, st.sampled_from([1, 2, 4, 8]), VALUES),
        st.tuples(st.just("reset"), st.sampled_from(CAUSES)),
    ),
    min_size=10,
    max_size=30,
)


@pytest.mark.parametrize("name", bars())
@settings(max_examples=8 * THOROUGH, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_described_bars_agree(name: str, steps: list[tuple[Any, ...]]) -> None:
    both = Both(bars()[name])
    for step, *arguments in steps:
        getattr(both, step)(*arguments)
    both.compare()
