"""Each way in which a description can contradict itself is found when it is read, and named: what, where, in which line.

One function per diagnostic. The declaration at fault ends in ``# <-``; the message must point to that very line.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
from construct import Array, Bytes, GreedyBytes, Int16ub, Int16ul, Int32ul, Struct

import regmodel
from regmodel.access import CONST, RC, RSVD, RW, RWO, W1C, Access, declaring_line
from regmodel.bits import Bits, F
from regmodel.catalogue import Description, Mailbox, Message, Ring, find
from regmodel.conduct import Conduct, Effect, Excluded, Held, Interrupts, Same, Touched, Traffic
from regmodel.errors import DescriptionError
from regmodel.function import ResetCause
from regmodel.handshakes import Handshake, Step
from regmodel.keys import DECIMAL, Key, Keys
from regmodel.layout import layout
from regmodel.registers import Alias32, Bar, Doorbell32, Each, Reg8, Reg16, Reg32, Register, Window
from tests.regmodel import test_locks
from tests.support.contradictions import Case, gathering

CASES: list[Case] = []
diagnoses = gathering(CASES)


# -- fields ----------------------------------------------------------------------------------------------------------------


@diagnoses("field-range", "register@0x10.x")
def beyond_the_word() -> object:
    return Reg32(
        0x10,
        "x" / RW[32:0],  # <-
    )


@diagnoses("field-range", "bits.x")
def least_significant_first() -> object:
    return Bits(
        Int16ul,
        "x" / F[0:15],  # <-
    )


@diagnoses("field-overlap", "register@0x10.y")
def overlapping_fields() -> object:
    return Reg32(
        0x10,
        "x" / RW[7:0],
        "y" / RW[8:7],  # <-
        RSVD[...],
    )


@diagnoses("field-duplicate", "register@0x10.x")
def same_field_twice() -> object:
    return Reg32(
        0x10,
        "x" / RW[7:0],
        "x" / RW[15:8],  # <-
        RSVD[...],
    )


@diagnoses("field-gap", "register@0x10")
def forgotten_bits() -> object:
    return Reg16(0x10, "x" / RW[7:0], "y" / RW[15])  # <-


@diagnoses("field-rest", "register@0x10")
def two_rests() -> object:
    return Reg32(
        0x10,
        RSVD[...],
        RSVD[...],  # <-
    )


@diagnoses("field-value", "register@0x10.x")
def value_too_large() -> object:
    return Reg32(
        0x10,
        "x" / RW[1:0](HUGE=4),  # <-
        RSVD[...],
    )


@diagnoses("field-name", "register@0x10")
def nameless_field() -> object:
    return Reg32(
        0x10,
        RW[1:0],  # <-
        RSVD[...],
    )


@diagnoses("reserved-named", "register@0x10.x")
def named_reserved() -> object:
    return Reg32(
        0x10,
        "x" / RSVD[1:0],  # <-
        RSVD[...],
    )


# -- registers -------------------------------------------------------------------------------------------------------------


@diagnoses("register-what", "register@0x10")
def access_and_fields() -> object:
    return Reg32(0x10, RW, "x" / W1C[0])  # <-


@diagnoses("register-what", "register@0x10")
def nothing_at_all() -> object:
    return Reg32(0x10)  # <-


@diagnoses("register-what", "register@0x10")
def two_accesses() -> object:
    return Reg32(Each(0x10, 4, 2), RW, CONST)  # <-


@diagnoses("register-what", "register@0x10")
def a_doc_string_out_of_place() -> object:
    return Reg32(0x10, RW, "interrupt cause")  # type: ignore[arg-type]  # <-


# -- register files --------------------------------------------------------------------------------------------------------


@diagnoses("entry-name", "BAR0+0x10")
def nameless_register() -> object:
    return Bar(
        "BAR0",
        0x100,
        Reg32(0x10, RW),  # <-
    )


@diagnoses("entry-kind", "BAR0.x")
def no_register() -> object:
    return Bar("BAR0", 0x100, "x" / Int32ul)  # <-


@diagnoses("entry-duplicate", "BAR0.x")
def same_register_twice() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0x10, RW),
        "x" / Reg32(0x14, RW),  # <-
    )


@diagnoses("entry-outside", "BAR0.x[2]")
def beyond_the_bar() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(Each(0xF8, 4, 3), RW),  # <-
    )


@diagnoses("entry-misaligned", "BAR0.x")
def misaligned() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0x12, RW),  # <-
    )


@diagnoses("entry-overlap", "BAR0.y")
def overlapping_registers() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Window(0x10, Array(4, Int32ul), RW),
        "y" / Reg8(0x1C, RW),  # <-
    )


@diagnoses("array-stride", "BAR0.x")
def overlapping_elements() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(Each(0, 2, 3), RW),  # <-
    )


@diagnoses("array-empty", "BAR0.x")
def no_elements() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(Each(0, 4, 0), RW),  # <-
    )


@diagnoses("window-access", "BAR0.x")
def memory_that_reading_clears() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Window(0, Bytes(16), RC),  # <-
    )


@diagnoses("alias-target", "BAR0.x")
def alias_of_nothing() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Alias32(0, "y", RW),  # <-
    )


@diagnoses("alias-target", "BAR0.x")
def alias_of_an_event() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Alias32(0, "y", RW),  # <-
        "y" / Doorbell32(4, RW),
    )


@diagnoses("alias-target", "BAR0.x")
def alias_of_another_length() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Alias32(0, "y", RW),  # <-
        "y" / Reg32(Each(4, 4, 2), RW),
    )


@diagnoses("bank-select", "BAR0.x")
def banked_by_nothing() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0, RW, banked_by=("y", 2)),  # <-
    )


@diagnoses("bank-select", "BAR0.x")
def banked_by_an_array() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0, RW, banked_by=("y", 2)),  # <-
        "y" / Reg32(Each(4, 4, 2), RW),
    )


@diagnoses("bank-select", "BAR0.x")
def bank_of_none() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0, RW, banked_by=("y", 0)),  # <-
        "y" / Reg32(4, RW),
    )


@diagnoses("once-shared", "BAR0.x")
def write_once_in_a_bank() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0, RWO, banked_by=("y", 2)),  # <-
        "y" / Reg32(4, RW),
    )


@diagnoses("reset-value", "BAR0.x")
def reset_too_large() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg8(0, RW, reset={ResetCause.FLR: 0x100}),  # <-
    )


@diagnoses("reset-value", "BAR0.x")
def reset_of_a_doorbell() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Doorbell32(0, RW, reset=1),  # <-
    )


# -- layouts, keys, descriptions -------------------------------------------------------------------------------------------


@diagnoses("not-fixed", "b")
def no_fixed_size() -> object:
    return layout(Struct("a" / Int32ul, "b" / GreedyBytes))  # <-


@diagnoses("mixed-endian", "a")
def both_byte_orders() -> object:
    return layout(Struct("a" / Int16ul, "b" / Int16ub)).struct  # <-


@diagnoses("key-name", "/dir/x")
def nameless_key() -> object:
    return Keys(
        "/dir",
        Key("x", DECIMAL),  # <-
    )


@diagnoses("key-duplicate", "/dir/y")
def same_key_twice() -> object:
    return Keys(
        "/dir",
        "x" / Key("x", DECIMAL),
        "x" / Key("y", DECIMAL),  # <-
    )


@diagnoses("key-place", "/{n}/x_{n}")
def same_place_twice() -> object:
    return Keys(
        "/{n}",
        "x" / Key("x_{n}", DECIMAL),  # <-
    )


@diagnoses("key-clash", "/dir/x_{m}")
def two_keys_of_one_path() -> object:
    return Keys(
        "/dir",
        "x" / Key("x_{n}", DECIMAL),
        "y" / Key("x_{m}", DECIMAL),  # <-
    )


@diagnoses("schema-duplicate", "d.x")
def two_layouts_of_one_name() -> object:
    box = Mailbox("box", "", messages=(Message("x", 1, "VF", "PF", Struct("a" / Int32ul), "", ()),))
    return Description(name="d", title="", doc="", mailboxes=(box,), structures={"x": Struct("b" / Int32ul)})  # <-


@diagnoses("place-unknown", "d.ring")
def ring_without_registers() -> object:
    ring = Ring("ring", "", ("bal", "bah"), "len", "h", "t", "ctl", ())
    return Description(name="d", title="", doc="", rings=(ring,))  # <-


@diagnoses("place-unknown", "d.box")
def mailbox_without_memory() -> object:
    return Description(name="d", title="", doc="", mailboxes=(Mailbox("box", "", memory="vmbmem"),))  # <-


@diagnoses("handshake-unknown", "d.y")
def handshake_that_names_nothing() -> object:
    start = Handshake("start", "", ("driver", "device"), (Step("driver", "device", "go", ("x.go", "y")),))
    bars = {0: Bar("b", 16, "x" / Reg32(0, RW))}
    return Description(name="d", title="", doc="", bars=bars, handshakes=(start,))  # <-


def _doing(conduct: Conduct) -> Description:
    bars = {0: Bar("b", 16, "x" / Reg32(0, "go" / RW[0], RSVD[...]), "y" / Reg32(Each(4, 4, 2), RW))}
    return Description(name="d", title="", doc="", bars=bars, conduct=conduct)


@diagnoses("conduct-unknown", "d.x.og")
def effect_of_no_field() -> object:
    return _doing(Conduct(effects=(Effect("x.og", "it resets", ResetCause.SOFTWARE),)))  # <-


@diagnoses("conduct-unknown", "d.z")
def effect_on_no_register() -> object:
    return _doing(Conduct(effects=(Effect("x.go", "it goes", changes=("y", "z")),)))  # <-


@diagnoses("conduct-unknown", "d.x.og")
def held_that_is_no_field() -> object:
    return _doing(Conduct(held=(Held("x.og", "it would go"),)))  # <-


@diagnoses("conduct-unknown", "d.z")
def same_as_no_register() -> object:
    return _doing(Conduct(same=(Same(("x", "z"), "they are"),)))  # <-


@diagnoses("conduct-unknown", "d.y[2]")
def touched_element_that_is_not_there() -> object:
    return _doing(Conduct(touched=(Touched("y[2]", "the host does", (ResetCause.POWER_ON,)),)))  # <-


@diagnoses("conduct-unknown", "d.z")
def quiet_that_is_nothing() -> object:
    return _doing(Conduct(quiet=("x", "x.go", "y[1]", "z")))  # <-


@diagnoses("conduct-unknown", "d.x.og")
def free_running_that_is_nothing() -> object:
    return _doing(Conduct(free_running=("x.og",)))  # <-


@diagnoses("conduct-unknown", "d.x.go")
def excluded_field_of_a_register() -> object:
    return _doing(Conduct(excluded=(Excluded("csr_rw", "x.go", "it would go"),)))  # <-


@diagnoses("conduct-unknown", "d.z.go")
def interrupts_without_a_mask() -> object:
    block = Interrupts(
        field="go", cause="x", set_cause="x", mask="z", mask_clear="x", auto_clear="x", auto_mask="x", throttle="x",
        interval="go", unit=1e-6,
    )  # fmt: skip
    return _doing(Conduct(interrupts=block))  # <-


@diagnoses("conduct-unknown", "d.x.og")
def traffic_that_nothing_enables() -> object:
    way = Traffic(ring="tx", enable="x.og", setup={"x.go": 0}, format="f", constant={}, address="a")
    return _doing(Conduct(traffic=(way,)))  # <-


def test_what_a_conduct_may_have_meant() -> None:
    with pytest.raises(DescriptionError, match=r"d\.x\.og: named in held, but .* has it; did you mean x\.go\? \["):
        _doing(Conduct(held=(Held("x.og", "it would go"),)))
    with pytest.raises(DescriptionError, match=r"igbvf\.rxdctl\.enabel: .* did you mean rxdctl\.enable\?"):
        replace(find("igbvf"), conduct=Conduct(held=(Held("rxdctl.enabel", "the queue would run"),)))
    described = replace(find("igbvf"), conduct=Conduct(held=(Held("command.bus_master", "of configuration space"),)))
    assert described.conduct.held


@diagnoses("why-missing", "x.go")
def held_without_a_reason() -> object:
    return Held("x.go", " ")  # <-


# -- the tests -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_message_names_path_and_line(case: Case) -> None:
    case.check()


def test_every_diagnostic_has_a_test() -> None:
    """Of the language here; of the rooms above it, in a test of theirs."""
    raised: dict[str, Path] = {}
    for file in sorted(Path(regmodel.__file__).parents[1].glob("regmodel/**/*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("DescriptionError", "contradiction"):
                argument = node.args[0]
                if isinstance(argument, ast.Constant):
                    raised[str(argument.value)] = file
    above = {name for name, file in raised.items() if file.stem in ("pci", "capabilities") or "export" in file.parts}
    language = raised.keys() - above
    assert language == {case.code for case in (*CASES, *test_locks.CASES)}
    tests = "".join(file.read_text() for file in Path(__file__).parents[1].rglob("test_*.py"))
    assert [code for code in raised if f'"{code}"' not in tests] == []


def test_docstrings_list_what_is_raised() -> None:
    from regmodel import bits, catalogue, keys, locks, registers

    for module in (bits, registers, locks, keys, catalogue):
        source = inspect.getsource(module)
        codes = {
            str(node.args[0].value)
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DescriptionError"
            if isinstance(node.args[0], ast.Constant)
        }
        assert codes and [code for code in codes if f"``{code}``" not in source] == [], module.__name__


class TestWords:
    """Bit fields: numbered from the least significant bit, whatever the word's byte order."""

    WORD = Bits(Int32ul, "low" / F[3:0], "mid" / F[15:4](ONE=1, TWO=2), "top" / F[31], RSVD[...])

    def test_fields_are_numbered_as_datasheets_number_them(self) -> None:
        parsed = self.WORD.parse((0x8000_4321).to_bytes(4, "little"))
        assert (parsed.low, parsed.mid, parsed.top) == (0x1, 0x432, 1)

    def test_a_value_may_have_any_name(self) -> None:
        word = Bits(Int32ul, "mode" / F[1:0](self=1, name=2, doc=3), RSVD[...])
        assert word.build({"mode": "self"}) == bytes([1, 0, 0, 0])

    def test_building_takes_numbers_names_and_absence(self) -> None:
        assert self.WORD.build({"mid": "TWO", "top": 1}) == (0x8000_0020).to_bytes(4, "little")
        assert self.WORD.build(0x12345678) == (0x12345678).to_bytes(4, "little")

    @pytest.mark.parametrize(
        ("value", "message"),
        [({"mid": 0x1000}, "does not fit"), ({"nosuch": 1}, "no field"), ({"mid": "SIX"}, "no value named")],
    )
    def test_what_cannot_be_built_says_why(self, value: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            self.WORD.build(value)

    def test_a_field_put_into_a_word_leaves_the_others(self) -> None:
        field = self.WORD.named["mid"]
        assert field.into(0xFFFF_FFFF, 0) == 0xFFFF_000F and field.of(0xFFFF_0010) == 0xF001 & 0xFFF
        assert (field.msb, field.range, field.number("ONE")) == (15, "[15:4]", 1)


class TestRegisters:
    def test_a_register_is_the_word_it_is(self) -> None:
        register = Reg32(0, "x" / RW[7:0], RSVD[...])
        assert register.parse(b"\x12\0\0\0").x == 0x12 and register.build({"x": 0x12}) == b"\x12\0\0\0"
        assert register.compile().parse(b"\x12\0\0\0").x == 0x12

    def test_a_register_of_one_access_is_a_number(self) -> None:
        assert Reg16(0, RW).parse(b"\x34\x12") == 0x1234 and Reg16(0, RW).sole

    def test_a_bar_parses_to_all_of_its_registers(self) -> None:
        bar = Bar("b", 16, "a" / Reg32(0, RW), "c" / Reg16(Each(4, 4, 2), "x" / RW[15:0]))
        parsed = bar.parse(bytes(range(16)))
        assert parsed.a == 0x03020100 and [element.x for element in parsed.c] == [0x0504, 0x0908]
        assert bar.build({"a": 1, "c": [{"x": 2}, {"x": 3}]}) == bytes.fromhex("01000000 02000000 03000000 00000000")

    def test_resets_fall_back_to_power_on(self) -> None:
        register = Reg32(0, RW, reset={ResetCause.POWER_ON: 1, ResetCause.FLR: 2})
        assert [register.reset_value(cause) for cause in ResetCause] == [1, 1, 2, 1]
        assert Reg32(0, RW, reset=7).reset_value(ResetCause.BUS) == 7

    def test_shared_singletons_of_construct_stay_clean(self) -> None:
        Bar("b", 16, "a" / Reg32(0, RW), "w" / Window(4, Array(2, Int32ul), RW))
        assert vars(Int32ul).keys() == {"docs", "flagbuildnone", "fmtstr", "length", "name", "parsed"}

    def test_accesses_are_masks(self) -> None:
        register = Reg32(0, "x" / W1C[3:0], "y" / RW[8], RSVD[...])
        assert register.mask(W1C) == 0xF and register.mask(W1C, RW) == 0x10F and register.side_effects

    def test_volatile_is_the_same_access_that_hardware_may_change(self) -> None:
        volatile: Access = RW.volatile
        assert volatile.hardware and not RW.hardware and volatile.onwrite is RW.onwrite

    def test_the_declaring_line_is_the_callers(self) -> None:
        frame = inspect.currentframe()
        assert frame is not None
        assert declaring_line() == f"{__file__}:{frame.f_lineno}"
        assert isinstance(Reg32(0, RW), Register)
