"""Which key locks what, and the writes that turn it: what tests need so that they write while a lock is open.

Everything is read off the description, so what is asked of a device does not depend on what it answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from regmodel.access import OnWrite
from regmodel.bits import Field, Lock
from regmodel.conformance.places import Ground, Place


class Turn(NamedTuple):
    """``bits`` under ``mask``, to be written to a register; what stands beside them is to stay as it is."""

    view: Place
    mask: int
    bits: int


Turns: TypeAlias = list[Turn]
FEW = 4
"""Bits of a key of which every value is tried."""


@dataclass(frozen=True, eq=False)
class Key:
    """``mask`` of a register is locked while ``field`` of ``holder`` is ``value``."""

    mask: int
    holder: Place
    field: Field
    value: int

    @property
    def ones(self) -> int:
        """The largest value that it can hold."""
        return (1 << self.field.width) - 1

    @property
    def others(self) -> list[int]:
        """Values that do not lock: all, or of many those that a lock at fault would take for the right one."""
        near = (self.value ^ 1 << bit for bit in range(self.field.width))
        every = range(self.ones + 1) if self.field.width <= FEW else (0, self.ones, *near)
        return [value for value in dict.fromkeys(every) if value != self.value]

    def within(self, place: Place, word: int, value: int) -> int:
        """``word`` for a register, with ``value`` in the key if that stands in it."""
        return self.field.into(word, value) if place is self.holder else word

    def kept_open(self, view: Place, word: int) -> int:
        """``word`` for a register, such that writing it does not shut the lock."""
        if (view.file, view.owner, view.element) != (self.holder.file, self.holder.owner, self.holder.element):
            return word
        stored = self.others[0] << self.field.lsb & view.bits(OnWrite.STORE)
        return word & ~self.field.mask | self.field.mask & (stored | view.bits(OnWrite.ZERO_CLEARS))


class Locks:
    """All locks of a device that a target reaches."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        places = {(p.file, p.name, p.element): p for p in ground.registers()}
        self._of = {p.path: tuple(_keys(places, p)) for p in ground.registers()}
        self._locked: dict[str, set[str]] = {}
        self.holders: dict[tuple[int, int], str] = {}
        """The register whose key an access of a byte of a file may turn, by path."""
        for path, keys in self._of.items():
            for key in keys:
                self._locked.setdefault(key.holder.path, set()).add(path)
                for view in ground.sharing(key.holder):
                    self.holders |= {(view.file, view.offset + byte): key.holder.path for byte in range(view.size)}

    def of(self, place: Place) -> tuple[Key, ...]:
        """The keys to a register."""
        return self._of.get(place.path, ())

    def in_order(self, places: Iterable[Place]) -> list[Place]:
        """What is locked before its key, and otherwise as given: in this order all of it can be written."""
        return sorted(places, key=lambda place: self._height(place.path, frozenset()))

    def _height(self, path: str, above: frozenset[str]) -> int:
        locked = self._locked.get(path, set()) - above - {path}
        return 1 + max((self._height(p, above | {path}) for p in locked), default=0) if path in self._locked else 0

    def turning(self, key: Key, to: int) -> Turns | None:
        """What leaves ``to`` in the key, whatever it held before, as far as it is not locked; None: nothing does."""
        mask = key.field.mask
        for view in self.ground.sharing(key.holder):
            if mask & view.held or mask & ~view.writable or self.ground.barred(view):
                continue
            if not mask & ~view.bits(OnWrite.STORE):
                return [Turn(view, mask, to << key.field.lsb)]
            for behaviour, written, left in _EXTREMES:
                if not mask & ~view.bits(behaviour) and to == left * key.ones:
                    return [Turn(view, mask, written * mask)]
        return None

    def opening(self, key: Key) -> Turns | None:
        """What opens the lock; None where it takes more than writes, such as a reset for a key that locks itself."""
        return self._opening(key, ())

    def _opening(self, key: Key, above: tuple[Key, ...]) -> Turns | None:
        if key in above:
            return None
        for to in dict.fromkeys((key.field.of(key.holder.reset), *key.others)):
            turns = self.turning(key, to) if to != key.value else None
            if turns is None:
                continue
            before: Turns = []
            for own in self.of(turns[0].view):
                if own.mask & key.field.mask:
                    first = None if own.holder is key.holder and own.field is key.field else self._opening(own, (*above, key))
                    if first is None:
                        break
                    before += first
            else:
                return before + turns
        return None

    def barred(self, place: Place) -> tuple[int, str]:
        """The bits of a register that stay locked since the test that runs may not write what opens them, and why."""
        mask, why = 0, ""
        for key in self.of(place):
            if self.reset_opens(key) or self.opening(key) is not None:
                continue
            for view in self.ground.sharing(key.holder):
                if reason := self.ground.barred(view):
                    mask, why = mask | key.mask, f"locked by {key.holder.path}, which is left alone: {reason}"
        return mask, why

    def reset_opens(self, key: Key) -> bool:
        """After a reset the lock is open."""
        return key.field.of(key.holder.reset) != key.value


_EXTREMES = ((OnWrite.ONE_SETS, 1, 1), (OnWrite.ONE_CLEARS, 1, 0), (OnWrite.ZERO_CLEARS, 0, 0))
"""What is written to all bits, and what that leaves in them."""


def _keys(places: dict[tuple[int, str, int], Place], place: Place) -> Iterator[Key]:
    """One per lock of a register, with all fields that it locks."""
    masks: dict[Lock, int] = {}
    for f in place.register.fields:
        if f.lock is not None:
            masks[f.lock] = masks.get(f.lock, 0) | f.mask
    for lock, mask in masks.items():
        element = place.element if (place.file, lock.register, 1) in places else 0
        holder = places[place.file, lock.register, element]
        yield Key(mask, holder, holder.register.named[lock.field], lock.value)
