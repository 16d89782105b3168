"""A server that a program has started ends with that program; one that a user has started does not."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

STARTS = """
import sys, time
from pathlib import Path
from emulators.process import ServerProcess
server = ServerProcess(["igbvf"], folder=Path(sys.argv[1]))
server.begin()
print(server.pid, flush=True)
if sys.argv[2] == "ready":
    server.ready()
    print("ready", flush=True)
time.sleep(1000)
"""
BY_HAND = """
import subprocess, sys, time
command = [sys.executable, "-m", "regmodel.cli", "serve", "igbvf", "--socket", sys.argv[1] + "/vf0.sock"]
server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
print(server.pid, flush=True)
while not server.stdout.readline().startswith("# watch it"):
    pass
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def started() -> Iterator[list[int]]:
    """Processes to kill when a test has failed, as process descriptors, which name none but these."""
    pidfds: list[int] = []
    yield pidfds
    for pidfd in pidfds:
        if not ended(pidfd, 0):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


def ended(pidfd: int, seconds: float) -> bool:
    """Whether the process ends within that time."""
    return bool(select.select([pidfd], [], [], seconds)[0])


def killed_starter(program: str, folder: Path, when: str, started: list[int]) -> int:
    """Run ``program`` and kill it without a chance to clean up; the process descriptor of the server that it started."""
    starter = subprocess.Popen([sys.executable, "-c", program, str(folder), when], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout as said:
        server = os.pidfd_open(int(said.readline()))
        started.append(server)
        if when == "ready":
            assert said.readline() == "ready\n"
        starter.kill()
        starter.wait()
    return server


@pytest.mark.parametrize("when", ["ready", "still starting"])
def test_it_ends_with_the_process_that_started_it(tmp_path: Path, when: str, started: list[int]) -> None:
    server = killed_starter(STARTS, tmp_path, when, started)
    assert ended(server, 20)
    assert not list(tmp_path.glob("*.sock")) and not list(tmp_path.glob("*.ctl")), "it has cleaned up after itself"


def test_one_that_a_user_started_goes_on(tmp_path: Path, started: list[int]) -> None:
    server = killed_starter(BY_HAND, tmp_path, "ready", started)
    assert not ended(server, 1)
    signal.pidfd_send_signal(server, signal.SIGTERM)
    assert ended(server, 20)


def test_attended_by_a_file_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "regmodel.cli", "serve", "igbvf", "--socket", str(tmp_path / "s"), "--attended"]
    with Path(os.devnull).open() as nothing:
        result = subprocess.run(command, stdin=nothing, capture_output=True, text=True, timeout=60)
    assert result.returncode != 0 and result.stderr == "regmodel: --attended: standard input is a file; give it a pipe\n"
    assert not list(tmp_path.iterdir())
