"""Locks: fields that ignore writes while another field, the key, has a given value.

``"size" / RW[15:0].locked_by("control.enable", value=1)``; a whole register says ``locked_by=("control.enable", 1)``. Data
sheets call it a lock bit, a write enable (``value=0``), REGWEN. What it means:

- A write through this address changes nothing in a field whose lock is shut: no bit is stored, cleared, set or toggled, no
  pulse acts, no first write is spent. Reading, hardware and resets do as ever. An alias has locks of its own, as it has an
  access of its own.
- What counts is the key as the write finds it. So one write may fill a register and shut its lock; and of several registers in
  one access a key counts for those that stand behind it.
- A key in an array belongs to the same element of an array as long; a key in a bank of registers to the same instance.

What lives here: the checks of a whole BAR, for locks that name nothing, never shut, or never open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from regmodel.access import OnRead, OnWrite
from regmodel.bits import Field, Lock
from regmodel.errors import DescriptionError
from regmodel.function import ResetCause

if TYPE_CHECKING:
    from regmodel.registers import Entry, Register


def check_locks(bar: str, entries: Mapping[str, Entry]) -> None:
    """Raises ``DescriptionError``: ``lock-key``, ``lock-value``, ``lock-shape``, ``lock-needless``, ``lock-forever``."""
    locks = _Locks(entries)
    for name, entry in locks.registers.items():
        for f in entry.fields:
            if f.lock is not None:
                locks.check(f"{bar}.{name}" if entry.sole else f"{bar}.{name}.{f.name}", entry, f, f.lock)


class _Locks:
    """The registers of one BAR, as far as locks are concerned."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        from regmodel.registers import Register

        self.registers: dict[str, Register] = {n: e for n, e in entries.items() if isinstance(e, Register)}

    def check(self, path: str, entry: Register, f: Field, lock: Lock) -> None:
        holder = self.registers.get(lock.register)
        if holder is None or holder.kind.value != "register" or lock.field not in holder.named:
            raise DescriptionError("lock-key", path, f.where, f"{lock.key} is no field of a register with a state of its own")
        if not 0 <= lock.value < 1 << holder.named[lock.field].width:
            raise DescriptionError("lock-value", path, f.where, f"{lock.key} is never {lock.value:#x}: it does not fit")
        if not f.access.writable or entry.kind.value in ("doorbell", "command"):
            raise DescriptionError("lock-needless", path, f.where, "no write changes it, so that there is nothing to lock")
        alike = len(holder.offsets) == len(entry.offsets) and holder.banked_by == entry.banked_by
        if (holder.is_array or holder.banked_by is not None) and not alike:
            text = f"{lock.register} is an array or bank of another shape, so that none of it belongs to this one"
            raise DescriptionError("lock-shape", path, f.where, text)
        if not self._shuts(lock):
            raise DescriptionError("lock-needless", path, f.where, f"nothing ever makes {lock.key} {lock.value:#x}")
        if not self._opens(lock):
            text = f"once {lock}, nothing makes it another value, not even a reset: it could never be written again"
            raise DescriptionError("lock-forever", path, f.where, text)

    def _key(self, lock: Lock) -> Field:
        return self.registers[lock.register].named[lock.field]

    def _views(self, lock: Lock) -> Iterator[tuple[Field, bool, bool]]:
        """Fields through which an access meets the key: each, and whether any of its bits there is 1, and 0, for ``lock``."""
        key = self._key(lock)
        for name, entry in self.registers.items():
            for f in entry.fields if lock.register in (name, entry.of) else ():
                if shared := f.mask & key.mask:
                    bits = lock.value << key.lsb & shared
                    yield f, bits != 0, bits != shared

    def _resets(self, lock: Lock) -> set[int]:
        """What the resets that reach the key leave in it."""
        holder, key = self.registers[lock.register], self._key(lock)
        return {key.of(holder.reset_value(cause)) for cause in ResetCause if cause not in key.survives}

    def _shuts(self, lock: Lock) -> bool:
        """Anything may ever give the key its value."""
        moves = (f.access.writable or f.access.onread is not OnRead.NOTHING for f, _, _ in self._views(lock))
        return lock.value in self._resets(lock) or self._key(lock).access.hardware or any(moves)

    def _opens(self, lock: Lock, shut: frozenset[Lock] = frozenset()) -> bool:
        """Anything gives the key another value, while the locks ``shut`` are and this one is as well."""
        resets = self._resets(lock)
        if self._key(lock).access.hardware or resets - {lock.value}:
            return True
        begins = lock.value in (resets or {0})
        return any(
            (f.access.onread is OnRead.CLEAR and ones)
            or (f.access.onread is OnRead.SET and zeros)
            or (_moves(f.access.onwrite, ones, zeros, begins) and self._free(f.lock, shut | {lock}))
            for f, ones, zeros in self._views(lock)
        )

    def _free(self, lock: Lock | None, shut: frozenset[Lock]) -> bool:
        """A field with this lock can be written, or come to that."""
        if lock is None or any(s.key == lock.key and s.value != lock.value for s in shut):
            return True
        return lock not in shut and self._opens(lock, shut)


def _moves(onwrite: OnWrite, ones: bool, zeros: bool, begins: bool) -> bool:
    """Some write changes bits of which there are ``ones``, or ``zeros``; they are as in the beginning, or were written."""
    match onwrite:
        case OnWrite.NOTHING:
            return False
        case OnWrite.ONE_CLEARS | OnWrite.ZERO_CLEARS | OnWrite.PULSE:
            return ones
        case OnWrite.ONE_SETS:
            return zeros
        case OnWrite.ONCE:
            return begins
        case OnWrite.STORE | OnWrite.ONE_TOGGLES:
            return True
