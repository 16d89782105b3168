"""`regmodel conform` on a device that disappears or hangs in mid-test: one clear line, incomplete, status 3, no hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emulators.process import ServerProcess

pytestmark = pytest.mark.guest

BEGUN = 400
"""Writes to a region after which the suite is in the midst of its tests."""
DEADLINE = 45.0
"""Seconds after which a run on a device that hangs has ended: three accesses that nobody answers, at most 10 s each."""


@pytest.mark.parametrize("via", ["vfio-user:", "firmware:vfio-user:"], ids=["socket", "firmware"])
@pytest.mark.parametrize(("trouble", "limit"), [(signal.SIGKILL, 15.0), (signal.SIGSTOP, DEADLINE)], ids=["gone", "hangs"])
def test_a_device_in_trouble_is_incomplete(via: str, trouble: signal.Signals, limit: float, tmp_path: Path) -> None:
    with ServerProcess(["igbvf"]) as server:
        command = ["conform", "igbvf", "--via", f"{via}{server.sockets[0]}", "-q", "--json", str(tmp_path / "report.json")]
        with subprocess.Popen(
            [sys.executable, "-m", "regmodel.cli", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as run:
            try:
                until_begun(server)
                os.kill(server.pid, trouble)
                began = time.monotonic()
                said, errors = run.communicate(timeout=limit)
                print(f"ended {time.monotonic() - began:.1f} s later: {said}")
            finally:
                run.kill()
                if trouble is signal.SIGSTOP:
                    os.kill(server.pid, signal.SIGCONT)
    assert (run.returncode, errors) == (3, "")
    assert said.count("\n") == 1 and "INCOMPLETE" in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["stopped"] and said.endswith(f": {report['stopped']}\n") and not report["complete"]
    assert report["counts"]["pass"] > 50 and report["counts"]["incomplete"] and "fail" not in report["counts"]


def until_begun(server: ServerProcess) -> None:
    end = time.monotonic() + 20
    with server.control() as client:
        while client.ask("stats")["vf0"]["messages"].get("region_write", 0) < BEGUN:
            assert time.monotonic() < end, "the suite did not begin"
            time.sleep(0.02)
