"""A server that gets into trouble in the midst of an access which the test names: killed or stopped, by its own hand.

Whoever watches a server from outside learns late what it does, and acts later still: what the trouble was to interrupt may be
over by then. May not enter: what is made of the trouble by those whom it befalls.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from emulators.pci.function import PciFunction
from emulators.process import ServerProcess

ACCESSES = {"read": "region_read", "write": "region_write"}
SECONDS = 30.0
"""Within which the access has come: the client starts, a machine perhaps, and works its way to it."""


def troubled(
    devices: Sequence[str], trouble: signal.Signals, access: str, number: int, offset: int | None = None
) -> ServerProcess:
    """A server of ``devices`` whose access of that ``number``, a "read" or "write" of BARs, ends in SIGKILL or SIGSTOP.

    ``offset``: only accesses there count. Whoever made the access waits for its answer; none comes before SIGCONT.
    """
    server = ServerProcess(devices)
    server.command[2:3] = [__name__, trouble.name, access, str(number), "any" if offset is None else str(offset)]
    return server


def until_in_trouble(server: ServerProcess, trouble: signal.Signals) -> None:
    """Wait until it is; it stays so."""
    end = time.monotonic() + SECONDS
    while (seen := os.waitid(os.P_PID, server.pid, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT)) is None:
        assert time.monotonic() < end, "the access did not come"
        time.sleep(0.02)
    assert seen.si_status == trouble


def _arm(trouble: signal.Signals, access: str, number: int, offset: int | None) -> None:
    name = ACCESSES[access]
    carried_out = getattr(PciFunction, name)
    count = itertools.count(1)

    def counted(function: PciFunction, index: int, at: int, *more: Any) -> Any:
        if offset in (None, at) and next(count) == number:
            os.kill(os.getpid(), trouble)
        return carried_out(function, index, at, *more)

    setattr(PciFunction, name, counted)


if __name__ == "__main__":
    from regmodel.cli import main

    _trouble, _access, _number, _offset, *_words = sys.argv[1:]
    _arm(signal.Signals[_trouble], _access, int(_number), None if _offset == "any" else int(_offset))
    main(_words)
