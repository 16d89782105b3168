"""CMSIS-SVD into an elaborated tree.

What lives here: the reader ``svd``. Each peripheral becomes a BAR, clusters become prefixes of names, an array of them an
array of each register in it. ``derivedFrom`` and inherited properties are resolved here; what is only for a debugger or a
processor (``cpu``, ``protection``, ``interrupt``) is passed over. lxml knows the line of each element.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regmodel.errors import UsageError
from regmodel.export import tree
from regmodel.export.svd import access_of
from regmodel.importing import NotImported, Problems

_INHERITED = ("size", "access", "resetValue", "modifiedWriteValues", "readAction")


def read(path: Path) -> tree.Description:
    """The tree of a file."""
    try:
        from lxml import etree
    except ImportError:
        raise UsageError("SVD needs an XML reader that counts lines: pip install 'regmodel[svd]'") from None
    try:
        root = etree.fromstring(path.read_bytes(), etree.XMLParser(remove_comments=True, resolve_entities=False))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except etree.XMLSyntaxError as error:
        raise NotImported([f"{path}:{error.lineno}: {error.msg}; mend the XML"]) from None
    return _Reader(path, root).read()


class _Reader:
    def __init__(self, path: Path, root: Any) -> None:
        self.path, self.root, self.problems = path, root, Problems()

    def read(self) -> tree.Description:
        if self.root.tag != "device":
            raise NotImported([f"{self.path}:1: the root is <{self.root.tag}>; an SVD file has <device>"])
        nodes = self.root.findall("peripherals/peripheral")
        bars = tuple(self._peripheral(node, i) for i, node in enumerate(nodes))
        self.problems.check()
        name = _text(self.root, "name") or self.path.stem
        title = _text(self.root, "description")
        return tree.Description(name=name, title="" if title == name else title, bars=bars)

    def _problem(self, node: Any, what: str, remedy: str) -> None:
        self.problems.add(f"{self.path}:{node.sourceline}", what, remedy)

    def _number(self, node: Any, tag: str, default: int = 0) -> int:
        text = _text(node, tag)
        try:
            return _parsed(text) if text else default
        except ValueError:
            self._problem(node.find(tag), f"{text!r} is no number of its own", "write one number, in hexadecimal or decimal")
            return default

    def _derived(self, node: Any) -> Any:
        """``node`` with what it takes over from another one of its kind, which is looked for near it first."""
        origin = node.get("derivedFrom")
        if not origin:
            return node
        name = origin.rpartition(".")[2]
        near = [*node.getparent().iterfind(node.tag), *self.root.iter(node.tag)]
        found = next((n for n in near if n is not node and _text(n, "name") == name), None)
        if found is None:
            self._problem(node, f"it is derived from {origin}, which is not there", "correct derivedFrom")
            return node
        made = copy.deepcopy(self._derived(found))
        made.sourceline = node.sourceline
        for child in node:
            for old in made.findall(child.tag):
                made.remove(old)
            made.append(copy.deepcopy(child))
        return made

    def _peripheral(self, node: Any, index: int) -> tree.Bar:
        node = self._derived(node)
        properties = _properties(node, _properties(self.root, {}))
        entries = tuple(self._entries(node.find("registers"), 0, "", None, properties))
        ends = [self._number(b, "offset") + self._number(b, "size") for b in node.findall("addressBlock")]
        last = max((r.offset + r.size * (1 if r.array is None else 0) for r in entries), default=16)
        names = [r.name for r in entries]
        for name in {n for n in names if names.count(n) > 1}:
            self._problem(node, f"two registers are called {name}", "rename one")
        return tree.Bar(
            name=_text(node, "name"), index=index, doc=_text(node, "description"), size=max([*ends, last]), entries=entries
        )  # fmt: skip

    def _entries(
        self, parent: Any, base: int, prefix: str, around: tree.Repeat | None, inherited: dict[str, str]
    ) -> Iterator[tree.Register]:
        for found in parent if parent is not None else ():
            if found.tag not in ("register", "cluster"):
                continue
            node = self._derived(found)
            offset, array = base + self._number(node, "addressOffset"), self._array(node, around)
            properties = _properties(node, inherited)
            if node.tag == "cluster":
                yield from self._entries(node, offset, f"{prefix}{_name(node)}_", array, properties)
            else:
                yield self._register(node, offset, prefix, array, properties)

    def _array(self, node: Any, around: tree.Repeat | None) -> tree.Repeat | None:
        if node.find("dim") is None:
            return around
        if around is not None:
            self._problem(node, "an array of arrays", "write the outer one out, one element per cluster")
        return tree.Repeat(stride=self._number(node, "dimIncrement"), count=self._number(node, "dim"))

    def _register(
        self, node: Any, offset: int, prefix: str, array: tree.Repeat | None, properties: dict[str, str]
    ) -> tree.Register:  # fmt: skip
        if node.find("alternateRegister") is not None:
            self._problem(node, "a second description of one address", "keep one of them")
        width = int(properties.get("size", "32"), 0)
        if width not in (8, 16, 32, 64):
            self._problem(node, f"a register of {width} bits", "make registers of 8, 16, 32 or 64 bits of it")
        fields = [self._field(self._derived(f), properties) for f in node.findall("fields/field")]
        if not fields:
            fields = [tree.Field(name="value", lsb=0, width=width, access=self._access(node, properties))]
        word = _parsed(properties.get("resetValue", "0"))
        return tree.Register(
            name=prefix + (_text(node, "displayName") or _name(node)), doc=_text(node, "description"), offset=offset,
            width=width, array=array, whole=node.find("fields/field") is None,
            fields=tuple(sorted(fields, key=lambda f: f.lsb)), resets={"power-on": word} if word else {},
        )  # fmt: skip

    def _field(self, node: Any, inherited: dict[str, str]) -> tree.Field:
        if node.find("dim") is not None:
            self._problem(node, "an array of fields", "write each of them out")
        lsb, width = self._bits(node)
        return tree.Field(
            name=_name(node), lsb=lsb, width=width, doc=_text(node, "description"),
            access=self._access(node, _properties(node, inherited)), values=self._values(node),
        )  # fmt: skip

    def _bits(self, node: Any) -> tuple[int, int]:
        if text := _text(node, "bitRange"):
            msb, lsb = (int(part) for part in text.strip("[]").split(":"))
        elif node.find("lsb") is not None:
            msb, lsb = self._number(node, "msb"), self._number(node, "lsb")
        else:
            lsb = self._number(node, "bitOffset")
            msb = lsb + self._number(node, "bitWidth", 1) - 1
        return lsb, msb - lsb + 1

    def _access(self, node: Any, properties: dict[str, str]) -> tree.Access:
        said = {tag: word for tag, word in properties.items() if tag in ("access", "modifiedWriteValues", "readAction")}
        if said.get("modifiedWriteValues") == "modify" and said.get("access", "read-write") != "read-only":
            said.pop("modifiedWriteValues")  # the default: a write stores
        try:
            return access_of(said)
        except KeyError as word:
            at = node.find("readAction") if word.args[0] == said.get("readAction") else node.find("modifiedWriteValues")
            remedy = "use another, or describe it in Python with an Access of its own"
            self._problem(node if at is None else at, f"{word.args[0]} has effects that no access of ours has", remedy)
            return tree.Access(name="RW")

    def _values(self, node: Any) -> dict[str, int]:
        found: dict[str, int] = {}
        for values in node.findall("enumeratedValues"):
            for value in self._derived(values).findall("enumeratedValue"):
                if value.find("value") is not None:
                    found.setdefault(_text(value, "name"), self._number(value, "value"))
        return found


def _text(node: Any, tag: str) -> str:
    return " ".join((node.findtext(tag) or "").split())


def _name(node: Any) -> str:
    """Without the place for an index."""
    return _text(node, "name").replace("[%s]", "").replace("%s", "")


def _properties(node: Any, inherited: dict[str, str]) -> dict[str, str]:
    """Size, access and reset, with what stands around it."""
    return inherited | {tag: _text(node, tag) for tag in _INHERITED if node.find(tag) is not None}


_FACTORS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _parsed(text: str) -> int:
    """A scaledNonNegativeInteger. Raises ValueError, also for one with bits that do not matter."""
    text = text.lower().lstrip("+")
    factor = _FACTORS.get(text[-1], 1) if not text.startswith("0x") else 1
    text = text[:-1] if factor > 1 else text
    if text.startswith(("#", "0b")):
        return int(text.lstrip("#").removeprefix("0b"), 2) * factor
    return (int(text, 16) if text.startswith("0x") else int(text)) * factor
