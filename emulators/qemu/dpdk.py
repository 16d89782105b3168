"""DPDK in a guest: huge pages, and a conversation with testpmd.

May not enter: what is expected of a device. The guest needs ``kits=["dpdk"]``, devices bound to ``vfio-pci`` (``vfio.bind``)
and two processors: testpmd forwards on one and talks on the other.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Sequence
from types import TracebackType

from emulators.qemu.errors import GuestError, GuestTimeout
from emulators.qemu.vm import VM

HUGE_PAGE = 2 << 20  # bytes
PROMPT = "testpmd> "
_IN, _OUT, _STATUS, _HOLDER = (f"/run/testpmd.{name}" for name in ("in", "out", "status", "holder"))
# glibc buffers stdout fully when it is no terminal, while the prompt is written past it; coreutils' stdbuf undoes that.
_UNBUFFERED = "LD_PRELOAD=/usr/libexec/coreutils/libstdbuf.so _STDBUF_O=0"
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\r\x07]")


def huge_pages(vm: VM, size: int = 128 << 20) -> None:
    """Reserve huge pages: ``size`` bytes in pages of 2 MiB. Zeroing them takes TCG about 6 s per GiB."""
    pages = size // HUGE_PAGE
    vm.run(f"echo {pages} > /proc/sys/vm/nr_hugepages && mkdir -p /dev/hugepages && mount -t hugetlbfs huge /dev/hugepages && "
           f"[ $(cat /proc/sys/vm/nr_hugepages) -eq {pages} ]", check=True)


class Testpmd:
    """A running testpmd, as a context manager; calling it is typing a command at its prompt."""

    __test__ = False  # the name is DPDK's; pytest is not to collect it

    def __init__(self, vm: VM, ports: Sequence[str], *, eal: Sequence[str] = (), args: Sequence[str] = (),
                 start_timeout: float = 90.0) -> None:
        """``ports`` are PCI addresses, bound already. ``eal`` and ``args`` are further arguments, before and after ``--``."""
        self._vm = vm
        allowed = [word for port in ports for word in ("-a", port)]
        self.command = shlex.join(["dpdk-testpmd", "-l", "0,1", *allowed, *eal, "--", "-i", "--total-num-mbufs=8192", *args])
        self._start_timeout = start_timeout
        self._read = 0
        self._status: int | None = None
        self.banner = ""  # what it said before its first prompt

    def __enter__(self) -> Testpmd:
        self._vm.on_failure("testpmd", lambda folder: (folder / "testpmd.log").write_bytes(self._vm.get(_OUT)))
        self._vm.run(
            f"rm -f {_IN} {_OUT} {_STATUS}; mkfifo {_IN}; : > {_OUT}\n"
            f"sleep 1000000 > {_IN} & echo $! > {_HOLDER}\n"  # holds the pipe open between commands
            f"({_UNBUFFERED} {self.command} < {_IN} >> {_OUT} 2>&1; echo $? > {_STATUS}) &", check=True)
        self.banner = self._converse("", self._start_timeout)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.quit()

    def __call__(self, command: str, timeout: float = 30.0) -> str:
        """Type a command; what testpmd says until it prompts again."""
        answer = self._converse(self._typing(command), timeout)
        return answer.partition("\n")[2]  # the first line is the echo of the command

    def quit(self, timeout: float = 30.0) -> int:
        """Stop the ports and end; testpmd's exit status. Safe to call again."""
        if self._status is not None:
            return self._status
        ended = f"n=0; while [ ! -s {_STATUS} ] && [ $n -lt {round(timeout * 10)} ]; do usleep 100000; n=$((n+1)); done"
        self._vm.run(self._typing("quit") + ended, timeout + 10)
        status = self._vm.run(f"cat {_STATUS}").text
        if not status:
            raise GuestTimeout(f"testpmd did not quit in {timeout:.0f} s")
        self._status = int(status)
        self._vm.run(f"kill $(cat {_HOLDER})")
        return self._status

    @staticmethod
    def _typing(command: str) -> str:
        return f"printf '%s\\n' {shlex.quote(command)} > {_IN}\n"

    def _converse(self, typing: str, timeout: float) -> str:
        """What testpmd says until it prompts, after the shell has done ``typing``."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            # One request types, waits up to 2 s and reads: each further one would take the guest's processor.
            wait = (f"n=0; while [ $n -lt 80 ] && [ ! -s {_STATUS} ] && "
                    f"[ \"$(tail -c +{self._read + 1} {_OUT} | tail -c {len(PROMPT)})\" != '{PROMPT}' ]; "
                    f"do usleep 25000; n=$((n+1)); done; tail -c +{self._read + 1} {_OUT}")
            raw, typing = self._vm.run(typing + wait, 30, check=True).stdout, ""
            said = _ESCAPES.sub("", raw.decode(errors="replace"))
            if said.endswith(PROMPT):
                self._read += len(raw)
                return said.removesuffix(PROMPT)
            if self._vm.run(f"[ -s {_STATUS} ]").status == 0:
                raise GuestError(f"testpmd ended: {said.strip().splitlines()[-1] if said.strip() else 'without a word'}")
        raise GuestTimeout(f"testpmd did not prompt in {timeout:.0f} s")
