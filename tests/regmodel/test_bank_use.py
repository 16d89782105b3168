"""How a device model uses a bank: hooks, names, notices, history, coverage, saved state."""

from __future__ import annotations

import json
import pathlib
import resource
from typing import Any

import pytest
from construct import Array, Bytes, Int32ul

from regmodel.access import RC, RO, RS, RSVD, RW, RWO, W0C, W1C, W1P, W1S, W1T, Access
from regmodel.bank import Bank, Cause, Path
from regmodel.conformance.oracle import Oracle
from regmodel.errors import StateError
from regmodel.function import ResetCause
from regmodel.registers import UNIMPLEMENTED, Alias32, Bar, Command32, Doorbell32, Each, Pair32, Policy, Reg32, Wide, Window

# fmt: off
BAR = Bar("BAR0", 0x4000,
    "ctrl"   / Reg32(0x00, "rst" / W1P[31], "mode" / RW[7:0], RSVD[...], reset=0x1000),
    "cause"  / Reg32(0x04, "it" / RC[0], RSVD[...]),
    "set"    / Alias32(0x08, "cause", "it" / RW[0], RSVD[...]),
    "tail"   / Doorbell32(Each(0x10, 4, 4), RW),
    "cmd"    / Command32(0x20, RW, reset=5),
    *Pair32("low", 0x28, "high", 0x2C, RW),
    "lock"   / Reg32(0x30, RWO),
    "index"  / Reg32(0x34, RW),
    "bank"   / Reg32(0x38, RW, banked_by=("index", 3)),
    "todo"   / Reg32(0x3C, RW, status=UNIMPLEMENTED),
    "clock"  / Reg32(0x40, RO),
    "words"  / Window(0x80, Array(4, Int32ul), RW),
    "memory" / Window(0x2000, Bytes(0x1800), RW, survives=[ResetCause.FLR]))
# fmt: on


@pytest.fixture
def bank() -> Bank:
    return Bank(BAR, now=lambda: 7)


@pytest.fixture
def told(bank: Bank) -> list[Any]:
    """What hooks of all registers were told."""
    calls: list[Any] = []
    for name, entry in BAR.entries.items():
        if not isinstance(entry, Window):
            bank.on_write(name, lambda *call: calls.append(call))
    return calls


def test_a_hook_gets_path_old_new_size_and_cause(bank: Bank, told: list[Any]) -> None:
    bank.write(0x00, 4, 0x8000_0012)
    assert told == [("ctrl", 0x1000, 0x8000_1012, 4, Cause.WRITE)]
    assert bank.read(0x00, 4) == 0x1012, "a pulse acts and reads back 0"


def test_a_path_knows_its_instance(bank: Bank, told: list[Any]) -> None:
    bank.write(0x18, 4, 9)
    path = told[0][0]
    assert (path, path.name, path.instance) == ("tail[2]", "tail", 2) and isinstance(path, Path)
    assert Path("ctrl", None).instance == 0


def test_a_hook_of_part_of_a_register_sees_all_of_it(bank: Bank, told: list[Any]) -> None:
    bank.write(0x29, 1, 0xAB)
    assert told == [] and bank["low"].value == 0xAB00
    bank.write(0x2C, 2, 1)
    assert told == [("high", 0xAB00, 0x1_0000_AB00, 2, Cause.WRITE)] and bank["low"].whole() == 0x1_0000_AB00


def test_a_command_reads_what_the_device_left(bank: Bank) -> None:
    bank.on_write("cmd", lambda path, old, new, size, cause: setattr(bank["cmd"], "value", new ^ 0xFF))
    assert bank.read(0x20, 4) == 5
    bank.write(0x20, 4, 0x0F)
    assert bank.read(0x20, 4) == 0xF0


def test_an_alias_tells_of_itself(bank: Bank, told: list[Any]) -> None:
    bank.write(0x08, 4, 1)
    assert [call[0] for call in told] == ["set"] and bank["cause"].get("it") == 1


def test_reads_can_be_computed_and_are_told(bank: Bank) -> None:
    heard: list[Any] = []
    bank.before_read("clock", lambda path: bank["clock"].__setattr__("value", 42))
    bank.on_read("cause", lambda *call: heard.append(call))
    assert bank.read(0x40, 4) == 42
    bank["cause"].set(it=1)
    assert (bank.read(0x04, 4), bank.read(0x04, 4)) == (1, 0)
    assert heard == [("cause", 1, 0, 4, Cause.READ), ("cause", 0, 0, 4, Cause.READ)]


def test_peeking_has_no_side_effects(bank: Bank, told: list[Any]) -> None:
    bank.poke(0x04, 4, 1)
    assert (bank.peek(0x04, 4), bank.peek(0x04, 4), bank.read(0x04, 4)) == (1, 1, 1)
    assert told == [] and [record[2] for record in bank.ring] == ["cause"]


def test_a_bank_of_registers_shows_what_is_selected(bank: Bank, told: list[Any]) -> None:
    for index in range(5):
        bank.write(0x34, 4, index)
        bank.write(0x38, 4, 100 + index)
    told.clear()
    assert bank.save()["banked"] == {"bank": [100, 101, 102]}
    bank.write(0x34, 4, 1)
    assert bank.read(0x38, 4) == 101
    bank.write(0x34, 4, 3)
    told.clear()
    bank.write(0x38, 4, 1)
    assert bank.read(0x38, 4) == 0 and told == [], "beyond the last instance nothing happens"


def test_names(bank: Bank) -> None:
    assert bank["tail", 3].path == "tail[3]" and len(bank.all("tail")) == 4 and len(bank.all("words")) == 4
    owner = bank.cell_at(0x1A)
    assert owner is not None and owner.path == "tail[2]" and bank.cell_at(0x7C) is None
    with pytest.raises(KeyError, match="BAR0 has no register 'nosuch'"):
        bank.on_write("nosuch", lambda *call: None)


def test_what_silicon_would_not_answer_for_is_noticed_once(bank: Bank) -> None:
    noticed: list[Any] = []
    bank.notice = lambda *what: noticed.append(what)
    for _ in range(2):
        bank.write(0x00, 4, 0x0000_0100)  # reserved bits: 0x1000 is what they hold
        bank.read(0x3C, 4)
        bank.read(0x1000, 4)
    assert noticed == [("reserved", "ctrl", 0x100), ("unimplemented", "todo", 0), ("unmapped", "BAR0+0x1000", 0)]
    assert bank.misses == 2
    bank.write(0x00, 4, 0x1001)
    assert len(noticed) == 3, "writing back what was read is no offence"
    bank.reset(ResetCause.FLR)
    bank.read(0x3C, 4)
    assert len(noticed) == 4, "a driver that starts anew is told anew"


def test_history_and_observer(bank: Bank) -> None:
    seen: list[Any] = []
    bank.observer = seen.append
    bank.write(0x10, 4, 3)
    bank.read(0x1000, 2)
    bank.read(0x81, 2)
    assert seen == list(bank.ring)
    assert [(cause, path, offset, size, value) for _, cause, path, offset, size, value in seen] == [
        (Cause.WRITE, "tail[0]", 0x10, 4, 3),
        (Cause.READ, None, 0x1000, 2, 0),
        (Cause.READ, "words[0]", 0x81, 2, 0),
    ]
    assert {record[0] for record in seen} == {7}


def test_coverage_counts_per_field(bank: Bank) -> None:
    bank.write(0x00, 4, 0x0000_00F0)
    bank.read(0x00, 4)
    ctrl: Any = bank.coverage()["ctrl"]
    assert (ctrl["reads"], ctrl["writes"]) == (1, 1)
    assert ctrl["fields"] == {"rst": {"ones": 0, "zeros": 1}, "mode": {"ones": 0xF0, "zeros": 0x0F}}


def test_windows_are_memory_of_any_size(bank: Bank) -> None:
    for at in (0x80, 0x2000):
        bank.write(at + 1, 1, 0xAB)
        bank.write(at + 4, 8, 0x1122334455667788)
        assert (bank.read(at, 4), bank.read(at + 6, 2), bank.read(at + 8, 4)) == (0xAB00, 0x5566, 0x11223344)
    bank.reset(ResetCause.FLR)
    assert (bank.read(0x80, 4), bank.read(0x2000, 4)) == (0, 0xAB00), "one window survives, the other does not"
    bank.reset(ResetCause.BUS)
    assert bank.read(0x2000, 4) == 0


def test_write_once_counts_from_a_reset_that_reaches_it() -> None:
    bar = Bar("b", 8, "lock" / Reg32(0, "a" / RWO[0], "b" / RWO[1].sticky(ResetCause.FLR), RSVD[...]))
    for one in (Bank(bar), Oracle(bar)):
        one.write(0, 4, 0)
        one.write(0, 4, 3)
        assert one.read(0, 4) == 0, "a 0 was written, once"
        one.reset(ResetCause.FLR)
        one.write(0, 4, 3)
        assert one.read(0, 4) == 1, "the reset did not reach b"
        one.reset(ResetCause.BUS)
        one.write(0, 4, 2)
        one.write(0, 4, 1)
        assert one.read(0, 4) == 2


def test_a_lock_counts_as_the_write_finds_it() -> None:
    """One write fills a register and shuts its lock; then nothing lands, but what hardware does, until it is open again."""
    what = "size" / RW[15:0].locked_by("queue.on"), "go" / W1P[16].locked_by("queue.on"), "on" / RW[31]
    bar = Bar("b", 16, "queue" / Reg32(0, *what, RSVD[...]), "far" / Reg32(4, RW, locked_by=("queue.size", 3)))
    for one in (Bank(bar), Oracle(bar)):
        one.write(0, 4, 0x8000_0003)
        one.write(0, 4, 0x8001_0007)
        one.write(4, 4, 1)
        assert (one.read(0, 4), one.read(4, 4)) == (0x8000_0003, 0), "both locks are shut"
        one.poke(0, 2, 5)
        one.write(0, 8, 1 << 32 | 6)
        assert (one.read(0, 4), one.read(4, 4)) == (5, 1), "hardware opened the one, and the write itself opens the other"
        one.write(0, 8, 2 << 32 | 3)
        assert (one.read(0, 4), one.read(4, 4)) == (3, 1), "which one write may shut, too, before it comes there"


def test_a_locked_pulse_tells_nobody_and_is_noticed() -> None:
    bank = Bank(Bar("b", 8, "x" / Reg32(0, "go" / W1P[0].locked_by("x.off"), "off" / RW[1], RSVD[...], reset=2)))
    told: list[tuple[int, int]] = []
    said: list[tuple[str, str, int]] = []
    bank.on_write("x", lambda path, old, new, size, cause: told.append((old, new)))
    bank.notice = lambda *what: said.append(what)
    bank.write(0, 4, 1)
    bank.write(0, 4, 1)
    assert told == [(2, 0), (0, 1)] and said == [("locked", "x", 1)]


@pytest.mark.parametrize(
    ("access", "held", "harmless", "acts"),
    [
        (RW, 1, 1, 0), (W1C, 1, 0, 1), (W1C, 0, 1, None), (W0C, 1, 1, 0), (W0C, 0, 0, None), (W1S, 0, 0, 1), (W1S, 1, 1, None),
        (W1T, 1, 0, 1), (W1P, 0, 0, 1), (RWO, 1, 1, 0),
    ],
    ids=str,
)  # fmt: skip
def test_a_write_that_is_locked_out_is_noticed_if_it_would_have_done_something(
    access: Access, held: int, harmless: int, acts: int | None
) -> None:
    """A bit that holds ``held``: writing ``harmless`` would leave it, and ``acts`` change it, or act."""
    v = "v" / access[0].locked_by("x.off")
    bank = Bank(Bar("b", 8, "x" / Reg32(0, v, "off" / RW[31], RSVD[...], reset=1 << 31 | held)))
    said: list[tuple[str, str, int]] = []
    bank.notice = lambda *what: said.append(what)
    bank.write(0, 4, 1 << 31 | harmless)
    assert said == [], "nothing was locked out"
    if acts is not None:
        bank.write(0, 4, 1 << 31 | acts)
        assert said == [("locked", "x", 1 << 31 | acts)] and bank.read(0, 4) == 1 << 31 | held


def test_a_first_write_that_was_made_leaves_nothing_to_lock_out() -> None:
    bank = Bank(Bar("b", 8, "x" / Reg32(0, "v" / RWO[0].locked_by("x.off"), "off" / RW[31], RSVD[...])))
    said: list[tuple[str, str, int]] = []
    bank.notice = lambda *what: said.append(what)
    for value in (0, 1 << 31, 1 << 31 | 1):
        bank.write(0, 4, value)
    assert said == []


def test_a_doorbell_stores_nothing_whatever_its_fields_say() -> None:
    bar = Bar("b", 8, "bell" / Doorbell32(0, "a" / RS[3:0], "b" / RC[4], RSVD[...]))
    for one in (Bank(bar), Oracle(bar)):
        one.poke(0, 4, 0xFF)
        one.write(0, 4, 0xFF)
        assert (one.read(0, 4), one.peek(0, 4), one.read(0, 4)) == (0, 0, 0)


def test_a_wide_access_can_be_refused() -> None:
    bar = Bar("b", 16, "a" / Reg32(0, RW, reset=1), "b" / Reg32(4, RW, reset=2), policy=Policy(wide=Wide.IGNORE))
    assert (
        Bank(bar).read(0, 8) == 0 and Bank(Bar("b", 16, *(n / e for n, e in bar.entries.items()))).read(0, 8) == 0x2_0000_0001
    )


class TestState:
    def busy(self) -> Bank:
        bank = Bank(BAR)
        for offset, value in ((0x00, 0x12), (0x30, 9), (0x34, 1), (0x38, 7), (0x84, 3), (0x2004, 5)):
            bank.write(offset, 4, value)
        return bank

    def test_saved_is_loaded(self) -> None:
        state = json.loads(json.dumps(self.busy().save()))
        other = Bank(BAR)
        other.load(state)
        assert other.save() == state
        other.write(0x30, 4, 1)
        assert other.read(0x30, 4) == 9, "what was written once stays written"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"bar": "BAR1"}, "is of 'BAR1', not of 'BAR0'"),
            ({"size": 1}, "not of 'BAR0'"),
            ({"memory": "00"}, "holds 1 bytes, not 16384"),
            ({"memory": "zz"}, "is damaged"),
            ({"memory": None}, "is damaged"),
            ({"banked": {}}, "has other banks"),
            ({"banked": {"bank": [1, 2]}}, "has other banks"),
            ({"banked": {"bank": [1, 2, 1 << 32]}}, "has other banks"),
            ({"banked": 3}, "is damaged"),
            ({"spent": {"lock": "x"}}, "is damaged"),
        ],
    )
    def test_what_is_not_ours_changes_nothing(self, change: dict[str, Any], message: str) -> None:
        bank = self.busy()
        before = bank.save()
        with pytest.raises(StateError, match=message):
            bank.load({**Bank(BAR).save(), **change})
        assert bank.save() == before


def test_a_large_bar_costs_the_memory_that_is_used() -> None:
    """64 MiB with a register at either end and memory between."""

    def resident() -> int:
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    window = Window(0x1000, Bytes(0x2000), RW)
    bar, before = Bar("b", 1 << 26, "a" / Reg32(0, RW, reset=5), "w" / window, "z" / Reg32((1 << 26) - 4, RW)), resident()
    bank = Bank(bar)
    for at in (0, 0x2004, bar.size - 4):
        bank.write(at, 4, 0x12345678)
    assert [bank.read(at, 4) for at in (0, 0x1000, 0x2004, bar.size - 4)] == [0x12345678, 0, 0x12345678, 0x12345678]
    assert resident() - before < 1 << 23
    state = bank.save()
    bank.reset(ResetCause.BUS)
    assert [bank.read(at, 4) for at in (0, 0x2004, bar.size - 4)] == [5, 0, 0]
    bank.load(state)
    assert [bank.read(at, 4) for at in (0, 0x2004, bar.size - 4)] == [0x12345678] * 3
