"""What a host shares with guests through IVSHMEM: a server of doorbells, metadata files of several kinds, and its own part.

Four metadata files, of which each guest is given three, each in a device of its own:

- ``chain`` is in the memory of the server: pages of two sizes, with a memory zone, a pool, and rings of one producer and one
  consumer. Objects travel through them from the host to the first guest, to the second and back, told by doorbells;
- ``work`` is in a file: a pool, and rings whose ends belong to all three at once;
- ``letter 1`` and ``letter 2`` are in files that one guest each can see.
"""

from __future__ import annotations

import subprocess
import sys
import time
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from drivers.nics.ivshmem import Host, Hugepages, Ivshmem, Mempool, Ring
from drivers.nics.ivshmem.hugepages import PHYSICAL, VIRTUAL
from drivers.transports.in_process import open_functions
from regmodel.catalogue import find
from regmodel.structures.ivshmem import RingFlag

DOORBELL, PLAIN = find("ivshmem-doorbell"), find("ivshmem-plain")
GUESTS = 2
COUNT = 64
SECONDS = 90.0
LARGE, SMALL = 2 << 20, 64 << 10
"""Bytes of a page: two of the sizes that Linux on Arm has at once."""
SIZE = {"chain": "4M", "work": "1M", **{f"letter {place}": "128K" for place in range(1, GUESTS + 1)}}
PATIENCE = 300.0
"""Seconds that who has claimed entries of a ring may stand still, as a guest beside another one may: nobody dies in here."""
GIVEN = 48
"""Objects of ``work`` that are under way at most: the others are there to be borrowed."""
SHARES = 100
"""Objects that each guest has to have worked on."""
ALONE = RingFlag.SP_ENQ | RingFlag.SC_DEQ


def pages(number: int, count: int, size: int, first: Hugepages | None = None) -> Hugepages:
    """``count`` pages of ``size`` bytes, away from those of other numbers, all in one address space."""
    away = number << 30
    return Hugepages(count, size, addr=VIRTUAL + away, phys_addr=PHYSICAL + away, space=first.space if first else None)


class Sharing:
    """All of that, published. ``host`` is the first client of the server at ``socket``; ``files`` are the other memories."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.socket = folder / "ivshmem"
        command = [sys.executable, "-m", "regmodel.cli", "ivshmem-server", "--socket", str(self.socket), "--size",
                   SIZE["chain"], "--vectors", "2"]  # fmt: skip
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        stack.callback(process.terminate)
        assert process.stdout is not None and b"# join it" in process.stdout.readline()
        (transport,) = open_functions(DOORBELL, server=str(self.socket), vectors="2")
        self.host = stack.enter_context(Ivshmem(transport, DOORBELL))
        self.host.start()
        assert self.host.id == 0
        self.files = {name: folder / name.replace(" ", "-") for name in SIZE if name != "chain"}
        memory = {"chain": self.host.memory}
        for name, path in self.files.items():
            (plain,) = open_functions(PLAIN, memory=str(path), size=SIZE[name])
            memory[name] = stack.enter_context(Ivshmem(plain, PLAIN)).memory
        large = pages(0, 1, LARGE)
        self._pages = [large, *(pages(number, 8, SMALL, large) for number in (1, 2, 3))]
        self._metadata = Host(*self._pages)
        self._chain(*self._pages[:2])
        self._work(self._pages[2])
        self._letters(self._pages[3])
        for name, file in self._metadata.metadata.items():
            file.publish(memory[name])
        self.directory[0] = 1

    def _zone(self, zones: Hugepages, name: str) -> memoryview:
        return zones.view(zones.zones[name])

    def _chain(self, large: Hugepages, small: Hugepages) -> None:
        metadata = self._metadata.create("chain")
        self.pool = Mempool.create(small, "objects", COUNT, 512)
        self.rings: list[Ring] = [large.ring(f"to {place}", 2 * COUNT, ALONE) for place in range(GUESTS + 1)]
        metadata.add_mempool(self.pool)
        for ring in self.rings:
            metadata.add_ring(ring)
        metadata.add_memzone(small.reserve("directory", 4 * (GUESTS + 1)))
        metadata.add_memzone(large.reserve("book", 1 << 20))
        self._zone(large, "book")[:] = bytes(i * i >> 7 & 0xFF for i in range(1 << 10)) * (1 << 10)

    def _work(self, small: Hugepages) -> None:
        metadata = self._metadata.create("work")
        self.work, self.todo, self.done = (
            Mempool.create(small, "work", COUNT, 128), small.ring("todo", 2 * COUNT), small.ring("done", 2 * COUNT),
        )  # fmt: skip
        metadata.add_mempool(self.work)
        metadata.add_ring(self.todo)
        metadata.add_ring(self.done)
        metadata.add_memzone(small.reserve("over", 4))
        for ring in (self.work.ring, self.todo, self.done):
            ring.patience = PATIENCE

    def _letters(self, small: Hugepages) -> None:
        for place in range(1, GUESTS + 1):
            name = f"letter {place}"
            self._metadata.create(name).add_memzone(small.reserve(name, 64, align=SMALL))  # a page has one place
            self._zone(small, name)[:7] = b"read me"

    @property
    def directory(self) -> memoryview:
        """The ID of each place, and one more."""
        return self._zone(self._pages[1], "directory").cast("I")

    def letter(self, place: int) -> bytes:
        """What stands in it now."""
        return bytes(self._zone(self._pages[3], f"letter {place}")).rstrip(b"\0")

    def expected(self, place: int) -> dict[str, Any]:
        """What a guest finds, by its own account."""
        names = ["chain", "work", f"letter {place}"]
        found = [zone for name in names for zone in self._metadata.find(name).zones]
        return {
            "metadata": names,
            "memzones": sorted([zone.name, zone.addr, zone.len, zone.hugepage_sz] for zone in found),
            "rings": sorted(zone.name[3:] for zone in found if zone.name.startswith("RG_")),
            "mempools": ["objects", "work"],
            "book": zlib.crc32(self._zone(self._pages[0], "book")),
        }

    def round(self, burst: int) -> float:
        """``burst`` objects once around; the seconds that took. All of them come back, and their content is right."""
        sent = self.pool.get(burst)
        for i, pointer in enumerate(sent):
            self.pool.view(pointer)[:8] = (i << 40 | 0x1234).to_bytes(8, "little")
        start = time.monotonic()
        assert self.rings[1].enqueue_bulk(sent)
        self.host.ring(self.directory[1] - 1, 1)
        back: list[int] = []
        while len(back) < burst:
            assert self.host.wait(SECONDS) == [0], (len(back), list(self.directory))
            back += self.rings[0].dequeue_burst(burst)
        taken = time.monotonic() - start
        assert back == sent
        for i, pointer in enumerate(back):
            data = bytes(self.pool.view(pointer)[:8])
            assert int.from_bytes(data[::-1] if GUESTS % 2 else data, "little") == i << 40 | 0x1234
        self.pool.put(back)
        return taken

    def work_together(self) -> dict[int, int]:
        """Hand out numbered objects until each guest has worked on ``SHARES``, doing some oneself; how many each has done.

        All three get and put, enqueue and dequeue at any time. Every number comes back once.
        """
        given, seen = 0, list[int]()
        done = dict.fromkeys(range(GUESTS + 1), 0)
        deadline = time.monotonic() + SECONDS
        while min(done[place] for place in range(1, GUESTS + 1)) < SHARES or len(seen) < given:
            assert time.monotonic() < deadline, (given, done)
            more = self.work.get(4) if min(done.values()) < SHARES and given - len(seen) + 4 <= GIVEN else []
            for pointer in more:
                self.work.view(pointer)[:8] = given.to_bytes(8, "little")
                given += 1
            assert self.todo.enqueue_bulk(more)
            if done[0] < SHARES:
                work_on(self.work, self.todo, self.done, place=0)
            for pointer in self.done.dequeue_burst(COUNT):
                data = self.work.view(pointer).cast("Q")
                seen.append(data[0])
                done[data[1]] += 1
                self.work.put([pointer])
        self._zone(self._pages[2], "over").cast("I")[0] = 1
        assert sorted(seen) == list(range(given))
        return done


def work_on(pool: Mempool, todo: Ring, done: Ring, place: int) -> int:
    """Put ``place`` into one object that waits, if any; how many that were."""
    pointers = todo.dequeue_burst(1)
    for pointer in pointers:
        pool.view(pointer).cast("Q")[1] = place
    assert done.enqueue_bulk(pointers)
    return len(pointers)
