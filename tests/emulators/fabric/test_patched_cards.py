"""Cards of different kinds in one server, joined by ``patch:``: a driver on each, frames from one to the other and back.

One of them has no DMA and no doorbells, one has virtqueues, one has a PF behind a mailbox; on the cable all are Ethernet.
"""

from __future__ import annotations

import contextlib
import itertools
import time

import pytest

from drivers.nics import driver_for
from drivers.transports.vfio_user import VfioUser
from emulators.process import ServerProcess
from regmodel.catalogue import find
from tests.drivers.nics.igbvf.bench import Side, frame

KINDS = ("avp", "virtio-net", "igbvf")
SIZES = (60, 61, 64, 127, 128, 500, 1024, 1513, 1514)
SECONDS = 60.0
OPTIONS = {"avp": {"patience": 20.0}}
"""For a server that is late."""
ALL = b"\xff" * 6


def heard(side: Side, count: int) -> list[bytes]:
    """What has come, once there are ``count``."""
    got: list[bytes] = []
    deadline = time.monotonic() + SECONDS
    while len(got) < count and time.monotonic() < deadline:
        got += side.receive()
        time.sleep(0.001)
    return got


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(KINDS, 2)))
def test_frames_between_two_kinds(one: str, other: str) -> None:
    """In both directions, to an address and to all; the port of neither is told what is for a third."""
    with ServerProcess([one, other], nets=["patch:x", "patch:x"]) as server, contextlib.ExitStack() as stack:
        sides = []
        for name, path in zip((one, other), server.sockets, strict=True):
            transport = stack.enter_context(VfioUser(str(path)))
            sides.append(Side(driver_for(find(name))(transport, find(name), **OPTIONS.get(name, {}))))
            sides[-1].port.link_wait(SECONDS)
        assert sides[0].port.mac_addr != sides[1].port.mac_addr
        for sender, receiver in (sides, sides[::-1]):
            ours, theirs = sender.port.mac_addr, receiver.port.mac_addr
            frames = [frame(theirs, ours, size, seed) for seed, size in enumerate(SIZES)]
            stranger = frame(b"\x02\0\0\0\0\x77", ours, 100)
            assert sender.send(*frames, stranger, frame(ALL, ours, 200)) == len(frames) + 2
            assert heard(receiver, len(frames) + 1) == [*frames, frame(ALL, ours, 200)]
            assert sender.receive() == []
        with server.control() as client:
            stats = client.ask("stats")
        for card in ("card 0", "card 1"):
            backend = stats[card]["ports"][0]["uplink"]["backend"]
            assert (backend["plugged"], backend["frames_in"], backend["frames_out"]) == (True, *[len(SIZES) + 2] * 2)
        for side in sides:
            side.port.close()
