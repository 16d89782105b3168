"""Bits for people: patterns, and registers and descriptors made field by field, each against arithmetic or construct."""

from __future__ import annotations

import io
import random

import pytest
from bitstring import Bits as Pattern
from construct import Construct
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from regmodel.catalogue import find
from regmodel.cli import main
from regmodel.commands.bits import Prompt
from regmodel.errors import UsageError
from regmodel.layout import layout
from regmodel.patterns import assignments, describe, encode_bytes, encode_register, number, octets, pattern
from regmodel.registers import Register
from tests.regmodel.described import bars, schemas

IGBVF = find("igbvf")
REGISTERS = {f"{name}.{path}": entry for name, bar in bars().items() for path, entry in bar.entries.items()
             if isinstance(entry, Register)}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "width", "bits"),
    [
        ("0b101", 0, "101"), ("0b1_0110", 0, "10110"), ("5", 0, "101"), ("0x1f", 0, "00011111"), ("0x1f", 5, "11111"),
        ("31", 8, "00011111"), ("0b1", 4, "0001"), ("0b101, uint:12=5, 0x3f", 0, "10100000000010100111111"),
        ("0b0001, 0b1", 2, "11"), ("0", 0, "0"), ("int:4=-1", 8, "00001111"), ("0x" + "ab" * 40, 0, "10101011" * 40),
    ],
)  # fmt: skip
def test_patterns(text: str, width: int, bits: str) -> None:
    assert pattern(text, width).bin == bits
    assert number(text, width) == int(bits, 2)


@pytest.mark.parametrize(
    ("text", "width", "says"),
    [
        ("", 0, "is no pattern of bits; write 0x1f"), ("zwei", 0, "'zwei' is no pattern"), ("0x", 0, "is no pattern"),
        ("-1", 8, "is no pattern"), ("uint:3=9", 0, "is no pattern"), ("007", 8, "is no pattern"),
        ("0x20", 5, "0x20 needs 6 bits; there are 5"), ("0b10000", 4, "0b10000 is 5 bits wide; there are 4"),
    ],
)  # fmt: skip
def test_what_is_none(text: str, width: int, says: str) -> None:
    with pytest.raises(UsageError) as error:
        pattern(text, width)
    assert says in str(error.value) and "\n" not in str(error.value)


@given(st.integers(0, (1 << 300) - 1), st.integers(0, 20))
def test_notations_say_the_same(value: int, zeros: int) -> None:
    width = max(value.bit_length(), 1) + zeros
    said = describe(pattern(f"{value}", width)).splitlines()
    lines = dict(line.split(maxsplit=1) for line in said if not line.startswith("0b"))
    assert lines[str(width)] == "bits"
    assert int(lines["hex"], 16) == int(lines["number"].split()[0]) == value
    assert int.from_bytes(bytes.fromhex(lines["memory"].removesuffix("(little-endian)")), "little") == value
    assert sum(1 << int(bit) for bit in lines["ones"].split(", ") if bit != "none") == value
    if "bits" in lines:
        assert int(lines["bits"].replace(" ", ""), 2) == value


def test_fields_are_the_bits_that_the_datasheet_numbers() -> None:
    """bitstring numbers from the other end and knows nothing of masks: a slice of digits is the field."""
    dice = random.Random(3)
    for name, entry in REGISTERS.items():
        word = dice.getrandbits(entry.width)
        digits = Pattern(uint=word, length=entry.width)
        for f in entry.fields:
            assert digits[entry.width - 1 - f.msb : entry.width - f.lsb].uint == f.of(word), f"{name}.{f.name}"


def test_encoding_is_arithmetic() -> None:
    dice = random.Random(4)
    for name, entry in REGISTERS.items():
        values = {f.name: dice.getrandbits(f.width) for f in entry.named.values()}
        start = dice.getrandbits(entry.width)
        expected = start
        for f in entry.named.values():
            expected = f.into(expected, values[f.name])
        texts = {field: dice.choice([hex(value), str(value), f"0b{value:b}"]) for field, value in values.items()}
        assert encode_register(name, entry, texts, start).uint == expected, name


@pytest.mark.parametrize("name", [n for n, s in schemas().items() if n not in bars() and s.sizeof() <= 4096])
def test_encoding_is_what_construct_builds(name: str) -> None:
    """Every number and field of random bytes, taken out by the layout and put together again."""
    schema: Construct = schemas()[name]
    data = random.Random(name).randbytes(schema.sizeof())
    texts: dict[str, str] = {}
    covered = bytearray(schema.sizeof())
    for leaf in layout(schema).leaves:
        raw = data[leaf.offset : leaf.offset + leaf.size]
        value = int.from_bytes(raw, "big" if leaf.big_endian else "little")
        if not leaf.path:
            texts |= {f.name: str(f.of(value)) for f in leaf.fields if f.name}
        else:
            texts[leaf.path] = raw.hex(":") if leaf.is_bytes else hex(value)
            covered[leaf.offset : leaf.offset + leaf.size] = b"\xff" * leaf.size
    made = encode_bytes(name, schema, texts)
    for i, known in enumerate(covered):
        assert not known or made[i] == data[i]
    if not any(covered):
        word = int.from_bytes(made, "little")
        assert all(f.of(word) == int(texts[f.name]) for f in layout(schema).leaves[0].fields if f.name)


def test_a_descriptor_by_hand() -> None:
    schema = IGBVF.schema("tx_data")
    made = encode_bytes("tx_data", schema, assignments(["buffer_addr=0x1000", "cmd_type_len.dtalen=64", "cmd_type_len.eop=1"]))
    assert made.hex() == "00100000000000004000000100000000"
    assert schema.parse(made).cmd_type_len.dtalen == 64
    again = encode_bytes("tx_data", schema, {"cmd_type_len.eop": "0"}, made)
    assert again.hex() == "00100000000000004000000000000000"


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return int(end.value.code or 0)


def test_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", "igbvf", "status", "speed=MB100", "lu=1", "-q") == 0
    assert capsys.readouterr().out == "0x80043\n"
    assert run("encode", "igbvf", "rxdctl", "enable=1", "--from", "0") == 0
    assert capsys.readouterr().out.startswith("rxdctl = 0x02000000\n")
    assert run("encode", "igbvf", "command", "bus_master=1", "-q") == 0
    assert capsys.readouterr().out == "0x4\n"
    assert run("encode", "igbvf", "set_mac_addr", "mac=02:00:00:00:00:01", "-q") == 0
    assert bytes.fromhex(capsys.readouterr().out)[4:10].hex(":") == "02:00:00:00:00:01"
    assert run("decode", "igbvf", "status", "0b1, uint:7=1") == 0
    assert capsys.readouterr().out.startswith("status = 0x00000081\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rxdctl", "pthresh=99"], "rxdctl.pthresh: 99 needs 7 bits; there are 5"),
        (["rxdctl", "enabel=1"], "rxdctl has no field 'enabel'; did you mean enable?"),
        (["status", "speed=MB9"], "status.speed: 'MB9' is no pattern of bits; "),
        (["rxdctl", "enable"], "'enable' assigns nothing; write field=value"),
        (["rxdctl[9]", "enable=1"], "igbvf has no 'rxdctl[9]': there are rxdctl[0] to rxdctl[1]"),
        (["vmbmem", "value=1"], "vmbmem is memory of 64 bytes; encode the message that lies in it"),
        (["tx_data", "dtalen=1"], "tx_data has no field 'dtalen'; did you mean "),
        (["tx_data", "--from", "00"], "tx_data has 16 bytes, not 1"),
        (["nothing", "a=1"], "igbvf has no register 'nothing'; did you mean "),
    ],
)
def test_what_encode_refuses(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", "igbvf", *words) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"regmodel: {says}") and said.err.count("\n") == 1 and said.out == ""


def test_the_prompt() -> None:
    lines = "status 0x81\nstatus speed=MB10\nbits 0b101, 0x3f\nfoo 1\nstatus\n\n"
    lines += "tx_data 00\ntx_data cmd_type_len.eop=1\nhelp\nquit\nno\n"
    out = io.StringIO()
    Prompt(IGBVF, Console(file=out, width=80, highlight=False), io.StringIO(lines)).run()
    said = out.getvalue()
    assert "status = 0x00000081\n" in said and "status = 0x00000001\n" in said  # the second begins with the first
    assert "11 bits\nbits   101 0011 1111\nhex    0x53f\n" in said
    assert "igbvf has no 'foo'; did you mean " in said and "give a value or field=value behind status" in said
    assert "tx_data has 16 bytes, not 1\n00000000000000000000000100000000\n" in said
    assert said.endswith("quit                     the end, as is the end of the input\n")


def test_bytes_of_people() -> None:
    assert octets("0x00C0_ff ee") == octets("00:c0:ff:ee") == b"\x00\xc0\xff\xee"
    with pytest.raises(UsageError, match="'xyz' is not hexadecimal; write the bytes"):
        octets("xyz")
