"""Tally, described: what its data sheet (which we made up) says, and nothing of what happens inside."""

from __future__ import annotations

from regmodel.access import CONST, RO, RSVD, RW, W1C, W1P, WO
from regmodel.capabilities import msix, msix_bar
from regmodel.catalogue import Device, Identity
from regmodel.conduct import Conduct, Effect
from regmodel.function import ResetCause
from regmodel.pci import BarSpec, ConfigSpace
from regmodel.registers import Bar, Doorbell32, Reg32
from regmodel.sources import Document


def DS(section: str) -> Document:
    """A section of the data sheet: every register says where it is from."""
    return Document("Tally data sheet", section)


# fmt: off
BAR0 = Bar("bar0", 0x100,
    "identity" / Reg32(0x00,
        "version" / CONST[7:0]  * "of the register layout",
        "magic"   / CONST[31:8] * "54414Ch, TAL in ASCII",
        DS("2.1"), reset=0x54414C01)                                            * "Identity",
    "control" / Reg32(0x04,
        "enable" / RW[0] * "work is done",
        "unit"   / RW[5:4](BYTE=0, HALF=1, WORD=2) * "size of a number",
        "reset"  / W1P[31] * "reset the device",
        RSVD[...], DS("2.2"))                                                   * "Control",
    "address"      / Reg32(0x08, RW, DS("2.3"))                                 * "Address of the numbers, low half",
    "address_high" / Reg32(0x0C, RW, DS("2.3"))                                 * "Address of the numbers, high half",
    "length" / Reg32(0x10, "bytes" / RW[15:0] * "of all numbers", RSVD[...], DS("2.4"))  * "Length",
    "start"  / Doorbell32(0x14, "tag" / WO[7:0] * "returned in RESULT", RSVD[...], DS("2.5")) * "Start: add them up",
    "sum"    / Reg32(0x18, RO, DS("2.6"))                                       * "The sum, modulo 2^32",
    "result" / Reg32(0x1C,
        "done"  / W1C.volatile[0] * "SUM is valid",
        "fault" / W1C.volatile[1] * "the numbers could not be read",
        "tag"   / RO[15:8]        * "of the START that this is the result of",
        RSVD[...], DS("2.7"))                                                   * "Result",
    doc="registers")
# fmt: on

IDENTITY = Identity(0x1234, 0x7A11, class_code=0xFF0000, revision=1)
CONFIG = ConfigSpace(
    IDENTITY,
    msix(0x40, 1, table=(1, 0), pba=(1, 0x800)),
    bars=(BarSpec(0, 0x100), BarSpec(1, 0x1000)),
    size=0x100,
    sources=(DS("1"),),
)
CONDUCT = Conduct(effects=(Effect("control.reset", "resets the device", ResetCause.SOFTWARE, sources=(DS("2.2"),)),))
TALLY = Device(
    name="tally",
    title="Tally",
    doc="Adds up numbers in memory: one register file, one interrupt, one DMA read",
    identity=IDENTITY,
    config=CONFIG,
    bars={0: BAR0, 1: msix_bar("msix", 0x1000, CONFIG, 1)},
    model="tally.model:TallyCard",
    msix_vectors=1,
    msix_bar=1,
    conduct=CONDUCT,
    sources=(DS("1"),),
)
