"""NICs of one card behind vfio-user sockets, reached by the raw client of ``tests/emulators/vfio_user``: one thread, one order.

In here: a server, its functions, and the memory that each client has given its own. What a NIC is, its family's tests know.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from emulators.loop import Loop, ManualClock
from emulators.serve import Running, Wanted
from regmodel.catalogue import find
from tests.emulators.vfio_user.client import GET_REGION_INFO, RESET, Client

CONFIG = 7
"""The region of configuration space."""
COMMAND, DECODING_AND_MASTER = 4, 7
MOMENT = 8_000_000
"""ns: longer than any pause between two looks of a device that has to look."""


class Function:
    """Number ``number`` of a server, with ``size`` octets of shared memory at bus address ``base``."""

    def __init__(self, running: Running, client: Client, number: int, base: int, size: int, clock: ManualClock) -> None:
        self.served, self.client, self.loop, self.clock = running.served[number], client, running.loop, clock
        fd = os.memfd_create("guest", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)  # as QEMU's, so that it is used in place
        self.memory = mmap.mmap(fd, size)
        assert client.map(base, size, fd) == 0
        os.close(fd)
        self.enable()

    def enable(self) -> None:
        self.client.write(CONFIG, COMMAND, DECODING_AND_MASTER.to_bytes(2, "little"))

    def reset(self) -> None:
        """As a guest has it done before it binds a driver anew."""
        assert self.client.call(RESET).error == 0
        self.enable()

    def mapped(self, index: int) -> memoryview:
        """The memory of a region, as a guest maps it."""
        reply = self.client.call(GET_REGION_INFO, struct.pack("<IIIIQQ", 4096, 0, index, 0, 0, 0))
        (size,) = struct.unpack_from("<Q", reply.body, 16)
        (fd,) = reply.fds
        try:
            return memoryview(mmap.mmap(fd, size))
        finally:
            os.close(fd)

    def region_read(self, index: int, at: int, size: int) -> int:
        return int.from_bytes(self.client.read(index, at, size), "little")

    def region_write(self, index: int, at: int, size: int, value: int) -> None:
        """Posted, as QEMU's are."""
        self.client.post(index, at, value.to_bytes(size, "little"))

    def settle(self) -> None:
        self.loop.settle()

    def pass_time(self, duration: int = MOMENT) -> None:
        """``duration`` ns, with all that falls due meanwhile."""
        self.clock.advance(duration)
        self.loop.settle()

    @property
    def diagnoses(self) -> dict[str, int]:
        """By name: how often the device has complained."""
        return dict(self.served.function.host.diagnostics)


@contextmanager
def serving(
    folder: Path, device: str, count: int, base: int, size: int, *, beside: Sequence[Function] = (), **options: str
) -> Iterator[list[Function]]:
    """``count`` NICs of one server on one switch, each with a client; in one process, and one loop, with those ``beside`` them.

    Time passes by ``pass_time`` only.
    """
    with ExitStack() as stack:
        if beside:
            clock, loop = beside[0].clock, beside[0].loop
        else:
            clock = ManualClock(1_000_000_000)
            loop = Loop(now=clock.now)
            stack.callback(loop.close)
        wanted = [Wanted(device, find(device), folder / f"{device}{n}") for n in range(count)]
        running = Running(loop, wanted, options=options)
        stack.callback(running.close)
        clients = [stack.enter_context(Client(loop, one.socket)) for one in wanted]
        yield [Function(running, client, n, base, size, clock) for n, client in enumerate(clients)]
