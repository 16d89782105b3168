"""What the suite says of a device of ours where nobody stands in between: in this process, and on the raw socket.

Rows that are virtualised on some way have to pass on both of these. May not enter: guests.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from drivers.conformance import judge_via
from emulators.process import ServerProcess
from regmodel.catalogue import find
from regmodel.conformance.outcomes import Outcome, Report, Row
from regmodel.conformance.suite import UNKNOWN, VOLATILE

HERE, SOCKET = "in this process", "on the socket"
PENDING = "bar3.msix_pending[0]"
LOG = [f"config.aer_header_log[{n}]" for n in range(4)]
UNCOMPARED = {
    # causes that other tests set stay pending while MSI-X is off; irq_vector_masks, which knows which are, compares them
    **{(where, test, PENDING): VOLATILE
       for where in (HERE, SOCKET) for test in ("csr_hw_reset", "csr_rw", "csr_aliasing", "csr_access_width", "reset_domains")},
    # sticky (PCI Express Base 5.0, 7.8.4.8); here hardware stores something first, on the socket the first read is compared
    # with nothing, and all later ones with it
    **{(SOCKET, "csr_hw_reset", register): UNKNOWN for register in LOG},
}  # fmt: skip
"""Rows of which nothing can be compared, by where, test and register, and what the report says of them."""


@cache
def reports(name: str, tests: tuple[str, ...]) -> dict[str, Report]:
    """Both, by where; of these tests."""
    with tempfile.TemporaryDirectory() as room, ServerProcess([name], folder=Path(room)) as server:
        socket = judge_via(f"vfio-user:{server.sockets[0]}", find(name), tests=tests)
    return {HERE: judge_via("inprocess", find(name), tests=tests), SOCKET: socket}


def unjudged(name: str, rows: Iterable[Row]) -> list[str]:
    """Of ``rows`` those which are virtualised and do not pass both here and there, a line each."""
    others = {(row.test, row.register) for row in rows if row.outcome is Outcome.VIRTUALISED}
    tests = tuple(sorted({test for test, _ in others}))
    lines = []
    for where, report in reports(name, tests).items() if tests else ():
        found = {(row.test, row.register): row for row in report.rows}
        for test, register in sorted(others):
            one = found.get((test, register), Row(test, register, Outcome.NOT_APPLICABLE, "there is no such row"))
            named = one.outcome is Outcome.EXCLUDED and UNCOMPARED.get((where, test, register)) == one.reason
            if one.outcome is not Outcome.PASS and not named:
                lines.append(f"{test} {register} is virtualised, and {where} {one.outcome.value}: {one.reason}")
    return lines
