"""The test function, unplugged from any guest."""

from __future__ import annotations

from dataclasses import replace

from emulators.loop import Loop, ManualClock
from emulators.model import load_card
from emulators.pci.function import PciFunction
from regmodel.pci import ConfigSpace
from tests.emulators.pci import testdevice

MEMORY, IO, MASTER, INTX_OFF = 0x2, 0x1, 0x4, 0x400
ALL_ON = MEMORY | IO | MASTER


class Bench:
    """A loop in manual time and the functions plugged into it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.loop = Loop(now=self.clock.now)
        self.functions: list[PciFunction] = []

    def plug(self, config: ConfigSpace = testdevice.CONFIG, command: int = ALL_ON, rom: bytes = b"") -> PciFunction:
        """A test function of ``config``, with ``command`` written to its Command register."""
        device = replace(testdevice.DEVICE, config=config)
        function = PciFunction(device, self.loop, load_card(device, self.loop).slots[0], rom=rom)
        self.functions.append(function)
        set16(function, 0x04, command)
        return function

    def close(self) -> None:
        for function in self.functions:
            function.close()
        self.loop.close()


class Vector:
    """A trigger that counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def get16(function: PciFunction, offset: int) -> int:
    return int.from_bytes(function.config_read(offset, 2), "little")


def get32(function: PciFunction, offset: int) -> int:
    return int.from_bytes(function.config_read(offset, 4), "little")


def set16(function: PciFunction, offset: int, value: int) -> None:
    function.config_write(offset, value.to_bytes(2, "little"))


def set32(function: PciFunction, offset: int, value: int) -> None:
    function.config_write(offset, value.to_bytes(4, "little"))
