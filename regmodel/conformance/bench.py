"""The bench at which one check works: it reads, writes and resets, and every answer is compared with the prediction.

All methods that touch the device are generators of accesses (``yield from bench.write(...)``). A check never compares by
itself: what it reads is compared here, with everything that is known, and differences are noted on the current sheet.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from regmodel.access import OnRead, Tie
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
from regmodel.conformance.outcomes import Answer, Finding, Wrong
from regmodel.conformance.places import PUT_BACK, Abilities, Ground, Place
from regmodel.conformance.predictor import Predictor
from regmodel.function import CONFIG_REGION, ResetCause
from regmodel.registers import Register

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
        self.predictor = Predictor(self.ground.files, self.ground.conduct, abilities.alone)
        self.sheet = Sheet()
        self._after = ""

    def new_sheet(self) -> Sheet:
        """A check begins."""
        self.sheet = Sheet()
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

    def reset(self, cause: ResetCause) -> Steps[None]:
        """Reset the function; what the target puts back is not relied on."""
        self._after = f"a reset ({cause.value})"
        yield Reset(cause)
        self.predictor.reset(cause)
        self.predictor.forget(PUT_BACK)

    def start(self) -> Steps[None]:
        """Bring the device where a test begins: the strongest reset that the target has."""
        cause = next((c for c in STRONGEST if c in self.abilities.resets), None)
        if cause is not None:
            yield from self.reset(cause)

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
