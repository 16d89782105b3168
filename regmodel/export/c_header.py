"""A description as a header of C11 and C++11: offsets, masks, shifts, named values, and descriptors as structs.

What lives here: the backend ``c-header``. The header needs nothing but the compiler's own headers and checks itself: each
struct's size and the offset of each member are asserted. Names are those of the description behind the device's::

    IGBVF_RDT(1)  IGBVF_RXDCTL_ENABLE_MASK  IGBVF_RXDCTL_PTHRESH_SHIFT  IGBVF_STATUS_SPEED_MB1000  struct igbvf_tx_data

A register that is in several BARs has the BAR's name in front. Numbers in memory are of the byte order that the comment
says; converting them is up to the reader, since whether that costs anything depends on the machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from regmodel.catalogue import Description
from regmodel.errors import DescriptionError
from regmodel.export import tree
from regmodel.export.elaborate import elaborate
from regmodel.export.omissions import Exported, Omissions, left_out

_KEYWORDS = frozenset(
    """auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm bool true false
    class delete explicit export friend mutable namespace new operator private protected public template this throw try
    typename using virtual""".split()  # noqa: SIM905 - read as prose
)  # also those of C++, which reads C headers

_NO_MACRO = "a macro is a number: behaviour is not in it"
LEFT_OUT: Omissions = {
    tree.Description: {
        "config": "Linux pci_regs.h has the configuration space", "rings": "how rings are placed is for the driver",
        "keys": "text keys have no layout", "drivers": "not for programs", "sources": "see the description",
    },
    tree.Bar: {"policy": _NO_MACRO, "moved": _NO_MACRO},
    tree.Register: {
        "survives": _NO_MACRO, "alias_of": _NO_MACRO, "banked": _NO_MACRO, "pair": _NO_MACRO, "kind": _NO_MACRO,
        "status": _NO_MACRO, "why": _NO_MACRO, "sources": "see the description",
    },
    tree.Field: {"survives": _NO_MACRO, "lock": _NO_MACRO, "sources": "see the description"},
    tree.Access: {name: "only the name of an access is in the comment" for name in tree.Access.model_fields if name != "name"},
    tree.Window: {"survives": _NO_MACRO, "mappable": _NO_MACRO, "why": _NO_MACRO, "sources": "see the description"},
    tree.Schema: {"sources": "see the description"},
    tree.Mailbox: {"control": _NO_MACRO, "memory": _NO_MACRO, "sources": "see the description"},
}  # fmt: skip


def c_header(description: Description, bar: int | None) -> Exported:
    """One header: of all of the description, or of one BAR's registers."""
    found = elaborate(description, bar)
    suffix = f"_{found.bars[0].name}" if bar is not None else ""
    return Exported({f"{identifier(found.name)}{suffix}.h": Header(found).text()}, left_out(found, LEFT_OUT))


def identifier(name: str) -> str:
    """``name`` as C spells names."""
    word = re.sub(r"\W", "_", name)
    return f"{word}_" if word in _KEYWORDS else f"_{word}" if word[:1].isdigit() else word


class Header:
    """The text of one header. Raises ``DescriptionError`` ``c-struct`` for two structures that C would call the same."""

    def __init__(self, found: tree.Description) -> None:
        self.found, self.prefix = found, identifier(found.name)
        self.shared = {name for name, n in Counter(e.name for b in found.bars for e in b.entries).items() if n > 1}
        self.taken: dict[str, str] = {}
        self.structs: dict[str, tuple[int, tuple[tree.Member, ...]]] = {}

    def text(self) -> str:
        """The whole of it."""
        guard = f"REGMODEL_{self.prefix.upper()}_H"
        about = f"/* {self.found.title or self.found.name}: {_comment(self.found.doc)}. Generated, do not edit. */"
        lines = [about, f"#ifndef {guard}", f"#define {guard}", ""]
        lines += ["#include <assert.h>", "#include <stddef.h>", "#include <stdint.h>", ""]
        lines += self._identity()
        for bar in self.found.bars:
            lines += self._bar(bar)
        for schema in self.found.schemas:
            lines += self._schema(schema)
        for box in self.found.mailboxes:
            lines += self._mailbox(box)
        return "\n".join([*lines, f"#endif /* {guard} */", ""])

    def macro(self, *words: str) -> str:
        """The macro of these words: ``IGBVF_CTRL_RST_MASK``."""
        return re.sub(r"\W", "_", "_".join((self.prefix, *words))).upper()

    def entry(self, bar: tree.Bar, entry: tree.Register | tree.Window) -> tuple[str, ...]:
        """The words that name a register or window."""
        return (bar.name, entry.name) if entry.name in self.shared else (entry.name,)

    def _define(self, words: Iterable[str], value: str, doc: str = "", argument: str = "") -> Iterator[str]:
        name = self.macro(*words)
        while self.taken.setdefault(name, value) != value:
            name += "_"  # two things of one name: the later one gives way
        head = f"#define {name}{argument}"
        yield f"{head:<56} {value}" + (f"  /* {_comment(doc)} */" if doc else "")

    def _identity(self) -> Iterator[str]:
        if self.found.identity is not None:
            for name, value in self.found.identity:
                yield from self._define((name, "id") if name in ("vendor", "device") else (name,), f"{value:#06x}")
            yield ""

    def _bar(self, bar: tree.Bar) -> Iterator[str]:
        yield f"/* BAR {bar.index}, {bar.name}: {_comment(bar.doc)} */"
        yield from self._define((bar.name, "size"), f"{bar.size:#x}")
        for entry in bar.entries:
            yield ""
            words = self.entry(bar, entry)
            if isinstance(entry, tree.Window):
                yield from self._define(words, f"{entry.offset:#06x}", f"{entry.access.name}: {entry.doc}")
                yield from self._define((*words, "size"), f"{entry.size:#x}")
                if entry.members:
                    yield from self._struct("_".join(map(identifier, (self.prefix, *words))), entry.size, entry.members, words)
            else:
                yield from self._register(words, entry)
        yield ""

    def _register(self, words: tuple[str, ...], register: tree.Register) -> Iterator[str]:
        access = register.fields[0].access if register.whole else None
        doc = ": ".join(text for text in (access.name if access else "", register.doc) if text)
        if register.array is None:
            yield from self._define(words, f"{register.offset:#06x}", doc)
        else:
            value = f"({register.offset:#06x} + {register.array.stride:#x} * (i))"
            yield from self._define(words, value, doc, "(i)")
            yield from self._define((*words, "count"), str(register.array.count))
        yield from self._define((*words, "width"), str(register.width))
        for cause, word in register.resets.items():
            name = "reset" if cause == "power-on" else f"reset_{cause}"
            yield from self._define((*words, name), _constant(word, register.width))
        if not register.whole or register.fields[0].values:
            yield from self._fields(words, register.fields, register.width)

    def _fields(self, words: tuple[str, ...], fields: Iterable[tree.Field], width: int) -> Iterator[str]:
        for f in fields:
            if not f.name:
                continue
            doc = ", ".join(text for text in (f.access.name if f.access else "", f.doc) if text)
            yield from self._define((*words, f.name, "mask"), _constant(f.mask, width), doc)
            yield from self._define((*words, f.name, "shift"), str(f.lsb))
            yield from self._values((*words, f.name), f.values, width)

    def _values(self, words: tuple[str, ...], values: dict[str, int], width: int) -> Iterator[str]:
        for name, number in values.items():
            yield from self._define((*words, name), _constant(number, width))

    def _mailbox(self, box: tree.Mailbox) -> Iterator[str]:
        yield f"/* {box.name}: {_comment(box.doc)} */"
        if box.words:
            yield from self._define((box.name, "words"), str(box.words))
        for m in box.messages:
            yield from self._define((box.name, m.name), f"{m.number:#06x}", f"{m.sender} to {m.receiver}")
        yield ""

    # -- structures

    def _schema(self, schema: tree.Schema) -> Iterator[str]:
        yield f"/* {schema.role} {schema.name}: {_comment(schema.doc)} */"
        yield from self._struct(f"{self.prefix}_{identifier(schema.name)}", schema.size, schema.members, (schema.name,))
        yield ""

    def _struct(self, tag: str, size: int, members: tuple[tree.Member, ...], words: tuple[str, ...]) -> Iterator[str]:
        """Inner structures first, then this one with its holes filled, then what proves that it is right."""
        if tag in self.structs:
            if self.structs[tag] != (size, members):
                raise DescriptionError("c-struct", tag, self.found.name, "two structures of different layout have this name")
            return
        self.structs[tag] = (size, members)
        for m in members:
            if m.type == "structure":
                yield from self._struct(f"{tag}_{identifier(m.name or 'item')}", m.size, m.members, (*words, m.name or "item"))
        yield f"struct {tag} {{"
        end, names = 0, []
        for m in members:
            yield from _hole(end, m.offset)
            name, end = identifier(m.name or "item"), m.offset + _extent(m)
            names.append((name, m.offset))
            kind = f"struct {tag}_{name}" if m.type == "structure" else _type(m)
            lengths = "".join(f"[{a.count}]" for a in m.arrays) + (f"[{m.size}]" if m.type == "bytes" else "")
            text = "; ".join(t for t in (_comment(m.doc), "big-endian" if m.big_endian else "") if t)
            yield f"    {kind} {name}{lengths};" + (f"  /* {text} */" if text else "")
        yield from _hole(end, size)
        yield "} __attribute__((packed));"
        for name, offset in names:
            yield f'static_assert(offsetof(struct {tag}, {name}) == {offset}, "{tag}.{name}");'
        yield f'static_assert(sizeof(struct {tag}) == {size}, "{tag}");'
        for m in members:
            inner = (*words, m.name) if m.name else words
            yield from self._fields(inner, m.fields, 8 * m.size)
            yield from self._values(inner, m.values, 8 * m.size)
            if m.must is not None:
                yield from self._define((*inner, "must"), _constant(m.must, 8 * m.size), "the only valid value")


def _type(m: tree.Member) -> str:
    return "uint8_t" if m.type == "bytes" else f"{'u' if m.type == 'unsigned' else ''}int{8 * m.size}_t"


def _extent(m: tree.Member) -> int:
    """Bytes of a member with the arrays around it. Elements are as far apart as they are large: construct leaves no gaps."""
    size = m.size
    for array in m.arrays:
        size *= array.count
    return size


def _hole(start: int, end: int) -> Iterator[str]:
    if end > start:
        yield f"    uint8_t reserved_at_{start}[{end - start}];"


def _constant(value: int, width: int) -> str:
    return f"UINT64_C({value:#x})" if width > 32 else f"{value:#x}u"


def _comment(text: str) -> str:
    return " ".join(text.replace("*/", "* /").split())
