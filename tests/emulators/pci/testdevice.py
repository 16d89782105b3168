"""A function with everything that PCI has and a virtual function lacks: PM, ROM, I/O BAR, INTx, MSI, 32-bit BARs, mapped pages.

What it does: a scratch register per BAR, an interrupt line and messages on demand, one DMA write on demand. No NIC in here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from construct import Array, Int32ul

from emulators.host import Host
from emulators.model import single
from emulators.pci.shared import SharedBank, SharedMemory
from regmodel.access import CONST, RO, RSVD, RW, W1C, W1P, WO
from regmodel.bank import Bank, Cause, Path
from regmodel.capabilities import aer, dsn, msi, msix, msix_bar, pcie, pm, vendor
from regmodel.catalogue import Device, Identity
from regmodel.errors import DmaFault, StateError
from regmodel.function import RegionKind, ResetCause
from regmodel.pci import BarSpec, Capability, ConfigSpace, Reg8
from regmodel.registers import Bar, Doorbell32, Miss, Pair32, Policy, Reg32, Window

IDENTITY = Identity(0x1234, 0x7E57, 0xFF0000, revision=3, subsystem_vendor=0x1234, subsystem=0x0001)
ROM_SIZE, SERIAL = 4096, 0x0123456789ABCDEF
SHARED_AT = 0x2000


def af(at: int) -> Capability:
    """Advanced Features: FLR of a conventional function (ECN "Advanced Capabilities for Conventional PCI", 2006)."""
    entries = (
        "af_length" / Reg8(at + 2, "length" / CONST[7:0], reset=6),
        "af_capabilities" / Reg8(at + 3, "transactions_pending" / CONST[0], "flr" / CONST[1], RSVD[...], reset=3),
        "af_control" / Reg8(at + 4, "initiate_flr" / W1P[0], RSVD[...]),
        "af_status" / Reg8(at + 5, "transactions_pending" / RO[0], RSVD[...]),
    )
    return Capability("af", 0x13, at, 6, entries)


BARS = (
    BarSpec(0, 0x1000),
    BarSpec(1, 0x20, kind=RegionKind.IO),
    BarSpec(2, 0x4000, bits64=True, prefetch=True),
    BarSpec(4, 0x1000),
)


def config(*, no_soft_reset: bool = False, maskable: bool = True, bars: tuple[BarSpec, ...] = BARS) -> ConfigSpace:
    return ConfigSpace(
        IDENTITY,
        pm(0x40, no_soft_reset=no_soft_reset, pme=0b11001),
        msi(0x50, 4, maskable=maskable),
        msix(0x70, 3, table=(4, 0), pba=(4, 0x800)),
        vendor(0x80, 8, "vendor_scratch" / Reg8(0x84, "value" / RW[7:0])),
        af(0x90),
        pcie(0xA0, flr=True, payload=1),
        aer(0x100),
        dsn(0x140, SERIAL),
        bars=bars,
        rom=ROM_SIZE,
        pin=1,
    )


CONFIG = config()
REGISTERS = Bar(
    "registers",
    0x1000,
    "identity"    / Reg32(0x00, CONST, reset=0x600DCAFE),
    "scratch"     / Reg32(0x04, RW, reset=0x11111111),
    "events"      / Reg32(0x08, "first" / W1C[0], "second" / W1C[1], RSVD[...]),
    "line"        / Reg32(0x10, "asserted" / RW[0], RSVD[...]),
    "message"     / Doorbell32(0x14, WO),
    *Pair32("dma_low", 0x20, "dma_high", 0x24, RW),
    "dma_go"      / Doorbell32(0x28, WO),
    "dma_result"  / Reg32(0x2C, RO),
    "reset"       / Reg32(0x30, "go" / W1P[0], RSVD[...]),
    policy=Policy(unmapped=Miss.ONES),
)  # fmt: skip
PORTS = Bar(
    "ports",
    0x20,
    "port_scratch"  / Reg32(0x00, RW, reset=0x22222222),
    "port_identity" / Reg32(0x04, CONST, reset=0x10101010),
)  # fmt: skip
SHARED = Bar(
    "shared",
    0x4000,
    "shared_scratch" / Reg32(0x00, RW, reset=0x33333333),
    "pages" / Window(SHARED_AT, Array(2048, Int32ul), RW, mappable=True),
)

DEVICE = Device(
    name="testdevice",
    title="a PCI function for tests",
    doc="",
    identity=IDENTITY,
    config=CONFIG,
    bars={0: REGISTERS, 1: PORTS, 2: SHARED, 4: msix_bar("msix", 0x1000, CONFIG, 4)},
    model="tests.emulators.pci.testdevice:card",
    msix_vectors=3,
    msix_bar=4,
)


def rom_image() -> bytes:
    """An image of 2 KiB that says it is the last, with EFI code so that no BIOS runs it (PCI Firmware 3.0 §5.1)."""
    head = struct.pack("<HB21xH2x", 0xAA55, 4, 0x1C)
    structure = struct.pack(
        "<4sHHHHB3sHHBBH", b"PCIR", IDENTITY.vendor, IDENTITY.device, 0, 0x18, 0, b"\0\0\xff", 4, 1, 3, 0x80, 0
    )
    return (head + structure).ljust(2040, b"\x5a") + b"the end!"


class TestModel:
    """See the module."""

    __test__ = False

    def __init__(self, device: Device, host: Host) -> None:
        self.host = host
        self.resets: list[ResetCause] = []
        self.on_reset: Callable[[], None] = lambda: None
        self.faults: list[str] = []
        self.shared = {2: SharedMemory(device.bars[2].size)}
        now = host.clock.now
        self.banks = {
            0: Bank(device.bars[0], now=now),
            1: Bank(device.bars[1], now=now),
            2: SharedBank(device.bars[2], self.shared[2], now=now),
        }
        registers = self.banks[0]
        registers.on_write("line", self._line)
        registers.on_write("message", self._message)
        registers.on_write("dma_go", self._dma_go)
        registers.on_write("reset", self._reset)

    def reset(self, cause: ResetCause) -> None:
        self.resets.append(cause)
        self.on_reset()
        for bank in self.banks.values():
            bank.reset(cause)
        self.host.line(False)

    def save(self) -> dict[str, object]:
        return {"banks": {str(i): bank.save() for i, bank in self.banks.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        if "banks" not in state:
            raise StateError("not a state of the test device")
        for i, bank in self.banks.items():
            bank.load(state["banks"][str(i)])

    def _line(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self.host.line(bool(new & 1))

    def _message(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self.host.irq(new)

    def _dma_go(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self.banks[0]["dma_result"].value = 0
        self.host.defer(self._burst)

    def _burst(self) -> bool:
        registers = self.banks[0]
        try:
            self.host.dma.write(registers["dma_low"].whole(), registers["scratch"].value.to_bytes(4, "little"))
            registers["dma_result"].value = 1
        except DmaFault as fault:
            registers["dma_result"].value = 2
            self.faults.append(fault.why)
            self.host.diagnose("dma-fault", why=fault.why)
        return False

    def _reset(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        if new & 1:
            self.reset(ResetCause.SOFTWARE)


card = single(TestModel)
