"""A simulation of one register block, driven from outside as if it were any other object with registers.

What lives here: building it, starting it, one request and one reply at a time over a socket. The simulator stands still
while nobody asks, so the calls here are as synchronous as those of a bank.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from emulators.rtl import tools
from emulators.rtl.hardware import Hardware, Told
from emulators.rtl.tools import SimulationGone
from regmodel.conformance.accesses import ConformanceError
from regmodel.export.verilog import RegisterBlock
from regmodel.export.verilog.ports import Role, register_port
from regmodel.export.verilog.words import Memory
from regmodel.function import ResetCause

PATIENCE = 60.0
"""Seconds within which the simulator must answer."""


class Simulation:
    """A running simulation, after a power-on reset. Use it as a context manager, or ``close`` it.

    ``text`` replaces the Verilog of the block, with the same ports: a mutant. ``room`` is a directory for source, program
    and log; none: a temporary one. Raises ``SimulatorError`` where there is no simulator, ``SimulationGone`` when it ends.
    """

    def __init__(self, block: RegisterBlock, *, text: str | None = None, room: Path | None = None) -> None:
        tools.check()
        self.block, self.hardware = block, Hardware(block)
        self._told: list[Told] = []
        self._broken = ""
        self._temporary = tempfile.TemporaryDirectory(prefix="regmodel-rtl-") if room is None else None
        self.room = Path(self._temporary.name) if self._temporary else Path(room or ".")
        self.room.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._link, other = socket.socketpair()
        self._lines = self._link.makefile("rw", encoding="utf-8")
        try:
            source = self.room / f"{block.name}.v"
            source.write_text(block.text if text is None else text)
            program = tools.compile_verilog(source, block.name)
            more = {"REGMODEL_RTL_FD": str(other.fileno())}
            self._log = self.room / f"{block.name}.log"
            self._process = tools.start(program, block.name, "emulators.rtl.inside", self._log, [other.fileno()], more)
            other.close()
            self._link.settimeout(PATIENCE)
            self._ask(inputs=list(self.hardware.inputs), watched=list(self.hardware.watched))
        except BaseException:
            other.close()
            self.close()
            raise

    # -- the bus -----------------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int, during: Mapping[str, int] | None = None) -> int:
        """One read access; ``during``: hardware-side inputs for the clock in which it happens."""
        return int(self._ask(op="read", offset=offset, size=size, during=during))

    def write(self, offset: int, size: int, value: int, during: Mapping[str, int] | None = None) -> None:
        """One write access; ``during`` as for ``read``."""
        self._ask(op="write", offset=offset, size=size, value=value & (1 << 8 * size) - 1, during=during)

    def reset(self, *causes: ResetCause) -> None:
        """Reset by one cause, or by several in the same clock."""
        self._ask(op="reset", causes=[cause.value for cause in causes])

    # -- the hardware side -------------------------------------------------------------------------------------------

    def store(self, path: str, value: int, mask: int, events: bool = False) -> None:
        """Hardware stores ``value`` under ``mask`` into a register, or into a word of a window (whole bytes).

        With ``events`` it sets and clears bits rather than to store a value, where a field has inputs for that.
        """
        self.pulse(self.hardware.stores(path, value, mask, self.signals, events))

    def events(self, path: str, sets: int = 0, clears: int = 0) -> None:
        """Hardware sets and clears bits that are causes."""
        self.pulse(self.hardware.events(path, sets, clears))

    def value(self, path: str) -> int:
        """What hardware sees in a register, or in a word of a window."""
        found, at = self.hardware.find(path)
        if isinstance(found, Memory):
            self._ask(op="set", inputs={register_port(found.name, Role.ADDRESS): at})
            return self.signals([register_port(found.name, Role.VALUE)])[0]
        return self.hardware.value(path, self.signals)

    def told(self) -> list[Told]:
        """What hardware was told since this was last asked."""
        found, self._told = self._told, []
        return found

    def pulse(self, inputs: Mapping[str, int]) -> None:
        """Put values on inputs, by name of the port, for one clock."""
        self._ask(op="pulse", inputs=dict(inputs))

    def signals(self, names: Sequence[str]) -> list[int]:
        """Any ports or signals, by name. Raises ``ConformanceError`` when one has unknown bits."""
        return [int(value) for value in self._ask(op="values", names=list(names))]

    # -- the link ----------------------------------------------------------------------------------------------------

    def _ask(self, **request: Any) -> Any:
        try:
            print(json.dumps(request), file=self._lines, flush=True)
            line = self._lines.readline()
        except TimeoutError:
            self._broken = "does not answer"
        except (OSError, ValueError):  # nobody there, or closed by us
            self._broken = "ended"
        else:
            self._broken = "" if line else "ended"
        if self._broken:
            raise SimulationGone(self._last_words(self._broken))
        reply = json.loads(line)
        for name, bits in reply.get("seen", ()):
            self._told += self.hardware.told(name, bits)
        if "error" in reply:
            raise ConformanceError(f"simulation of {self.block.name}: {reply['error']}")
        return reply["answer"]

    def _last_words(self, what: str) -> str:
        """One line; the log has the rest."""
        log = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        said = next((line for line in reversed(log) if "rror" in line), log[-1] if log else "nothing")
        return f"the simulation of {self.block.name} {what}; its log says: {said.strip()}"

    def close(self) -> None:
        """Hang up; the simulation ends by itself, or is ended."""
        for end in (self._lines, self._link):
            with suppress(OSError):
                end.close()
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
