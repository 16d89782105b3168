"""One description with every access of the vocabulary and every kind of register, for whatever must cope with all of them.

``BAR`` allows everything, ``STRICT`` holds the same registers under the strictest policy; ``DESCRIPTION`` has both.
"""

from __future__ import annotations

from construct import Array, Bytes, Construct, Int32ul

from regmodel.access import CONST, RC, RO, RSVD, RW, RWO, VOCABULARY, W1C, W1P, W1S, WO, WO1C, Access, OnRead, OnWrite
from regmodel.bits import Field
from regmodel.catalogue import Description
from regmodel.function import ResetCause
from regmodel.registers import (
    Alias32,
    Bar,
    Command32,
    Doorbell16,
    Doorbell32,
    Each,
    Kind,
    Miss,
    Pair32,
    Partial,
    Policy,
    Reg8,
    Reg16,
    Reg32,
    Reg64,
    Register,
    Wide,
    Window,
)

FLR, SOFTWARE, POWER_ON, BUS = ResetCause.FLR, ResetCause.SOFTWARE, ResetCause.POWER_ON, ResetCause.BUS
RESETS = {POWER_ON: 0xA5A5A5A5, BUS: 0x5A5A5A5A, FLR: 0xFFFF0000, SOFTWARE: 0x00FF00FF}


def _vocabulary() -> list[Construct]:
    """One register per access: it, a volatile one like it, and one that survives some resets."""
    found: list[Construct] = []
    for i, access in enumerate(a for a in VOCABULARY if not a.reserved):
        name = "v_" + access.name.lower().replace("/", "_")
        register = Reg32(
            0x10 * i,
            "plain" / access[7:0],
            "volatile" / access.volatile[19:8],
            "sticky" / access[23:20].sticky(FLR, SOFTWARE),
            RSVD[...],
            reset=RESETS,
        )
        found.append(name / register * access.prose)
    return found


def _axes() -> list[Construct]:
    """One register per combination of what a write and what a read does, hidden and shown."""
    pairs = [(write, read) for write in OnWrite for read in OnRead]
    accesses = [Access(f"{w.name}/{r.name}", "a combination", True, w, r, True) for w, r in pairs]
    return [
        f"axes_{i}" / Reg32(0x200 + 4 * i, "low" / access[15:0], "high" / access[31:16], reset=0x0F0F_F0F0)
        for i, access in enumerate(accesses)
    ]


# fmt: off
KINDS = (
    "bytes"    / Reg8(Each(0x300, 1, 3), "low" / RW[3:0], "high" / W1C[7:4], reset=0x3C)   * "three of a word of four",
    "byte"     / Reg8(0x303, RC, reset=0x81)                                               * "the fourth",
    "half"     / Reg16(0x304, "once" / RWO[11:0], "rest" / RW[15:12])                      * "half a word, a hole after it",
    "wide"     / Reg64(0x308, "a" / RW[39:0], "b" / W1C[47:40], "once" / RWO[63:48].sticky(FLR), reset=0x0123_4567_89AB_CDEF)
                                                                                    * "a field across the words",
    "wides"    / Reg64(Each(0x310, 16, 2), RC, reset=(1 << 64) - 1)                        * "64 bits, apart",
    "narrow"   / Reg16(0x318, RW)                                                          * "between elements",
    "cause"    / Reg32(0x340, "bits" / W1C[15:0], "seen" / RC[31:16])                      * "causes",
    "set"      / Alias32(0x344, "cause", "bits" / W1S[15:0], "go" / W1P[31], RSVD[...])    * "sets causes",
    "clear"    / Alias32(0x348, "cause", "bits" / WO1C[15:0], RSVD[...])                   * "clears causes",
    "bell"     / Doorbell16(Each(0x350, 2, 3), "queue" / WO[15:0])                         * "three in two words",
    "bell32"   / Doorbell32(0x358, "index" / WO[23:0], "kick" / W1P[24], RSVD[...])        * "with fields",
    "command"  / Command32(0x35C, "verb" / RW[15:0], "status" / RC[31:16], reset=0x1234_0000) * "written, then answered",
    "select"   / Reg8(0x360, "index" / RW[3:0], RSVD[...])                                 * "selects an instance",
    "after"    / Reg16(0x362, "x" / RW[7:0], "y" / W1C[15:8], banked_by=("select", 3), reset=0xFF11)
                                                                                    * "behind its index, in the same word",
    "banked"   / Reg32(Each(0x364, 8, 2), "size" / RW[15:0], "event" / RC[31:16], banked_by=("select", 4), reset=0x0000_0100)
                                                                                    * "two elements, four instances each",
    *Pair32("low", Each(0x380, 8, 2), "high", Each(0x384, 8, 2), "v" / RW[31:0], reset=0x11, doc="a pair"),
    "memory"   / Window(0x3A0, Array(5, Int32ul), RW)                                      * "five words",
    "odd"      / Window(0x3BA, Bytes(3), RW, survives=ResetCause)                          * "three bytes across a word",
    "rom"      / Window(0x3C0, Array(2, Int32ul), CONST)                                   * "nobody writes it",
    "never"    / Reg32(0x3D0, "kept" / RW[15:0].sticky(*ResetCause), "ro" / RO[31:16].sticky(*ResetCause), reset=0x77)
                                                                                    * "no reset reaches it",
    "fixed"    / Reg32(0x3D4, CONST, reset=0xC0FFEE)                                       * "never changes",
    "reserved" / Reg32(0x3D8, "one" / RW[0], RSVD[...], reset={POWER_ON: 0xFFFF_FFFF, FLR: 0xF0F0_F0F0})
                                                                                    * "reserved bits that differ by reset",
    "late"     / Reg32(0x3DC, CONST, reset={FLR: 5}, survives=(POWER_ON, BUS, SOFTWARE))   * "constant after its first reset",
    "queues"   / Register(Kind.PLAIN, 32, Each(0x3E0, 8, 3), ("head" / RO[15:0], "tail" / RW[31:16])) * "an array with holes",
)
# fmt: on

ENTRIES = (*_vocabulary(), *_axes(), *KINDS)
BAR = Bar("every", 0x400, *ENTRIES, doc="every access and every kind")
STRICT = Bar(
    "strict", 0x400, *ENTRIES, policy=Policy(Miss.ONES, Partial.IGNORE, Partial.IGNORE, Wide.IGNORE), doc="the same, strict"
)
DESCRIPTION = Description(name="every-kind", title="Every kind", doc="for tests", bars={0: BAR, 1: STRICT})


def fields_of(bar: Bar) -> list[Field]:
    """All fields of all registers."""
    return [f for e in bar.entries.values() if isinstance(e, Register) for f in e.fields]
