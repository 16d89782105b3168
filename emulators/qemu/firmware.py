"""A machine without an operating system: QEMU, the devices under test and the guest image of ``firmware``.

``run`` starts it, lets it work through a table of vectors and reads the results out of guest memory: 0.2 s from the start of
QEMU to the last result, and what the vectors themselves take. ``FirmwareMachine`` is the same in steps; ``live`` speaks to
an image that goes on to serve requests.

May not enter: what the vectors mean (``firmware.vectors``), how the image comes to be (``firmware.image``).
"""

from __future__ import annotations

import mmap
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from emulators.qemu.binary import Qemu
from emulators.qemu.errors import GuestDied, GuestError, GuestTimeout
from emulators.qemu.failure import KNOWN
from emulators.qemu.lab import Lab
from emulators.qemu.machine import Device, Machine, Placed
from firmware import elf, image
from firmware import format as f
from firmware.vectors import (
    Found,
    Program,
    Report,
    Result,
    Vector,
    unpack_functions,
    unpack_report,
    unpack_results,
)  # fmt: skip

DEADLINE = 20.0
"""Seconds after which a run is ended that does not end itself; the image bounds each of its own waits."""
MEMORY_MB = 512  # the image, its DMA memory at 256 MiB, the firmware loader at the end; what nobody touches costs nothing
_EXIT_STATUS = {2 * f.EXIT_DONE + 1, 2 * f.EXIT_FAILED + 1}


@dataclass(frozen=True)
class Run:
    """What came of one table. ``seconds``: from the start of QEMU to the last result.

    ``problem`` is "" where the whole table ran, else one line that says what stopped it: the results up to there are good,
    those of the others ``Status.NOT_RUN``. No status of a single vector is a problem of the run.
    """

    report: Report
    functions: tuple[Found, ...]
    vectors: tuple[Vector, ...]
    results: tuple[Result, ...]
    seconds: float
    problem: str = ""

    def __getitem__(self, number: int) -> Result:
        return self.results[number]

    def failed(self) -> Iterator[tuple[int, Vector, Result]]:
        """The vectors that did not end with ``Status.OK``."""
        for number, (vector, result) in enumerate(zip(self.vectors, self.results, strict=True)):
            if not result.ok:
                yield number, vector, result

    def check(self) -> Run:
        """Itself. Raises ``GuestError`` where it did not run to its end, or a vector did not end with ``Status.OK``."""
        if self.problem:
            raise GuestError(self.problem)
        for number, vector, result in self.failed():
            raise GuestError(f"vector {number}, {vector}: {result}")
        return self


def run(lab: Lab, devices: Sequence[Device], program: Program, *, deadline: float = DEADLINE, **more: object) -> Run:
    """Start a machine with ``devices``, run the table, and end it. ``more`` as ``FirmwareMachine`` takes it."""
    with FirmwareMachine(lab, devices, program, **more) as machine:  # type: ignore[arg-type]
        return machine.finish(deadline)


class FirmwareMachine:
    """One machine, as a context manager: entering starts it, leaving ends it, whatever state it is in.

    Devices sit where ``Lab.vm`` puts them: at 00:01.0, 00:02.0, ..., or with ``root_port`` behind a root port each;
    ``conventional``: behind a bridge to a conventional bus instead.
    ``bios``: another firmware loader than SeaBIOS; ``qboot.rom`` places no BARs, the image does. ``arguments`` go to QEMU.
    Always under TCG, whose cost is small beside the start of QEMU. The image's log is its report: it has no console.
    """

    def __init__(
        self,
        lab: Lab,
        devices: Sequence[Device],
        program: Program,
        *,
        mode: f.Mode = f.Mode.RUN,
        root_port: bool = False,
        conventional: bool = False,
        bios: str | None = None,
        arguments: Sequence[str] = (),
        name: str = "firmware",
    ) -> None:
        self.name, self.program, self.bios, self.arguments = name, program, bios, tuple(arguments)
        self.machine = Machine(
            Path(), Path(), tuple(devices), f"{MEMORY_MB}M", root_port=root_port, conventional=conventional
        )
        self._qemu: Qemu = lab.qemu
        self._keeper = lab.keeper
        self.image = elf.Image.read(lab.cache.entry("firmware", image.key(), image.build))
        lab.cache.prune("firmware", 8)
        for symbol, content in program.tables(mode).items():
            self.image.place(symbol, content)
        self.command: list[str] = []
        self.memory: memoryview
        self.guest: elf.GuestView
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = -1
        self._started = 0.0

    # -- lifecycle ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start QEMU. Its memory is a file that nobody else knows; so is the image."""
        memory, kernel = os.memfd_create("guest-memory"), os.memfd_create("image")
        try:
            os.ftruncate(memory, MEMORY_MB << 20)
            os.write(kernel, self.image.data)
            self.memory = memoryview(mmap.mmap(memory, MEMORY_MB << 20))
            self.guest = elf.GuestView(self.image, self.memory)
            self._stderr = os.memfd_create("qemu.stderr")
            self.command = [*self._qemu.command, *self.command_line(kernel, memory)]
            setpriv = shutil.which("setpriv")
            guard = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
            self._started = time.monotonic()
            self._process = subprocess.Popen(
                [*guard, *self.command], stdin=subprocess.DEVNULL, stdout=self._stderr, stderr=self._stderr,
                pass_fds=[memory, kernel], env=self._qemu.environ(), start_new_session=True,
            )  # fmt: skip
            self._keeper.guest_starts()
        finally:
            os.close(memory)
            os.close(kernel)

    def command_line(self, kernel: int, memory: int) -> list[str]:
        """QEMU's arguments; both files are open ones that it inherits. What q35 has on board is left off."""
        line = [
            "-M", "q35,memory-backend=ram,sata=off,smbus=off,i8042=off,usb=off", "-accel", "tcg,thread=multi", "-cpu", "max",
            "-m", f"{MEMORY_MB}M",
            "-object", f"memory-backend-file,id=ram,mem-path=/proc/self/fd/{memory},size={MEMORY_MB}M,share=on",
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-kernel", f"/proc/self/fd/{kernel}",
            "-device", f"isa-debug-exit,iobase={f.EXIT_PORT:#x},iosize=4",
            *([] if self.bios is None else ["-bios", self.bios]), *self.arguments,
        ]  # fmt: skip
        for number in range(len(self.machine.devices) if self.machine.root_port else 0):
            line += ["-device", self.machine.port(number)]
        for device in self.placed:
            line += ["-device", _without_rom(device)]
        return line

    @property
    def placed(self) -> list[Placed]:
        """The devices and their addresses."""
        return self.machine.placed()

    def __enter__(self) -> FirmwareMachine:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.keep(f"{self.name} failed: {error}")
        self.stop()

    def stop(self) -> None:
        """End QEMU: SIGTERM, so that it closes its devices, and SIGKILL after 2 s. Safe to call twice."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        self._keeper.guest_stops()
        os.close(self._stderr)

    # -- what came of it -------------------------------------------------------------------------------------------

    def finish(self, deadline: float = DEADLINE) -> Run:
        """Wait up to ``deadline`` seconds until the image has ended the machine; what came of its table.

        Raises ``GuestDied`` where QEMU did not start it at all.
        """
        assert self._process is not None
        problem = ""
        try:
            self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            problem = f"{self.name} did not end in {deadline:.0f} s: {self._where()}"
            self._process.kill()
            self._process.wait()
        seconds = time.monotonic() - self._started
        report = self.report()
        if not problem and report.state is not f.State.DONE:
            problem = f"{self.name} {self._death()}" if report.state is not f.State.FAILED else f"{self.name}: {report}"
        if report.state is f.State.START:
            raise GuestDied(f"{self.name}: the image did not start; {problem}")
        if problem:
            problem += f"; {KNOWN} {self.keep(problem, silent=True)}"
        count = len(self.program.vectors)
        results = unpack_results(self.guest.view("results")[: 16 * count])
        return Run(report, self.functions(), tuple(self.program.vectors), tuple(results), seconds, problem)

    def wait_for(self, state: f.State, timeout: float = DEADLINE) -> None:
        """Wait until the image has come so far. Raises ``GuestDied``, ``GuestTimeout``."""
        assert self._process is not None
        end = time.monotonic() + timeout
        word = self.guest.words("report")
        while word[0] < state:
            if self._process.poll() is not None:
                raise GuestDied(f"{self.name} {self._death()}")
            if time.monotonic() > end:
                raise GuestTimeout(f"{self.name} does not serve after {timeout:.0f} s: {self._where()}")
            time.sleep(0.002)
        if word[0] == f.State.FAILED:
            raise GuestDied(f"{self.name}: {self.report()}")

    @property
    def alive(self) -> bool:
        """QEMU runs."""
        return self._process is not None and self._process.poll() is None

    def report(self) -> Report:
        """What the image says of itself."""
        return unpack_report(self.guest.view("report"))

    def functions(self) -> tuple[Found, ...]:
        """The functions that it has found so far, VFs last."""
        return tuple(unpack_functions(self.guest.view("functions"), self.report().functions))

    def keep(self, what: str, *, silent: bool = False) -> Path:
        """Put what is known into the run's failure folder; its path. ``silent``: it is not said on standard error."""
        return self._keeper.keep(what, self._save, self.name, silent=silent)

    def said(self) -> str:
        """QEMU's own messages."""
        return os.pread(self._stderr, os.fstat(self._stderr).st_size, 0).decode(errors="replace")

    def _save(self, folder: Path) -> None:
        (folder / "qemu.command").write_text(shlex.join(self.command) + "\n")
        (folder / "qemu.stderr").write_text(self.said())
        (folder / "report.txt").write_text("\n".join(map(str, [repr(self.report()), *self.functions()])) + "\n")

    def _where(self) -> str:
        report = self.report()
        if report.state < f.State.ENUMERATED:
            return "it is still looking for functions" if report.state else "the firmware loader has not come to it"
        if report.done < len(self.program.vectors):
            return f"vector {report.done} is under way, {self.program.vectors[report.done]}"
        return str(report)

    def _death(self) -> str:
        assert self._process is not None
        status = self._process.returncode
        if status in _EXIT_STATUS:
            return f"ended: {self.report()}"
        said = self.said().strip().splitlines()
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        return f"QEMU ended with {how}" + (f": {said[-1]}" if said else "")


def _without_rom(device: Placed) -> str:
    """What follows ``-device``; a device of QEMU's own gets no option ROM: to run one would take longer than all else."""
    own = not device.json and not {"romfile", "rombar"} & device.properties.keys()
    return device.argument() + (",romfile=" if own else "")
