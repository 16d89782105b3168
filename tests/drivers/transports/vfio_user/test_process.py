"""Our own server in another process, as a user runs it: a VF of the 82576."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.errors import DeviceGone, DeviceTimeout, NotViable
from drivers.transports.vfio_user import VfioUser
from emulators.process import ServerProcess

from .conftest import impatient


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(["igbvf", "igbvf"], folder=tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess, no_leak: None) -> Iterator[VfioUser]:
    with VfioUser(str(server.sockets[0])) as client:
        client.config_write(4, 2, 6)
        yield client


STATUS, VMBMEM, MAILBOX = 0x0008, 0x0800, 0x0C40
"""82576 datasheet 8.3, VF registers: VTSTATUS, VMBMEM, V2PMailbox (linux igbvf regs.h, mbx.h)."""


def test_registers(client: VfioUser) -> None:
    assert client.config_read(0, 4) == 0x10CA8086
    bar = client.bar(0)
    assert bar.u32[STATUS // 4] & 2, "link up"
    for word in range(16):
        bar.u32[VMBMEM // 4 + word] = 0xA5A50000 + word
    assert [bar.u32[VMBMEM // 4 + word] for word in range(16)] == [0xA5A50000 + word for word in range(16)]


def test_the_mailbox_interrupts(client: VfioUser) -> None:
    """A reset request of a VF is answered by the PF, with an interrupt of the vector that is given to the mailbox."""
    bar = client.bar(0)
    client.enable_irqs(3)
    bar.u32[0x1740 // 4] = 0x82  # VTIVAR_MISC: vector 2, valid
    bar.u32[0x1524 // 4] = 7  # VTEIMS
    bar.u32[MAILBOX // 4] = 2  # VFU: the buffer is ours
    bar.u32[VMBMEM // 4] = 1  # E1000_VF_RESET
    bar.u32[MAILBOX // 4] = 1  # REQ
    assert list(client.wait_irq(5)) == [2]
    assert bar.u32[VMBMEM // 4] == 0x80000001, "acknowledged"


def test_a_second_client(server: ServerProcess, client: VfioUser) -> None:
    with pytest.raises(NotViable, match="another client is attached"):
        VfioUser(str(server.sockets[0]), timeout=0.1)
    with VfioUser(str(server.sockets[1])) as other:
        assert other.config_read(0, 4) == 0x10CA8086
    assert client.config_read(0, 4) == 0x10CA8086


def test_the_next_client_finds_a_device_that_was_reset(server: ServerProcess, client: VfioUser) -> None:
    client.bar(0).u32[VMBMEM // 4] = 5
    client.close()
    with VfioUser(str(server.sockets[0])) as again:
        assert again.config_read(4, 2) == 0


def test_a_server_that_is_stopped_and_goes_on(server: ServerProcess, no_leak: None) -> None:
    not_answered = r"the read of 4 bytes at 0x8 of BAR 0 is not answered within 0.1 s"
    with VfioUser(str(server.sockets[0])) as client:
        client.config_write(4, 2, 6)
        bar = client.bar(0)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with impatient(client, 0.1), pytest.raises(DeviceTimeout, match=not_answered):
                bar.u32[STATUS // 4]
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert bar.u32[STATUS // 4] & 2  # its answer to the first read comes late


def test_a_server_that_is_killed(tmp_path: Path, no_leak: None) -> None:
    with ServerProcess(["igbvf"], folder=tmp_path) as server, VfioUser(str(server.sockets[0])) as client:
        client.config_write(4, 2, 6)
        bar = client.bar(0)
        buffer = client.alloc(1 << 20)
        client.enable_irqs(3)
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(DeviceGone, match="the server has hung up"):
            client.wait_irq(5)
        with pytest.raises(DeviceGone, match="the server has hung up"):
            bar.u32[0] = 1
        buffer.free()
