"""SystemRDL's words for what this project says, in both directions; exporter and importer share them.

What lives here: the properties of an access (SystemRDL 2.0, 9.4 and 9.6) and the user-defined properties (clause 15) for
what the standard has no property for. Nothing in here reads or writes a file, nor needs the compiler.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from regmodel.access import VOCABULARY
from regmodel.export import tree

PREFIX = "regmodel_"
SEPARATOR = " | "
"""Between sources."""

USER_DEFINED: dict[str, tuple[str, str]] = {
    "access": ("string", "field | mem"),  # the datasheet's word, where the axes alone suggest another
    "axes": ("string", "field | mem"),  # those that the standard's properties do not give
    "reserved": ("boolean", "field"),
    "survives": ("string", "field | reg | mem"),
    "locked_by": ("string", "field"),  # key and value, where ``swwe`` and ``swwel`` cannot say it
    "resets": ("string", "reg"),  # whole words by cause, where resets differ or reserved bits are not 0
    "sources": ("string", "field | reg | mem | addrmap"),  # between ``SEPARATOR``
    "kind": ("string", "reg"),
    "whole": ("boolean", "reg"),
    "alias_of": ("string", "reg"),
    "banked": ("string", "reg"),  # index register, instances
    "interleaved": ("boolean", "regfile"),  # not there: each register in it is an array of its own name
    "element": ("string", "reg"),  # index, stride and name of its array, where even that cannot be said
    "pair": ("string", "reg"),  # low half, high half
    "status": ("string", "reg"),
    "why": ("string", "reg | mem"),
    "mappable": ("boolean", "mem"),
    "policy": ("string", "addrmap"),
    "moved": ("string", "addrmap"),
    "size": ("longint unsigned", "addrmap"),
    "bar": ("longint unsigned", "addrmap"),
    "name": ("string", "field | reg | mem | addrmap"),  # where it is no identifier of SystemRDL's
}
"""Name without ``PREFIX``: type, and the components that may have it."""

_ONWRITE: dict[tree.OnWrite, str] = {
    "one_clears": "woclr", "zero_clears": "wzc", "one_sets": "woset", "one_toggles": "wot",
}  # fmt: skip
_ONREAD: dict[tree.OnRead, str] = {"clear": "rclr", "set": "rset"}

Axis = Literal["readable", "onwrite", "onread", "hardware", "tie", "reserved"]
AXES: tuple[Axis, ...] = ("reserved", "readable", "onwrite", "onread", "hardware", "tie")


def properties(access: tree.Access, *, pulse: bool) -> dict[str, str]:
    """The standard's properties. ``pulse``: the field may be ``singlepulse``, which is one bit that resets to 0 (9.6.1-g)."""
    writable = access.onwrite != "nothing"
    once = "1" if access.onwrite == "once" else ""
    sw = f"rw{once}" if writable and access.readable else f"w{once}" if writable else "r"
    found = {"sw": sw, "hw": _hw(access.hardware, writable)}
    if access.onwrite in _ONWRITE:
        found["onwrite"] = _ONWRITE[access.onwrite]
    if access.onwrite == "pulse" and pulse:
        found["singlepulse"] = "true"
    if access.onread in _ONREAD and access.readable:
        found["onread"] = _ONREAD[access.onread]
    if access.tie == "hardware":
        found["precedence"] = "hw"
    return found


def _hw(hardware: bool, writable: bool) -> str:
    return ("rw" if writable else "w") if hardware else "r" if writable else "na"


def access_of(found: dict[str, str]) -> tree.Access:
    """The access that these properties mean, by the name that fits best. Raises KeyError for ``onwrite`` and ``onread`` of
    which the vocabulary has no word: those with side effects that are up to the designer."""
    sw = found["sw"]
    onwrite: tree.OnWrite = "store" if "w" in sw else "nothing"
    if "onwrite" in found:
        onwrite = {word: name for name, word in _ONWRITE.items()}[found["onwrite"]]
    elif found.get("singlepulse") == "true":
        onwrite = "pulse"
    elif "1" in sw:
        onwrite = "once"
    onread: tree.OnRead = {word: name for name, word in _ONREAD.items()}[found["onread"]] if "onread" in found else "nothing"
    return named(
        tree.Access(
            name="", readable="r" in sw, onwrite=onwrite, onread=onread, hardware="w" in found.get("hw", ""),
            tie="hardware" if found.get("precedence") == "hw" else "software",
        )
    )  # fmt: skip


@cache
def named(access: tree.Access) -> tree.Access:
    """The same with the vocabulary's word for it; hardware and ties count where two words differ in nothing else."""

    def distance(other: tree.Access) -> tuple[bool, ...]:
        return tuple(getattr(access, axis) != getattr(other, axis) for axis in AXES)

    from regmodel.export.elaborate import access_node

    best = min((access_node(a) for a in VOCABULARY), key=distance)
    fits = not any(distance(best)[:4])
    return access.model_copy(update={"name": best.name if fits else f"{access.onwrite}/{access.onread}"})


def axes_text(access: tree.Access, said: tree.Access) -> str:
    """What ``said`` has otherwise than ``access``: ``readable=0 onwrite=pulse``."""
    differ = [a for a in AXES if getattr(access, a) != getattr(said, a)]
    return " ".join(f"{a}={int(v) if isinstance(v := getattr(access, a), bool) else v}" for a in differ)


def with_axes(access: tree.Access, text: str) -> tree.Access:
    """``access`` with what ``axes_text`` wrote."""
    data = access.model_dump() | dict(part.split("=") for part in text.split())
    return tree.Access.model_validate(data)
