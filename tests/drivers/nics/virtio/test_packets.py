"""Packets between two drivers on two NICs of one card: every front and ring format, sizes, chains, rings that wrap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from regmodel.errors import UsageError
from tests.drivers.nics.virtio.bench import FRONTS, Bouncing, Side, VirtioBench, frame


@pytest.fixture(params=list(FRONTS))
def bench(request: pytest.FixtureRequest) -> Iterator[VirtioBench]:
    bench = VirtioBench(request.param)
    yield bench
    bench.close()


def pair(bench: VirtioBench, **options: object) -> tuple[Side, Side]:
    return bench.side(0, **options), bench.side(1, **options)


def posted(bench: VirtioBench, side: Side) -> int:
    """Buffers that a receive ring of 64 descriptors holds."""
    return 512 - side.pool.available


def test_both_ways(bench: VirtioBench) -> None:
    a, b = pair(bench)
    for _ in range(20):  # rings of 64, and of 256 where the device says so, wrap
        for sender, receiver in ((a, b), (b, a)):
            packets = [frame(receiver.port.mac_addr, sender.port.mac_addr, 60 + i, i) for i in range(30)]
            assert sender.send(*packets) == 30
            assert receiver.receive() == packets
    assert posted(bench, a) == posted(bench, b) == 64
    stats = a.port.stats()
    octets = 20 * sum(60 + i for i in range(30))
    assert (stats.ipackets, stats.opackets, stats.ibytes, stats.obytes) == (600, 600, octets, octets)


def test_sizes_and_chains(bench: VirtioBench) -> None:
    """Chains on the way out; merged buffers on the way in, where the device merges."""
    merges = "unmerged" not in bench.front and "pieces" not in bench.front
    a, b = pair(bench, **({"mtu": 9000} if merges else {}))
    sizes = [60, 1514, 2035, 2036, 2037, 2048, 2049, 4071, 4072, 4084, 4085, 9014] if merges else [60, 61, 1000, 1514]
    for size in sizes:
        packet = frame(b.port.mac_addr, a.port.mac_addr, size, size & 0xFF)
        cut = put_cut(a, packet, [i for i in (14, 40, 2000, 4000, 6000, 8000) if i < size])
        assert a.send_packets(np.array([cut], np.intp)) == 1
        assert a.send(packet) == 1
        assert b.receive() == [packet, packet]
    assert posted(bench, a) == posted(bench, b) == 64


def test_more_than_there_is_room_for(bench: VirtioBench) -> None:
    a, b = pair(bench)
    packets = [frame(b.port.mac_addr, a.port.mac_addr, 60, i) for i in range(300)]
    todo = np.array([a.pool.put(packet) for packet in packets], np.intp)
    sent = 0
    got: list[bytes] = []
    while sent < len(packets):
        taken = a.port.tx_burst(0, todo[sent:])
        sent += taken
        bench.alone.turn()
        got += b.receive()
        a.port.tx_done_cleanup(0)
    assert got == packets
    assert posted(bench, a) == posted(bench, b) == 64


def test_stop_and_start(bench: VirtioBench) -> None:
    a, b = pair(bench)
    for _ in range(3):
        packet = frame(b.port.mac_addr, a.port.mac_addr, 100)
        assert a.send(packet) == 1 and b.receive() == [packet]
        b.port.stop()
        assert b.pool.available == 512, "all buffers are back"
        a.send(packet)
        b.port.start()
        assert b.receive() == []
        a.port.reset()
    a.port.close()
    b.port.close()
    assert a.pool.available == b.pool.available == 512


@pytest.mark.parametrize("front", ["split", "packed", "legacy"])
def test_memory_that_is_not_coherent(front: str) -> None:
    bench = VirtioBench(front, Bouncing)
    a, b = pair(bench, mtu=9000)
    for size in (60, 1514, 5000, 9014):
        packets = [frame(b.port.mac_addr, a.port.mac_addr, size, i) for i in range(5)]
        assert a.send(*packets) == 5
        assert b.receive() == packets
    bench.close()


def test_what_never_fits_is_refused() -> None:
    bench = VirtioBench("split")
    a, _ = pair(bench, rings=16)
    huge = np.array([put_cut(a, bytes(100), list(range(1, 40)))], np.intp)
    with pytest.raises(UsageError, match=r"takes 40 descriptors, and transmit queue 0 takes 65535 bytes in 16"):
        a.send_packets(huge)
    bench.close()


def put_cut(side: Side, packet: bytes, cuts: list[int]) -> int:
    """A chain of buffers, cut at these offsets."""
    pieces = [packet[i:j] for i, j in zip([0, *cuts], [*cuts, len(packet)], strict=True)]
    buffers = [side.pool.put(piece) for piece in pieces]
    side.pool.chain(buffers)
    return buffers[0]
