"""Writes the typed faces of devices: ``python -m drivers.stubs igbvf`` writes ``drivers/registers/igbvf.pyi``.

What lives here: a description as Python stub classes, so that an editor completes ``dev.srrctl[0].write(desctype=`` and mypy
refuses ``dev.status.write(1)``. The classes that run are made by ``drivers.registers`` from the same ``Shape``.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from drivers.registers.client import OURS, pair_name
from drivers.registers.shape import Shape, spelled
from drivers.registers.words import title
from regmodel.bits import Field
from regmodel.catalogue import Description, describe
from regmodel.errors import RegmodelError, UsageError
from regmodel.registers import Bar, Kind, Register, Window

FACES = Path(__file__).parent / "registers"
IMPORTS = ("Array", "Face", "Memory", "Pair", "Place", "Word", "WritableMemory")
STANDARD = {
    "collections.abc": ("Callable",),
    "contextlib": ("AbstractContextManager",),
    "typing": ("Literal", "SupportsIndex", "TypeAlias"),
}
HEAD = '''"""{title}: its registers, for editors and mypy. Written by ``python -m drivers.stubs {name}``."""

{standard}

{ours}
'''


def stub(device: Description) -> str:
    """The text of the stub of ``device``."""
    face = title(device.name.replace("-", "_"))
    attributes = [line for bar in device.bars.values() for line in _attributes(bar)]
    parts = ["\n".join([f"class {face}(Face):", f'    """{device.doc}"""', "", *attributes]) + "\n"]
    for bar in device.bars.values():
        for name, entry in bar.entries.items():
            if isinstance(entry, Register):
                parts.append("\n".join(_class(Shape(name, entry, bar.docs_of[name]))) + "\n")
    body = "\n".join(parts)
    standard = "\n".join(line for module, names in STANDARD.items() if (line := _import(module, names, body)))
    ours = _import("drivers.registers", IMPORTS, body)
    return HEAD.format(title=device.title, name=device.name, standard=standard, ours=ours) + "\n" + body


def _import(module: str, names: tuple[str, ...], body: str) -> str:
    """The line that imports those of ``names`` which ``body`` uses; "" where it uses none."""
    code = re.sub(r'""".*?"""', "", body, flags=re.DOTALL)
    used = [name for name in names if re.search(rf"\b{name}\b", code)]
    return f"from {module} import {', '.join(used)}" if used else ""


def _attributes(bar: Bar) -> Iterator[str]:
    for name, entry in bar.entries.items():
        kind = _kind(name, entry)
        yield from _attribute(spelled(name, OURS), kind, bar.docs_of[name])
    for pair in dict.fromkeys(e.pair for e in bar.entries.values() if isinstance(e, Register) and e.pair):
        kind = "Array[Pair]" if bar.entries[pair[0]].is_array else "Pair"
        yield from _attribute(spelled(pair_name(*pair), OURS), kind, f"{pair[0]} and {pair[1]} as one")


def _attribute(name: str, kind: str, doc: str) -> Iterator[str]:
    yield f"    {name}: {kind}"
    if doc:
        yield f'    """{doc}"""'


def _kind(name: str, entry: Register | Window) -> str:
    if isinstance(entry, Window):
        return "WritableMemory" if entry.access.writable else "Memory[Place]"
    kind = _class_name(name)
    for several in (entry.banked_by is not None, entry.is_array):
        kind = f"Array[{kind}]" if several else kind
    return kind


def _class_name(name: str) -> str:
    plain = title(name)
    return f"{plain}_" if plain in IMPORTS else plain


def _class(shape: Shape) -> list[str]:
    """One register: only the methods that it has."""
    name = _class_name(shape.name)
    lines = [line for field, f in shape.fields.items() if f.values for line in _values(shape, field, f)]
    lines += [f"class {name}(Word):", f'    """{shape.doc or shape.name}"""', ""]
    for field, f in shape.readable.items():
        lines += ["    @property", f"    def {field}(self) -> int:", f'        """{f.range} {f.doc or f.access.prose}"""']
    if shape.can_read:
        lines.append("    def read(self) -> int: ...")
    if shape.readable:
        lines.append("    def fields(self) -> dict[str, int]: ...")
        lines += _method("wait", ["self", "*", "timeout: float", *_arguments(shape, shape.readable)], "int")
    if shape.clears:
        taken = ", ".join(f'"{n}"' for n, f in shape.readable.items() if f.mask & shape.clears)
        lines += _method("take", ["self", f"name: Literal[{taken}]"], "int")
        lines += ["    @property", "    def latched(self) -> int: ..."]
    if shape.can_write:
        lines.append("    store: Callable[[int], None]")
        word, fields = "whole: SupportsIndex | None = ...", _arguments(shape, shape.writable)
        lines += _method("write", ["self", word, "/", "*", *fields], "None")
        if shape.entry.kind is Kind.COMMAND:
            lines += _method("execute", ["self", word, "/", "*", *fields], "int")
    if shape.can_modify:
        lines.append(f"    def modify(self) -> AbstractContextManager[{name}Draft]: ...")
        lines += ["", *_draft(shape, name)]
    return lines


def _draft(shape: Shape, name: str) -> Iterator[str]:
    yield f"class {name}Draft:"
    for field, f in shape.fields.items():
        if field in shape.drafted:
            if not f.values:
                yield f"    {field}: int"
                continue
            yield "    @property"
            yield f"    def {field}(self) -> int: ..."
            yield f"    @{field}.setter"
            yield f"    def {field}(self, value: {_type(shape, field, f)}) -> None: ..."
        elif field in shape.readable:
            yield "    @property"
            yield f"    def {field}(self) -> int: ..."


def _arguments(shape: Shape, fields: dict[str, Field]) -> list[str]:
    return [f"{name}: {_type(shape, name, f)} = ..." for name, f in fields.items()]


def _type(shape: Shape, name: str, f: Field) -> str:
    return f"SupportsIndex | {_values_name(shape, name)}" if f.values else "SupportsIndex"


def _values_name(shape: Shape, name: str) -> str:
    return title(f"{shape.name}_{name}")


def _values(shape: Shape, name: str, f: Field) -> list[str]:
    """The names of a field's values, as a type."""
    listed = ", ".join(f'"{value}"' for value in f.values.values())
    lines = textwrap.wrap(listed, 120)
    return [f"{_values_name(shape, name)}: TypeAlias = Literal[", *(f"    {line}" for line in lines), "]", ""]


def _method(name: str, arguments: list[str], result: str) -> list[str]:
    """On one line where it fits, else one argument per line."""
    line = f"    def {name}({', '.join(arguments)}) -> {result}: ..."
    if len(line) <= 128:
        return [line]
    return [f"    def {name}(", *(f"        {argument}," for argument in arguments), f"    ) -> {result}: ..."]


def main(names: list[str]) -> int:
    """Write the faces of ``names``; returns the exit status."""
    try:
        if not names:
            raise UsageError("name the devices whose faces are to be written: python -m drivers.stubs igbvf")
        for name in names:
            path = FACES / f"{name.replace('-', '_')}.pyi"
            path.write_text(stub(describe(name)))
            print(path)
    except RegmodelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
