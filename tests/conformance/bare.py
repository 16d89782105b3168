"""Banks without a device around them, as a target of the suite: what hardware does, the judge does."""

from __future__ import annotations

import re
from collections.abc import Mapping

from regmodel.bank import Bank, Cell
from regmodel.catalogue import Description
from regmodel.conformance.accesses import Access, Drive, Observe, Read, Reset, Wait, Write
from regmodel.conformance.places import Abilities
from regmodel.function import ResetCause
from regmodel.registers import Bar

ABILITIES = Abilities(resets=frozenset(ResetCause), ports=True, alone=True, unaligned=True)
PATH = re.compile(r"bar(\d)\.(\w+)(?:\[(\d+)\])?")


class BareBanks:
    """The register files of ``bars``, or of a description."""

    name = "bare banks"
    abilities = ABILITIES

    def __init__(self, bars: Mapping[int, Bar] | Description) -> None:
        files = bars.bars if isinstance(bars, Description) else bars
        self.banks = {index: Bank(bar) for index, bar in files.items()}
        self.done = 0

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
            case Wait():
                pass
            case _:
                raise AssertionError(f"bare banks do not know: {access}")
        return 0
