"""DPDK's testpmd on this host, with a ``net_vhost`` port: another vhost-user back end, which others wrote.

It is Debian's, from the lab's cache of unpacked packages, and runs with that tree's own C library. It needs no huge pages.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

PROMPT = "testpmd> "
LIBRARIES = ("net_vhost", "net_null", "mempool_ring", "bus_vdev")


class HostTestpmd:
    """As a context manager; calling it is typing a command at its prompt. Its forwarding core polls: be brief."""

    __test__ = False  # the name is DPDK's; pytest is not to collect it

    def __init__(self, folder: Path, vdevs: Sequence[str], *arguments: str) -> None:
        from emulators.qemu import debian
        from emulators.qemu.cache import Cache
        from emulators.qemu.userspace import KITS

        tree = KITS["dpdk"].tree.path(Cache())
        drivers = next((tree / debian.MULTIARCH / "dpdk").glob("pmds-*"))
        load = [word for name in LIBRARIES for word in ("-d", str(drivers / f"librte_{name}.so"))]
        ports = [word for vdev in vdevs for word in ("--vdev", vdev)]
        eal = ["-l", "0,1", "--no-huge", "-m", "128", "--no-pci", "--no-telemetry", "--no-shconf", *load, *ports]
        program = debian.own_loader(tree, tree / "usr/bin/dpdk-testpmd")
        self.command = [*program, *eal, "--", "-i", "--total-num-mbufs=8192", "--stats-period=0", *arguments]
        self.log = folder / "testpmd.log"
        self._read = 0

    def __enter__(self) -> HostTestpmd:
        stdbuf = ["stdbuf", "-o0"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*stdbuf, *self.command], stdin=subprocess.PIPE, stdout=log, stderr=log, bufsize=0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait(10)

    def type(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())

    @property
    def text(self) -> str:
        """What it has said so far, since the last answer."""
        return self.log.read_bytes()[self._read :].decode(errors="replace")

    @property
    def prompts(self) -> bool:
        """Whether it has prompted since the last answer; its vhost thread may have spoken after that."""
        assert self.process.poll() is None, self.text[-2000:]
        return PROMPT in self.text

    def answer(self) -> str:
        """What it said since the last answer."""
        text = self.text
        self._read += len(text.encode())
        return text


def counter(text: str, name: str) -> int:
    """A number of ``show port stats``."""
    found = re.search(rf"{name}:\s*(\d+)", text)
    assert found is not None, text
    return int(found[1])
