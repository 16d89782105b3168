"""The list of differences to QEMU's VF: a difference without an entry is an error, and so is an entry without a difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from regmodel.conformance.outcomes import Finding, Outcome, Report, Row, Wrong
from tests.conformance.peer import Difference, base, differences, load, unexplained
from tests.conformance.peer_table import PAGES, differing

DOCS = Path(__file__).parents[2] / "docs"
LIST = Path(__file__).with_name("qemu_igb_vf.toml")
ENTRY = """
[[difference]]
at = ["bar0.a.x[3:0]"]
ours = "0x1"
theirs = "0x2"
vfio = ["csr_rw"]
firmware = []
right = "ours"
clause = "somewhere"
"""


def report(*rows: Row) -> Report:
    made = Report("igbvf", "vfio")
    for row in rows:
        made.add(row)
    return made


def failed(test: str, register: str, *wrong: Wrong) -> Row:
    return Row(test, register, Outcome.FAIL, "wrong", (Finding(register, "is wrong"),) if not wrong else (), wrong=wrong)


RW = failed("csr_rw", "bar0.a", Wrong("bar0.a.x[3:0]", 1, 2))


def test_the_list_is_one_that_can_be_held_against_something() -> None:
    entries = load(LIST)
    assert len(entries) > 20 and {"ours", "both", "open"} == {entry.right for entry in entries}


@pytest.mark.parametrize("name", ["igb-vf", "virtio-net", "vmxnet3"])
def test_the_page_says_what_the_list_says(name: str) -> None:
    """And its counts are those of a run: ``tests.guest.conforming``."""
    assert "\n".join(differing(PAGES[name])) in (DOCS / f"qemu-{name}.md").read_text()


def test_an_entry_may_be_about_some_devices_only(tmp_path: Path) -> None:
    other = ENTRY.replace('at = ["bar0.a', 'devices = ["one", "two"]\nat = ["bar0.b')
    (tmp_path / "list.toml").write_text(ENTRY + other)
    found = {device: [d.at for e in load(tmp_path / "list.toml", device) for d in e.differences] for device in ("one", "three")}
    assert found == {"one": ["bar0.a.x[3:0]", "bar0.b.x[3:0]"], "three": ["bar0.a.x[3:0]"]}


def test_what_is_listed_and_differs_is_fine(tmp_path: Path) -> None:
    (tmp_path / "list.toml").write_text(ENTRY)
    assert unexplained(differences({"vfio": report(RW)}), load(tmp_path / "list.toml")) == ""


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (failed("csr_bit_bash", "bar0.a", Wrong("bar0.a.x[3:0]", 1, 2)),),
        (RW, failed("csr_bit_bash", "bar0.a", Wrong("bar0.a.x[3:0]", 1, 2))),
        (RW, failed("csr_bit_bash", "bar0.a", Wrong("bar0.a.y[4]", 1, 0))),
        (failed("csr_rw", "bar0.a", Wrong("bar0.a.x[3:0]", 1, 3)),),
        (RW, failed("irq_masks", "vector[2]")),
    ],
    ids=["nothing", "another test", "one more test", "another field", "another value", "a row"],
)
def test_what_is_not_as_listed_is_told(rows: tuple[Row, ...], tmp_path: Path) -> None:
    (tmp_path / "list.toml").write_text(ENTRY)
    entries = load(tmp_path / "list.toml")
    assert unexplained(differences({"vfio": report(*rows)}), entries)
    assert unexplained(differences({"firmware": report(*rows)}), entries)


def test_elements_of_an_array_are_one() -> None:
    one, other = (failed("csr_rw", f"bar0.b[{n}]", Wrong(f"bar0.b[{n}].y[4]", 1, 0)) for n in (0, 1))
    assert differences({"firmware": report(one, other)}) == {Difference("bar0.b.y[4]", "0x1", "0x0", ((), ("csr_rw",)))}
    assert base("vector[2]") == "vector" and base("bar0.b[1]") == "bar0.b" and base("bar0.(nothing)") == "bar0.(nothing)"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (ENTRY.replace('"ours"', '"mine"'), "right is one of"),
        (ENTRY.replace('"somewhere"', '""'), "why"),
        (ENTRY.replace("firmware = []", ""), "firmware is missing"),
        (ENTRY + ENTRY, "more than one entry for bar0.a.x"),
    ],
)
def test_an_entry_that_does_not_say_all(wrong: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "list.toml").write_text(wrong)
    with pytest.raises(ValueError, match=said):
        load(tmp_path / "list.toml")
