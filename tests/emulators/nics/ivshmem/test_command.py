"""``regmodel ivshmem-server``: what it prints, that it serves, and its refusals, each in one line."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emulators.nics.ivshmem.client import Client, ServerError, connect
from regmodel.mailboxes.ivshmem import Lie

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


def test_without_descriptors_it_waits(tmp_path: Path) -> None:
    """Whom it has descriptors to accept but none for eventfds, it hangs up on, and leaves nothing behind. Whom it has none at
    all for waits: that is said once a second, not in a loop. When others leave, everybody is served.
    """
    path = tmp_path / "s"
    words = [*COMMAND, "--socket", str(path), "--vectors", "4"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        for _ in range(3):
            process.stdout.readline()
        held = Path(f"/proc/{process.pid}/fd")
        alone = len(list(held.iterdir()))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (alone + 18, alone + 18))
        served, refused = [], None
        while refused is None:
            client = Client(connect(path), 4)
            try:
                client.setup()
                served.append(client)
            except ServerError as error:
                refused = error
        assert refused.lie is Lie.CLOSED and len(list(held.iterdir())) == alone + 5 * len(served)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (alone + 5 * len(served),) * 2)
        said = [process.stderr.readline()]
        begin = time.monotonic()
        waiting = connect(path)
        said += [process.stderr.readline() for _ in range(2)]
        for client in served:
            client.close()
        last = Client(waiting, 4)
        last.setup()
        seconds = time.monotonic() - begin
        last.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        said += process.stderr
    assert all("client-refused why=Too many open files" in line for line in said)
    assert 3 <= len(said) <= 2 + seconds, "one for who was refused, one at once for who waits, then one a second"


@pytest.mark.parametrize(
    ("more", "text"),
    [(["--size", "5M"], "size=5M: write a power of two"), (["--memory", "/nonexistent/x"], "No such file"),
     (["--socket", "/nonexistent/s"], "cannot listen on")],
)  # fmt: skip
def test_refusals(tmp_path: Path, more: list[str], text: str) -> None:
    done = subprocess.run([*COMMAND, "--socket", str(tmp_path / "s"), *more], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and text in done.stderr
