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

from emulators.qemu import Lab, VfioUser
from emulators.qemu.vfio import bind
from tests.guest.stations import MACHINE
from tests.support.trouble import troubled, until_in_trouble

pytestmark = pytest.mark.guest

BEGUN = 400
"""The read of a register with which the suite is in the midst of its tests.

Nothing follows it before its answer: QEMU 11.1.3 would abort (``error_setv``: assertion) if a server died with messages unread.
"""
IN_A_GUEST = 2000
"""The same of a guest, which has read configuration space before."""
DEADLINE = 45.0
"""Seconds after which a run on a device that hangs has ended: three accesses that nobody answers, at most 10 s each."""


WAYS = {"socket": "vfio-user:", "firmware": "firmware:vfio-user:", "live": "firmware:live:vfio-user:"}


@pytest.mark.parametrize("via", list(WAYS.values()), ids=list(WAYS))
@pytest.mark.parametrize(("trouble", "limit"), [(signal.SIGKILL, 15.0), (signal.SIGSTOP, DEADLINE)], ids=["gone", "hangs"])
def test_a_device_in_trouble_is_incomplete(via: str, trouble: signal.Signals, limit: float, tmp_path: Path) -> None:
    with troubled(["igbvf"], trouble, "read", BEGUN) as server:
        command = ["conform", "igbvf", "--via", f"{via}{server.sockets[0]}", "-q", "--json", str(tmp_path / "report.json")]
        with subprocess.Popen(
            [sys.executable, "-m", "regmodel.cli", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as run:
            try:
                until_in_trouble(server, trouble)
                began = time.monotonic()
                said, errors = run.communicate(timeout=limit)
                print(f"ended {time.monotonic() - began:.1f} s later: {said}")
            finally:
                run.kill()
                if trouble is signal.SIGSTOP:
                    os.kill(server.pid, signal.SIGCONT)
    incomplete(run.returncode, said, errors, (tmp_path / "report.json").read_text())


def test_a_card_that_disappears_from_vfio(lab: Lab) -> None:
    """In a guest. Linux resets a function that is let go, and waits a minute for one that does not answer (pci.c
    ``pci_dev_wait``), unless it has been told that there is no way to reset it.
    """
    judge = "regmodel conform igbvf --via vfio:{} -q --json /tmp/report.json > /tmp/said 2> /tmp/errors; echo $? > /tmp/status"
    with troubled(["igbvf"], signal.SIGKILL, "read", IN_A_GUEST) as server, lab.vm(
        [VfioUser(str(server.sockets[0]))], **MACHINE  # type: ignore[arg-type]
    ) as vm:
        (function,) = vm.bdfs
        bind(vm, function)
        vm.run(f"setsid sh -c '{judge.format(function)}' > /dev/null 2>&1 &", check=True)
        until_in_trouble(server, signal.SIGKILL)
        told = f"echo > /sys/bus/pci/devices/{function}/reset_method"  # it comes too late at worst, and costs that minute
        vm.run(f"{told}; until [ -s /tmp/status ]; do sleep 0.1; done", timeout=120, check=True)
        status, said, errors, report = (vm.get(f"/tmp/{n}").decode() for n in ("status", "said", "errors", "report.json"))
    incomplete(int(status), said, errors, report)


def incomplete(status: int, said: str, errors: str, text: str) -> None:
    """One line says why the run was cut short; what it has judged stands."""
    assert (status, errors) == (3, "")
    assert said.count("\n") == 1 and "INCOMPLETE" in said
    report = json.loads(text)
    assert report["stopped"] and said.endswith(f": {report['stopped']}\n") and not report["complete"]
    assert report["counts"]["pass"] > 50 and report["counts"]["incomplete"] and "fail" not in report["counts"]
