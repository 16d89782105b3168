"""The drawings, as a terminal of 80 columns without colour shows them."""

from __future__ import annotations

import textwrap

import pytest
from construct import Array, Bytes, Const, Enum, Int8ul, Int16ul, Int32ul, Struct

from regmodel import render
from regmodel.access import RC, RO, RSVD, RW, W1P
from regmodel.bits import Bits, F
from regmodel.catalogue import devices
from regmodel.errors import UsageError
from regmodel.function import ResetCause
from regmodel.registers import UNIMPLEMENTED, Alias32, Bar, Doorbell32, Each, Pair32, Reg8, Reg32, Reg64, Window
from regmodel.render.prose import notes
from regmodel.render.svg import bit_parts
from regmodel.sources import Document, Symbol
from tests.regmodel.described import descriptions

D = Document("The Datasheet", "8.1")
S = Symbol("linux-source", "regs.h", "R_MBX")
# fmt: off
BAR = Bar("BAR0", 0x1000,
    "mbx"   / Reg32(0x10, "req" / W1P[0] * "a request", "sts" / RC[4](S),
                    "mode" / RW[7:5](OFF=0, FAST=2).sticky(ResetCause.FLR), RSVD[...], D, S, reset=0x40) * "mailbox",
    "again" / Alias32(0x14, "mbx", "req" / RO[0], RSVD[...], D) * "the same, read only",
    "bell"  / Doorbell32(Each(0x20, 4, 4), "queue" / RW[31:0], D) * "ring",
    *Pair32("lo", 0x40, "hi", 0x44, RW, D, doc="address"),
    "mem"   / Window(0x80, Array(16, Int32ul), RW, D, mappable=True, why="it is memory") * "shared memory",
    "index" / Reg8(0xC0, RW, D) * "index",
    "size"  / Reg64(0xC8, RW, D, banked_by=("index", 4), reset=256) * "size of a queue",
    "later" / Reg32(0xD0, RW, D, status=UNIMPLEMENTED, why="not yet") * "to come")
# fmt: on
RECORD = Struct(
    "magic" / Const(0xBEEF, Int16ul),
    "kind" / Enum(Int8ul, ONE=1, TWO=2),
    "flags" / Bits(Int8ul, "a" / F[0], "long_name" / F[1], RSVD[...]),
    "name" / Bytes(8) * "of the record",
    "table" / Array(4, Int32ul),
)


def same(renderable: object, expected: str) -> None:
    assert render.text(renderable) == textwrap.dedent(expected).lstrip("\n")  # type: ignore[arg-type]


def test_locks_are_said() -> None:
    what = "a" / RW[0], "b" / RW[1].locked_by("x.a"), "c" / RW[2].locked_by("x.a"), "d" / RW[3].locked_by("y", 0x10)
    x = Reg8(0, *what, RSVD[...])
    bar = Bar("b", 16, "x" / x, "y" / Reg8(1, RW, locked_by=("x.a", 0)))
    assert list(notes("x", bar.entries["x"])) == [
        "Locked: writes to b, c are ignored while x.a is 1.",
        "Locked: writes to d are ignored while y is 0x10.",
    ]
    assert list(notes("y", bar.entries["y"])) == ["Locked: writes to it are ignored while x.a is 0."]
    assert "x.a is 1" in bit_parts(x.fields)[1].told, "on hover"


def test_a_register() -> None:
    same(
        render.draw_register(BAR, "mbx"),
        """
        mbx  mailbox
        32-bit register at 0x0010 of BAR0

           31                                                          16
          ┌───────────────────────────────────────────────────────────────┐
          │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░│
          └───────────────────────────────────────────────────────────────┘
           15  14  13  12  11  10   9   8   7   6   5   4   3   2   1   0
          ┌───────────────────────────────┬───────────┬───┬───────────┬───┐
          │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░│   mode    │sts│░░░░░░░░░░░│req│
          └───────────────────────────────┴───────────┴───┴───────────┴───┘

          bits  field     access  reset
          31:8  reserved  RSVD    0
          7:5   mode      RW      2      0 OFF, 2 FAST
          4     sts       RC      0
          3:1   reserved  RSVD    0
          0     req       W1P     0      a request

          Reading clears: sts.
          Writing (1 acts and reads back 0): req.
          Survives flr: mode.

          The Datasheet §8.1
          linux-source: regs.h
            R_MBX (sts)
        """,
    )


def test_the_parts_of_a_register() -> None:
    text = render.text(render.draw_register(BAR, "mbx"))
    assert "  0     req       W1P     0      a request\n" in text
    assert "  7:5   mode      RW      2      0 OFF, 2 FAST\n" in text
    assert "Reading clears: sts." in text and "Survives flr: mode." in text
    assert "The Datasheet §8.1" in text and "R_MBX, R_MBX (sts)" not in text and "R_MBX (sts)" in text


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("again", ["Alias: reads and writes the bits of mbx under its own access."]),
        ("bell", ["32-bit doorbell array of 4 at 0x0020 + 0x4·n, n = 0…3,", "Event: a write is an event, nothing is stored."]),
        ("hi", ["address (high half)", "Pair: lo and hi are one 64-bit value, which takes effect when hi is"]),
        ("mem", ["64 bytes of memory at 0x0080", "u32 × 16", "Offered to be mapped by the guest: it is memory."]),
        ("size", ["Bank: 4 instances; index selects which one is seen.", "  63:0  value  RW      0x100"]),
        ("later", ["Unimplemented: not yet."]),
    ],
)
def test_notes_say_what_an_access_does(name: str, notes: list[str]) -> None:
    text = render.text(render.draw_register(BAR, name))
    assert [note for note in notes if note not in text] == []


def test_a_map() -> None:
    same(
        render.draw_bar(BAR),
        """
        BAR0  0x1000 bytes

          offset         register  access  reset
          0x0000–0x000f  –
          0x0010         mbx       W1P, …  0x40   mailbox
          0x0014         again     RO             the same, read only (of mbx)
          0x0018–0x001f  –
          0x0020 +0x4    bell[4]   bell           ring
          0x0030–0x003f  –
          0x0040         lo        RW      0      address (low half)
          0x0044         hi        RW      0      address (high half)
          0x0048–0x007f  –
          0x0080         mem       RW             shared memory (64 bytes, may be
                                                  mapped)
          0x00c0         index     RW      0      index
          0x00c1–0x00c7  –
          0x00c8         size      RW      0x100  size of a queue (by index)
          0x00d0         later     RW      0      to come (unimplemented)
          0x00d4–0x0fff  –

          – is unmapped: reads 0, ignores writes. An access of part of a register acts
          on the bytes that it covers, side effects included; one beyond it acts on
          each, lowest address first.
        """,
    )


def test_a_value() -> None:
    same(
        render.decode_register(BAR.entries["mbx"], 0x151, "mbx"),
        """
        mbx = 0x00000151

           31                                                          16
          ┌───────────────────────────────────────────────────────────────┐
          │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░│
          │                              0x1                              │
          └───────────────────────────────────────────────────────────────┘
           15  14  13  12  11  10   9   8   7   6   5   4   3   2   1   0
          ┌───────────────────────────────┬───────────┬───┬───────────┬───┐
          │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░│   mode    │sts│░░░░░░░░░░░│req│
          │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░│     2     │ 1 │░░░░░░░░░░░│ 1 │
          └───────────────────────────────┴───────────┴───┴───────────┴───┘

          set: sts, req

          bits  field  value
          31:8         0x1     reserved, must be 0x0
          7:5   mode   2 FAST
          4     sts    1
          0     req    1       a request
        """,
    )


def test_a_record() -> None:
    same(
        render.draw_schema("record", RECORD, "a record", (D,)),
        """
        record  a record
        28 bytes

             0       1       2       3       4       5       6       7
          ┌───────────────┬───────┬───────┬───────────────────────────────┐
          │     magic     │ kind  │ flags │             name              │
          └───────────────┴───────┴───────┴───────────────────────────────┘
             8       9      10      11      12      13      14      15
          ┌───────────────────────────────┬───────────────────────────────┐
          │             name              │             table             │
          └───────────────────────────────┴───────────────────────────────┘
           16                                                          27
          ┌───────────────────────────────────────────────────────────────┐
          │                             table                             │
          └───────────────────────────────────────────────────────────────┘

          offset  name   type
          0x00    magic  u16      always 0xbeef
          0x02    kind   u8       1 ONE, 2 TWO
          0x03    flags  u8
          0x04    name   8 bytes  of the record
          0x0c    table  u32 × 4

          flags
             7       6       5       4       3       2       1       0
          ┌───────────────────────────────────────────────┬───────┬───────┐
          │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░│   b   │   a   │
          └───────────────────────────────────────────────┴───────┴───────┘

          bits  field
          7:2   reserved
          1     b: long_name
          0     a

          The Datasheet §8.1
        """,
    )


def test_bytes() -> None:
    data = bytes.fromhex("cdab 02 05") + b"eth0\0\0\0\0" + bytes([1]) + bytes(15)
    same(
        render.decode_bytes(RECORD, data, "record"),
        """
        record  28 bytes

          offset  name                 bytes
          0x00    magic                cdab              0xabcd, must be 0xbeef
          0x02    kind                 02                2 TWO
          0x03    flags                05                a=1
          0x04    name                 6574683000000000  "eth0"
          0x0c    table[0]             01000000          1
                  … 3 more that are 0

          flags
             7       6       5       4       3       2       1       0
          ┌───────────────────────────────────────────────┬───────┬───────┐
          │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░│   b   │   a   │
          │                      0x1                      │   0   │   1   │
          └───────────────────────────────────────────────┴───────┴───────┘

          set: a

          bits  field         value
          7:2                 0x1    reserved, must be 0x0
          1     b: long_name  0
          0     a             1
        """,
    )


def test_bits_above_a_field_are_wrong_only_where_reserved() -> None:
    text = render.text(render.decode_register(BAR.entries["mbx"], 0x100))
    assert "reserved, must be 0x0" in text
    assert "must be" not in render.text(render.decode_register(BAR.entries["mbx"], 0xF1))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="0x100000000 does not fit the 32 bits of mbx"):
        render.decode_register(BAR.entries["mbx"], 1 << 32, "mbx")
    with pytest.raises(UsageError, match="record has 28 bytes, not 3"):
        render.decode_bytes(RECORD, b"abc", "record")
    with pytest.raises(UsageError, match="mem is memory of 64 bytes"):
        render.decode_register(BAR.entries["mem"], 0, "mem")
    with pytest.raises(UsageError, match="BAR0 has no register 'mbxx'; did you mean mbx"):
        render.draw_register(BAR, "mbxx")


def test_a_name_is_found_wherever_it_is() -> None:
    igbvf = descriptions()["igbvf"]
    assert render.text(render.draw(igbvf, "V2PMAILBOX")).startswith("v2pmailbox  ")
    assert render.text(render.draw(igbvf, "rdt[1]")).startswith("rdt  ")
    assert render.text(render.draw(igbvf, "vendor_id")).startswith("vendor_id")
    assert render.text(render.decode(igbvf, "tx_data", bytes(16))).startswith("tx_data  16 bytes")
    assert render.text(render.decode(igbvf, "status", 0x80)).startswith("status = 0x00000080")
    with pytest.raises(UsageError, match="igbvf has no 'v2pmailbx'; did you mean v2pmailbox"):
        render.draw(igbvf, "v2pmailbx")
    with pytest.raises(UsageError, match="igbvf has no 'status'"):
        render.decode(igbvf, "status", b"\0")


@pytest.mark.parametrize("name", sorted(devices()))
def test_everything_of_a_device_fits_80_columns(name: str) -> None:
    d = descriptions()[name]
    pages = [render.text(render.draw_device(d))]
    pages += [render.text(render.draw(d, entry)) for bar in d.bars.values() for entry in bar.entries]
    pages += [render.text(render.draw(d, schema)) for schema in d.schemas]
    assert all(pages)
    assert max(len(line) for page in pages for line in page.splitlines()) <= 80


def test_colour_is_an_addition_only() -> None:
    import re

    plain, coloured = (render.text(render.draw_register(BAR, "mbx"), color=color) for color in (False, True))
    assert "\x1b[" in coloured
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()
