"""CMSIS-SVD into an elaborated tree.

What lives here: the reader ``svd``. Each peripheral becomes a BAR, clusters become prefixes of names, an array of them an
array of each register in it. ``derivedFrom`` and inherited properties are resolved here; what is only for a debugger or a
processor (``cpu``, ``protection``, ``interrupt``) is passed over. lxml knows the line of each element.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regmodel.errors import UsageError
from regmodel.export import tree
from regmodel.export.svd import access_of
from regmodel.importing import NotImported, Problems
from regmodel.importing.trial import check

_INHERITED = ("size", "access", "resetValue", "modifiedWriteValues", "readAction")
_NUMBERS = ("size", "resetValue")
_ACCESSES = ("read-only", "write-only", "read-write", "writeOnce", "read-writeOnce")
_SECOND = ("alternateRegister", "alternateGroup", "alternateCluster")


def read(path: Path) -> tree.Description:
    """The tree of a file."""
    try:
        from lxml import etree
    except ImportError:
        raise UsageError("SVD needs an XML reader that counts lines: pip install 'regmodel[svd]'") from None
    try:
        parser = etree.XMLParser(remove_comments=True, remove_pis=True, resolve_entities=False)
        root = etree.fromstring(path.read_bytes(), parser)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except etree.XMLSyntaxError as error:
        raise NotImported([f"{path}:{error.lineno}: {error.msg}; mend the XML"]) from None
    return _Reader(path, root).read()


class _Reader:
    def __init__(self, path: Path, root: Any) -> None:
        self.path, self.root, self.problems = path, root, Problems()
        self.places = {"": f"{path}:1"}
        self.bar = ""

    def read(self) -> tree.Description:
        if self.root.tag != "device":
            raise NotImported([f"{self.path}:1: the root is <{self.root.tag}>; an SVD file has <device>"])
        nodes = self.root.findall("peripherals/peripheral")
        bars = tuple(self._peripheral(node, i) for i, node in enumerate(nodes))
        names = [bar.name for bar in bars]
        for node, name in zip(nodes, names, strict=True):
            if names.count(name) > 1:
                self._problem(node, f"another peripheral is called {name}, too", "rename one")
        self.problems.check()
        name = _text(self.root, "name") or self.path.stem
        title = _text(self.root, "description")
        found = tree.Description(name=name, title="" if title == name else title, bars=bars)
        check(found, self.places, self.problems)
        self.problems.check()
        return found

    def _problem(self, node: Any, what: str, remedy: str) -> None:
        self.problems.add(f"{self.path}:{node.sourceline}", what, remedy)

    def _place(self, path: str, node: Any) -> None:
        self.places[path] = f"{self.path}:{node.sourceline}"

    def _number(self, node: Any, tag: str, default: int = 0) -> int:
        text = _text(node, tag)
        try:
            return _parsed(text) if text else default
        except ValueError:
            self._problem(node.find(tag), f"{text!r} is no number of its own", "write one number, in hexadecimal or decimal")
            return default

    def _needed(self, node: Any, tag: str) -> int:
        """The same of what has no default."""
        if not _text(node, tag):
            self._problem(node, f"a {node.tag} without {tag}", "add it")
        return self._number(node, tag)

    def _named(self, node: Any) -> str:
        """Its name, without the place for an index."""
        if not _text(node, "name"):
            self._problem(node, f"a {node.tag} without name", "add it")
        return _text(node, "name").replace("[%s]", "").replace("%s", "")

    def _properties(self, node: Any, inherited: dict[str, str]) -> dict[str, str]:
        """Size, access and reset, with what stands around it."""
        found = {tag: _text(node, tag) for tag in _INHERITED if node.find(tag) is not None}
        found |= {tag: str(self._number(node, tag)) for tag in _NUMBERS if tag in found}
        if found.get("access", "read-write") not in _ACCESSES:
            remedy = f"write {', '.join(_ACCESSES[:-1])} or {_ACCESSES[-1]}"
            self._problem(node.find("access"), f"{found.pop('access')!r} is no access of SVD", remedy)
        return inherited | found

    def _origin(self, node: Any) -> Any:
        """What ``node`` is derived from, which is looked for near it first; or nothing."""
        name = node.get("derivedFrom", "").rpartition(".")[2]
        near = [*node.getparent().iterfind(node.tag), *self.root.iter(node.tag)] if name else []
        return next((n for n in near if n is not node and _text(n, "name") == name), None)

    def _derived(self, node: Any, seen: tuple[Any, ...] = ()) -> Any:
        """``node`` with what it takes over from another one of its kind. ``seen`` is what asks for it."""
        if not node.get("derivedFrom"):
            return node
        found = self._origin(node)
        if found is None:
            self._problem(node, f"it is derived from {node.get('derivedFrom')}, which is not there", "correct derivedFrom")
            return node
        if any(found is n for n in (*seen, *node.iterancestors())):
            self._problem(node, f"it is derived from {node.get('derivedFrom')}, and that from it", "correct derivedFrom")
            return node
        made = copy.deepcopy(self._derived(found, (*seen, node)))
        made.sourceline = node.sourceline
        for child in node:
            for old in made.findall(child.tag):
                made.remove(old)
            made.append(copy.deepcopy(child))
        return made

    def _peripheral(self, node: Any, index: int) -> tree.Bar:
        node = self._derived(node)
        self.bar = _text(node, "name")
        self._named(node)
        self._place(self.bar, node)
        properties = self._properties(node, self._properties(self.root, {}))
        entries = tuple(self._entries(node.find("registers"), 0, "", None, properties, ()))
        ends = [self._number(b, "offset") + self._number(b, "size") for b in node.findall("addressBlock")]
        last = max((r.offset + (r.array.stride * (r.array.count - 1) if r.array else 0) + r.size for r in entries), default=16)
        names = [r.name for r in entries]
        for name in {n for n in names if names.count(n) > 1}:
            self._problem(node, f"two registers are called {name}", "rename one")
        return tree.Bar(name=self.bar, index=index, doc=_text(node, "description"), size=max([*ends, last]), entries=entries)

    def _entries(
        self, parent: Any, base: int, prefix: str, around: tree.Repeat | None, inherited: dict[str, str],
        within: tuple[Any, ...],
    ) -> Iterator[tree.Register]:  # fmt: skip
        """``within`` are the clusters around it, and what those are derived from."""
        for found in parent if parent is not None else ():
            if found.tag not in ("register", "cluster"):
                continue
            origin = self._origin(found)
            if any(origin is n for n in within):
                self._problem(found, f"it is derived from {found.get('derivedFrom')}, and is in it", "correct derivedFrom")
                continue
            node = self._derived(found)
            if any(child.tag in _SECOND for child in node):
                self._problem(node, "a second description of one address", "keep one of them")
            offset, array = base + self._needed(node, "addressOffset"), self._array(node, around)
            properties = self._properties(node, inherited)
            if node.tag == "cluster":
                inside = (*within, found, *([] if origin is None else [origin]))
                yield from self._entries(node, offset, f"{prefix}{self._named(node)}_", array, properties, inside)
            else:
                yield self._register(node, offset, prefix, array, properties)

    def _array(self, node: Any, around: tree.Repeat | None) -> tree.Repeat | None:
        if node.find("dim") is None:
            return around
        if around is not None:
            self._problem(node, "an array of arrays", "write the outer one out, one element per cluster")
        return tree.Repeat(stride=self._needed(node, "dimIncrement"), count=self._needed(node, "dim"))

    def _register(
        self, node: Any, offset: int, prefix: str, array: tree.Repeat | None, properties: dict[str, str]
    ) -> tree.Register:  # fmt: skip
        width = int(properties.get("size", "32"))
        if width not in (8, 16, 32, 64):
            self._problem(node, f"a register of {width} bits", "make registers of 8, 16, 32 or 64 bits of it")
        name = self._named(node)
        name = prefix + (shown if re.search(r"[][.%\s]", shown := _text(node, "displayName") or name) is None else name)
        self._place(f"{self.bar}.{name}", node)
        fields = []
        for part in node.findall("fields/field"):
            fields.append(self._field(self._derived(part), properties))
            self._place(f"{self.bar}.{name}.{fields[-1].name}", part)
        if not fields:
            fields = [tree.Field(name="value", lsb=0, width=width, access=self._access(node, properties))]
        word = int(properties.get("resetValue", "0"))
        return tree.Register(
            name=name, doc=_text(node, "description"), offset=offset, width=width, array=array,
            whole=node.find("fields/field") is None, fields=tuple(sorted(fields, key=lambda f: f.lsb)),
            resets={"power-on": word} if word else {},
        )  # fmt: skip

    def _field(self, node: Any, inherited: dict[str, str]) -> tree.Field:
        if node.find("dim") is not None:
            self._problem(node, "an array of fields", "write each of them out")
        lsb, width = self._bits(node)
        return tree.Field(
            name=self._named(node), lsb=lsb, width=width, doc=_text(node, "description"),
            access=self._access(node, self._properties(node, inherited)), values=self._values(node),
        )  # fmt: skip

    def _bits(self, node: Any) -> tuple[int, int]:
        if text := _text(node, "bitRange"):
            parts = re.fullmatch(r"\[([0-9]+):([0-9]+)\]", text)
            if parts is None:
                self._problem(node.find("bitRange"), f"{text!r} is no range of bits", "write [msb:lsb]")
                return 0, 1
            msb, lsb = int(parts[1]), int(parts[2])
        elif node.find("lsb") is not None:
            msb, lsb = self._needed(node, "msb"), self._number(node, "lsb")
        else:
            lsb = self._needed(node, "bitOffset")
            msb = lsb + self._number(node, "bitWidth", 1) - 1
        if msb < lsb:
            self._problem(node, f"bits [{msb}:{lsb}] are none", "write the most significant bit first, and one at least")
            return 0, 1
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


_FACTORS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


_NUMBER = re.compile(r"\+?(?:0x(?P<hex>[0-9a-f]+)|(?:#|0b)(?P<bin>[01]+)|(?P<dec>[0-9]+))(?P<scale>[kmgt]?)", re.IGNORECASE)


def _parsed(text: str) -> int:
    """A scaledNonNegativeInteger. Raises ValueError, also for one with bits that do not matter."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(text)
    base = {"hex": 16, "bin": 2, "dec": 10}
    number = next(int(found[name], base[name]) for name in base if found[name])
    return number * _FACTORS.get(found["scale"].lower(), 1)
