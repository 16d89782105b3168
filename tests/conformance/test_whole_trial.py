"""The record of the last whole trial keeps what is promised of the judge, and is of the mutants that there are."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from regmodel.catalogue import find
from tests.conformance import whole_trial
from tests.conformance.mutants import Mutant
from tests.conformance.trials import GOAL, excused, read_survivors, survivors
from tests.conformance.whole_trial import CODE, Group, from_logs, record, table, today, toml

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "conformance.md"
RECORD = record()


def tried(*places: str) -> int:
    return sum(group.tried for group in RECORD if group.where in places)


def test_enough_was_tried() -> None:
    assert tried("registers", "code of the igb VF", "RTL") >= 200 and tried("RTL") >= 100
    assert sum(group.tried for group in RECORD if group.kind in CODE) >= 30


def test_all_were_tried() -> None:
    assert [f"{g.kind}: {g.tried} of {g.known}" for g in RECORD if g.tried != g.known] == []


PLACES = {"registers": {"registers"}, "RTL": {"RTL"}, "all": {group.where for group in RECORD}}


@pytest.mark.parametrize("name", list(PLACES))
def test_enough_was_found(name: str) -> None:
    """Code is among all: by itself it is not, as the bank does many things in a quick way and in a slow one."""
    places = PLACES[name]
    killed, of = sum(g.killed for g in RECORD if g.where in places), tried(*places)
    assert killed / of >= GOAL, f"{killed} of {of}"
    assert all(group.killed for group in RECORD), "a kind of fault that nothing finds"


def test_each_survivor_is_explained_and_nothing_else_is() -> None:
    """An explanation is of one mutant, which was tried and lived: it explains no other, and none that comes later."""
    lived = {(group.kind, name) for group in RECORD for name in group.survivors}
    assert survivors().keys() == lived
    assert lived <= {(kind, mutant.name) for kind, (_, mutants) in today().items() for mutant in mutants}


@pytest.mark.parametrize(
    ("entry", "said"),
    [('names = ["one", "one"]\nwhy = "so"', "it is there twice"), ('names = ["one"]\nwhy = " "', "lives for no reason")],
)
def test_an_explanation_that_is_none(entry: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "list.toml").write_text(f'[[survivor]]\nkind = "bank"\n{entry}\n')
    with pytest.raises(ValueError, match=said):
        read_survivors(tmp_path / "list.toml")


def test_an_explanation_is_no_pattern() -> None:
    """A mutant that is called a little otherwise, or is of another kind, is not excused."""
    kind, name = next(iter(survivors()))
    assert excused(Mutant(kind, name, find("igbvf"), nullcontext))
    assert not any(excused(Mutant(k, n, find("igbvf"), nullcontext)) for k, n in ((kind, f"{name} (2)"), (f"{kind}s", name)))


def test_it_is_of_the_mutants_of_today() -> None:
    """Code moves a little between two trials; beyond a tenth it is another suite, and the trial is to be done again."""
    now = {kind: len(mutants) for kind, (_, mutants) in today().items()}
    then = {group.kind: group.known for group in RECORD}
    assert now.keys() == then.keys()
    assert abs(sum(now.values()) - sum(then.values())) <= sum(then.values()) / 10


def test_the_guide_shows_it() -> None:
    assert table(RECORD) in GUIDE.read_text(), "python -m tests.conformance.whole_trial --table"


def test_a_log_becomes_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {kind: (place, mutants[:3]) for kind, (place, mutants) in today().items() if kind in CODE}
    monkeypatch.setattr(whole_trial, "today", lambda: kinds)
    _, (first, second, _) = kinds["bank"]
    log = tmp_path / "log"
    log.write_text("".join(json.dumps([str(m), test, "", "", 0]) + "\n" for m, test in ((first, "csr_rw"), (second, None))))
    (group,) = from_logs([log])
    assert group == Group("bank", "code of the bank", 3, 2, (second.name,)) and group.killed == 1
    monkeypatch.setattr(whole_trial, "RECORD", tmp_path / "record")
    (tmp_path / "record").write_text(toml([group]))
    assert record() == [group] and "| 3 | 2 | 1 (50.0%) |" in table([group])
