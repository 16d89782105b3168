"""Banks without a device around them, as a target of the suite: what hardware does, the judge does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from regmodel.access import OnRead, OnWrite
from regmodel.bank import Bank, Cause, Cell, Path
from regmodel.catalogue import Description
from regmodel.conduct import Conduct, Excluded
from regmodel.conformance.accesses import Access, Drive, Observe, Read, Reset, Told, Wait, Write, telling
from regmodel.conformance.places import Abilities
from regmodel.function import ResetCause
from regmodel.registers import Bar, Kind, Register
from tests.support.every_kind import DESCRIPTION

ABILITIES = Abilities(resets=frozenset(ResetCause), ports=True, tells=True, alone=True, unaligned=True)
SET_BY_READING = "a hook cannot tell a pulse from the same bit, set by reading"
EVERY_KIND = replace(DESCRIPTION, conduct=Conduct(excluded=(Excluded("csr_told", "axes_23", SET_BY_READING),)))
"""What a bank is judged by."""
PATH = re.compile(r"bar(\d)\.(\w+)(?:\[(\d+)\])?")


class BareBanks:
    """The register files of ``bars``, or of a description."""

    name = "bare banks"
    abilities = ABILITIES

    def __init__(self, bars: Mapping[int, Bar] | Description) -> None:
        files = bars.bars if isinstance(bars, Description) else bars
        self.banks = {index: Bank(bar) for index, bar in files.items()}
        self.done = 0
        self.told: dict[tuple[int, str, int], list[int]] = {}
        """What hooks were told of (BAR, register, element): how many writes, how many reads with a side effect, which ones."""
        for index, bar in files.items():
            for name, entry in bar.entries.items():
                if isinstance(entry, Register):
                    self.listen(index, name, entry)

    def listen(self, index: int, name: str, entry: Register) -> None:
        """Keep what the hooks of a register are told: of data all ones, else those of pulses; of a pair at its high half."""
        bank = self.banks[index]
        pulses = sum(f.mask for f in entry.fields if f.access.onwrite is OnWrite.PULSE)
        shown = -1 if entry.kind in (Kind.DOORBELL, Kind.COMMAND) else pulses
        for element in range(len(entry.offsets)):
            self.told[index, name, element] = [0, 0, 0]

        def written(path: Path, old: int, new: int, size: int, cause: Cause) -> None:
            told = self.told[index, name, path.instance]
            told[0] += 1
            told[2] |= new & shown

        def read(path: Path, old: int, new: int, size: int, cause: Cause) -> None:
            self.told[index, name, path.instance][1] += 1

        if any(f.access.writable for f in entry.fields):
            bank.on_write(name, written)
        if any(f.access.onread is not OnRead.NOTHING for f in entry.fields):
            bank.on_read(name, read)

    def cell(self, path: str) -> Cell:
        found = PATH.fullmatch(path)
        assert found is not None
        return self.banks[int(found[1])][found[2], int(found[3] or 0)]

    def perform(self, access: Access) -> int:
        self.done += 1
        match access:
            case Read():
                return self.banks[access.bar].read(access.offset, access.size)
            case Write():
                self.banks[access.bar].write(access.offset, access.size, access.value)
            case Reset():
                for bank in self.banks.values():
                    bank.reset(access.cause)
            case Drive():
                cell = self.cell(access.path)
                cell.value = cell.value & ~access.mask | access.value & access.mask
            case Observe():
                return self.cell(access.path).value
            case Told():
                found = PATH.fullmatch(access.path)
                assert found is not None
                told = self.told[int(found[1]), found[2], int(found[3] or 0)]
                answer, told[:] = telling(*told), [0, 0, 0]
                return answer
            case Wait():
                pass
            case _:
                raise AssertionError(f"bare banks do not know: {access}")
        return 0
