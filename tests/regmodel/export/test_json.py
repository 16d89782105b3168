"""JSON by its published schema, and by what comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from regmodel.errors import UsageError
from regmodel.export import tree
from regmodel.export.elaborate import elaborate
from regmodel.export.json_tree import json_tree, read, schema
from regmodel.registers import Register
from tests.regmodel.described import descriptions
from tests.support.every_kind import DESCRIPTION

ALL = descriptions() | {"every-kind": DESCRIPTION}
PUBLISHED = Path(__file__).parents[3] / "docs" / "schema" / "description.json"
VALIDATOR = Draft202012Validator(json.loads(PUBLISHED.read_text()))


def test_the_published_schema_is_current() -> None:
    published = json.loads(PUBLISHED.read_text())
    Draft202012Validator.check_schema(published)
    assert published == json.loads(json.dumps(schema())), "python -m regmodel.export.json_tree > docs/schema/..."


@pytest.mark.parametrize("name", ALL)
def test_it_follows_the_schema_and_comes_back_whole(name: str, tmp_path: Path) -> None:
    (file, text), *_ = json_tree(ALL[name], None).items()
    assert [error.message for error in VALIDATOR.iter_errors(json.loads(text))] == []
    (tmp_path / file).write_text(text)
    assert read(tmp_path / file) == elaborate(ALL[name])


@pytest.mark.parametrize("name", ALL)
def test_the_tree_says_what_the_description_says(name: str) -> None:
    """Counted from the description itself: no register, instance, field, value or schema is missing."""
    found = elaborate(ALL[name])
    assert [bar.index for bar in found.bars] == sorted(ALL[name].bars)
    for bar in found.bars:
        theirs = ALL[name].bars[bar.index]
        assert [e.name for e in bar.entries] == list(theirs.entries)
        places = {(e.name, e.offset + i * s) for e in bar.entries for i, s in _instances(e)}
        assert places == {(path.partition("[")[0], offset) for path, _, offset, _ in theirs.placed()}
        for register in bar.registers:
            entry = theirs.entries[register.name]
            assert isinstance(entry, Register)
            fields = {(f.name, f.lsb, f.width, tuple(f.values.items())) for f in register.fields if f.name}
            assert fields == {
                (f.name, f.lsb, f.width, tuple((v, k) for k, v in f.values.items())) for f in entry.named.values()
            }
    assert {s.name: s.size for s in found.schemas} == {n: s.sizeof() for n, s in ALL[name].schemas.items()}


def _instances(entry: tree.Register | tree.Window) -> list[tuple[int, int]]:
    array = entry.array if isinstance(entry, tree.Register) else None
    return [(i, array.stride) for i in range(array.count)] if array else [(0, 0)]


def test_what_is_left_out() -> None:
    assert [item.path for item in json_tree(ALL["igbvf"], None).left_out if item.path == ":conduct"] == [":conduct"]
    assert json_tree(DESCRIPTION, None).left_out == ()
    assert json_tree(ALL["igbvf"], 0).left_out == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", r"t\.json: .*EOF"),
        ('{"format": 2, "name": "x"}', r"t\.json: format: Input should be 1; make such a file with `regmodel export"),
        ('{"format": 1, "name": "x", "bar": []}', r"t\.json: bar: Extra inputs are not permitted"),
        ('{"format": 1}', r"t\.json: name: Field required"),
    ],
)
def test_one_line_says_what_is_wrong(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(UsageError, match=says) as error:
        read(tmp_path / "t.json")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*/no: No such file"):
        read(tmp_path / "no")
