"""Corners of a simulated register block, each by itself: what comes first, what hardware is told, and what goes wrong."""

from __future__ import annotations

import os
import signal
import stat
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from construct import Array, Int32ul

from drivers.conformance import judge_via
from emulators.rtl import tools
from emulators.rtl.hardware import Told
from emulators.rtl.mutants import mutants
from emulators.rtl.simulation import Simulation
from emulators.rtl.target import RtlTarget
from emulators.rtl.tools import SimulationGone, SimulatorError
from regmodel.access import RCW1C, RO, RSVD, RW, W1P
from regmodel.catalogue import Description, find
from regmodel.conduct import Conduct, Effect
from regmodel.conformance import accesses as do
from regmodel.conformance.accesses import ConformanceError
from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.suite import REGISTER_TESTS, TESTS, judge, select
from regmodel.errors import UsageError
from regmodel.export.verilog import RegisterBlock, block
from regmodel.function import ResetCause
from regmodel.registers import Bar, Doorbell32, Each, Pair32, Reg32, Window
from tests.support.every_kind import DESCRIPTION as EVERY_KIND

BAR = Bar(
    "bar0",
    0x80,
    "icr" / Reg32(0x00, "cause" / RCW1C[7:0], RSVD[...]),
    "status" / Reg32(0x04, "up" / RO[0], "count" / RW.volatile[15:8], RSVD[...], reset=0x100),
    "ctrl" / Reg32(0x08, "rst" / W1P[0], "go" / RW[1], RSVD[...]),
    *Pair32("low", 0x10, "high", 0x14, "v" / RW[31:0]),
    "bell" / Doorbell32(Each(0x20, 4, 3), "n" / RW[31:0]),
    "memory" / Window(0x40, Array(4, Int32ul), RW),
)
BLOCK = RegisterBlock(BAR, "dut")
DEVICE = Description(
    name="dut",
    title="",
    doc="",
    bars={0: BAR},
    conduct=Conduct(effects=(Effect("ctrl.rst", "resets", ResetCause.SOFTWARE),)),
)


@pytest.fixture(scope="module")
def running() -> Simulation:
    with Simulation(BLOCK) as simulation:
        yield simulation


@pytest.fixture
def rtl(running: Simulation) -> Simulation:
    running.reset(ResetCause.POWER_ON)
    running.told()
    return running


# -- ties ------------------------------------------------------------------------------------------------------------------


def test_a_cause_that_comes_while_causes_are_read_stays(rtl: Simulation) -> None:
    rtl.events("icr", sets=0x01)
    assert rtl.read(0x00, 4, during={"hw_icr__cause__set": 0x81}) == 0x01
    assert rtl.read(0x00, 4) == 0x81
    assert rtl.read(0x00, 4) == 0


def test_a_cause_that_comes_while_it_is_written_clear_stays(rtl: Simulation) -> None:
    rtl.events("icr", sets=0x03)
    rtl.write(0x00, 4, 0x03, during={"hw_icr__cause__set": 0x02})
    assert rtl.read(0x00, 4) == 0x02


def test_an_event_wins_over_its_own_clearing(rtl: Simulation) -> None:
    rtl.events("icr", sets=0x0F, clears=0x3C)
    assert rtl.value("icr") == 0x0F


def test_where_both_store_software_wins(rtl: Simulation) -> None:
    rtl.write(0x04, 4, 0x2200, during={"hw_status__count__next": 0x33, "hw_status__count__we": 1})
    assert rtl.read(0x04, 4) == 0x2200
    assert rtl.read(0x04, 4, during={"hw_status__count__next": 0x33, "hw_status__count__we": 1}) == 0x2200
    assert rtl.read(0x04, 4) == 0x3300


def test_a_reset_is_last_of_all(rtl: Simulation) -> None:
    rtl.write(0x04, 4, 0x5500, during={"rst_flr": 1, "hw_status__count__next": 0x33, "hw_status__count__we": 1})
    assert rtl.read(0x04, 4) == 0x100


# -- the hardware side -----------------------------------------------------------------------------------------------------


def test_hardware_is_told_for_one_clock(rtl: Simulation) -> None:
    rtl.write(0x24, 4, 0xCAFE)
    rtl.write(0x08, 4, 0x3)
    assert rtl.read(0x00, 4) == 0
    assert sorted(rtl.told(), key=str) == [
        Told("data", "bell", "", 1, 0xCAFE),
        Told("pulse", "ctrl", "rst", 0, 1),
        Told("read", "icr", "", 0, 1),
        Told("written", "bell", "", 1, 1),
        Told("written", "ctrl", "", 0, 1),
    ]
    rtl.read(0x04, 4)
    assert rtl.told() == []


def test_a_pair_takes_effect_by_its_high_half(rtl: Simulation) -> None:
    def committed() -> int:
        return rtl.signals(["hw_low__high__committed"])[0]

    rtl.write(0x10, 4, 0x1111_1111)
    assert committed() == 0
    assert rtl.told() == []
    rtl.write(0x14, 4, 0x2222_2222)
    assert committed() == 0x2222_2222_1111_1111
    assert rtl.told() == [Told("written", "high", "", 0, 1)]
    rtl.write(0x10, 8, 0x4444_4444_3333_3333)
    assert committed() == 0x4444_4444_3333_3333
    rtl.write(0x10, 4, 5)
    rtl.reset(ResetCause.BUS)
    assert committed() == 0


def test_a_window_has_two_sides(rtl: Simulation) -> None:
    rtl.write(0x45, 1, 0xAB)
    assert rtl.value("bar0.memory[1]") == 0xAB00
    rtl.store("bar0.memory[1]", 0x1122_3344, 0xFFFF_0000)
    assert rtl.read(0x44, 4) == 0x1122_AB00
    rtl.reset(ResetCause.SOFTWARE)
    assert rtl.value("memory[1]") == 0


def test_hardware_stores_parts_of_fields(rtl: Simulation) -> None:
    rtl.store("status", 0xFFFF_FFFF, 0x0301)
    assert rtl.value("status") == 0x0301
    rtl.store("icr", 0xFF, 0x0F)
    rtl.store("icr", 0x00, 0x03)
    assert rtl.value("icr") == 0x0C


def test_hardware_cannot_change_what_is_software_s(rtl: Simulation) -> None:
    with pytest.raises(ConformanceError, match=r"ctrl\.go: hardware cannot change it \(RW\)"):
        rtl.store("ctrl", 2, 2)
    with pytest.raises(ConformanceError, match=r"status\.up: its bits are no events \(RO\)"):
        rtl.events("status", sets=1)
    with pytest.raises(ConformanceError, match="dut stores nothing called bell"):
        rtl.value("bell")


# -- inside of the simulator -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "name"), [("awaited", "channels"), ("awaited_suite", "suite")])
def test_awaited_by_a_cocotb_test(tmp_path: Path, module: str, name: str) -> None:
    """Both channels at once under back pressure; and the whole suite, on the bus."""
    source = tmp_path / "dut.v"
    source.write_text(BLOCK.text)
    program = tools.compile_verilog(source, "dut")
    log = tmp_path / "log"
    assert tools.start(program, "dut", f"tests.emulators.rtl.{module}", log).wait(60) == 0
    results = log.with_suffix(".xml").read_text()
    assert f'name="{name}"' in results, log.read_text()
    assert "<failure" not in results, log.read_text()


# -- the suite's target ----------------------------------------------------------------------------------------------------


def test_a_pulse_that_resets_comes_back_as_a_reset() -> None:
    with RtlTarget(DEVICE) as target:
        target.perform(do.Drive("bar0.status", 0x1, 0x1))
        target.perform(do.Write(0, 0x08, 4, 2))
        assert target.perform(do.Observe("bar0.ctrl")) == 2
        target.perform(do.Write(0, 0x08, 4, 3))
        assert target.perform(do.Read(0, 0x08, 4)) == 0
        assert target.perform(do.Observe("bar0.status")) == 0x100
        assert target.perform(do.Wait(1)) == 0
        with pytest.raises(ConformanceError, match="a register block has no part in this: read config"):
            target.perform(do.ConfigRead(0, 4))
        with pytest.raises(UsageError, match="BAR 4 of dut is not simulated"):
            target.perform(do.Read(4, 0, 4))
        with pytest.raises(UsageError, match=r"config\.command: not in a BAR"):
            target.perform(do.Observe("config.command"))


def problems(report: Report) -> list[str]:
    wrong = (row for row in report.rows if row.outcome in (Outcome.FAIL, Outcome.INCOMPLETE))
    return [f"{row.test} {row.register}: {row.reason}" for row in wrong]


@pytest.mark.parametrize("name", ["igbvf", "igbvf-i350"])
def test_a_device_of_ours_passes_the_suite_as_rtl(name: str) -> None:
    """All tests of registers, and only what a register block has no part in, or igbvf has not, is left out, with the reason."""
    report = judge_via("rtl", find(name))
    print(report.summary)
    assert problems(report) == [] and report.passed
    passed = {row.test for row in report.rows if row.outcome is Outcome.PASS}
    assert {t.name for t in REGISTER_TESTS} - passed == {"capability_walk", "bar_sizing", "config_enables", "config_flr"}
    left_out = {row.reason for row in report.rows if row.outcome is Outcome.NOT_APPLICABLE}
    assert left_out == {
        "the target has no configuration space", "the target delivers no interrupts", "no PF driver is behind the mailbox",
        "the PF of this target cannot be told to reset", "an access of it takes more than one clock",
        "no queue is given a vector without an interrupt block",
    }  # fmt: skip


@pytest.mark.alone
def test_from_verilog_to_verdict_in_time() -> None:
    began = time.monotonic()
    report = judge_via("rtl", find("igbvf"))
    assert report.passed and time.monotonic() - began < 60


def test_every_kind_of_register_passes_the_suite_as_rtl() -> None:
    """Under both policies; what is left to the random accesses of ``test_simulation`` takes longest."""
    tests = [t for t in REGISTER_TESTS if t.name not in ("csr_bit_bash", "csr_aliasing", "csr_access_width", "csr_reserved")]
    with RtlTarget(EVERY_KIND) as target:
        report = do.run(judge(EVERY_KIND, target.abilities, tests=tests), target)
    print(report.summary)
    assert problems(report) == [] and report.passed


def test_the_suite_fails_on_a_mutant() -> None:
    device = find("igbvf")
    wrong = next(m for m in mutants(block(device, 0)) if (m.kind, m.register) == ("read-keeps", "eicr"))
    with RtlTarget(device, only=frozenset({0}), mutate={0: wrong}) as target:
        report = do.run(judge(device, target.abilities, target="rtl", tests=select(TESTS, ["csr_side"])), target)
    assert {row.register for row in report.rows if row.findings} == {"bar0.eicr", "bar0.eics"}


# -- what goes wrong -------------------------------------------------------------------------------------------------------


def test_no_simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SimulatorError, match=r"iverilog is not on the PATH; install Icarus Verilog 11 or later") as error:
        Simulation(BLOCK)
    assert "\n" not in str(error.value)
    assert error.value.status == 3


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("Icarus Verilog version 10.3 (stable) ()", r"iverilog is Icarus Verilog 10\.3; cocotb 2 needs 11\.0 or later"),
        ("hello", "iverilog does not say that it is Icarus Verilog"),
    ],
)
def test_a_simulator_that_will_not_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: str, error: str) -> None:
    for name in ("iverilog", "vvp"):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\necho '{says}'\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(SimulatorError, match=error):
        Simulation(BLOCK)


def test_packages_that_will_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(tools, "version", lambda name: "1.9.2")
    with pytest.raises(SimulatorError, match=r"cocotb is 1\.9\.2; pip install 'cocotb>=2\.1'"):
        tools.check()
    monkeypatch.setattr(tools, "version", missing)
    with pytest.raises(SimulatorError, match=r"cocotb is not installed; pip install 'cocotb>=2\.1'"):
        tools.check()


def test_verilog_that_the_simulator_refuses(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match=r"iverilog refuses .*dut\.v: .*syntax error") as error:
        Simulation(BLOCK, text="module dut (;", room=tmp_path)
    assert "\n" not in str(error.value)


def test_a_block_that_hangs_is_left_to_go_on() -> None:
    hung = BLOCK.text.replace("wire read_now = read_ready &", "wire read_now = read_ready & (ar_word != 1) &")
    assert hung != BLOCK.text
    with Simulation(BLOCK, text=hung) as rtl:
        with pytest.raises(ConformanceError, match="simulation of dut: no answer within 1000 clocks"):
            rtl.read(0x04, 4)
        rtl.reset(ResetCause.POWER_ON)
        assert rtl.read(0x08, 4) == 0


def test_a_simulation_that_ends() -> None:
    with Simulation(BLOCK) as rtl:
        assert rtl._process is not None
        os.kill(rtl._process.pid, signal.SIGKILL)
        with pytest.raises(SimulationGone, match="the simulation of dut ended; its log says: "):
            rtl.read(0x04, 4)


def test_a_simulation_that_stands_still() -> None:
    with Simulation(BLOCK) as rtl:
        assert rtl._process is not None
        rtl._link.settimeout(0.5)  # instead of a minute
        os.kill(rtl._process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(SimulationGone, match="the simulation of dut does not answer"):
                rtl.read(0x04, 4)
        finally:
            os.kill(rtl._process.pid, signal.SIGCONT)


def test_unknown_bits_are_named() -> None:
    vague = BLOCK.text.replace("next_icr = 32'h0;", "next_icr = 32'hx;")
    assert vague != BLOCK.text
    with Simulation(BLOCK, text=vague) as rtl, pytest.raises(ConformanceError, match=r"r_icr is X+$"):
        rtl.value("icr")
