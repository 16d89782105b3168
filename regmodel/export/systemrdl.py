"""A description in SystemRDL 2.0 (Accellera, January 2018): one address map, with one for each BAR in it.

What lives here: the backend ``systemrdl``. BARs follow each other by their index, each aligned to its size; where a system
places them is not known here. A window is an external ``mem``; reserved bits are those without a field, as the standard has
it. What the standard has no property for is in user-defined ones (``rdl_words``), declared at the head of the file, once where
files of several devices are included in one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from regmodel.catalogue import Description
from regmodel.export import chosen, tree
from regmodel.export.elaborate import elaborate
from regmodel.export.omissions import Exported, Omissions, left_out
from regmodel.export.rdl_words import PREFIX, SEPARATOR, USER_DEFINED, access_of, axes_text, properties

_NO_REGISTER = "SystemRDL describes registers and memories"
LEFT_OUT: Omissions = {
    tree.Description: {
        "identity": _NO_REGISTER, "config": "PCI configuration space is the same for all devices, but for a few values",
        "schemas": "SystemRDL has no structures in memory", "rings": _NO_REGISTER, "mailboxes": _NO_REGISTER,
        "keys": _NO_REGISTER, "drivers": _NO_REGISTER,
    },
    tree.Window: {"members": "a mem has entries of one width, and no layout"},
}  # fmt: skip

_KEYWORDS = frozenset(
    """abstract accesstype addressingtype addrmap alias all alternate bit boolean bothedge byte compact component
    componentwidth constraint default encode enum external false field fullalign hw inside int internal level longint mem na
    negedge nonsticky number onreadtype onwritetype posedge precedencetype property r rclr real ref reg regalign regfile rset
    ruser rw rw1 shortint shortreal signal signed string struct sw this true type unsigned w w1 wclr with within woclr woset
    wot wr wset wuser wzc wzs wzt""".split()  # noqa: SIM905 - read as prose
)


def systemrdl(description: Description, bar: int | None) -> Exported:
    """One file."""
    chosen(description, bar)
    found = elaborate(description, bar)
    suffix = f"_{found.bars[0].name}" if bar is not None else ""
    text = "\n".join([*_declarations(), *_device(found), ""])
    return Exported({f"{identifier(description.name)}{suffix}.rdl": text}, left_out(found, LEFT_OUT))


def identifier(name: str) -> str:
    """``name`` as SystemRDL spells names; keywords take a backslash."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"\\{word}" if word in _KEYWORDS else f"_{word}" if word[:1].isdigit() else word


def bases(found: Iterable[tree.Bar]) -> Iterator[tuple[int, tree.Bar]]:
    """Where each BAR stands in an address space that has all of them."""
    end = 0
    for bar in found:
        align = 1 << (bar.size - 1).bit_length()
        start = -(-end // align) * align
        end = start + bar.size
        yield start, bar


def _declarations() -> Iterator[str]:
    yield "// Generated from a description of regmodel. Properties of its own say what SystemRDL has no property for."
    yield "`ifndef REGMODEL_PROPERTIES\n`define REGMODEL_PROPERTIES"
    for name, (kind, components) in USER_DEFINED.items():
        yield f"property {PREFIX}{name} {{ type = {kind}; component = {components}; }};"
    yield "`endif"


def _own(**said: object) -> Iterator[str]:
    """Assignments of user-defined properties that say something."""
    for name, value in said.items():
        if value:
            yield f"{PREFIX}{name} = {'true' if value is True else value if isinstance(value, int) else _quoted(str(value))};"


def _about(node: tree.Description | tree.Bar | tree.Entry | tree.Field, name: str) -> Iterator[str]:
    """Doc string, sources, and the name where it is spelled otherwise."""
    if node.doc:
        yield f"desc = {_quoted(node.doc)};"
    other = node.name if name.lstrip("\\") != node.name else ""
    yield from _own(sources=SEPARATOR.join(getattr(node, "sources", ())), name=other)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _block(head: str, lines: Iterable[str], tail: str) -> Iterator[str]:
    yield f"{head} {{"
    yield from (f"    {line}".rstrip() for line in lines)
    yield f"}} {tail}".rstrip() + ";"


def _device(found: tree.Description) -> Iterator[str]:
    name = identifier(found.name)

    def lines() -> Iterator[str]:
        if found.title:
            yield f"name = {_quoted(found.title)};"
        yield from _about(found, name)
        for base, bar in bases(found.bars):
            yield ""
            yield from _block("addrmap", _bar(bar), f"{identifier(bar.name)} @ {base:#x}")

    yield from _block(f"addrmap {name}", lines(), "")


def _bar(bar: tree.Bar) -> Iterator[str]:
    yield from _about(bar, identifier(bar.name))
    policy = " ".join(f"{a}={v}" for a, v in bar.policy if v != type(bar.policy).model_fields[a].default)
    moved = f"{bar.moved.first:#x} {bar.moved.gone:#x} {bar.moved.when}" if bar.moved else ""
    yield from _own(bar=bar.index, size=bar.size, policy=policy, moved=moved)
    for group in _interleaved(bar.entries):
        yield ""
        yield from _group([_without_enables(bar, entry) for entry in group])
    enables = [line for r in bar.registers for f in r.fields if (line := _enable(bar, r, f))]
    if enables:
        yield ""
        yield from enables


def _enable(bar: tree.Bar, r: tree.Register, f: tree.Field) -> str:
    """The standard's write enable (9.6.1): for single registers of which one bit is the key to the other; else nothing."""
    if f.lock is None or r.array is not None:
        return ""
    name, _, key = f.lock.key.partition(".")
    holder = next((h for h in bar.registers if h.name == name and h.array is None and h.banked is None), None)
    bit = next((b for b in holder.fields if b.name == (key or "value") and b.width == 1), None) if holder else None
    way = "swwel" if f.lock.value else "swwe"
    return f"{identifier(r.name)}.{identifier(f.name)}->{way} = {identifier(name)}.{identifier(bit.name)};" if bit else ""


def _without_enables(bar: tree.Bar, entry: tree.Entry) -> tree.Entry:
    """``entry`` without the locks that ``_enable`` says."""
    if isinstance(entry, tree.Window):
        return entry
    said = (f.model_copy(update={"lock": None}) if _enable(bar, entry, f) else f for f in entry.fields)
    return entry.model_copy(update={"fields": tuple(said)})


def _interleaved(entries: Iterable[tree.Entry]) -> list[list[tree.Entry]]:
    """Entries by offset; together those where an array reaches beyond the next one's begin."""
    groups: list[list[tree.Entry]] = []
    end = 0
    for entry in sorted(entries, key=lambda e: e.offset):
        if entry.offset >= end:
            groups.append([])
        groups[-1].append(entry)
        array = entry.array if isinstance(entry, tree.Register) else None
        end = max(end, entry.offset + (array.stride * array.count if array else entry.size))
    return groups


def _group(group: list[tree.Entry]) -> Iterator[str]:
    """Arrays may not interleave, and PeakRDL's C header takes no gaps in one: they become an array of register files, or
    where they do not fit into one, single registers."""
    registers = [e for e in group if isinstance(e, tree.Register)]
    array, start = registers[0].array if registers else None, group[0].offset
    alike = len(registers) == len(group) and all(r.array == array for r in registers)
    if array and alike and max(r.offset + r.size for r in registers) - start <= array.stride > registers[0].size:
        lines = [*_own(interleaved=True)]
        for r in registers:
            lines += _register(r.model_copy(update={"array": None, "offset": r.offset - start}))
        yield from _block("regfile", lines, f"each_{start:x}[{array.count}] @ {start:#x} += {array.stride:#x}")
        return
    for entry in group:
        if isinstance(entry, tree.Window):
            yield from _window(entry)
        else:
            yield from _elements(entry, entry.array) if entry.array and len(group) > 1 else _register(entry)


def _elements(r: tree.Register, array: tree.Repeat) -> Iterator[str]:
    for i in range(array.count):
        one = r.model_copy(update={"array": None, "name": f"{r.name}_{i}", "offset": r.offset + i * array.stride})
        yield from _register(one, element=f"{i} {array.stride:#x} {r.name}")


def _window(window: tree.Window) -> Iterator[str]:
    name = identifier(window.name)
    width = 8 if window.size % 4 or window.offset % 4 else 32

    def lines() -> Iterator[str]:
        yield f"mementries = {8 * window.size // width:#x}; memwidth = {width};"
        said = properties(window.access, pulse=False)
        yield f"sw = {said['sw']};"
        yield from _about(window, name)
        meant = access_of({"sw": said["sw"], "hw": "r"})
        yield from _own(axes=axes_text(window.access, meant), access=_word(window.access, meant))
        yield from _own(mappable=window.mappable, survives=" ".join(window.survives), why=window.why)

    yield from _block("external mem", lines(), f"{name} @ {window.offset:#x}")


def _register(r: tree.Register, element: str = "") -> Iterator[str]:
    name = identifier(r.name)
    array = f"[{r.array.count}] @ {r.offset:#x} += {r.array.stride:#x}" if r.array else f" @ {r.offset:#x}"
    word = r.resets.get("power-on", 0)

    def lines() -> Iterator[str]:
        yield f"regwidth = {r.width};"
        yield from _about(r, name)
        hidden = word & ~sum(f.mask for f in r.fields)
        resets = r.resets if hidden or r.resets.keys() - {"power-on"} else {}
        yield from _own(
            kind=r.kind if r.kind != "register" else "", alias_of=r.alias_of, whole=r.whole,
            banked=f"{r.banked.select} {r.banked.count}" if r.banked else "", pair=" ".join(r.pair or ()),
            resets=" ".join(f"{cause}={value:#x}" for cause, value in resets.items()), survives=" ".join(r.survives),
            status=r.status if r.status != "implemented" else "", why=r.why, element=element,
        )  # fmt: skip
        for f in r.fields or (tree.Field(name="", lsb=0, width=r.width, access=_RESERVED),):
            yield from _field(f, (word & f.mask) >> f.lsb)

    yield from _block("reg", lines(), f"{name}{array}")


_RESERVED = tree.Access(name="RSVD", onwrite="nothing", reserved=True)
"""A register needs a field, be it a reserved one."""


def _field(f: tree.Field, reset: int) -> Iterator[str]:
    name = identifier(f.name or f"reserved_{f.lsb}")
    bits = f"[{f.lsb + f.width - 1}:{f.lsb}]"
    access = f.access or tree.Access(name="RW")
    said = properties(access, pulse=f.width == 1 and not reset)
    meant = access_of(said).model_copy(update={"reserved": not f.name})
    if f.values:
        yield f"enum {name.lstrip(chr(92))}_e {{ {' '.join(_enumerator(*item) for item in f.values.items())} }};"

    def parts() -> Iterator[str]:
        yield " ".join(f"{key} = {value};" for key, value in said.items())
        yield from _about(f, name) if f.name else _about(f.model_copy(update={"name": name}), name)
        yield from _own(reserved=not f.name, axes=axes_text(access, meant), survives=" ".join(f.survives))
        yield from _own(locked_by=f"{f.lock.key} {f.lock.value:#x}" if f.lock else "")
        yield from _own(access=_word(access, meant if f.name else _RESERVED))
        if f.values:
            yield f"encode = {name.lstrip(chr(92))}_e;"

    said_of_it, tail = list(parts()), f"{name}{bits} = {reset:#x}"
    if len(said_of_it) == 1:
        yield f"field {{ {said_of_it[0]} }} {tail};"
    else:
        yield from _block("field", said_of_it, tail)


def _word(access: tree.Access, meant: tree.Access) -> str:
    """The datasheet's word, where another one would be taken for granted."""
    return access.name if access.name != meant.name else ""


def _enumerator(name: str, number: int) -> str:
    word = identifier(name)
    return f"{word} = {number};" if word == name else f"{word} = {number} {{ name = {_quoted(name)}; }};"
