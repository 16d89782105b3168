"""The layouts of ``format`` as a C header, each offset asserted: the compiler checks what the description promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from construct import Array, Bytes, Construct, FormatField, Struct

from firmware import format as f
from regmodel.registers import unwrap


def text() -> str:
    """The header."""
    lines = ["/* Made from firmware/format.py. */", "#pragma once", "#include <stddef.h>", "#include <stdint.h>", ""]
    lines += [f"#define {name} {value:#x}u" for name, value in f.NUMBERS.items()]
    for prefix, members in f.ENUMS.items():
        lines += ["", "enum {", *(f"    {prefix}_{member.name} = {member.value}," for member in members), "};"]
    for name, schema in f.STRUCTS.items():
        lines += ["", *_struct(name, schema)]
    return "\n".join(lines) + "\n"


def _struct(name: str, schema: Construct) -> Iterator[str]:
    """One layout; those it holds were declared before."""
    known = {id(struct): other for other, struct in f.STRUCTS.items()}
    checks, at = [f"_Static_assert(sizeof(struct {name}) == {schema.sizeof()}, \"size of {name}\");"], 0
    yield f"struct {name} {{"
    for part in schema.subcons:
        member, doc, inner = unwrap(part)
        yield f"    {_declared(member, inner, known)};" + (f" /* {doc} */" if doc else "")
        checks.append(f'_Static_assert(offsetof(struct {name}, {member}) == {at}, "{name}.{member}");')
        at += part.sizeof()
    yield "};"
    yield from checks


def _declared(name: str, inner: Construct, known: Mapping[int, str]) -> str:
    match inner:
        case Array():
            return f"{_declared(name, unwrap(inner.subcon)[2], known)}[{int(inner.count)}]"
        case Struct():
            return f"struct {known[id(inner)]} {name}"
        case Bytes():
            return f"uint8_t {name}[{int(inner.sizeof())}]"
        case FormatField():
            return f"uint{8 * inner.length}_t {name}"
    raise TypeError(f"{name}: {type(inner).__name__} has no spelling in C")
