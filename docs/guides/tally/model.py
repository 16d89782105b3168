"""Tally, as it behaves: what happens when a driver rings START."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulators.host import Host
from emulators.model import single
from regmodel.bank import Bank, Cause, Path
from regmodel.catalogue import Device
from regmodel.errors import DmaFault, StateError
from regmodel.function import ResetCause

WIDTHS = {0: 1, 1: 2, 2: 4}


class Tally:
    """One function. Registers are in the bank, which already does all that the description says; here is the rest."""

    def __init__(self, device: Device, host: Host) -> None:
        self.host = host
        self.registers = Bank(device.bars[0], now=host.clock.now)
        self.banks: Mapping[int, Bank] = {0: self.registers}
        self.tag = 0
        self.registers.on_write("start", self._start)
        self.registers.on_write("control", self._control)

    def _start(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """A doorbell rings inside of the guest's write, which must not wait for DMA: the work is done soon after."""
        self.tag = new & 0xFF
        self.host.defer(self._work)

    def _control(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        if new >> 31:  # a pulse: this hook sees it, the register does not keep it
            self.registers.reset(ResetCause.SOFTWARE)

    def _work(self) -> bool:
        """One sum. True would mean that there is more to do."""
        registers = self.registers
        if not registers["control"].get("enable"):
            self.host.diagnose("start-while-disabled", tag=self.tag)
            return False
        address = registers["address_high"].value << 32 | registers["address"].value
        width = WIDTHS.get(registers["control"].get("unit"), 4)
        try:
            data = bytes(self.host.dma.read(address, registers["length"].get("bytes")))
        except DmaFault:
            registers["result"].set(fault=1, tag=self.tag)
        else:
            numbers = (data[i : i + width] for i in range(0, len(data), width))
            registers["sum"].value = sum(int.from_bytes(n, "little") for n in numbers) & 0xFFFF_FFFF
            registers["result"].set(done=1, tag=self.tag)
        self.host.irq(0)
        return False

    def reset(self, cause: ResetCause) -> None:
        """Of the whole function; configuration space and MSI-X were reset before."""
        self.registers.reset(cause)

    def save(self) -> dict[str, object]:
        """All state, for `regmodel serve` to keep over a restart."""
        return {"version": 1, "registers": self.registers.save(), "tag": self.tag}

    def load(self, state: Mapping[str, Any]) -> None:
        """Raises ``StateError`` for what is not ours."""
        if state.get("version") != 1:
            raise StateError(f"the saved state is of version {state.get('version')!r}, not 1, of a tally")
        self.registers.load(state["registers"])
        self.tag = int(state["tag"])


TallyCard = single(Tally)
"""What ``Device.model`` names: a card with one function and no PF."""
