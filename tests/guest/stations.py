"""Stations (``station.py``) in guests and on the host, as context managers; and what a test sends them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from emulators.fabric.frames import mac_bytes
from emulators.qemu import VM

PROGRAM = Path(__file__).with_name("station.py")
MACHINE = {"modules": ["vfio-pci"], "viommu": True, "kits": ["python"]}
"""What a guest needs for a station; its devices are at ``vm.bdfs`` and still to be bound."""

_START = 150.0  # seconds under TCG, beside another guest
_END = 150.0  # more than a station takes to give up by itself


class GuestStation:
    """A station in a guest: ``with GuestStation(vm, f"vfio:{bdf}", "echo") as station``. ``mac`` is its address."""

    def __init__(self, vm: VM, via: str, mode: str, *options: str, user: int = 0) -> None:
        self.vm, self.mac = vm, b""
        self._out = f"/tmp/station-{mode}-{time.monotonic_ns()}"
        become = f"python3 -c 'import os, sys; os.setuid({user}); os.execvp(sys.argv[1], sys.argv[1:])' " if user else ""
        self.command = become + shlex.join(["python3", "/tmp/station.py", via, mode, *options])

    def __enter__(self) -> GuestStation:
        self.vm.put("/tmp/station.py", PROGRAM)
        self.vm.on_failure("station", lambda folder: (folder / "station.txt").write_text("".join(self._said())))
        self.vm.run(f"({self.command} > {self._out} 2> {self._out}.err; echo $? > {self._out}.status) &", check=True)
        self._wait(f"grep -q ready {self._out}", _START)
        ready = [line["ready"] for line in self._lines() if "ready" in line]
        assert ready, self._said()
        self.mac = mac_bytes(ready[0])
        return self

    def result(self, seconds: float = _END) -> dict[str, Any]:
        """What came of it, when it has ended by itself."""
        self._wait(f"[ -s {self._out}.status ]", seconds)
        assert self.vm.run(f"cat {self._out}.status").text == "0", self._said()
        return next(line for line in reversed(self._lines()) if "sha256" in line)

    def findings(self) -> list[dict[str, str]]:
        """How two devices in lock-step differed."""
        return [line for line in self._lines() if "phase" in line]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self.vm.run(f"[ -s {self._out}.status ]").status:
            raise AssertionError("the station was not asked for its result")

    def _wait(self, true: str, seconds: float) -> None:
        """Until a condition of the guest's shell is true, or the station has ended, in one request."""
        over = f"[ -s {self._out}.status ] || [ $n -ge {round(seconds * 10)} ]"
        self.vm.run(f"n=0; until {true} || {over}; do usleep 100000; n=$((n+1)); done", timeout=seconds + 30, check=True)

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.vm.get(self._out).decode().splitlines()]

    def _said(self) -> list[str]:
        return [self.vm.get(self._out).decode(), self.vm.get(f"{self._out}.err").decode()]


class HostStation:
    """A station on the host, in a process of its own."""

    def __init__(self, via: str, mode: str, *options: str) -> None:
        self.mac = b""
        self.command = [sys.executable, str(PROGRAM), via, mode, *options]

    def __enter__(self) -> HostStation:
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self._errors, text=True)
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        assert first, self._said()
        self.mac = mac_bytes(json.loads(first)["ready"])
        return self

    def result(self, seconds: float = _END) -> dict[str, Any]:
        """What came of it, when it has ended by itself."""
        assert self._process.stdout is not None
        assert self._process.wait(seconds) == 0, self._said()
        last: dict[str, Any] = json.loads(self._process.stdout.read().splitlines()[-1])
        return last

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _said(self) -> str:
        self._process.wait(5)
        self._errors.seek(0)
        return self._errors.read()


def echoed(frame: bytes, station: bytes) -> bytes:
    """What ``echo`` makes of a frame to ``station``."""
    return frame[6:12] + station + frame[12:14] + frame[:13:-1]
