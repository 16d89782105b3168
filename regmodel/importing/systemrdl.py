"""SystemRDL 2.0 into an elaborated tree, through the reference compiler (``systemrdl-compiler``).

What lives here: the reader ``systemrdl``. The top address map is the device; where it holds nothing but address maps, each
is a BAR, else it is the only one. Register files and further address maps become prefixes of names, an array of them an
array of each register in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regmodel.errors import UsageError
from regmodel.export import tree
from regmodel.export.elaborate import remarkable
from regmodel.export.rdl_words import PREFIX, SEPARATOR, USER_DEFINED, access_of, with_axes
from regmodel.importing import NotImported, Problems
from regmodel.importing.trial import check

if TYPE_CHECKING:
    from systemrdl.node import AddrmapNode, FieldNode, MemNode, Node, RegNode

_EFFECTS = "clears or sets bits in a way that no access of ours does"
_UNKNOWN: dict[str, tuple[str, str]] = {
    "swwe": ("writes that hardware enables", "remove swwe, or let a field of the same address map be it"),
    "swwel": ("writes that hardware enables", "remove swwel, or let a field of the same address map be it"),
    "rsvdset": ("reserved bits that read 1", "make a field of them, with its reset value"),
    "rsvdsetX": ("reserved bits that read anything", "remove rsvdsetX"),
    "bigendian": ("big-endian registers", "registers of a PCI function are little-endian; remove bigendian"),
    "msb0": ("bits numbered from the most significant", "number them from the least significant (lsb0)"),
}
"""Properties that software notices, when true: what they are, and what to do."""

_BY_HARDWARE = ("counter", "intr", "hwset", "hwclr", "we", "wel")


def read(path: Path) -> tree.Description:
    """The tree of a file. ``include`` is searched beside it."""
    try:
        from systemrdl.compiler import RDLCompiler
        from systemrdl.messages import RDLCompileError
        from systemrdl.node import AddrmapNode
    except ImportError:
        raise UsageError("SystemRDL needs its compiler: pip install 'regmodel[rdl]'") from None
    if not path.is_file():
        raise UsageError(f"cannot read {path}: no such file")
    problems = Problems()
    compiler = RDLCompiler(message_printer=_printer(problems))
    try:
        compiler.compile_file(str(path), incl_search_paths=[str(path.parent)])
        top = compiler.elaborate().top
    except RDLCompileError as error:
        problems.check()
        raise UsageError(f"{path}: {error}; is it SystemRDL?") from None
    except UnicodeDecodeError as error:
        raise NotImported([_undecoded(path, error)]) from None
    problems.found.clear()  # warnings
    maps = [child for child in top.children() if isinstance(child, AddrmapNode)]
    alone = len(maps) != len(list(top.children()))
    places = {"": f"{path}:1"}
    bars = tuple(_Bar(node, i, problems, places).read() for i, node in enumerate([top] if alone else maps))
    problems.check()
    said = _said(top)
    title = top.inst.properties.get("name", "")
    found = tree.Description(
        name=said.get("name", top.inst_name), title=title, doc="" if alone else _doc(top, title), bars=bars,
        sources=() if alone else _split(said.get("sources", "")),
    )  # fmt: skip
    check(found, places, problems)
    problems.check()
    return found


def _undecoded(path: Path, error: UnicodeDecodeError) -> str:
    """Where a file stops being text; of one that it includes, the compiler does not say which."""
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError as ours:
        line = ours.object.count(b"\n", 0, ours.start) + 1
        return f"{path}:{line}: byte {ours.object[ours.start]:#04x} is no UTF-8; save it as UTF-8, if it is SystemRDL"
    byte = error.object[error.start]
    return f"{path}:1: in a file that it includes, byte {byte:#04x} is no UTF-8; save that file as UTF-8"


def _printer(problems: Problems) -> Any:
    from systemrdl.messages import MessagePrinter, Severity

    class Printer(MessagePrinter):
        def print_message(self, severity: Severity, text: str, src_ref: Any) -> None:
            if severity >= Severity.ERROR and src_ref is not None:
                problems.add(_at(src_ref), " ".join(text.split()), "mend the SystemRDL")

    return Printer()


def _said(node: Node) -> dict[str, Any]:
    """Our own properties, where the file declares them."""
    known = {PREFIX + name: name for name in USER_DEFINED}
    return {known[p]: node.get_property(p) for p in node.list_properties() if p in known}


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split(SEPARATOR)) if text else ()


def _doc(node: Node, title: str = "") -> str:
    """What is said about it, or else its long name."""
    found = node.inst.properties
    return str(found.get("desc", "" if title else found.get("name", "")))


def _where(node: Node, name: str = "") -> str:
    """file:line of a property, or of the component."""
    ref: Any = node.inst.property_src_ref.get(name) or node.inst.inst_src_ref or node.inst.def_src_ref
    return _at(ref)


def _at(ref: Any) -> str:
    """file:line; what is wrong with a file as a whole has no line."""
    return f"{ref.path}:{getattr(ref, 'line', 1)}"


class _Bar:
    """One address map as a register file."""

    def __init__(self, node: AddrmapNode, index: int, problems: Problems, places: dict[str, str]) -> None:
        self.node, self.index, self.problems, self.places = node, index, problems, places
        self.name = _said(node).get("name", node.inst_name)
        places[self.name] = _where(node)
        self.elements: dict[str, list[tree.Register]] = {}
        self.strides: dict[str, int] = {}

    def read(self) -> tree.Bar:
        said = _said(self.node)
        entries = list(self._entries(self.node, 0, "", None))
        entries += [_gathered(name, parts, self.strides[name]) for name, parts in self.elements.items()]
        if len({e.name for e in entries}) < len(entries):
            self.problems.add(_where(self.node), "registers of one name", "give each register file a name of its own")
        size = said.get("size") or max(16, 1 << (self.node.size - 1).bit_length())
        first, gone, when = said.get("moved", "0 0 ").split(" ", 2)
        return tree.Bar(
            name=self.name, index=said.get("bar", self.index), doc=_doc(self.node), size=size,
            policy=tree.Policy(**dict(part.split("=") for part in said.get("policy", "").split())),
            moved=tree.Moved(first=int(first, 0), gone=int(gone, 0), when=when) if when else None,
            entries=tuple(sorted(entries, key=lambda e: e.offset)),
        )  # fmt: skip

    def _entries(self, node: Node, base: int, prefix: str, around: tree.Repeat | None) -> Iterator[tree.Entry]:
        from systemrdl.node import AddressableNode, MemNode, RegNode

        self._refuse(node)
        for child in node.children():
            if not isinstance(child, AddressableNode):
                continue
            offset, array = base + child.raw_address_offset, self._array(child, around)
            if isinstance(child, RegNode):
                found = self._register(child, offset, prefix, array)
                element = _said(child).get("element", "")
                if element:
                    _, stride, name = element.split(" ", 2)
                    self.strides[name] = int(stride, 0)
                    self.places[f"{self.name}.{name}"] = _where(child)
                    self.elements.setdefault(name, []).append(found)
                else:
                    yield found
            elif isinstance(child, MemNode):
                yield self._window(child, offset, prefix, array)
            else:
                inner = prefix if _said(child).get("interleaved") else f"{prefix}{child.inst_name}_"
                yield from self._entries(child, offset, inner, array)

    def _array(self, node: Any, around: tree.Repeat | None) -> tree.Repeat | None:
        if not node.is_array:
            return around
        if around is not None or len(node.array_dimensions) > 1:
            self.problems.add(_where(node), "an array of arrays", "write the outer one out, one instance per line")
        return tree.Repeat(stride=node.array_stride, count=node.array_dimensions[0])

    def _refuse(self, node: Node) -> None:
        for name, (what, remedy) in _UNKNOWN.items():
            found = node.get_property(name) if name in node.list_properties() else None
            if found and not self._key(found):
                self.problems.add(_where(node, name), what, remedy)
            elif found and (array := self._picked(found)):
                what = f"writes that one element of {array} enables, whichever element they are to"
                self.problems.add(_where(node, name), what, f"write {array} out, one instance per line")

    def _key(self, found: Any) -> str:
        """The name of a field of this address map; nothing for what is none."""
        from systemrdl.node import FieldNode

        if not isinstance(found, FieldNode):
            return ""
        said, above = _said(found.parent), found.parent.parent
        name = said.get("name", found.parent.inst_name)
        while above is not None and above.get_path() != self.node.get_path():
            name = name if _said(above).get("interleaved") else f"{above.inst_name}_{name}"
            above = above.parent  # type: ignore[assignment]
        return "" if above is None else name if said.get("whole") else f"{name}.{_said(found).get('name', found.inst_name)}"

    def _picked(self, key: FieldNode) -> str:
        """The array of which a key names one element by its index; nothing for the same element as the field that it locks."""
        found, above = "", key.parent
        while above is not None and above.get_path() != self.node.get_path():
            found = above.inst_name if above.is_array and above.current_idx is not None else found
            above = above.parent  # type: ignore[assignment]
        return found

    def _lock(self, node: FieldNode, said: dict[str, Any]) -> tree.Lock | None:
        for name, shut in (("swwe", 0), ("swwel", 1)):
            if key := self._key(node.get_property(name)):
                return tree.Lock(key=key, value=shut)
        key, _, value = said.get("locked_by", "").partition(" ")
        return tree.Lock(key=key, value=int(value, 0)) if key else None

    def _register(self, node: RegNode, offset: int, prefix: str, array: tree.Repeat | None) -> tree.Register:
        self._refuse(node)
        said, width = _said(node), int(node.get_property("regwidth"))
        if width > 64:
            self.problems.add(_where(node, "regwidth"), f"a register of {width} bits", "split it into 64-bit registers")
        if (part := int(node.get_property("accesswidth"))) < width:
            what = f"a register of {width} bits that is accessed by {part}"
            self.problems.add(_where(node, "accesswidth"), what, f"remove accesswidth, or make {part}-bit registers of it")
        primary = prefix + node.alias_primary.inst_name if node.is_alias else ""
        fields = tuple(self._field(f) for f in node.fields())
        name = said.get("name", prefix + node.inst_name)
        at = f"{self.name}.{name}"
        self.places |= {at: _where(node)} | {f"{at}.{_said(f).get('name', f.inst_name)}": _where(f) for f in node.fields()}
        word = sum(self._reset(f) << f.low for f in node.fields())
        resets = {c: int(v, 0) for c, v in (part.split("=") for part in said.get("resets", "").split())}
        select, count = said.get("banked", " 0").split(" ")
        low, _, high = said.get("pair", "").partition(" ")
        return tree.Register(
            name=name, doc=_doc(node), offset=offset, width=width, array=array,
            kind=said.get("kind", "alias" if primary else "register"), alias_of=said.get("alias_of", primary),
            whole=said.get("whole", False), fields=tuple(f for f in fields if remarkable(f)),
            resets=resets or ({"power-on": word} if word else {}),
            survives=said.get("survives", "").split(), banked=tree.Bank(select=select, count=count) if select else None,
            pair=(low, high) if high else None, status=said.get("status", "implemented"), why=said.get("why", ""),
            sources=_split(said.get("sources", "")),
        )  # fmt: skip

    def _reset(self, node: FieldNode) -> int:
        value = node.get_property("reset", default=0)
        if not isinstance(value, int):
            self.problems.add(_where(node, "reset"), "a reset value that is a signal", "give a number")
            return 0
        return value

    def _field(self, node: FieldNode) -> tree.Field:
        self._refuse(node)
        said = _said(node)
        found = {p: v.name for p in ("sw", "hw", "onwrite", "onread", "precedence") if (v := node.get_property(p)) is not None}
        found["singlepulse"] = "true" if node.get_property("singlepulse") else ""
        if any(node.get_property(p) for p in _BY_HARDWARE if p in node.list_properties()):
            found["hw"] = "rw"
        try:
            access = access_of(found)
        except KeyError as word:
            name = "onread" if word.args[0] == found.get("onread") else "onwrite"
            remedy = "use another, or describe it in Python with an Access of its own"
            self.problems.add(_where(node, name), f"{name} = {word.args[0]} {_EFFECTS}", remedy)
            access = tree.Access(name="RW")
        reserved = said.get("reserved", False)
        access = with_axes(access.model_copy(update={"reserved": reserved}), said.get("axes", ""))
        encode = node.get_property("encode")
        return tree.Field(
            name="" if reserved else said.get("name", node.inst_name), lsb=node.low, width=node.width, doc=_doc(node),
            access=access.model_copy(update={"name": said.get("access", "RSVD" if reserved else access.name)}),
            values={m.rdl_name or m.name: m.value for m in encode} if encode else {},
            survives=said.get("survives", "").split(), lock=self._lock(node, said), sources=_split(said.get("sources", "")),
        )  # fmt: skip

    def _window(self, node: MemNode, offset: int, prefix: str, array: tree.Repeat | None) -> tree.Window:
        if array is not None:
            self.problems.add(_where(node), "an array of memories", "write it out, one memory per line")
        if any(True for _ in node.children()):
            self.problems.add(_where(node), "registers inside of a memory", "put them into the address map instead")
        said, sw = _said(node), node.get_property("sw").name
        access = with_axes(access_of({"sw": sw, "hw": "r"}), said.get("axes", ""))
        name = said.get("name", prefix + node.inst_name)
        self.places[f"{self.name}.{name}"] = _where(node)
        return tree.Window(
            name=name, kind="window", doc=_doc(node), offset=offset, size=node.size,
            access=access.model_copy(update={"name": said.get("access", access.name)}), mappable=said.get("mappable", False),
            survives=said.get("survives", "").split(), why=said.get("why", ""), sources=_split(said.get("sources", "")),
        )  # fmt: skip


def _gathered(name: str, parts: list[tree.Register], stride: int) -> tree.Register:
    """An array whose elements were written one by one."""
    array = tree.Repeat(stride=stride, count=len(parts))
    return min(parts, key=lambda r: r.offset).model_copy(update={"name": name, "array": array})
