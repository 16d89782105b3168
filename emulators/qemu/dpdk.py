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
_EVENT = r"((?:\r?\nPort \d+: [^\r\n]* event\r?\n)*)"  # of another thread, which may come in the middle of a prompt
_PROMPTED = _EVENT.join(map(re.escape, PROMPT))
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
        """Type a command; what testpmd says until it prompts again, and what it had said unasked since it did so before."""
        said = self._converse(self._typing(command), timeout)
        unasked, _, answer = said.partition(f"{command}\n")  # its echo
        return unasked + answer

    def overhear(self, words: str, lines: int = 1, timeout: float = 30.0) -> str:
        """What testpmd says unasked since its last prompt, up to the line with ``words``, and so many ``lines`` with that one.

        While a test waits for it this way, nothing is typed that it would come in between.
        """
        end = re.escape(words.encode()) + rb"(?:[^\n]*\n){%d}" % lines
        return self._until(words, re.compile(end), "", timeout)

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
        """What testpmd says until it prompts, after the shell has done ``typing``.

        Behind the prompt there may be more: what a port has to tell comes when it comes. It is left for later.
        """
        said = self._until(PROMPT, re.compile(_PROMPTED.encode()), typing, timeout)
        *_, prompt = re.finditer(_PROMPTED, said)
        return said[: prompt.start()] + "".join(filter(None, prompt.groups()))

    def _until(self, words: str, end: re.Pattern[bytes], typing: str, timeout: float) -> str:
        """What testpmd says up to ``end``, which has ``words`` in it, after the shell has done ``typing``."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            # One request types, waits up to 2 s of the guest's clock and reads: each further one would take its processor. It
            # does not count its looks: on a machine that is busy with others, each of them may take as long as all should.
            wait = ("read t _ < /proc/uptime; end=$((${t%.*} + 2)); while read t _ < /proc/uptime; [ ${t%.*} -lt $end ] && "
                    f"[ ! -s {_STATUS} ] && ! tail -c +{self._read + 1} {_OUT} | grep -qF {shlex.quote(words)}; "
                    f"do usleep 25000; done; tail -c +{self._read + 1} {_OUT}")
            raw, typing = self._vm.run(typing + wait, 30, check=True).stdout, ""
            found = end.search(raw)
            if found is not None:
                self._read += found.end()
                return _clean(raw[: found.end()])
            if self._vm.run(f"[ -s {_STATUS} ]").status == 0:
                said = _clean(raw).strip()
                raise GuestError(f"testpmd ended: {said.splitlines()[-1] if said else 'without a word'}")
        raise GuestTimeout(f"testpmd did not {'prompt' if words == PROMPT else f'say {words!r}'} in {timeout:.0f} s")


def _clean(raw: bytes) -> str:
    return _ESCAPES.sub("", raw.decode(errors="replace"))
