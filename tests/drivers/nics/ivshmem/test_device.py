"""The driver over transports: in this process, over a vfio-user socket, as a client of a server beside its peers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import DeviceTimeout, NotSupported
from drivers.nics.ivshmem import Host, Hugepages, Ivshmem, Mempool, attach
from drivers.transports.in_process import InProcess, open_functions
from drivers.transports.vfio_user import VfioUser
from emulators.alone import open_functions as alone_functions
from emulators.loop import Loop
from emulators.nics.ivshmem.memory import anonymous
from emulators.nics.ivshmem.server import IvshmemServer
from emulators.serve import Running, Wanted
from regmodel.catalogue import find
from regmodel.errors import UsageError

PLAIN, DOORBELL, LEGACY = find("ivshmem-plain"), find("ivshmem-doorbell"), find("ivshmem")


class Serving:
    """A loop in a thread beside the test: with a server and, at sockets, functions of a card."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ivshmem"
        self.loop = Loop()
        self.server = IvshmemServer(self.loop, anonymous(1 << 18), 2, self.path)
        self.sockets = [folder / f"d{i}" for i in range(2)]
        wanted = [Wanted("ivshmem-doorbell", DOORBELL, path) for path in self.sockets]
        self.running = Running(self.loop, wanted, options={"size": "256K", "vectors": "2"})
        self._told = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        """A loop is closed where it ran: nobody else can end the burst that is under way in it."""
        self.loop.run()
        self._told.wait()
        self.running.close()
        self.server.close()
        self.loop.close()

    def close(self) -> None:
        self.loop.stop()
        self._told.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    made = Serving(tmp_path)
    yield made
    made.close()


def pair(how: str, serving: Serving) -> tuple[Ivshmem, Ivshmem]:
    """Two peers with two vectors."""
    if how == "in process":
        first, second = open_functions(DOORBELL, 2, vectors="2", size="256K")
        return Ivshmem(first, DOORBELL), Ivshmem(second, DOORBELL)
    if how == "over sockets":
        return Ivshmem(VfioUser(str(serving.sockets[0])), DOORBELL), Ivshmem(VfioUser(str(serving.sockets[1])), DOORBELL)
    options = {"server": str(serving.path), "vectors": "2"}
    first, second = (open_functions(DOORBELL, 1, **options)[0] for _ in range(2))
    return Ivshmem(first, DOORBELL), Ivshmem(second, DOORBELL)


@pytest.mark.parametrize("how", ["in process", "over sockets", "clients of a server"])
class TestPeers:
    def test_doorbells(self, how: str, serving: Serving) -> None:
        one, two = pair(how, serving)
        with one, two:
            assert (one.id, two.id, one.revision) == (0, 1, 1)
            assert len(one.memory) == len(two.memory) == 1 << 18
            one.start(), two.start()
            assert one.wait(0) == []
            for vector in (0, 1):
                one.ring(1, vector)
                assert two.wait(5) == [vector]
                two.ring(0, vector)
                assert one.wait(5) == [vector]
            one.ring(5, 0), one.ring(1, 7)
            assert two.wait(0.02) == []
            one.stop()
            two.ring(0, 0)
            assert one.vectors == 0

    def test_what_dpdk_shares(self, how: str, serving: Serving) -> None:
        """Published by one, found by the other, who does nothing for it; packets travel both ways, told by doorbells."""
        host, guest = pair(how, serving)
        with host, guest:
            host.start(), guest.start()
            pages = Hugepages(16, 4096)
            metadata = Host(pages).create("vm")
            pool = Mempool.create(pages, "mbufs", 32, 256)
            to_guest, to_host = pages.ring("rx", 64), pages.ring("tx", 64)
            for ring in (to_guest, to_host):
                metadata.add_ring(ring)
            metadata.add_mempool(pool)
            metadata.publish(host.memory)
            there = attach([guest])
            objects = there.mempool("mbufs")
            for turn in range(5):
                sent = pool.get(8)
                for i, pointer in enumerate(sent):
                    pool.view(pointer)[:4] = (turn << 8 | i).to_bytes(4, "little")
                assert to_guest.enqueue_bulk(sent)
                host.ring(1)
                assert guest.wait(5) == [0]
                received = there.ring("rx").dequeue_burst(64)
                assert received == sent
                for pointer in received:
                    objects.view(pointer)[:4] = bytes(reversed(objects.view(pointer)[:4]))
                assert there.ring("tx").enqueue_bulk(received)
                guest.ring(0, 1)
                assert host.wait(5) == [1]
                back = to_host.dequeue_burst(64)
                assert [int.from_bytes(pool.view(p)[:4], "big") for p in back] == [turn << 8 | i for i in range(8)]
                pool.put(back)
            assert len(objects) == 32


def test_plain_has_no_doorbell() -> None:
    with Ivshmem(open_functions(PLAIN, size="64K")[0], PLAIN) as device:
        assert device.id == 0 and len(device.memory) == 1 << 16
        with pytest.raises(NotSupported, match="no interrupts"):
            device.start()
        with pytest.raises(UsageError):
            device.ring(65536)
        device.ring(0)


def legacy(**options: str) -> tuple[Ivshmem, Ivshmem]:
    first, second = open_functions(LEGACY, 2, **options)
    return Ivshmem(first, LEGACY), Ivshmem(second, LEGACY)


@pytest.mark.parametrize("vectors", ["0", "2"])
def test_revision_0(vectors: str) -> None:
    """The ID, and with it the memory, comes late; without MSI-X, INTx says that somebody rang, not which vector."""
    first, second = legacy(vectors=vectors, size="64K")
    with first, second:
        assert (first.id, second.id, first.revision) == (0, 1, 0)
        first.start(), second.start()
        for _ in range(3):
            first.ring(1, 0)
            assert second.wait(1) == [0]
            second.ring(0, 0)
            assert first.wait(1) == [0]
        assert second.wait(0.01) == []


def test_revision_0_whose_server_says_nothing() -> None:
    alone: Any = alone_functions(LEGACY, clock="manual")
    alone.loop._deferred.clear()
    with pytest.raises(DeviceTimeout, match="gets no memory"):
        Ivshmem(InProcess(alone.function, alone), LEGACY, ready=0.1)
    alone.close()


def test_memory_that_is_not_mapped(serving: Serving) -> None:
    """A transport that only calls is of no use here, and says so."""

    class Calling(VfioUser):
        def bar(self, index: int) -> Any:
            bar = super().bar(index)
            words = {f"u{width}": getattr(bar, f"u{width}") for width in (16, 32, 64)}
            return type("Bar", (), {"index": index, "size": bar.size, "u8": [], **words})()

    with pytest.raises(NotSupported, match="not mapped whole"):
        Ivshmem(Calling(str(serving.sockets[0])), DOORBELL)
