"""A target that cannot be opened: every row is incomplete for that one reason, on file as well, and the exit status is 3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from drivers.conformance import judge_via
from regmodel.catalogue import devices, find
from regmodel.conformance.outcomes import Outcome
from regmodel.errors import UsageError


def conform(room: Path, via: str, *words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command, all three files asked for. ``path``: where it finds programs."""
    files = [word for form in ("json", "junit", "html") for word in (f"--{form}", str(room / form))]
    command = [sys.executable, "-m", "regmodel.cli", "conform", "igbvf", "--via", via, *files, *words]
    environment = os.environ | ({} if path is None else {"PATH": path})
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def assert_incomplete(room: Path, done: subprocess.CompletedProcess[str], why: str) -> None:
    """All that was written says so, and why."""
    assert done.returncode == 3 and not done.stderr, (done.returncode, done.stderr)
    (line,) = done.stdout.splitlines()
    assert "INCOMPLETE" in line and why in line
    told = json.loads((room / "json").read_text())
    assert why in told["stopped"] and len(told["rows"]) > 500
    assert {(row["outcome"], row["reason"]) for row in told["rows"]} == {("incomplete", told["stopped"])}
    suites = ElementTree.parse(room / "junit").getroot().findall("testsuite")
    assert suites and all(s.get("errors") == s.get("tests") and s.get("failures") == "0" for s in suites)
    assert why in (room / "html").read_text()


def a_simulator(room: Path, said: str) -> str:
    """The PATH of an iverilog that says this of itself."""
    for name in ("iverilog", "vvp"):
        program = room / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
    return str(room / "bin")


def test_nobody_at_the_socket(tmp_path: Path) -> None:
    done = conform(tmp_path, f"vfio-user:{tmp_path}/nobody", "--quiet")
    assert_incomplete(tmp_path, done, "there is no such socket: start the server")


def test_no_simulator(tmp_path: Path) -> None:
    done = conform(tmp_path, "rtl", "--quiet", path=str(tmp_path))
    assert_incomplete(tmp_path, done, "iverilog is not on the PATH; install Icarus Verilog 11 or later")


def test_a_simulator_that_is_too_old(tmp_path: Path) -> None:
    path = a_simulator(tmp_path, "Icarus Verilog version 10.3 (stable) (v10_3)")
    assert_incomplete(tmp_path, conform(tmp_path, "rtl", "--quiet", path=path), "Icarus Verilog 10.3; cocotb 2 needs 11.0")


def test_no_such_card(tmp_path: Path) -> None:
    done = conform(tmp_path, "vfio:ffff:ff:1f.7", "--quiet")
    assert_incomplete(tmp_path, done, "there is no PCI function ffff:ff:1f.7 here")


def test_the_table_says_so_in_one_line(tmp_path: Path) -> None:
    done = conform(tmp_path, f"vfio-user:{tmp_path}/nobody", "--test", "csr_rw")
    assert done.returncode == 3 and not done.stderr
    assert sum(line.startswith("stopped: ") for line in done.stdout.splitlines()) == 1
    told = json.loads((tmp_path / "json").read_text())
    assert {row["test"] for row in told["rows"]} == {"csr_rw"}


@pytest.mark.parametrize(
    ("via", "words", "why"),
    [
        ("nowhere", (), "nothing of that name can be judged"),
        ("vfio-user:", (), "write it as vfio-user:SOCKET"),
        ("vfio:nonsense", (), "vfio:nonsense: write the address as"),
        ("rtl", ("--physical",), "--physical: --via rtl takes no such option; leave it out"),
        ("firmware", ("--physical",), "--physical: --via firmware takes no such option; leave it out"),
        ("firmware:live:e1000e", ("--physical",), "--physical: --via firmware:live:e1000e takes no such option"),
        ("rtl", ("--neighbour", "inprocess"), "--neighbour inprocess: rtl takes no neighbour"),
    ],
)
def test_wrong_usage_is_none_of_it(tmp_path: Path, via: str, words: tuple[str, ...], why: str) -> None:
    done = conform(tmp_path, via, *words)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and not list(tmp_path.iterdir())
    assert why in done.stderr


@pytest.mark.parametrize("name", list(devices()))
def test_every_row_of_a_run_is_there(name: str) -> None:
    """What was not reached is at least what a run in this process has rows for."""
    here = {(row.test, row.register) for row in judge_via("inprocess", find(name), tests=["csr_rw", "csr_hw"]).rows}
    report = judge_via("vfio-user:/nowhere", find(name), tests=["csr_rw", "csr_hw"])
    assert here <= {(row.test, row.register) for row in report.rows}
    assert report.status == 3 and set(report.counts) == {Outcome.INCOMPLETE} and not report.passed


def test_a_simulator_that_goes_while_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends at once: whatever it is that opening raises, it is one line."""
    from emulators.rtl import tools

    def ends(*_: object, **__: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["true"])

    monkeypatch.setattr(tools, "start", ends)
    report = judge_via("rtl", find("igbvf"), tests=["csr_rw"])
    assert report.status == 3 and "ended" in report.stopped and "\n" not in report.stopped


def test_what_was_asked_wrongly_is_raised() -> None:
    with pytest.raises(UsageError, match="nothing of that name"):
        judge_via("nowhere", find("igbvf"))
