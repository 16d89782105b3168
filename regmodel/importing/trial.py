"""Whether what was read contradicts itself: its skeleton is executed before anybody gets it.

What lives here: ``check``, which every reader ends with, and the remedy for each code of a ``DescriptionError``. The language
finds the contradiction; the reader knows the line that it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regmodel.errors import DescriptionError
from regmodel.export import tree
from regmodel.importing import Problems
from regmodel.importing.skeleton import skeleton

_REMEDIES = {
    "entry-misaligned": "a register stands at a multiple of its size; move it",
    "entry-name": "give it one",
    "entry-outside": "move it, or make what it is in larger",
    "entry-overlap": "move one of them, or remove it",
    "array-empty": "remove it, or say how many there are",
    "array-stride": "let its elements stand further apart",
    "reset-value": "correct it, or the width",
    "field-duplicate": "rename one",
    "field-name": "give it one",
    "field-overlap": "make one field of both, or move one",
    "field-range": "correct its bits",
    "field-value": "correct the value, or widen the field",
}


def check(found: tree.Description, places: Mapping[str, str], problems: Problems) -> None:
    """Adds what keeps the skeleton of ``found`` from being executed. ``places`` has file:line by path, "" for all others."""
    whole = _error(found)
    if whole is None:
        return
    alone = False
    for bar in found.bars:
        for r in bar.registers:
            error = _error(found.model_copy(update={"bars": (bar.model_copy(update={"entries": (r,)}),)}))
            if error is not None and error.path.startswith(f"{r.kind}@"):  # what is wrong in it, which knows no name yet
                alone = True
                _, _, field = error.path.partition(".")
                _say(f"{bar.name}.{r.name}{'.' if field else ''}{field}", error, places, problems)
    if not alone:
        _say(whole.path, whole, places, problems)


def _error(found: tree.Description) -> DescriptionError | None:
    room: dict[str, Any] = {"__name__": "skeleton"}
    try:
        exec(skeleton(found, "a trial"), room)
    except DescriptionError as error:
        return error
    return None


def _say(path: str, error: DescriptionError, places: Mapping[str, str], problems: Problems) -> None:
    text = str(error).removeprefix(f"{error.where}: {error.path}: ").removesuffix(f" [{error.code}]")
    above = path.partition("[")[0]
    while above and above not in places:
        above = above.rpartition(".")[0]
    problems.add(places[above], f"{path}: {text}", _REMEDIES.get(error.code, "correct it"))
