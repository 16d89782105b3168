"""A QEMU without a guest: its processor does nothing, and a test makes the accesses, over QEMU's qtest protocol.

In here: the protocol (QEMU system/qtest.c: a line each way), the configuration mechanism of a PC (ports 0xCF8 and 0xCFC), and
a PCI function that is given addresses as firmware gives them. Nothing of any device.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from emulators.qemu import Lab

RAM = 64 << 20
HOLE = 0xC000_0000
"""Where BARs go: below 4 GiB, above RAM and away from the firmware's tables."""
START_TIMEOUT = 20.0


class Machine:
    """``with Machine(["-device", "edu"]) as machine:`` a PC (q35) whose processor does nothing."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="qtest-")
        path = Path(self._folder.name) / "q"
        self.log = Path(self._folder.name) / "log"
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen(1)
        listening.settimeout(START_TIMEOUT)
        qemu = Lab().qemu
        ram = f"memory-backend-memfd,id=ram,size={RAM},share=on"
        self.command = [
            *qemu.command, "-machine", "q35,memory-backend=ram", "-object", ram, "-m", f"{RAM >> 20}", "-accel", "qtest",
            "-nodefaults", "-display", "none", "-qtest", f"unix:{path}", "-qtest-log", "none", *arguments,
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=qemu.environ()
            )
        self._sock: socket.socket | None = None
        try:
            self._sock = self._accept(listening)
        except BaseException:
            self.stop()
            raise
        finally:
            listening.close()
        self._lines = self._sock.makefile("r")
        self._free = HOLE

    def _accept(self, listening: socket.socket) -> socket.socket:
        listening.settimeout(0.1)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                return listening.accept()[0]
            except TimeoutError:
                continue
        raise RuntimeError(f"QEMU did not start: {self.log.read_text(errors='replace').strip()}")

    def ask(self, *words: object) -> list[str]:
        """One command; the words behind OK."""
        assert self._sock is not None
        self._sock.sendall(f"{' '.join(str(w) for w in words)}\n".encode())
        while (line := self._lines.readline()).startswith("IRQ "):
            pass
        status, *answer = line.split() or ["nothing"]
        if status != "OK":
            raise RuntimeError(f"QEMU answered {line!r} to {words}: {self.log.read_text(errors='replace').strip()}")
        return answer

    def load(self, address: int, size: int = 4) -> int:
        return int(self.ask(f"read{'_bw_l___q'[size]}", hex(address))[0], 0)

    def store(self, address: int, value: int, size: int = 4) -> None:
        self.ask(f"write{'_bw_l___q'[size]}", hex(address), hex(value))

    def read(self, address: int, size: int) -> bytes:
        return bytes.fromhex(self.ask("read", hex(address), hex(size))[0][2:])

    def write(self, address: int, data: bytes) -> None:
        self.ask("write", hex(address), hex(len(data)), "0x" + data.hex())

    def place(self, size: int) -> int:
        """An address for a BAR of ``size`` bytes."""
        at = -(-self._free // size) * size
        self._free = at + size
        return at

    def config(self, devfn: int, offset: int) -> int:
        """A double word of configuration space of a function of bus 0."""
        self.ask("outl", "0xcf8", hex(0x8000_0000 | devfn << 8 | offset & ~3))
        return int(self.ask("inl", "0xcfc")[0], 0)

    def set_config(self, devfn: int, offset: int, value: int) -> None:
        self.ask("outl", "0xcf8", hex(0x8000_0000 | devfn << 8 | offset & ~3))
        self.ask("outl", "0xcfc", hex(value))

    def find(self, vendor: int, device: int) -> Function:
        """The first function with these identifiers, placed and enabled."""
        for devfn in range(256):
            if self.config(devfn, 0) == device << 16 | vendor:
                return Function(self, devfn)
        raise RuntimeError(f"there is no {vendor:04x}:{device:04x} on bus 0")

    def stop(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._process.terminate()
        self._process.wait(10)
        self._folder.cleanup()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class Function:
    """A PCI function. ``bars`` are (address, size) by index, ``capabilities`` offsets by identifier."""

    def __init__(self, machine: Machine, devfn: int) -> None:
        self.machine, self.devfn = machine, devfn
        self.bars: dict[int, tuple[int, int]] = {}
        self._place()
        self._set(4, 7)
        self.capabilities = self._capabilities()

    def _get(self, offset: int) -> int:
        return self.machine.config(self.devfn, offset)

    def _set(self, offset: int, value: int) -> None:
        self.machine.set_config(self.devfn, offset, value)

    def _place(self) -> None:
        index = 0
        while index < 6:
            at = 0x10 + 4 * index
            wide = self._get(at) & 7 == 4
            self._set(at, 0xFFFF_FFFF)
            if mask := self._get(at) & ~0xF:
                size = -mask & 0xFFFF_FFFF
                self.bars[index] = (self.machine.place(max(size, 4096)), size)
                self._set(at, self.bars[index][0])
                if wide:
                    self._set(at + 4, 0)
            index += 1 + wide

    def _capabilities(self) -> dict[int, int]:
        found, at = {}, self._get(0x34) & 0xFC
        while at:
            word = self._get(at)
            found[word & 0xFF] = at
            at = word >> 8 & 0xFC
        return found

    def read(self, bar: int, offset: int, size: int = 4) -> int:
        return self.machine.load(self.bars[bar][0] + offset, size)

    def write(self, bar: int, offset: int, value: int, size: int = 4) -> None:
        self.machine.store(self.bars[bar][0] + offset, value, size)

    # -- MSI-X: every vector is masked until somebody unmasks it

    @property
    def msix_vectors(self) -> int:
        return (self._get(self.capabilities[0x11]) >> 16 & 0x7FF) + 1

    def enable_msix(self) -> None:
        at = self.capabilities[0x11]
        self._set(at, self._get(at) | 1 << 31)

    def unmask(self, vector: int, address: int, data: int) -> None:
        """Send the message of ``vector`` to ``address``, which may be in RAM."""
        bar, table = self._where(4)
        for offset, value in ((0, address), (4, 0), (8, data), (12, 0)):
            self.write(bar, table + 16 * vector + offset, value)

    def pending(self, vector: int) -> bool:
        bar, pba = self._where(8)
        return bool(self.read(bar, pba + vector // 32 * 4) >> vector % 32 & 1)

    def _where(self, register: int) -> tuple[int, int]:
        word = self._get(self.capabilities[0x11] + register)
        return word & 7, word & ~7


def vfio_user(path: Path) -> list[str]:
    """The arguments for a function that is served at ``path``."""
    return ["-device", json.dumps({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(path)}})]
