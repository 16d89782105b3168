"""A program of the tests: a guest that takes part in what DPDK shares through IVSHMEM, with the Python driver on any transport.

It attaches, which takes no word of configuration, and says what it has found. It writes its ID into memory zone ``directory``,
and passes on what comes: objects out of one ring, their first bytes reversed, into the next ring, and a doorbell to whoever
reads that. Then it works on objects that several take from one ring and give to another, until zone ``over`` says so. On
standard output: ``{"ready": ID, ...}``, and at the end ``{"passed": N, "rung": N, "worked": N, "borrowed": N}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from contextlib import ExitStack
from typing import Any

from drivers.nics.ivshmem import Ivshmem, Shared, attach
from drivers.transports.opening import open_transport
from regmodel.catalogue import find
from regmodel.errors import RegmodelError

PATIENCE = 300.0
"""Seconds; another guest may still be starting its Python when this one is ready."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("via")
    parser.add_argument("also", nargs="*", help="further devices, which have memory and no doorbell")
    parser.add_argument("--place", type=int, required=True, help="ours in the chain; 0 is who begins it")
    parser.add_argument("--following", type=int, required=True, help="that of who comes next")
    parser.add_argument("--count", type=int, required=True, help="objects to pass on")
    wanted = parser.parse_args()
    try:
        with ExitStack() as stack:
            here, *others = [stack.enter_context(opened(via, name)) for via, name in devices(wanted)]
            take_part(here, others, wanted)
    except RegmodelError as error:
        print(f"peer: {error}", file=sys.stderr)
        return error.status
    return 0


def devices(wanted: argparse.Namespace) -> list[tuple[str, str]]:
    return [(wanted.via, "ivshmem-doorbell"), *((via, "ivshmem-plain") for via in wanted.also)]


def opened(via: str, name: str) -> Ivshmem:
    return Ivshmem(open_transport(via, find(name)), find(name))


def take_part(here: Ivshmem, others: list[Ivshmem], wanted: argparse.Namespace) -> None:
    here.start()
    shared = attach([here, *others])
    directory = shared.view("directory").cast("I")
    assert here.id is not None
    letter = shared.view(f"letter {wanted.place}")
    letter[:7] = bytes(letter[:7])[::-1]
    directory[wanted.place] = here.id + 1
    print(json.dumps({"ready": here.id, **account(shared)}), flush=True)
    print(json.dumps(pass_on(here, shared, directory, wanted) | work(shared, wanted.place)), flush=True)


def account(shared: Shared) -> dict[str, Any]:
    """What was found."""
    return {
        "metadata": shared.metadata,
        "memzones": sorted([zone.name, zone.addr, zone.len, zone.hugepage_sz] for zone in shared.memzones.values()),
        "rings": sorted(shared.rings),
        "mempools": sorted(shared.mempools),
        "book": zlib.crc32(shared.view("book")),
    }


def pass_on(here: Ivshmem, shared: Shared, directory: memoryview, wanted: argparse.Namespace) -> dict[str, int]:
    pool = shared.mempool("objects")
    coming, going = shared.ring(f"to {wanted.place}"), shared.ring(f"to {wanted.following}")
    passed = rung = 0
    while passed < wanted.count:
        vectors = here.wait(PATIENCE)
        if not vectors:
            raise RegmodelError(f"nobody has rung for {PATIENCE} s; {passed} objects were passed on")
        rung += len(vectors)
        assert list(vectors) == [wanted.place % 2], vectors
        pointers = coming.dequeue_burst(64)
        for pointer in pointers:
            view = pool.view(pointer)
            view[:8] = bytes(reversed(view[:8]))
        assert going.enqueue_bulk(pointers)
        here.ring(directory[wanted.following] - 1, wanted.following % 2)
        passed += len(pointers)
    return {"passed": passed, "rung": rung}


def work(shared: Shared, place: int) -> dict[str, int]:
    """Take what waits and say who had it; and borrow objects from the pool meanwhile, which nobody else may have then."""
    pool, todo, done = shared.mempool("work"), shared.ring("todo"), shared.ring("done")
    for ring in (pool.ring, todo, done):
        ring.patience = PATIENCE
    over = shared.view("over").cast("I")
    worked = borrowed = 0
    end = time.monotonic() + PATIENCE
    while not over[0]:
        if time.monotonic() > end:
            raise RegmodelError(f"nobody has said for {PATIENCE} s that it is over; {worked} objects were worked on")
        pointers = todo.dequeue_burst(2)
        for pointer in pointers:
            pool.view(pointer).cast("Q")[1] = place
        assert done.enqueue_bulk(pointers)
        worked += len(pointers)
        mine = pool.get(3)
        for pointer in mine:
            pool.view(pointer)[16:24] = place.to_bytes(8, "little")
        assert all(pool.view(pointer)[16:24] == place.to_bytes(8, "little") for pointer in mine), "somebody else has it, too"
        pool.put(mine)
        borrowed += len(mine)
    return {"worked": worked, "borrowed": borrowed}


if __name__ == "__main__":
    sys.exit(main())
