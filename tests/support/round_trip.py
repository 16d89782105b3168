"""What a format lost, and whether it said so: a tree, the tree that came back, and the exporter's list of what it left out."""

from __future__ import annotations

from collections.abc import Iterable

from regmodel.export import tree
from regmodel.export.omissions import LeftOut


def unaccounted(before: tree.Description, after: tree.Description, left_out: Iterable[LeftOut]) -> dict[str, str]:
    """Nothing, when the list is exact: what differs is on it, and whatever is on it differs.

    By path: a difference that is not listed, or an entry of the list that was not lost.
    """
    ours, theirs = tree.flatten(before), tree.flatten(after)
    differ = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
    listed = {item.path for item in left_out}
    found: dict[str, str] = {}
    useful: set[str] = set()
    for path in differ:
        above = {path[:i] for i, letter in enumerate(path) if letter in ".:" and i} | {path}
        useful |= listed & above
        if not listed & above:
            found[path] = f"{ours.get(path)!r} became {theirs.get(path)!r}"
    return found | dict.fromkeys(listed - useful, "is listed, and is there")
