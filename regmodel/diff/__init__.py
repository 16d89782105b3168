"""What changed between two descriptions, or two revisions of one, by what it means to software.

What lives here: ``compare``, which walks two elaborated trees by names, and the severity of each kind of change in one
table. ``load`` finds the two sides, ``report`` writes what was found.

Severities are those of a driver written for the first description and run on the second:

- ``breaking``: it reads or writes something else than it means.
- ``behaviour``: it finds its registers and fields, but they do something else, or there is more than it knows.
- ``documentation``: nothing that software can see.

A register or field that is gone while another stands in its place, of the same size, was renamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from regmodel.export import tree


class Severity(IntEnum):
    DOCUMENTATION = 0
    BEHAVIOUR = 1
    BREAKING = 2

    def __str__(self) -> str:
        return self.name.lower()


DOCUMENTATION, BEHAVIOUR, BREAKING = Severity


class Finding(NamedTuple):
    """One change: ``path`` as the elaborated tree has it, ``rule`` a stable name for machines, ``text`` for people."""

    severity: Severity
    rule: str
    path: str
    text: str


def _less(before: Any, after: Any) -> Severity:
    """Less of it breaks, more of it does not."""
    return BREAKING if after < before else BEHAVIOUR


def _array(before: tree.Repeat | None, after: tree.Repeat | None) -> Severity:
    if before and after and before.stride != after.stride and min(before.count, after.count) > 1:
        return BREAKING
    return _less(before.count if before else 1, after.count if after else 1)


def _access(before: tree.Access | None, after: tree.Access | None) -> Severity:
    """What an access does breaks; what hardware does beside it is behaviour; another word is only a word."""

    def sees(a: tree.Access | None) -> object:
        return a and (a.readable, a.onwrite, a.onread)

    def unnamed(a: tree.Access | None) -> object:
        return a and a.model_dump(exclude={"name"})

    return BREAKING if sees(before) != sees(after) else BEHAVIOUR if unnamed(before) != unnamed(after) else DOCUMENTATION


def _lock(before: tree.Lock | None, after: tree.Lock | None) -> Severity:
    """A write that may be ignored, and was not, breaks."""
    return BREAKING if after else BEHAVIOUR


def _formats(before: Sequence[str], after: Sequence[str]) -> Severity:
    return BREAKING if set(before) - set(after) else BEHAVIOUR


Weight = Severity | Callable[[Any, Any], Severity]
_ALWAYS: Mapping[str, Weight] = {"doc": DOCUMENTATION, "sources": DOCUMENTATION, "why": DOCUMENTATION}
SEVERITIES: Mapping[type[tree.Node], Mapping[str, Weight]] = {
    tree.Description: {"title": DOCUMENTATION, "drivers": DOCUMENTATION, "format": DOCUMENTATION},
    tree.Identity: {"revision": BEHAVIOUR, "subsystem_vendor": BEHAVIOUR, "subsystem": BEHAVIOUR},
    tree.Bar: {"size": _less},
    tree.Policy: dict.fromkeys(tree.Policy.model_fields, BEHAVIOUR),
    tree.Register: {
        "array": _array, "whole": DOCUMENTATION, "resets": BEHAVIOUR, "survives": BEHAVIOUR, "status": BEHAVIOUR,
    },
    tree.Field: {"access": _access, "survives": BEHAVIOUR, "lock": _lock},
    tree.Window: {"size": _less, "access": _access, "mappable": BEHAVIOUR, "survives": BEHAVIOUR},
    tree.Schema: {"role": DOCUMENTATION},
    tree.Ring: {"formats": _formats, "device_writes": _formats},
}  # fmt: skip
"""What a change of an attribute weighs; what is not in here breaks. Nodes that come are behaviour, nodes that go break."""

_WHOLE = ("array", "access", "banked", "moved", "arrays", "lock")
"""Nodes that are one value to people."""


def compare(before: tree.Description, after: tree.Description) -> list[Finding]:
    """All changes, the most severe first, then by path."""
    same_name = after.model_copy(update={"name": before.name})
    found = _node(before, same_name, "")
    return sorted(found, key=lambda f: (-f.severity, f.path))


def _node(before: tree.Node, after: tree.Node, path: str) -> Iterator[Finding]:
    """The changes between two nodes of one kind."""
    for name in type(before).model_fields:
        ours, theirs = getattr(before, name), getattr(after, name)
        if ours == theirs or name == "name":
            continue
        if name == "values":
            yield from _values(path, ours, theirs)
        elif isinstance(ours or theirs, tuple) and isinstance((ours or theirs)[0], tree.Node) and name not in _WHOLE:
            yield from _nodes(before, after, name, path)
        elif isinstance(ours, tree.Node) and isinstance(theirs, tree.Node) and name not in _WHOLE:
            place = f"{path}.{name}" if path else name
            yield from _node(ours, theirs, place.removesuffix(".config") if isinstance(ours, tree.Bar) else place)
        else:
            weight = {**_ALWAYS, **SEVERITIES.get(type(before), {})}.get(name, BREAKING)
            severity = weight if isinstance(weight, Severity) else weight(ours, theirs)
            kind = type(before).__name__.lower()
            yield Finding(severity, f"{kind}-{name.replace('_', '-')}-changed", path, _changed(name, ours, theirs))


def _nodes(before: tree.Node, after: tree.Node, name: str, path: str) -> Iterator[Finding]:
    """The changes between two lists of nodes, matched by name, then by place."""
    ours, theirs = _by_path(before, name, path), _by_path(after, name, path)
    gone, come = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
    renamed: dict[str, str] = {}
    for old in sorted(gone):
        new = next((n for n in sorted(come) if _place(ours[old]) == _place(theirs[n]) is not None), None)
        if new is not None:
            come.remove(new)
            renamed[old] = new
    for at, node in ours.items():
        kind = type(node).__name__.lower()
        if at in renamed:
            yield Finding(DOCUMENTATION, f"{kind}-renamed", at, f"is called {theirs[renamed[at]].name} now")
            yield from _node(node, theirs[renamed[at]], at)
        elif at in gone:
            yield Finding(BREAKING, f"{kind}-removed", at, f"is gone ({_summary(node)})")
        else:
            yield from _node(node, theirs[at], at)
    for at in sorted(come):
        node = theirs[at]
        yield Finding(BEHAVIOUR, f"{type(node).__name__.lower()}-added", at, f"is new ({_summary(node)})")


def _by_path(node: tree.Node, name: str, path: str) -> dict[str, Any]:
    return {at.lstrip(":"): value for attribute, at, value in tree.children(node, path) if attribute == name}


def _place(node: tree.Node) -> tuple[int, int] | None:
    """What stands in the same place is the same thing by another name."""
    if isinstance(node, tree.Field):
        return node.lsb, node.width
    return (node.offset, node.width) if isinstance(node, tree.Register) else None


def _values(path: str, before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[Finding]:
    """Named values. One that has only another name is the same value."""
    names = {number: name for name, number in after.items()}
    for name, number in before.items():
        if name in after and after[name] != number:
            yield Finding(BREAKING, "value-changed", path, f"{name} was {number}, is {after[name]}")
        elif name not in after and number in names and names[number] not in before:
            yield Finding(DOCUMENTATION, "value-renamed", path, f"{number} was {name}, is {names[number]}")
        elif name not in after:
            yield Finding(BREAKING, "value-removed", path, f"{name} = {number} is gone")
    for name, number in after.items():
        if name not in before and number not in before.values():
            yield Finding(BEHAVIOUR, "value-added", path, f"{name} = {number} is new")


def _summary(node: Any) -> str:
    match node:
        case tree.Field():
            bits = f"bits {node.lsb + node.width - 1}:{node.lsb}" if node.width > 1 else f"bit {node.lsb}"
            return bits + (f", {node.doc}" if node.doc else "")
        case tree.Register() | tree.Window() | tree.Member():
            return f"{node.size} bytes at {node.offset:#x}" + (f", {node.doc}" if node.doc else "")
        case _:
            return str(getattr(node, "doc", "") or type(node).__name__.lower())


_HEX = ("offset", "vendor", "device", "class_code", "subsystem", "subsystem_vendor", "stride")


def _changed(name: str, before: Any, after: Any) -> str:
    return f"{name.replace('_', ' ')}: {_word(name, before)}, now {_word(name, after)}"


def _word(name: str, value: Any) -> str:
    match value:
        case tree.Access():
            more = [a for a in ("hardware",) if getattr(value, a)] if value.name in ("RW", "WO", "W1S") else []
            return " ".join([value.name, *more])
        case tree.Repeat():
            return f"{value.count}, every {value.stride:#x} bytes"
        case tree.Bank():
            return f"{value.count} times, by {value.select}"
        case tree.Lock():
            return f"{value.key} is {value.value:#x}"
        case tree.Bar():
            return f"{len(value.entries)} registers"
        case tree.Node():
            return " ".join(f"{key} {_word(key, item)}" for key, item in value)
        case dict():
            return ", ".join(f"{key} {item:#x}" for key, item in value.items()) or "0"
        case tuple():
            return "; ".join(_word(name, item) for item in value) or "nothing"
        case None | "":
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case int() if name in _HEX:
            return f"{value:#x}"
    return str(value)
