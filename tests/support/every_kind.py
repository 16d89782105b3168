"""One description with every access of the vocabulary and every kind of register, for whatever must cope with all of them.

``BAR`` allows everything, ``STRICT`` holds the same registers, without locks, under the strictest policy; ``DESCRIPTION``
has both, ``LOCKED`` the locks alone; ``BESIDE`` has keys beside what turning them must leave alone.
"""

from __future__ import annotations

from construct import Array, Bytes, Construct, Int32ul

from regmodel.access import (
    CONST,
    RC,
    RO,
    RSVD,
    RW,
    RWO,
    VOCABULARY,
    W0C,
    W1C,
    W1P,
    W1S,
    W1T,
    WO,
    WO1C,
    WO1S,
    Access,
    OnRead,
    OnWrite,
)  # fmt: skip
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
    "uneven"   / Window(0x3B4, Bytes(5), RW, survives=(FLR,))                            * "five bytes, cleared by some resets",
    "rom"      / Window(0x3C0, Array(2, Int32ul), CONST)                                   * "nobody writes it",
    "stamp"    / Window(0x3C9, Bytes(3), CONST)                                            * "bytes that nobody writes",
    "never"    / Reg32(0x3D0, "kept" / RW[15:0].sticky(*ResetCause), "ro" / RO[31:16].sticky(*ResetCause), reset=0x77)
                                                                                    * "no reset reaches it",
    "fixed"    / Reg32(0x3D4, CONST, reset=0xC0FFEE)                                       * "never changes",
    "reserved" / Reg32(0x3D8, "one" / RW[0], RSVD[...], reset={POWER_ON: 0xFFFF_FFFF, FLR: 0xF0F0_F0F0})
                                                                                    * "reserved bits that differ by reset",
    "late"     / Reg32(0x3DC, CONST, reset={FLR: 5}, survives=(POWER_ON, BUS, SOFTWARE))   * "constant after its first reset",
    "queues"   / Register(Kind.PLAIN, 32, Each(0x3E0, 8, 3), ("head" / RO[15:0], "tail" / RW[31:16])) * "an array with holes",
    "last"     / Reg32(0x3FC, RW, reset=0x1A57)                                            * "up to the end",
)
# fmt: on

FIVE, GOOD = ("gate.state", 5), ("gate.for_good", 1)
# fmt: off
LOCKS = (
    "gate"     / Reg32(0x280, "state" / RW[2:0], "for_good" / W1S[8], "wired" / RO[9], RSVD[...], reset=0x2) * "keys to others",
    "gated"    / Reg32(0x284, "five" / RW[7:0].locked_by(*FIVE), "good" / W1C[15:8].locked_by(*GOOD), "free" / RW[23:16],
                       "wired" / RW[31:24].locked_by("gate.wired", value=0), reset=0x1234_5678)  * "each field its own lock",
    "own"      / Reg32(0x288, "value" / RW[15:0].locked_by("own.lock"), "lock" / RW[31].locked_by("own.lock"), RSVD[...])
                                                                                    * "locks itself, until a reset",
    "regwen"   / Reg8(0x28C, "open" / W0C[0], RSVD[...], reset=1)                          * "an enable: once taken it is gone",
    "enabled"  / Reg16(0x28E, RW, locked_by=("regwen.open", 0), reset=0xBEEF)              * "behind it, in the same word",
    "all"      / Reg32(0x290, "once" / RWO[7:0], "go" / W1P[8], "flip" / W1T[23:16], "clear" / W1C[31:24], RSVD[...],
                       locked_by=FIVE)
                                                                                    * "what else a write may do",
    "all_set"  / Alias32(0x294, "all", "flip" / WO1S[23:16].locked_by(*GOOD), RSVD[...])   * "an alias has locks of its own",
    "far"      / Reg64(0x298, "value" / RW[62:0].locked_by("far.key", value=0), "key" / RW[63], reset=1 << 63)
                                                                                    * "locked by its last bit",
    "door"     / Reg16(Each(0x2A0, 4, 3), RW, locked_by=("key", 0x80))                     * "before its key, each its own",
    "key"      / Reg16(Each(0x2A2, 4, 3), RW)                                              * "of the door",
    "enable"   / Reg16(0x2B0, "enable" / W1S.volatile[0], RSVD[...], banked_by=("select", 3)) * "of a queue",
    "depth"    / Reg16(0x2B2, RW, banked_by=("select", 3), locked_by=("enable.enable", 1), reset=256)
                                                                                    * "of a queue, fixed while it is enabled",
    *Pair32("lower", 0x2B8, "upper", 0x2BC, "v" / RW[31:0].locked_by(*GOOD), doc="a pair"),
)
# fmt: on

ENTRIES = (*_vocabulary(), *_axes(), *KINDS)
BAR = Bar("every", 0x400, *ENTRIES, *LOCKS, doc="every access, every kind, every sort of lock")
STRICT = Bar(
    "strict", 0x400, *ENTRIES, policy=Policy(Miss.ONES, Partial.IGNORE, Partial.IGNORE, Wide.IGNORE), doc="the same, strict"
)
DESCRIPTION = Description(name="every-kind", title="Every kind", doc="for tests", bars={0: BAR, 1: STRICT})


SELECT = next(entry for entry in KINDS if entry.name == "select")
LOCKED = Description(name="locked", title="Locks", doc="for tests", bars={0: Bar("locked", 0x400, SELECT, *LOCKS)})
"""Locks alone."""

# fmt: off
BESIDE = Description(name="beside", title="Keys beside", doc="for tests", bars={0: Bar("beside", 0x40,
    "keys"   / Reg32(0x00, "a" / RW[0], "b" / RW[1], "c" / W1S.volatile[8], RSVD[...])   * "a reset leaves them shut",
    "halves" / Reg32(0x04, "a" / RW[15:0].locked_by("keys.a", value=0), "b" / RW[31:16].locked_by("keys.b", value=0))
                                                                                    * "each its own key, of one register",
    "open"   / Reg32(0x08, "once" / RWO[7:0].locked_by("open.key"), "first" / RWO[15:8], "key" / RW[31], RSVD[...])
                                                                                    * "writing the key spends the rest",
    "shut"   / Reg32(0x0C, "once" / RWO[7:0].locked_by("shut.key", value=0), "first" / RWO[15:8], "key" / RW[31], RSVD[...])
                                                                                    * "which a reset leaves shut",
    "cause"  / Reg32(0x10, "bits" / W1C[15:0].locked_by("cause.lock"), "lock" / RW[31].locked_by("cause.lock"), RSVD[...])
                                                                                    * "a reset opens it, and clears the causes",
    "both"   / Reg32(0x14, "once" / RWO[7:0].locked_by("keys.c"), "bits" / W1C[15:8].locked_by("keys.c"),
                           "high" / RW[31:16].locked_by("keys.a"))                  * "of which nothing is 1 but by hardware",
)})
# fmt: on
"""Keys beside keys that a reset leaves shut, beside write-once bits, beside causes."""


def fields_of(bar: Bar) -> list[Field]:
    """All fields of all registers."""
    return [f for e in bar.entries.values() if isinstance(e, Register) for f in e.fields]
