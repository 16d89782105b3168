"""The bench at which one check works: it reads, writes and resets, and every answer is compared with the prediction.

All methods that touch the device are generators of accesses (``yield from bench.write(...)``). A check never compares by
itself: what it reads is compared here, with everything that is known, and differences are noted on the current sheet.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property

from regmodel.access import OnRead, OnWrite, Tie
from regmodel.catalogue import Description
from regmodel.conformance.accesses import (
    ConfigRead,
    ConfigWrite,
    Drive,
    During,
    Observe,
    Read,
    Reset,
    Steps,
    Told,
    Wait,
    Write,
    telling,
)
from regmodel.conformance.locks import Key, Locks, Turn
from regmodel.conformance.outcomes import Answer, Finding, Wrong
from regmodel.conformance.places import Abilities, Ground, Place
from regmodel.conformance.predictor import Predictor
from regmodel.function import CONFIG_REGION, ResetCause
from regmodel.registers import Partial, Register

STRONGEST = (ResetCause.POWER_ON, ResetCause.BUS, ResetCause.FLR)
MOST_FINDINGS = 8
"""Per check: what comes after is counted, not kept."""


@dataclass
class Sheet:
    """What one check has found so far."""

    findings: list[Finding] = field(default_factory=list)
    further: int = 0
    wrong: dict[str, Wrong] = field(default_factory=dict)
    """By field: everything that an answer was wrong about."""
    compared: Counter[str] = field(default_factory=Counter)
    """By path: the bits that were compared at least once."""


class Bench:
    """``device`` on a target with ``abilities``."""

    def __init__(self, device: Description, abilities: Abilities) -> None:
        self.device, self.abilities = device, abilities
        self.ground = Ground(device, abilities)
        self.locks = Locks(self.ground)
        self._holding = frozenset(self.locks.holders.values())
        """Registers with a key."""
        self._touched = {*self._holding}
        """Those that may not be as a reset leaves them."""
        widest = max(abilities.sizes)
        self.predictor = Predictor(self.ground.files, self.ground.conduct, abilities.alone, widest)
        self.sheet = Sheet()
        self._after = ""

    @cached_property
    def unhindered(self) -> Bench:
        """The same with nobody between target and device. Nothing is asked of it but what could be judged then."""
        return Bench(self.device, replace(self.abilities, virtualised={}, raw_config=True))

    def new_sheet(self) -> Sheet:
        """A check begins. Of what hardware was told nothing is kept where nobody asks."""
        self.sheet = Sheet()
        if not self.abilities.tells:
            for file in self.predictor.files.values():
                file.oracle.events.clear()
        return self.sheet

    # -- accesses

    def read_at(self, file: int, offset: int, size: int) -> Steps[int]:
        """One read access, compared."""
        if file != CONFIG_REGION and size not in self.abilities.sizes:
            low = yield from self.read_at(file, offset, size // 2)
            high = yield from self.read_at(file, offset + size // 2, size // 2)
            return high << 4 * size | low
        expected = self.predictor.files[file].expect(offset, size)
        got = yield ConfigRead(offset, size) if file == CONFIG_REGION else Read(file, offset, size)
        self._compare(file, offset, size, expected.value, expected.care, got)
        self.predictor.files[file].took(expected, got)
        return got

    def write_at(self, file: int, offset: int, size: int, value: int) -> Steps[None]:
        """One write access, and what it sets going."""
        if file != CONFIG_REGION and size not in self.abilities.writes:
            yield from self.write_at(file, offset, size // 2, value & (1 << 4 * size) - 1)
            yield from self.write_at(file, offset + size // 2, size // 2, value >> 4 * size)
            return
        place = self.ground.at(file, offset)
        if self.locks.holders:
            self._touched |= {self.locks.holders.get((file, byte), "") for byte in range(offset, offset + size)}
        self._after = f"writing {value:#x} to {self._name(place, file, offset, size)}"
        yield ConfigWrite(offset, size, value) if file == CONFIG_REGION else Write(file, offset, size, value)
        for effect in self.predictor.write(file, offset, size, value):
            if effect.seconds:
                yield Wait(effect.seconds)
            if effect.resets in STRONGEST:
                yield from self.decode_again()

    def read(self, place: Place) -> Steps[int]:
        """Read a whole register."""
        return (yield from self.read_at(place.file, place.offset, place.size))

    def write(self, place: Place, value: int) -> Steps[None]:
        """Write a whole register, held bits as after reset."""
        yield from self.write_at(place.file, place.offset, place.size, place.legal(value))

    def act(self, place: Place, value: int) -> Steps[None]:
        """Write a whole register as told, held bits included."""
        yield from self.write_at(place.file, place.offset, place.size, value)

    def put_back(self, place: Place) -> Steps[None]:
        """Give a register the value again that it has after a reset, as far as writing does that."""
        if place.stores:
            yield from self.write_unlocked(place, place.reset)

    # -- locks

    def write_unlocked(self, place: Place, value: int) -> Steps[None]:
        """Write a whole register that nothing locks, at first."""
        yield from self.unlock(place)
        yield from self.write(place, value)

    def unlock(self, *places: Place, reset: bool = True) -> Steps[None]:
        """Open the locks of these registers: by writes, by hardware, or else by a reset, as far as anything opens them.

        One that is open for certain is left alone. A reset, which puts back other things as well and selects another
        instance of a bank, may be left out.
        """
        keys = [key for place in places for key in self.locks.of(place)]
        ways = {key: self.locks.opening(key) for key in keys if not self._is_open(key)}
        stuck = [key for key in ways if ways[key] is None and not self._drives(key) and key.holder.path in self._touched]
        if reset and any(self.locks.reset_opens(key) for key in stuck):
            yield from self.start()
        for key in ways:
            if self._is_open(key):
                continue
            if ways[key] is None and self._drives(key):
                yield from self.turn(key, key.others[0])
            for turn in ways[key] or ():
                yield from self._turn(turn)

    def turn(self, key: Key, to: int) -> Steps[None]:
        """Have a key hold ``to``; see ``turns``."""
        turns = self.locks.turning(key, to)
        if turns is None and self._drives(key):
            yield from self.drive(key.holder, to << key.field.lsb, key.field.mask)
        for turn in turns or ():
            yield from self._turn(turn)

    def _turn(self, turn: Turn) -> Steps[None]:
        """One write for a key. What is beside it stays as it is; write-once bits do if the key's byte can be written alone."""
        view, others = turn.view, ~turn.mask
        word = self._unmoved(view) & others | turn.bits
        byte = next((at for at in range(view.size) if not turn.mask & ~(0xFF << 8 * at)), None)
        lanes = 1 in self.abilities.writes and self.ground.files[view.file].policy.partial is Partial.LANES
        if byte is not None and lanes and view.bits(OnWrite.ONCE) & others:
            yield from self.write_at(view.file, view.offset + byte, 1, view.legal(word) >> 8 * byte & 0xFF)
        else:
            yield from self.write(view, word)

    def _unmoved(self, view: Place) -> int:
        """What changes nothing where it is written; write-once bits as they are, which still counts as writing them."""
        file = self.predictor.files[view.file]
        word = 0
        for at, bit, access in file.oracle.met(view.offset, view.size):
            match access.onwrite:
                case OnWrite.STORE | OnWrite.ONCE:
                    value = file.oracle.bits.get(bit, 0) if file.predicted(bit) else view.reset >> at & 1
                case _:
                    value = access.onwrite is OnWrite.ZERO_CLEARS
            word |= value << at
        return word

    def _is_open(self, key: Key) -> bool:
        """For certain, and without having asked the device."""
        file = self.predictor.files[key.holder.file]
        held = file.predict(key.holder.offset, key.holder.size, key.field.mask)
        return held is not None and key.field.of(held) != key.value

    def turns(self, key: Key, to: int) -> bool:
        """There is a way to have a key hold ``to``."""
        return self.locks.turning(key, to) is not None or self._drives(key)

    def _drives(self, key: Key) -> bool:
        return self.abilities.ports and key.field.access.hardware

    def reset(self, cause: ResetCause) -> Steps[None]:
        """Reset the function; what the target puts back is not relied on."""
        self._after = f"a reset ({cause.value})"
        yield Reset(cause)
        self.predictor.reset(cause)
        self.predictor.forget(self.abilities.put_back)

    def start(self) -> Steps[None]:
        """Bring the device where a test begins: the strongest reset that the target has."""
        cause = next((c for c in STRONGEST if c in self.abilities.resets), None)
        if cause is not None:
            yield from self.reset(cause)
            self._touched.clear()

    def reset_through(self, place: Place, value: int, seconds: float) -> Steps[None]:
        """Reset the function by a write to configuration space, and put nothing back: BARs do not answer."""
        self._after = f"writing {value:#x} to {place.path}"
        yield ConfigWrite(place.offset, place.size, value)
        yield Wait(seconds)
        self.predictor.write(place.file, place.offset, place.size, value)

    def decode_again(self) -> Steps[None]:
        """A reset through configuration space leaves BARs switched off."""
        for name in (*self.abilities.bars, "command"):
            place = self.ground.by_path.get(f"config.{name}")
            if place is not None:
                yield ConfigWrite(place.offset, place.size, place.rest)
                self.predictor.files[CONFIG_REGION].write(place.offset, place.size, place.rest)

    def complain(self, register: str, text: str) -> None:
        """Note a difference that is not in one answer."""
        self.sheet.findings.append(Finding(register, text))

    # -- the hardware's side, where the target has it

    def drive(self, place: Place, value: int, mask: int | None = None) -> Steps[None]:
        """Store bits as hardware does."""
        mask = place.full if mask is None else mask
        self._touched |= {place.path} & self._holding
        self._after = f"hardware set {place.path} to {value:#x}"
        yield Drive(place.path, value & mask, mask)
        self.predictor.files[place.file].drive(place.offset, place.size, value, mask)

    def observe(self, place: Place) -> Steps[None]:
        """Compare what a register holds, without side effects."""
        file = self.predictor.files[place.file]
        met = file.oracle.met(place.offset, place.size)
        care = sum(1 << at for at, bit, _ in met if file.known(bit))
        got = yield Observe(place.path)
        self._compare(place.file, place.offset, place.size, file.oracle.peek(place.offset, place.size), care, got, "holds")

    def tie(self, place: Place, written: int | None, owner: Place, value: int, mask: int) -> Steps[None]:
        """Write ``written`` (none: read), while hardware stores ``value`` into ``owner``, over whose state ``place`` is.

        A read is answered by what was there before. Whoever wins is last: see ``regmodel.access``.
        """
        file = self.predictor.files[place.file]
        drive = Drive(owner.path, value & mask, mask)
        loses = mask & sum(f.mask for f in owner.register.fields if f.access.tie is Tie.SOFTWARE)
        if written is None:
            self._after = f"nothing; {drive} in the same clock"
            acts = sum(f.mask for f in place.register.fields if f.access.onread is not OnRead.NOTHING)
            expected = file.expect(place.offset, place.size)
            got = yield During(Read(place.file, place.offset, place.size), drive)
            self._compare(place.file, place.offset, place.size, expected.value, expected.care, got)
            file.took(expected, got)
            file.drive(owner.offset, owner.size, value, mask & ~(loses & acts))
            return
        written = place.legal(written)
        self._after = f"writing {written:#x} to {place.path}; {drive} in the same clock"
        file.drive(owner.offset, owner.size, value, loses)
        yield During(Write(place.file, place.offset, place.size, written), drive)
        self.predictor.write(place.file, place.offset, place.size, written)
        file.drive(owner.offset, owner.size, value, mask & ~loses)

    def told(self, place: Place, compare: bool = True) -> Steps[None]:
        """Compare what hardware was told of a register since this was last asked."""
        writes, reads, ones = self.predictor.files[place.file].telling(place.name, place.element)
        got, expected = (yield Told(place.path)), telling(writes, reads, ones)
        if compare:
            self.sheet.compared[place.path] |= 1
            if got != expected:
                self.complain(place.path, f"hardware is told {_said(got)}, not {_said(expected)}, after {self._after}")

    # -- comparing

    def _compare(self, file: int, offset: int, size: int, expected: int, care: int, got: int, verb: str = "") -> None:
        place = self.ground.at(file, offset)
        path = place.path if place is not None else self._hole(file)
        self.sheet.compared[path] |= care
        differs = (got ^ expected) & care
        if not differs:
            return
        wrong = _wrong(place, path, offset, expected, got, differs)
        for one in wrong:
            self.sheet.wrong.setdefault(one.field, one)
        if len(self.sheet.findings) >= MOST_FINDINGS:
            self.sheet.further += 1
            return
        whole = place is not None and (offset, size) == (place.offset, place.size)
        what = verb or ("reads" if whole else f"reads ({size} bytes at {offset:#x})")
        fields = ", ".join(str(one).removeprefix(f"{path}.") for one in wrong if one.field != path)
        self.sheet.findings.append(Finding(path, what, self._after, Answer(expected, got, care, 8 * size), fields))

    def _name(self, place: Place | None, file: int, offset: int, size: int) -> str:
        if place is None:
            return f"{self._hole(file)} at {offset:#x}"
        return place.path if (offset, size) == (place.offset, place.size) else f"{size} bytes at {offset:#x} ({place.path})"

    @staticmethod
    def _hole(file: int) -> str:
        return "config.(nothing)" if file == CONFIG_REGION else f"bar{file}.(nothing)"


def _said(told: int) -> str:
    """An answer to ``Told`` in words."""
    return f"of {told & 0xFF} writes, of {told >> 8 & 0xFF} reads and {told >> 16:#x}"


def _wrong(place: Place | None, path: str, offset: int, expected: int, got: int, differs: int) -> list[Wrong]:
    """What an answer was wrong about: fields of a register; memory and holes as a whole."""
    if place is None or not isinstance(place.entry, Register):
        return [Wrong(path, expected & differs, got & differs)]
    shift = 8 * (offset - place.offset)
    expected, got, differs = (v << shift if shift >= 0 else v >> -shift for v in (expected, got, differs))
    met = [f for f in place.entry.fields if f.mask & differs]
    return [Wrong(f"{path}.{f.name or 'reserved'}{f.range}", f.of(expected), f.of(got)) for f in met]
