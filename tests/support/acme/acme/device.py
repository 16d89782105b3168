"""ACME's VF: the 82576's, under a name and subsystem of ACME's, with one register more for the board's revision."""

from __future__ import annotations

from dataclasses import replace

from regmodel.access import CONST, RSVD
from regmodel.capabilities import aer, ari, msix, pcie
from regmodel.catalogue import Identity
from regmodel.devices.igbvf import IGBVF
from regmodel.pci import BarSpec, ConfigSpace
from regmodel.registers import Bar, Reg32
from regmodel.sources import Document

BOARD = Document("ACME VF board manual", "3.1")
IDENTITY = Identity(0x8086, 0x10CA, class_code=0x020000, revision=1, subsystem_vendor=0xACE0, subsystem=0x0001)
CONFIG = ConfigSpace(
    IDENTITY,
    msix(0x70, 3, table=(3, 0), pba=(3, 0x2000)),
    pcie(0xA0, flr=True, vf=True),
    aer(0x100, vf=True),
    ari(0x150),
    bars=(BarSpec(0, 0x4000, bits64=True, prefetch=True), BarSpec(3, 0x4000, bits64=True, prefetch=True)),
)
BOARD_REVISION = Reg32(0x3FF0, "revision" / CONST[7:0] * "of the board", RSVD[...], BOARD, reset=0x2A) * "Board revision"
STOCK = IGBVF.bars[0]
BAR0 = Bar(
    STOCK.bar,
    STOCK.size,
    *(name / entry * STOCK.docs_of[name] for name, entry in STOCK.entries.items()),
    "board_revision" / BOARD_REVISION,
    policy=STOCK.policy,
)
ACME_VF = replace(
    IGBVF,
    name="acme-vf",
    title="ACME VF board",
    identity=IDENTITY,
    config=CONFIG,
    bars={**IGBVF.bars, 0: BAR0},
    model="acme.card:AcmeCard",
    sources=(BOARD,),
)
