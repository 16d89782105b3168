"""A driver for Tally. It runs wherever there is a transport: on the model in this process, on a socket, on a card."""

from __future__ import annotations

from drivers.registers import Registers
from drivers.transports import Transport
from regmodel.catalogue import Device
from regmodel.errors import RegmodelError

MEMORY, BUS_MASTER = 1 << 1, 1 << 2
"""Bits of the command register."""


class TallyDriver:
    """``with open_transport("inprocess", device) as t: TallyDriver(t, device).add([1, 2, 3])``"""

    def __init__(self, transport: Transport, device: Device) -> None:
        self.transport = transport
        transport.config_write(4, 2, MEMORY | BUS_MASTER)
        self.registers = Registers(device, transport)
        if self.registers.identity.magic != 0x54414C:
            raise RegmodelError(f"{transport.name} is no Tally: IDENTITY reads {self.registers.identity.read():#010x}")
        self.registers.control.write(reset=1)
        self.registers.control.write(enable=1, unit="WORD")
        self.buffer = transport.alloc(4096)
        transport.enable_irqs(1)
        self.tag = 0

    def add(self, numbers: list[int]) -> int:
        """The sum of up to 1024 numbers, modulo 2^32. Raises ``RegmodelError`` when the device cannot."""
        words = self.buffer.view[: 4 * len(numbers)].cast("I")
        for i, number in enumerate(numbers):
            words[i] = number
        self.buffer.sync_for_device(0, 4 * len(numbers))
        regs, self.tag = self.registers, (self.tag + 1) % 256
        regs.address.write(self.buffer.iova & 0xFFFF_FFFF)
        regs.address_high.write(self.buffer.iova >> 32)
        regs.length.write(bytes=4 * len(numbers))
        regs.start.write(tag=self.tag)
        self.transport.wait_irq(1.0)
        result = regs.result.fields()  # one access, all fields
        regs.result.write(done=1, fault=1)
        if not result["done"] or result["tag"] != self.tag:
            raise RegmodelError(f"{self.transport.name}: no sum: {result}")
        return int(regs.sum.read())
