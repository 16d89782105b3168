"""The section of the benchmark about the live view: what a page costs the server that it shows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.transports.vfio_user import VfioUser
from emulators.process import ServerProcess
from tests.bench.python_sections import forwarding
from tests.bench.table import Section, compare

ABOUT = (
    "Frames per second of the server's CPU time, which is what it could carry if it had a core: pmd txonly over the socket "
    "into sink:, while `regmodel watch` sends a page 10 updates a second (ours), and without it (theirs)."
)
READER = "import sys, urllib.request as u; [None for _ in u.urlopen(sys.argv[1] + 'updates')]"


def watch(quick: bool) -> Section:
    """With the page open, and closed."""
    rounds, seconds = (3, 2.0) if quick else (7, 3.0)
    rates: list[list[float]] = [[], []]
    with ServerProcess(["igbvf"], nets=["sink:"]) as server, forwarding(VfioUser(str(server.sockets[0])), "txonly") as pmd:

        def carried() -> float:
            cpu = server.cpu_seconds()
            run = pmd.run(seconds=seconds)
            return run.per_second[2] * run.seconds / (server.cpu_seconds() - cpu)

        for _ in range(rounds):
            with watched(server.control_path):
                rates[0].append(carried())
            rates[1].append(carried())
    return Section("The live view", ABOUT, [compare("server with a page open", *rates, "frames/s", at_least=0.9)])


@contextmanager
def watched(control: Path) -> Iterator[None]:
    """Somebody looks."""
    command = [str(Path(sys.executable).with_name("regmodel")), "watch", str(control), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        url = next(word for line in page.stdout for word in line.split() if word.startswith("http://"))
        with subprocess.Popen([sys.executable, "-c", READER, url]) as reader:
            try:
                yield
            finally:
                reader.kill()
                page.terminate()
