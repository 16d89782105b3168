"""The vocabulary of access behaviours: what software, hardware and a reset may do to a bit.

Four independent axes (after SystemRDL 2.0, clause 9: ``sw``, ``onwrite``, ``onread``, ``hw``) make an ``Access``; the
names that datasheets use for common combinations are in one table at the end, beside their spelling in UVM, SystemRDL,
CMSIS-SVD and OpenTitan. Exports read the spellings; the bank and the oracle read the axes only.

A bit range turns an access into a field, numbered as the datasheet numbers it: ``RW[15:0]``, ``RO[1]``, and
``RSVD[...]`` for all bits that no other field of the register claims.

Ties. Where hardware sets a bit in the very access in which software clears it, hardware wins (an event is never lost);
where both store, software wins. ``Access.tie`` says which.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from enum import Enum
from types import EllipsisType, FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regmodel.bits import Field


class OnWrite(Enum):
    """What a write by software does to a bit."""

    NOTHING = "is ignored"
    STORE = "stores"
    ONE_CLEARS = "1 clears, 0 leaves"
    ZERO_CLEARS = "0 clears, 1 leaves"
    ONE_SETS = "1 sets, 0 leaves"
    ONE_TOGGLES = "1 toggles, 0 leaves"
    ONCE = "stores the first time after a reset"
    PULSE = "1 acts and reads back 0"


class OnRead(Enum):
    """What a read by software does to a bit, after its value was taken."""

    NOTHING = "leaves it"
    CLEAR = "clears it"
    SET = "sets it"


class Tie(Enum):
    """Who wins when software and hardware change a bit in the same access."""

    SOFTWARE = "software"
    HARDWARE = "hardware"


@dataclass(frozen=True)
class Spelling:
    """The same behaviour in other people's words; None where they have no word for it."""

    uvm: str | None = None
    systemrdl: str | None = None
    svd: str | None = None
    opentitan: str | None = None


@dataclass(frozen=True)
class Access:
    """How a bit behaves. ``name`` is the datasheet's word, ``prose`` the legend that documents and ``show`` print."""

    name: str
    prose: str
    readable: bool = True
    onwrite: OnWrite = OnWrite.STORE
    onread: OnRead = OnRead.NOTHING
    hardware: bool = False
    """Hardware may change it: a read may return what nobody wrote (UVM ``volatile``)."""
    tie: Tie = Tie.SOFTWARE
    reserved: bool = False
    spelling: Spelling = field(default=Spelling(), compare=False)

    @property
    def writable(self) -> bool:
        return self.onwrite is not OnWrite.NOTHING

    @property
    def side_effects(self) -> bool:
        """Reading or writing does more than fetch or store, so the page that holds it must not be mapped."""
        return self.onread is not OnRead.NOTHING or self.onwrite not in (OnWrite.NOTHING, OnWrite.STORE)

    @property
    def volatile(self) -> Access:
        """The same, but hardware may change it as well."""
        return replace(self, hardware=True)

    def __getitem__(self, bits: int | slice | EllipsisType) -> Field:
        from regmodel.bits import Field

        if bits is ...:
            return Field(self, lsb=-1, width=0, where=declaring_line())
        if isinstance(bits, slice):
            msb, lsb = int(bits.start), int(bits.stop)
        else:
            msb = lsb = int(bits)
        return Field(self, lsb=lsb, width=msb - lsb + 1, where=declaring_line())

    def __str__(self) -> str:
        return self.name


_LANGUAGE = frozenset(
    {
        f"regmodel.{room}"
        for room in ("access", "bits", "registers", "locks", "layout", "keys", "sources", "catalogue", "handshakes")
    }
    | {"regmodel.pci", "regmodel.capabilities", "regmodel.conduct", "construct.core", "functools"}
)


def declaring_line() -> str:
    """``file:line`` of the description that is being read: the nearest caller outside of the language itself."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in _LANGUAGE:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "?"


# name, legend, axes, spellings: one line of meaning each. This is the only place where names meet axes.
RW = Access("RW", "read and write", spelling=Spelling("RW", "sw=rw", "read-write", "rw"))
RO = Access(
    "RO",
    "read only, hardware sets it",
    onwrite=OnWrite.NOTHING,
    hardware=True,
    spelling=Spelling("RO", "sw=r; hw=w", "read-only", "ro"),
)
CONST = Access(
    "CONST",
    "read only, never changes",
    onwrite=OnWrite.NOTHING,
    spelling=Spelling("RO", "sw=r; hw=na", "read-only", "ro"),
)
WO = Access(
    "WO", "write only, reads 0", readable=False, spelling=Spelling("WO", "sw=w", "write-only", "wo")
)
W1C = Access(
    "W1C",
    "write 1 to clear",
    onwrite=OnWrite.ONE_CLEARS,
    hardware=True,
    tie=Tie.HARDWARE,
    spelling=Spelling("W1C", "sw=rw; onwrite=woclr", "read-write/oneToClear", "rw1c"),
)
W0C = Access(
    "W0C",
    "write 0 to clear",
    onwrite=OnWrite.ZERO_CLEARS,
    hardware=True,
    tie=Tie.HARDWARE,
    spelling=Spelling("W0C", "sw=rw; onwrite=wzc", "read-write/zeroToClear", "rw0c"),
)
W1S = Access(
    "W1S",
    "write 1 to set",
    onwrite=OnWrite.ONE_SETS,
    spelling=Spelling("W1S", "sw=rw; onwrite=woset", "read-write/oneToSet", "rw1s"),
)
W1T = Access(
    "W1T",
    "write 1 to toggle",
    onwrite=OnWrite.ONE_TOGGLES,
    spelling=Spelling("W1T", "sw=rw; onwrite=wot", "read-write/oneToToggle"),
)
W1P = Access(
    "W1P",
    "write 1 to act; reads 0",
    readable=False,
    onwrite=OnWrite.PULSE,
    spelling=Spelling("WO", "sw=w; singlepulse", "write-only", "wo"),
)
WO1C = Access(
    "WO1C",
    "write 1 to clear; reads 0",
    readable=False,
    onwrite=OnWrite.ONE_CLEARS,
    spelling=Spelling("WOC", "sw=w; onwrite=woclr", "write-only/oneToClear", "r0w1c"),
)
WO1S = Access(
    "WO1S",
    "write 1 to set; reads 0",
    readable=False,
    onwrite=OnWrite.ONE_SETS,
    spelling=Spelling("WOS", "sw=w; onwrite=woset", "write-only/oneToSet"),
)
RWO = Access(
    "RW1", "written once after a reset", onwrite=OnWrite.ONCE, spelling=Spelling("W1", "sw=rw1", "read-writeOnce")
)
RC = Access(
    "RC",
    "reading clears",
    onwrite=OnWrite.NOTHING,
    onread=OnRead.CLEAR,
    hardware=True,
    tie=Tie.HARDWARE,
    spelling=Spelling("RC", "sw=r; onread=rclr", "read-only/clear", "rc"),
)
WRC = Access(
    "WRC",
    "read and write, reading clears",
    onread=OnRead.CLEAR,
    hardware=True,
    tie=Tie.HARDWARE,
    spelling=Spelling("WRC", "sw=rw; onread=rclr", "read-write/clear"),
)
RS = Access(
    "RS",
    "reading sets",
    onwrite=OnWrite.NOTHING,
    onread=OnRead.SET,
    hardware=True,
    spelling=Spelling("RS", "sw=r; onread=rset", "read-only/set"),
)
RCW1C = Access(
    "RC/W1C",
    "reading clears, writing 1 clears",
    onwrite=OnWrite.ONE_CLEARS,
    onread=OnRead.CLEAR,
    hardware=True,
    tie=Tie.HARDWARE,
    spelling=Spelling(None, "sw=rw; onread=rclr; onwrite=woclr", "read-write/clear/oneToClear"),
)
RSVD = Access(
    "RSVD",
    "reserved: keeps its reset value",
    onwrite=OnWrite.NOTHING,
    reserved=True,
    spelling=Spelling("RO", "sw=r; hw=na", "read-only", "none"),
)

VOCABULARY: tuple[Access, ...] = (
    RW, RO, CONST, WO, W1C, W0C, W1S, W1T, W1P, WO1C, WO1S, RWO, RC, WRC, RS, RCW1C, RSVD,
)  # fmt: skip
