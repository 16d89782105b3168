"""An elaborated tree as Python source in the description language: where writing a description by hand goes on.

What lives here: ``skeleton``. The text is a module that defines ``DESCRIPTION``; executed and elaborated, it gives the tree
again, but for sources, which are comments here, and for what is neither BAR nor register.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterable, Iterator

from regmodel import access as vocabulary
from regmodel.export import tree
from regmodel.export.elaborate import access_node

_WORDS = {
    name: access_node(value)
    for name, value in vars(vocabulary).items()
    if isinstance(value, vocabulary.Access) and not value.reserved
}
_FACTORIES = {("register", width) for width in (8, 16, 32, 64)} | {
    ("alias", 32), ("doorbell", 16), ("doorbell", 32), ("command", 32),
}  # fmt: skip
_NAMES = {"register": "Reg", "alias": "Alias", "doorbell": "Doorbell", "command": "Command"}


def skeleton(found: tree.Description, origin: str) -> str:
    """The source text. ``origin`` says what it was made from."""
    return _Skeleton(found).text(origin)


class _Skeleton:
    def __init__(self, found: tree.Description) -> None:
        self.found = found
        self.used: dict[str, set[str]] = {"regmodel.catalogue": {"Description"}, "regmodel.registers": set()}
        self.own: dict[tree.Access, str] = {}
        self.constants = _constants(found.bars)

    def text(self, origin: str) -> str:
        named = list(zip(self.found.bars, self.constants, strict=True))
        bars = [line for bar, constant in named for line in self._bar(bar, constant)]
        own = [line for access, name in self.own.items() for line in self._access_definition(access, name)]
        about = f"{self.found.title or self.found.name}: registers, made from {origin}; a skeleton to go on from."
        lines = [f'"""{_plain(about)}"""', ""]
        lines += ["from __future__ import annotations", "", *self._imports(), "", *own, "# fmt: off", *bars, "# fmt: on", ""]
        by_index = ", ".join(f"{bar.index}: {constant}" for bar, constant in named)
        d = self.found
        lines += ["DESCRIPTION = Description(", f"    name={_q(d.name)},", f"    title={_q(d.title)},", f"    doc={_q(d.doc)},"]
        return "\n".join([*lines, f"    bars={{{by_index}}},", ")", ""])

    def _imports(self) -> Iterator[str]:
        if "Bytes" in self.used["regmodel.registers"]:
            self.used["regmodel.registers"].remove("Bytes")
            yield from ("from construct import Bytes", "")
        for module, names in sorted(self.used.items()):
            if names:
                yield f"from {module} import {', '.join(sorted(names))}"

    def _use(self, name: str, module: str = "regmodel.registers") -> str:
        self.used.setdefault(module, set()).add(name)
        return name

    def _bar(self, bar: tree.Bar, constant: str) -> Iterator[str]:
        yield f"{constant} = {self._use('Bar')}({_q(bar.name)}, {bar.size:#x},"
        for entry in bar.entries:
            lines = self._window(entry) if isinstance(entry, tree.Window) else self._register(entry)
            yield from (f"    {line}" for line in lines)
        policy = [f"{a}={self._use(a.title().replace('Unaligned', 'Partial').replace('Unmapped', 'Miss'))}.{v.upper()}"
                  for a, v in bar.policy if v != tree.Policy.model_fields[a].default]  # fmt: skip
        if policy:
            yield f"    policy={self._use('Policy')}({', '.join(policy)}),"
        if bar.moved:
            yield f"    moved={self._use('Moved')}({bar.moved.first:#x}, {bar.moved.gone}, {_q(bar.moved.when)}),"
        yield f"    doc={_q(bar.doc)})"
        yield ""

    def _window(self, w: tree.Window) -> Iterator[str]:
        self._use("Bytes")
        more = [f"why={_q(w.why)}"] if w.why else []
        more += ["mappable=True"] if w.mappable else []
        more += [f"survives={self._causes(w.survives)}"] if w.survives else []
        yield from _sources(w.sources)
        words = [f"{w.offset:#06x}", f"Bytes({w.size:#x})", self._access(w.access), *more]
        yield f"{_q(w.name)} / {self._use('Window')}({', '.join(words)}){_doc(w.doc)},"

    def _register(self, r: tree.Register) -> Iterator[str]:
        at = f"{r.offset:#06x}"
        if r.array:
            at = f"{self._use('Each')}({at}, {r.array.stride:#x}, {r.array.count})"
        yield from _sources(r.sources)
        known = (r.kind, r.width) in _FACTORIES
        head = f"{_NAMES[r.kind]}{r.width}" if known else "Register"
        at += f", {_q(r.alias_of)}" if known and r.kind == "alias" else ""
        kind = "" if known else f"{self._use('Kind')}.{r.kind.replace('register', 'plain').upper()}, {r.width}, "
        what = [self._access(r.fields[0].access)] if r.whole and r.fields[0].access else list(self._fields(r))
        more = ", ".join(self._more(r))
        yield f"{_q(r.name)} / {self._use(head)}({kind}{at}, {'' if known else '('}".rstrip()
        yield from (f"    {line}," for line in what[:-1])
        end = (f", {more}" if more else "") if known else f",), {more}".rstrip(", ")
        yield f"    {what[-1]}{end}){_doc(r.doc)},"

    def _more(self, r: tree.Register) -> Iterator[str]:
        if r.resets.keys() - {"power-on"}:
            yield f"reset={{{', '.join(f'{self._cause(cause)}: {value:#x}' for cause, value in r.resets.items())}}}"
        elif r.resets:
            yield f"reset={r.resets['power-on']:#x}"
        if r.alias_of and (r.kind, r.width) not in _FACTORIES:
            yield f"of={_q(r.alias_of)}"
        if r.banked:
            yield f"banked_by=({_q(r.banked.select)}, {r.banked.count})"
        if r.pair:
            yield f"pair={r.pair!r}"
        if r.survives:
            yield f"survives={self._causes(r.survives)}"
        if r.whole and (lock := r.fields[0].lock):
            yield f"locked_by=({_q(lock.key)}, {lock.value})"
        if r.status != "implemented":
            yield f"status={self._use('Status')}.{r.status.upper()}"
        if r.why:
            yield f"why={_q(r.why)}"

    def _fields(self, r: tree.Register) -> Iterator[str]:
        for f in r.fields:
            bits = f"{f.lsb + f.width - 1}:{f.lsb}" if f.width > 1 else f"{f.lsb}"
            text = f"{self._access(f.access or tree.Access(name='RW'))}[{bits}]"
            if all(name.isidentifier() and not keyword.iskeyword(name) for name in f.values):
                text += f"({', '.join(f'{name}={number}' for name, number in f.values.items())})" if f.values else ""
            else:
                text += f"(**{f.values!r})"
            text += f".sticky({', '.join(map(self._cause, f.survives))})" if f.survives else ""
            text += f".locked_by({_q(f.lock.key)}, value={f.lock.value})" if f.lock else ""
            sources = "".join(f"{line}\n        " for line in _sources(f.sources))
            yield f"{sources}{_q(f.name) + ' / ' if f.name else ''}{text}{_doc(f.doc)}"
        if sum(f.mask for f in r.fields) != (1 << r.width) - 1:
            yield f"{self._use('RSVD', 'regmodel.access')}[...]"

    def _access(self, access: tree.Access) -> str:
        """A word of the vocabulary, that word with hardware, or one of its own."""
        if access.reserved:
            return self._use("RSVD", "regmodel.access")
        for name, known in _WORDS.items():
            if access == known:
                return self._use(name, "regmodel.access")
        for name, known in _WORDS.items():
            if access == known.model_copy(update={"hardware": True}):
                return f"{self._use(name, 'regmodel.access')}.volatile"
        return self.own.setdefault(access, f"ACCESS_{len(self.own)}")

    def _access_definition(self, access: tree.Access, name: str) -> Iterator[str]:
        for word in ("Access", "OnWrite", "OnRead", "Tie"):
            self._use(word, "regmodel.access")
        axes = f"{access.readable}, OnWrite.{access.onwrite.upper()}, OnRead.{access.onread.upper()}, {access.hardware}"
        yield f'{name} = Access({_q(access.name)}, "TODO: what it is", {axes}, Tie.{access.tie.upper()})'

    def _cause(self, cause: str) -> str:
        return f"{self._use('ResetCause', 'regmodel.function')}.{cause.replace('-', '_').upper()}"

    def _causes(self, causes: Iterable[str]) -> str:
        words = [self._cause(cause) for cause in causes]
        return f"({', '.join(words)}{',' if len(words) == 1 else ''})"


def _q(text: str) -> str:
    """A string literal, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _doc(text: str) -> str:
    return f" * {_q(text)}" if text else ""


def _plain(text: str) -> str:
    """The inside of a doc string: on one line, and nothing in it ends it."""
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', "'")


def _constants(bars: Iterable[tree.Bar]) -> list[str]:
    """What the BARs are called in Python: each otherwise, and none as what is imported or made beside them."""
    taken = {*vars(vocabulary), "DESCRIPTION"}
    found: list[str] = []
    for bar in bars:
        word = re.sub(r"\W", "_", bar.name, flags=re.ASCII).upper()
        word = word if word[:1].isalpha() and word not in taken and not word.startswith("ACCESS_") else f"BAR_{word}"
        word = word if word not in taken else f"{word}_{len(found)}"
        taken.add(word)
        found.append(word)
    return found


def _sources(sources: Iterable[str]) -> Iterator[str]:
    return (f"# {' '.join(source.split())}" for source in sources)
