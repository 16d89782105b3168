"""Whether a format says what it says that it says, for formats that nobody reads back.

A value of the elaborated tree is changed and the description written again: where the text stays the same, the value is on
the list of what is left out, and where it becomes another one, it is not. All that is listed is changed at once. Of the rest
every value is tried, one at a time, in a description cut down to the register or record that it is in; what several devices
share, once. Of Verilog, which is made of code, each kind of value is tried, and as many more as there is time for; all with
``REGMODEL_THOROUGH=100``. (SystemRDL, SVD and JSON come back; what they lost is found by comparing, in tests of theirs.)
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from regmodel.errors import RegmodelError
from regmodel.export import backend, c_header, tree, verilog, wireshark
from regmodel.export.elaborate import elaborate
from regmodel.importing.skeleton import skeleton
from tests.regmodel.described import descriptions
from tests.support.every_kind import DESCRIPTION
from tests.support.thorough import THOROUGH

ALL = descriptions() | {"every-kind": DESCRIPTION}
READ_BACK = {"json", "svd", "systemrdl"}
SAMPLE = 8
"""Values of a register block in Verilog that are changed one at a time."""
JUDGED = {"c-header": c_header, "wireshark": wireshark, "verilog": verilog}
PAIRS = [(name, device) for name in JUDGED for device, d in ALL.items() if d.bars or name != "verilog"]
"""A register block needs registers."""


def other(value: Any, attribute: str) -> Any:
    """Another value of the same type."""
    match value:
        case str() if attribute in LITERALS:
            return next(word for word in LITERALS[attribute] if word != value)
        case bool():
            return not value
        case int():
            return value + {"offset": 4, "stride": 4, "index": 10}.get(attribute, 1)
        case str():
            return f"{value}x"
        case tuple() if attribute == "pair":
            return None
        case tuple():
            return value[:-1]
    raise TypeError(value)


def changed(node: tree.Node, wanted: Callable[[str], bool] | str, path: str = "") -> tree.Node:
    """``node`` with another value at each path that is wanted, or at one: the inverse of ``tree.flatten``."""
    update: dict[str, Any] = {}
    for attribute, at, value in tree.children(node, path):
        held = getattr(node, attribute)
        if isinstance(wanted, str) and not wanted.startswith(at):
            continue
        if isinstance(value, tree.Node):
            new = changed(value, wanted, at)
            if isinstance(held, tuple):
                update[attribute] = tuple(new if item is value else item for item in update.get(attribute, held))
            else:
                update[attribute] = new
        elif at == wanted if isinstance(wanted, str) else wanted(at):
            if isinstance(held, dict):
                key = at.rpartition(".")[2]
                update[attribute] = {**update.get(attribute, held), key: value ^ 1}
            else:
                update[attribute] = other(value, attribute)
    return node.model_copy(update=update)


LITERALS = {"kind": ("register", "alias"), "type": ("unsigned", "signed"), "role": ("message", "structure"),
            "status": ("implemented", "undocumented"), "onwrite": ("store", "one_clears"), "onread": ("nothing", "clear"),
            "tie": ("software", "hardware"), "unmapped": ("zeros", "ones"), "partial": ("lanes", "ignore"),
            "unaligned": ("lanes", "ignore"), "wide": ("split", "ignore")}  # fmt: skip


def implied(path: str, whole: set[str]) -> bool:
    """What follows from other values, so that no format need say it: elements of structures are as far apart as they are
    large, and the one field of a register that is one number is that register.
    """
    head, _, attribute = path.rpartition(":")
    return (
        path.endswith((":arrays.0:stride", ":arrays.1:stride"))
        or (head in {f"{name}.value" for name in whole} and attribute in ("name", "lsb", "width"))
    )


def parts(whole: tree.Description) -> dict[str, tree.Description]:
    """``whole`` cut down to one register, window or record, by the path of that."""
    found: dict[str, tree.Description] = {}
    bare = whole.model_copy(update={"bars": (), "schemas": ()})
    for _, at, node in tree.children(whole):
        if isinstance(node, tree.Schema):
            found[at] = bare.model_copy(update={"schemas": (node,)})
        elif isinstance(node, tree.Bar):
            for _, inner, entry in tree.children(node, at):
                if isinstance(entry, tree.Register | tree.Window):
                    bar = node.model_copy(update={"entries": (entry,)})
                    found[inner] = bare.model_copy(update={"bars": (bar,)})
    return found


class Judge:
    """One format of one description: its text for any tree."""

    def __init__(self, name: str, device: str, patch: pytest.MonkeyPatch) -> None:
        self.module, self.write, self.description, self.patch = JUDGED[name], backend(name), ALL[device], patch
        self.tree = elaborate(self.description)
        self.listed = {item.path for item in self.write(self.description, None).left_out}  # type: ignore[attr-defined]
        patch.setattr(self.module, "left_out", lambda *_: ())
        leaves = tree.flatten(self.tree)
        numbers = {path.removesuffix(":whole") for path in leaves if path.endswith(":whole")}
        windows = {f"{bar.name}.{w.name}:kind" for bar in self.tree.bars for w in bar.windows}
        single = (path for path, value in leaves.items() if path.endswith("array:count") and value == 1)
        windows |= {path.removesuffix("count") + "stride" for path in single}
        self.listed -= windows  # a window is one, whatever is said; an array of one has no stride
        self.leaves = [path for path in leaves if not implied(path, numbers) and path not in windows]
        gone = {bar.name for bar in self.tree.bars} & self.listed  # of which there is no file, whatever is in it
        self.leaves = [path for path in self.leaves if not path.startswith(tuple(f"{name}{c}" for name in gone for c in ".:"))]
        self.listed -= gone
        self.before = self.text(self.tree)
        self.parts = {} if self.module is verilog else parts(self.tree)
        self.texts: dict[str, str] = {}
        self.shown: dict[str, str] = {}
        self.name = name

    def text(self, whole: tree.Node) -> str:
        self.patch.setattr(self.module, "elaborate", lambda *_: whole)
        if self.module is verilog:  # which is written from a description
            assert isinstance(whole, tree.Description)
            room: dict[str, Any] = {"__name__": "skeleton"}
            exec(skeleton(whole, "a test"), room)
            return "".join(sorted(self.write(room["DESCRIPTION"], None).values()))
        return "".join(self.write(self.description, None).values())

    def is_listed(self, path: str) -> bool:
        return any(path == item or path.startswith((f"{item}.", f"{item}:")) for item in self.listed)

    def _same(self, path: str) -> bool:
        """Whether the text stays as it is when a value becomes another one; where its part says so, the whole is asked, too."""
        at = next((at for at in _above(path) if at in self.parts), "")
        for whole in (self.parts[at], self.tree) if at else (self.tree,):
            before = self.before if whole is self.tree else self.texts.get(at) or self.texts.setdefault(at, self.text(whole))
            try:
                if self.text(changed(whole, path)) != before:
                    return False
            except RegmodelError:
                return False  # the other value contradicts the rest: it is said
        return True

    def shared(self, path: str) -> tuple[str, ...]:
        """What is the same of a value wherever it is judged: the format, the part that it is in, its place in there."""
        at = next((at for at in _above(path) if at in self.parts), "")
        if not at:
            return (self.name, self.tree.name, path)
        if at not in self.shown:
            self.shown[at] = repr((self.parts[at].bars, self.parts[at].schemas))
        return (self.name, self.shown[at], path)

    def verdict(self, path: str) -> str:
        """"" when the list is right about a value."""
        same = self._same(path)
        if same == self.is_listed(path):
            return ""
        return f"{path} is neither in the text nor on the list" if same else f"{path} is on the list, and in the text"


def _above(path: str) -> list[str]:
    """The nodes that a value is in, the outermost first."""
    steps = path.partition(":")[0].split(".")
    return [".".join(steps[:n]) for n in range(1, len(steps) + 1)]


JUDGED_BEFORE: set[tuple[str, ...]] = set()


@pytest.mark.parametrize(("name", "device"), PAIRS)
def test_the_list_is_exact(name: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is listed, at once; and one by one everything, or of Verilog a sample in which each kind of value is."""
    judge = Judge(name, device, monkeypatch)
    assert judge.listed <= {path[:i] for path in judge.leaves for i, c in enumerate(path) if c in ".:"} | set(judge.leaves)
    assert judge.text(changed(judge.tree, judge.is_listed)) == judge.before
    if name != "verilog":
        new = {path: judge.shared(path) for path in judge.leaves if not judge.is_listed(path)}
        assert [said for path, key in new.items() if key not in JUDGED_BEFORE and (said := judge.verdict(path))] == []
        JUDGED_BEFORE.update(new.values())
        return
    by_kind: dict[str, list[str]] = {}
    for path in judge.leaves:
        if ":policy:" in path:
            continue  # a policy may be about accesses that no register of this BAR can have, so that it is not in the text
        by_kind.setdefault(re.sub(r"\d+", "0", path.rpartition(":")[2].partition(".")[0]), []).append(path)
    sample = drawn(by_kind, SAMPLE * THOROUGH, random.Random(f"{name} {device}"), every_kind=device == "every-kind")
    assert [said for path in sample if (said := judge.verdict(path))] == []


def drawn(by_kind: dict[str, list[str]], most: int, dice: random.Random, *, every_kind: bool) -> list[str]:
    """``most`` paths, one of each kind among them, even if those are more (``every_kind``)."""
    first = [dice.choice(paths) for paths in by_kind.values()]
    rest = sorted({path for paths in by_kind.values() for path in paths} - set(first))
    if not every_kind:
        first = dice.sample(first, min(most, len(first)))
    return first + dice.sample(rest, min(max(most - len(first), 0), len(rest)))


def test_a_wrong_list_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge("c-header", "igbvf", monkeypatch)
    assert judge.verdict("bar0.eimc:alias_of") == judge.verdict("bar0.ctrl:offset") == ""
    judge.listed = judge.listed - {"bar0.eimc:alias_of"} | {"bar0.ctrl:offset"}
    assert judge.verdict("bar0.eimc:alias_of") == "bar0.eimc:alias_of is neither in the text nor on the list"
    assert judge.verdict("bar0.ctrl:offset") == "bar0.ctrl:offset is on the list, and in the text"
