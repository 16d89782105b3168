"""Devices that believe something wrong of one register: its reset value, access, place, reserved bits, reset domains.

The fault is put into a copy of the description that the model is built from, past all of its checks; the judge has the
original. Nothing is chosen by hand: each kind of fault is tried wherever the description has a place for it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

from drivers.conformance import open_target
from regmodel.access import CONST, RC, RO, RW, W1C, W1S, W1T, WO1C, WO1S, Access
from regmodel.bits import Field
from regmodel.catalogue import Description, Device
from regmodel.function import CONFIG_REGION, ResetCause
from regmodel.registers import Bar, Entry, Miss, Partial, Policy, Register, Wide, Window
from tests.conformance.bare import BareBanks
from tests.conformance.mutants import Mutant

INSTEAD: dict[str, tuple[Access, ...]] = {
    "RC": (RO, W1C),
    "RC/W1C": (RC, W1C, RW),
    "W1C": (RW, RO),
    "W1S": (RW, W1T),
    "WO1S": (WO1C, W1S),
    "WO1C": (WO1S, W1T),
    "W1P": (RW, W1S),
    "RO": (RW,),
    "RW": (CONST, W1S, W1C, RC),
    "CONST": (RW,),
    "WO": (RW,),
    "RW1": (CONST, RW),
}
"""What a field might be taken for, by what it is."""
VF_RESETS = (ResetCause.FLR, ResetCause.SOFTWARE)


def _changed(entry: Entry, **values: Any) -> Any:
    """A copy of a register or window with other attributes, unchecked."""
    other = copy.copy(entry)
    for name, value in values.items():
        setattr(other, name, value)
    return other


def _refielded(entry: Register, old: Field, *new: Field) -> Any:
    fields = [f for field in entry.fields for f in (new if field is old else (field,))]
    return _changed(entry, fields=tuple(fields))


def _device(device: Device, file: int, **entries: Entry) -> Device:
    """``device`` with other entries in one register file."""
    bar = device.config if file == CONFIG_REGION else device.bars[file]
    other = copy.copy(bar)
    other.__dict__.pop("msix", None)
    other.entries = {**bar.entries, **entries}
    return _with_file(device, file, other)


def _with_file(device: Device, file: int, bar: Bar) -> Device:
    if file == CONFIG_REGION:
        return replace(device, config=bar)
    return replace(device, bars={**device.bars, file: bar})


def _opener(faulty: Device) -> Any:
    def open_it() -> AbstractContextManager[Any]:
        return open_target("inprocess", faulty)

    return open_it


def mutants(device: Device) -> Iterator[Mutant]:
    """All of them, over all register files of ``device``."""
    for file, bar in {**device.bars, CONFIG_REGION: device.config}.items():
        for kind, what, faulty in _of_file(device, file, bar):
            yield Mutant(kind, f"{device.name} {bar.bar}.{what}", device, _opener(faulty))


def lock_mutants(described: Description) -> Iterator[Mutant]:
    """Locks that do not lock, or at another value of their key, or lock their neighbours as well; of bare banks."""
    for index, name, entry in _registers(described):
        for what, field, *faulty in _of_locks(entry):
            yield _bare("lock", what, f".{field.name}", described, index, name, _refielded(entry, field, *faulty))


def locked_mutants(described: Description) -> Iterator[Mutant]:
    """What may be wrong of any register, of those that have locks: it is seen only while they are open."""
    for index, name, entry in _registers(described):
        for kind, what, faulty in _of_register(name, entry) if any(f.lock for f in entry.fields) else ():
            yield _bare("locked", f"{kind} {what}", "", described, index, name, faulty)


def _registers(described: Description) -> Iterator[tuple[int, str, Register]]:
    for index, bar in described.bars.items():
        for name, entry in bar.entries.items():
            if isinstance(entry, Register):
                yield index, name, entry


def _bare(kind: str, what: str, field: str, described: Description, index: int, name: str, faulty: Entry) -> Mutant:
    bar = described.bars[index]
    other = copy.copy(bar)
    other.entries = {**bar.entries, name: faulty}
    opener = partial(nullcontext, BareBanks({**described.bars, index: other}))
    return Mutant(kind, f"{described.name} {bar.bar}.{name}{field}: {what}", described, opener)


def _of_locks(entry: Register) -> Iterator[tuple[str, Field, Field]]:
    locks = [f.lock for f in entry.fields if f.lock is not None]
    for f in entry.fields:
        if f.lock is not None:
            yield "the lock does not lock", f, replace(f, lock=None)
            yield "another value locks", f, replace(f, lock=replace(f.lock, value=f.lock.value ^ 1))
        elif locks and f.access.writable:
            yield "is locked as well", f, replace(f, lock=locks[0])


def _of_file(device: Device, file: int, bar: Bar) -> Iterator[tuple[str, str, Device]]:
    for name, entry in bar.entries.items():
        if isinstance(entry, Window):
            for kind, what, other in _of_window(name, entry):
                yield kind, what, _device(device, file, **{name: other})
        else:
            for kind, what, other in _of_register(name, entry):
                if file == 0 or kind != "reset reaches too far":  # nobody would reset configuration space by CTRL.RST
                    yield kind, what, _device(device, file, **{name: other})
    plain = [(n, e) for n, e in bar.entries.items() if isinstance(e, Register) and not e.is_array and e.of is None]
    for (a, first), (b, second) in pairwise(plain):
        if first.width == second.width and _looks(first) != _looks(second):
            swapped = {a: _changed(first, offsets=second.offsets), b: _changed(second, offsets=first.offsets)}
            yield "swapped neighbours", f"{a}, {b}", _device(device, file, **swapped)
    if file != CONFIG_REGION:
        for what, policy in _policies(bar.policy):
            other = copy.copy(bar)
            other.policy = policy
            yield "policy", what, _with_file(device, file, other)


def _looks(entry: Register) -> Any:
    """What a judge can see of a register: its reset values, and bit by bit what accesses do."""
    bits = [f for f in entry.fields for _ in range(f.width)]
    return entry.resets, [(f.access.readable, f.access.onwrite, f.access.onread, f.survives) for f in bits]


def _of_register(name: str, entry: Register) -> Iterator[tuple[str, str, Any]]:
    visible = [f for f in entry.fields if f.access.readable and not f.access.hardware]
    if visible and entry.of is None:
        bit = visible[0].lsb
        resets = {cause: value ^ 1 << bit for cause, value in entry.resets.items()} or {ResetCause.POWER_ON: 1 << bit}
        yield "wrong reset", f"{name}[{bit}]", _changed(entry, resets=resets)
    for f in entry.fields:
        if f.access.reserved:
            yield "missing reserved bit", f"{name}{f.range}", _refielded(entry, f, replace(f, access=RW, name="stray"))
            break
    for f in entry.fields:
        for access in INSTEAD.get(f.access.name, ()) if f.name and not f.access.reserved else ():
            yield "access", f"{name}.{f.name}: {f.access} behaves as {access}", _refielded(entry, f, replace(f, access=access))
    for f in entry.fields:
        if f.access.name == "RW" and f.width > 1 and not f.access.hardware:
            top = replace(f, access=CONST, lsb=f.msb, width=1, name="stuck")
            yield "stuck bit", f"{name}[{f.msb}]", _refielded(entry, f, replace(f, width=f.width - 1), top)
    if entry.is_array and len(entry.offsets) > 1:
        first, *rest = entry.offsets
        moved = (first, *(o + entry.size * i for i, o in enumerate(rest, 1)))
        yield "stride off by one", name, _changed(entry, offsets=moved)
        yield "array of one", name, _changed(entry, offsets=(first,) * len(entry.offsets))
    yield from _of_resets(name, entry)


def _of_resets(name: str, entry: Register) -> Iterator[tuple[str, str, Any]]:
    stored = [f for f in entry.fields if f.access.writable and f.access.readable and not f.access.reserved]
    if not stored or entry.of is not None:
        return
    kept = tuple(replace(f, survives=frozenset()) for f in entry.fields)
    if any(f.survives & set(VF_RESETS) for f in stored):
        yield "reset reaches too far", name, _changed(entry, fields=kept)
    if any(ResetCause.FLR not in f.survives for f in stored):
        more = tuple(replace(f, survives=f.survives | set(VF_RESETS) | {ResetCause.BUS}) for f in entry.fields)
        yield "reset falls short", name, _changed(entry, fields=more)


def _of_window(name: str, entry: Window) -> Iterator[tuple[str, str, Any]]:
    yield "memory", f"{name} is read-only", _changed(entry, access=CONST)
    yield "memory", f"{name} is one word short", _changed(entry, size=entry.size - 4)
    yield "memory", f"{name} stands one word off", _changed(entry, at=entry.at + 4, offsets=(entry.at + 4,))
    yield "memory", f"{name} is reset by everything", _changed(entry, survives=frozenset())
    yield "memory", f"{name} is reset by nothing", _changed(entry, survives=frozenset(ResetCause))


def _policies(policy: Policy) -> Iterator[tuple[str, Policy]]:
    yield "unmapped", replace(policy, unmapped=next(m for m in Miss if m is not policy.unmapped))
    yield "partial", replace(policy, partial=next(p for p in Partial if p is not policy.partial))
    yield "wide", replace(policy, wide=next(w for w in Wide if w is not policy.wide))
