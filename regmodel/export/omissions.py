"""What a format has no words for, listed by path.

What lives here: ``Exported``, what a backend returns, and ``left_out``, which reads off a tree what a backend declares that
it does not say. A backend declares it per kind of node and attribute, with the reason::

    LEFT_OUT = {tree.Register: {"banked": "a C macro has one meaning"}, tree.Window: {"survives": "..."}}

A reason may be a function of the node and the value, which returns "" where it is said after all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from regmodel.export import tree

Reason = str | Callable[[Any, Any], str]
Omissions = Mapping[type[tree.Node], Mapping[str, Reason]]


class LeftOut(NamedTuple):
    """One thing that the text does not say: where it is in the tree, and why."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


class Exported(dict[str, str]):
    """File names and the text of each, and what was left out."""

    def __init__(self, files: Mapping[str, str], left_out: Iterable[LeftOut] = ()) -> None:
        super().__init__(files)
        self.left_out = tuple(left_out)


class Traced(dict[str, bytes]):
    """The same of a backend that writes a trace: its files are bytes."""

    def __init__(self, files: Mapping[str, bytes], left_out: Iterable[LeftOut] = ()) -> None:
        super().__init__(files)
        self.left_out = tuple(left_out)


def left_out(node: tree.Node, omissions: Omissions, path: str = "") -> Iterator[LeftOut]:
    """All that ``node`` says and a format does not."""
    reasons = omissions.get(type(node), {})
    for attribute, at, value in tree.children(node, path):
        reason = reasons.get(attribute, "")
        if not isinstance(reason, str):
            reason = reason(node, value)
        if reason:
            yield LeftOut(at, reason)
        elif isinstance(value, tree.Node):
            yield from left_out(value, omissions, at)


def summary(found: Iterable[LeftOut], name: str) -> Iterator[str]:
    """One line per reason, with how often and an example: what a person reads before the whole list."""
    groups: dict[str, list[str]] = {}
    for item in found:
        groups.setdefault(item.why, []).append(item.path)
    for why, paths in groups.items():
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        yield f"{name} leaves out {paths[0]}{more}: {why}"
