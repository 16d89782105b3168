"""``regmodel ivshmem-server``: what it prints, that it serves, and its refusals, each in one line."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emulators.nics.ivshmem.client import Client, connect

COMMAND = [sys.executable, "-m", "regmodel.cli", "ivshmem-server"]


def test_it_serves_until_it_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "s"
    words = [*COMMAND, "--socket", str(path), "--size", "64K", "--vectors", "3", "--memory", str(tmp_path / "shm")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]
        assert f"-chardev socket,path={path},id=ivshmem -device ivshmem-doorbell,vectors=3,chardev=ivshmem" in said[1]
        assert f"--option server={path}" in said[2]
        client = Client(connect(path), 3)
        client.setup()
        assert client.id == 0 and (tmp_path / "shm").stat().st_size == 65536
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("more", "text"),
    [(["--size", "5M"], "size=5M: write a power of two"), (["--memory", "/nonexistent/x"], "No such file"),
     (["--socket", "/nonexistent/s"], "cannot listen on")],
)  # fmt: skip
def test_refusals(tmp_path: Path, more: list[str], text: str) -> None:
    done = subprocess.run([*COMMAND, "--socket", str(tmp_path / "s"), *more], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and text in done.stderr
