"""A ``regmodel serve`` in a process of its own: for the commands that boot guests, the demo, tests and benchmarks.

A server belongs in a process of its own because its port wants a core, and because what drives a guest waits. It does not
outlive the process that started it, however that ends: its standard input is a pipe whose other end is held here, and
the kernel closes that one when this process can not.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from emulators.control.client import ControlClient
from regmodel.errors import RegmodelError

READY = "# watch it"
START_TIMEOUT = 60.0
"""Seconds until it listens; when it takes over from another one, drivers have to let go before."""

_begun: list[ServerProcess] = []


def begun() -> list[ServerProcess]:
    """The servers that this process has begun and has not stopped, in this order; some may have ended by themselves."""
    return list(_begun)


class ServerProcess:
    """``with ServerProcess(["igbvf", "igbvf"]) as server:`` serves two VFs of one port at ``server.sockets``.

    ``nets`` one per port; ``arguments`` are more words for ``regmodel serve``. Its standard error is kept in ``server.log``.
    Raises ``RegmodelError`` with the server's own one line when it does not start.
    """

    def __init__(
        self,
        devices: Sequence[str],
        *,
        nets: Sequence[str] = (),
        ports: int = 1,
        options: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="regmodel-serve-"))
        self.devices = list(devices)
        self.sockets = [self.folder / f"vf{i}.sock" for i in range(len(devices))]
        self.control_path = self.folder / "control.ctl"
        self.log = self.folder / "server.log"
        self.command = [sys.executable, "-m", "regmodel.cli", "serve", *devices]
        for path in self.sockets:
            self.command += ["--socket", str(path)]
        for net in nets:
            self.command += ["--net", net]
        for name, value in (options or {}).items():
            self.command += ["--option", f"{name}={value}"]
        self.command += ["--ports", str(ports), "--control", str(self.control_path), "--attended", *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> ServerProcess:
        """Start it and wait until it listens."""
        self.begin()
        return self.ready()

    def begin(self) -> None:
        """Start it: who has something else to do meanwhile calls ``ready`` later."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        _begun.append(self)

    def ready(self) -> ServerProcess:
        """Wait until it listens."""
        assert self._process is not None
        said, deadline = b"", time.monotonic() + START_TIMEOUT
        stdout = self._process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while READY.encode() not in said:
                chunk = os.read(stdout.fileno(), 65536) if selector.select(deadline - time.monotonic()) else b""
                if not chunk:
                    self.stop(keep=True)
                    lines = self.log.read_text(errors="replace").strip().splitlines()
                    raise RegmodelError((lines or ["the server did not start"])[-1].removeprefix("regmodel: "))
                said += chunk
        return self

    def control(self) -> ControlClient:
        """A new connection to its control socket."""
        return ControlClient(self.control_path)

    def save_evidence(self, folder: Path) -> None:
        """Put what it knows into a failure folder: log, counters, and the last accesses of each function, decoded.

        Of one that has ended that is its log. Raises ``RegmodelError`` when no more can be known for another reason.
        """
        import json

        from emulators.control.decoder import Decoder
        from emulators.control.protocol import EVENT_FIELDS
        from regmodel.catalogue import find

        (folder / "server.log").write_bytes(self.log.read_bytes())
        if not self.alive:
            return
        if self._stat()[0] in "Tt":
            raise RegmodelError(f"the server is stopped, by a signal or a debugger, and does not answer: kill -CONT {self.pid}")
        with self.control() as client:
            (folder / "stats.json").write_text(json.dumps(client.ask("stats"), indent=1))
            for function in client.ask("hello")["functions"]:
                rows = client.ask("recent", function=function["name"], count=4096)
                events = [{"event": "access", **dict(zip(EVENT_FIELDS["access"], row, strict=True))} for row in rows]
                lines = Decoder({function["name"]: find(function["device"])}).lines(events)
                (folder / f"trace-{function['name']}.txt").write_text("\n".join(lines) + "\n")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def cpu_seconds(self) -> float:
        """User and system time that it has used so far."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _stat(self) -> list[str]:
        """Its state and what follows (proc(5), /proc/pid/stat)."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()

    def private_bytes(self) -> int:
        """Its private memory, guest RAM not counted."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return 1024 * sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))

    def stop(self, keep: bool = False) -> int:
        """End it (SIGTERM, then SIGKILL after 5 s) and return its exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self._process.kill()
        status = self._process.wait()
        if self in _begun:
            _begun.remove(self)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        if self._own_folder and not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        return status

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop(keep=error is not None)
