"""Bits as people write and read them: patterns of any width, and registers and descriptors put together field by field.

What lives here: what ``regmodel decode`` and ``regmodel encode`` take and give. It is for people and for tests, so it may be
slow; nothing on a data path comes here. A pattern is a number (``0x1f``, ``31``), digits of one bit each (``0b1_0110``), or
several of bitstring's, from the most significant on: ``0b101, uint:12=5, 0x3f`` is 23 bits wide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from construct import Construct

from regmodel.bits import Field
from regmodel.errors import UsageError
from regmodel.function import ResetCause
from regmodel.layout import Leaf, layout
from regmodel.registers import Entry, Window

if TYPE_CHECKING:
    from bitstring import BitArray, Bits

_NUMBER = re.compile(r"0[xX][0-9a-fA-F_]+|[0-9][0-9_]*")


def pattern(text: str, width: int = 0) -> Bits:
    """The bits of ``text``. A number, also in hexadecimal, takes ``width`` bits where it is given; all else must fit exactly.

    Raises ``UsageError``.
    """
    from bitstring import Bits

    text = text.strip()
    try:
        if width and _NUMBER.fullmatch(text):
            value = int(text, 0)
            if value >> width:
                raise UsageError(f"{text} needs {value.bit_length()} bits; there are {width}")
            return Bits(uint=value, length=width)
        if _NUMBER.fullmatch(text) and not text.lower().startswith("0x"):
            return Bits(bin=f"{int(text, 0):b}")
        found = Bits(text)
    except (ValueError, TypeError):
        found = Bits()
    if not found:
        raise UsageError(f"{text!r} is no pattern of bits; write 0x1f, 0b11111, 31, or several: 0b101, uint:12=5, 0x3f")
    if width and len(found) > width and found[: len(found) - width].any(True):
        raise UsageError(f"{text} is {len(found)} bits wide; there are {width}")
    if width and len(found) != width:
        found = found[len(found) - width :] if len(found) > width else Bits(uint=0, length=width - len(found)) + found
    return found


def number(text: str, width: int = 0) -> int:
    """The number that a pattern is. Raises ``UsageError``."""
    return int(pattern(text, width).uint)


def octets(text: str) -> bytes:
    """Bytes from hexadecimal digits, with or without blanks, colons and 0x. Raises ``UsageError``."""
    digits = text.lower().removeprefix("0x").replace(" ", "").replace(":", "").replace("_", "")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise UsageError(f"{text!r} is not hexadecimal; write the bytes as they lie in memory, e.g. 00c0ffee") from None


def describe(bits: Bits) -> str:
    """A pattern in every notation, with its width."""
    groups = " ".join(re.findall(r"[01]{1,4}(?=(?:[01]{4})*$)", bits.bin))
    size = -(-len(bits) // 8)
    lines = [f"{len(bits)} bits", f"0b{bits.bin}" if len(bits) <= 4 else f"bits   {groups}", f"hex    {bits.uint:#x}"]
    lines += [f"number {bits.uint}" + (f" or {bits.int}" if bits[0] else "")]
    lines += [f"memory {bits.uint.to_bytes(size, 'little').hex(' ')}  (little-endian)"]
    ones = [len(bits) - 1 - i for i in bits.findall("0b1")]
    return "\n".join([*lines, f"ones   {', '.join(map(str, ones)) or 'none'}"])


def assignments(words: Sequence[str]) -> dict[str, str]:
    """``field=value`` each. Raises ``UsageError``."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{word!r} assigns nothing; write field=value, e.g. enable=1 or pthresh=0b101")
        found[name] = value
    return found


def encode_register(name: str, entry: Entry, values: Mapping[str, str], start: int | None = None) -> Bits:
    """The register's bits with fields set; the others are as in ``start``, or as after power-on. Raises ``UsageError``."""
    from bitstring import BitArray

    if isinstance(entry, Window):
        raise UsageError(f"{name} is memory of {entry.size} bytes; encode the message that lies in it")
    word = BitArray(uint=entry.reset_value(ResetCause.POWER_ON) if start is None else start, length=entry.width)
    for field, text in values.items():
        _set(word, entry.fields, field, text, name)
    return word


def encode_bytes(name: str, schema: Construct, values: Mapping[str, str], start: bytes = b"") -> bytes:
    """The bytes of a descriptor, message or structure: ``buffer_addr=0x1000 cmd_type_len.dtalen=64``. Raises ``UsageError``."""
    from bitstring import BitArray

    plan = layout(schema)
    data = BitArray.from_bytes(start or bytes(plan.size))
    for leaf in plan.leaves:
        if leaf.must is not None and not start:
            _store(data, leaf, BitArray(uint=leaf.must, length=8 * leaf.size))
    for path, text in values.items():
        leaf, field = _leaf(plan.leaves, path, name)
        if leaf.is_bytes:
            raw = octets(text)
            if len(raw) != leaf.size:
                raise UsageError(f"{name}.{path} has {leaf.size} bytes, not {len(raw)}")
            word = BitArray.from_bytes(raw)
        else:
            word = _load(data, leaf)
            if field:
                _set(word, leaf.fields, field, text, f"{name}.{leaf.path}".rstrip("."))
            else:
                numbers = {str(known): value for value, known in leaf.names.items()}
                word = BitArray(pattern(str(numbers.get(text, text)), 8 * leaf.size))
        _store(data, leaf, word)
    return bytes(data.to_bytes())


def _leaf(leaves: Sequence[Leaf], path: str, name: str) -> tuple[Leaf, str]:
    """The number or bytes at ``path``, and the field of it ("" for the whole)."""
    for leaf in leaves:
        if path == leaf.path and path:
            return leaf, ""
        above, _, field = path.rpartition(".")
        if above == leaf.path and any(f.name == field for f in leaf.fields):
            return leaf, field
    known = [".".join(filter(None, (leaf.path, f.name))) for leaf in leaves for f in leaf.fields if f.name]
    raise _unknown(path, [*known, *(leaf.path for leaf in leaves if leaf.path)], name)


def _unknown(word: str, known: Sequence[str], owner: str) -> UsageError:
    import difflib

    near = difflib.get_close_matches(word, known, n=3) or known[:8]
    return UsageError(f"{owner} has no field {word!r}; did you mean {', '.join(near)}?")


def _set(word: BitArray, fields: Sequence[Field], name: str, text: str, owner: str) -> None:
    """One field of a word, by number, pattern or the name of a value."""
    field = next((f for f in fields if f.name == name), None)
    if field is None:
        raise _unknown(name, [f.name for f in fields if f.name], owner)
    named = {known: value for value, known in field.values.items()}
    try:
        value = pattern(str(named.get(text, text)), field.width)
    except UsageError as error:
        values = f"; its values are {', '.join(named)}" if named else ""
        raise UsageError(f"{owner}.{name}: {error}{values}") from None
    top = len(word) - field.lsb - field.width
    word[top : top + field.width] = value


def _load(data: BitArray, leaf: Leaf) -> BitArray:
    word = data[8 * leaf.offset : 8 * (leaf.offset + leaf.size)]
    if not leaf.big_endian and not leaf.is_bytes:
        word.byteswap()
    return word


def _store(data: BitArray, leaf: Leaf, word: BitArray) -> None:
    if not leaf.big_endian and not leaf.is_bytes:
        word.byteswap()
    data[8 * leaf.offset : 8 * (leaf.offset + leaf.size)] = word
