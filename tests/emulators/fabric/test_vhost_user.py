"""The vhost-user front end against a back end that does as it is told, and ones that do not."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emulators.fabric.backends import parse
from emulators.fabric.backends.vhost_user import VhostUser, _flow
from emulators.fabric.offload import Gso, Offload, Partial, Takes, finish
from emulators.fabric.vhost_user import chosen, takes
from emulators.fabric.vrings import SIZE
from emulators.loop import Loop
from regmodel.errors import UsageError
from regmodel.structures.virtio_features import Feature

from . import vhost_device
from .test_backends import open_files
from .test_offload import BROADCAST, expected, partial
from .vhost_device import CSUM, GOOD, GUEST_CSUM, GUEST_TSO4, HOST_ECN, HOST_TSO4, MQ, MRG_RXBUF, PROTOCOL, VERSION_1, Device
from .wires import NearEnd, numbered, turn_until

Joined = tuple[VhostUser, NearEnd, Device]


@contextmanager
def listening(loop: Loop, path: Path, options: str = "") -> Iterator[tuple[VhostUser, NearEnd]]:
    backend, near = parse(f"vhost-user:listen={path}{options}"), NearEnd()
    assert isinstance(backend, VhostUser)
    backend.open(loop, near)
    try:
        yield backend, near
    finally:
        backend.close()


@contextmanager
def joined(loop: Loop, path: Path, *features: int, options: str = "", **more: int) -> Iterator[Joined]:
    """A front end that listens, and a device that has come and been told all."""
    with listening(loop, path, options) as (backend, near):
        device = Device.accept(path, *features, **more)
        turn_until(loop, lambda: device.serve() or near.carrier[-1])
        try:
            yield backend, near, device
        finally:
            device.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


BAD = [
    ("vhost-user:", "one of listen= and connect= is needed"),
    ("vhost-user:listen=127.0.0.1:5", "memory is shared over a UNIX socket only"),
    ("vhost-user:listen=/x,queues=9", "queues=9 is not a number from 1 to 8"),
    ("vhost-user:listen=/x,server=on", "unknown option server"),
]


@pytest.mark.parametrize(("spec", "text"), BAD)
def test_a_bad_specification_is_one_line(spec: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(spec)
    assert str(caught.value).startswith(f"--net {spec}: {text}")


# -- frames


def test_frames_go_both_ways_in_order(loop: Loop, path: Path) -> None:
    with joined(loop, path) as (backend, near, device):
        frames = [*numbered(100), *numbered(3, 9018), *numbered(2, 14)]
        assert backend.send([memoryview(frame) for frame in frames]) == len(frames)
        assert device.get() == [(bytes(12), frame) for frame in frames]
        assert device.put(frames) == len(frames)
        turn_until(loop, lambda: len(near.frames) == len(frames))
        assert near.frames == frames
        assert max(near.bursts) <= 64
        assert backend.counters()["frames_in"] == backend.counters()["frames_out"] == len(frames)


def test_rings_go_round_and_indexes_wrap(loop: Loop, path: Path) -> None:
    with joined(loop, path) as (backend, near, device):
        for start in range(0, 70_000, 500):
            frames = [struct.pack(">I", start + n).rjust(60, b"\xff") for n in range(500)]
            assert backend.send(frames) == 500
            assert [frame for _, frame in device.get()] == frames
            if start % 10_000 == 0 or start > 64_000:
                near.frames.clear()
                assert device.put(frames) == 500
                turn_until(loop, lambda frames=frames: near.frames == frames)


def test_a_full_ring_takes_no_more_and_goes_on_when_there_is_room(loop: Loop, path: Path) -> None:
    with joined(loop, path) as (backend, _, device):
        frames = numbered(SIZE + 10)
        assert backend.send(frames) == SIZE
        assert backend.send(frames) == 0
        assert [frame for _, frame in device.get()] == frames[:SIZE]
        big = numbered(20, 65000)
        assert backend.send(big) == SIZE // 32
        assert [frame for _, frame in device.get()] == big[: SIZE // 32]


def test_buffers_may_come_back_in_any_order(loop: Loop, path: Path) -> None:
    with joined(loop, path) as (backend, _, device):
        vring, shuffle = device.vrings[1], random.Random(1)
        for _ in range(20):
            frames = numbered(100, 3000)
            assert backend.send(frames) == 100
            chains = [device.chain(vring) for _ in range(100)]
            assert all(len(chain[1]) == 2 for chain in chains if chain)
            shuffle.shuffle(chains)
            for chain in chains:
                assert chain is not None
                device.use(vring, chain[0], 0)
            device.publish(vring)


def test_the_device_is_kicked_unless_it_looks_by_itself(loop: Loop, path: Path) -> None:
    with joined(loop, path) as (backend, _, device):
        vring = device.vrings[1]
        backend.send(numbered(3))
        assert os.eventfd_read(vring.kick) == 1
        struct.pack_into("<H", device.memory, vring.used, 1)
        backend.send(numbered(3))
        with pytest.raises(BlockingIOError):
            os.eventfd_read(vring.kick)
        assert device.word(vring.available) == 1  # and need not call


def test_partial_frames_both_ways(loop: Loop, path: Path) -> None:
    with joined(loop, path) as (backend, near, device):
        assert backend.takes == Takes.CSUM | Takes.TSO4
        frame = partial(BROADCAST, 1448)
        assert backend.send([frame, numbered(1)[0]]) == 2
        (header, octets), (plain, _) = device.get()
        assert (octets, plain) == (frame, bytes(12))
        assert struct.unpack("<BBHHHHH", header) == (1, 1, 66, 1448, 34, 16, 0)
        assert device.put([octets], header[:10]) == 1
        turn_until(loop, lambda: near.frames)
        assert isinstance(near.frames[0], Partial)
        assert near.frames[0].offload == frame.offload._replace(hdr_len=66)
        assert finish(near.frames[0]) == expected(BROADCAST, 1448)


def test_a_port_that_knows_no_partial_frames_negotiates_none(loop: Loop, path: Path) -> None:
    near = NearEnd()
    near.partial = False
    backend = parse(f"vhost-user:listen={path}")
    backend.open(loop, near)
    device = Device.accept(path)
    turn_until(loop, lambda: device.serve() or near.carrier[-1])
    assert device.features == VERSION_1 | MRG_RXBUF | PROTOCOL
    assert backend.takes == Takes.NONE
    backend.close()
    device.close()


def test_without_merged_buffers_a_frame_has_one(loop: Loop, path: Path) -> None:
    with joined(loop, path, GOOD & ~MRG_RXBUF) as (_, near, device):
        assert device.features == VERSION_1 | PROTOCOL | CSUM | GUEST_CSUM | HOST_TSO4
        device.put(numbered(5, 2036), bytes(8) + b"\xff\xff")
        turn_until(loop, lambda: near.frames == numbered(5, 2036))


def test_queue_pairs_keep_flows_in_order(loop: Loop, path: Path) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    with joined(loop, path, options=",queues=3") as (backend, near, device):
        assert device.features & MQ
        assert sorted(device.vrings) == list(range(6))
        assert all(vring.enabled for vring in device.vrings.values())
        flows = [bytes(Ether(src="02:00:00:00:00:01") / IP(src="10.0.0.1") / UDP(sport=port)) for port in range(30)]
        frames = [flow + bytes([n]) for n in range(5) for flow in flows]
        assert backend.send(frames) == 150
        got = [[frame for _, frame in device.get(index)] for index in (1, 3, 5)]
        assert sorted(frame for queue in got for frame in queue) == sorted(frames)
        assert all(got)
        for flow in flows:
            assert [frame[-1] for queue in got for frame in queue if frame[:-1] == flow] == [0, 1, 2, 3, 4]
        for index in (0, 2, 4):
            assert device.put(numbered(10), index=index) == 10
        turn_until(loop, lambda: near.frames == numbered(10) * 3)


def test_a_flow_is_what_it_should_be() -> None:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import ARP, Ether

    for ip in (IP(src="10.0.0.1"), IPv6(src="fd00::1")):
        one, other = (bytes(Ether() / ip / TCP(sport=port, seq=1)) for port in (1, 2))
        assert _flow(one) == _flow(bytes(Ether() / ip / TCP(sport=1, seq=2)))
        assert _flow(one) != _flow(other)
    first, later = (bytes(Ether() / IP(src="10.0.0.1", flags="MF", frag=n) / TCP(sport=1 + n)) for n in (0, 9))
    assert _flow(first) == _flow(later)
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    assert _flow(bytes(ether / ARP())) == _flow(bytes(ether / ARP(op=2)))


# -- the life of a connection


@pytest.mark.parametrize("features", [GOOD, GOOD & ~PROTOCOL], ids=["protocol features", "none"])
@pytest.mark.parametrize("protocol", [0, vhost_device.P_REPLY_ACK], ids=["silent", "acknowledged"])
def test_peers_old_and_new(loop: Loop, path: Path, features: int, protocol: int) -> None:
    with joined(loop, path, features, protocol=protocol) as (backend, _, device):
        assert (vhost_device.ENABLE in device.said) is bool(features & PROTOCOL)
        assert device.protocol == (protocol if features & PROTOCOL else 0)
        assert backend.send(numbered(3)) == 3
        assert len(device.get()) == 3


def test_a_peer_that_restarts_begins_anew_with_other_memory(loop: Loop, path: Path) -> None:
    with listening(loop, path) as (backend, near):
        before, files = open_files(), []
        for _ in range(3):
            device = Device.accept(path)
            turn_until(loop, lambda device=device: device.serve() or near.carrier[-1])
            assert backend.send(numbered(5)) == 5
            assert [frame for _, frame in device.get()] == numbered(5)
            files.append(os.fstat(device.file).st_ino)
            device.close()
            turn_until(loop, lambda: not near.carrier[-1])
            assert backend.send(numbered(5)) == 0
        assert len(set(files)) == 3
        assert open_files() == before
        assert backend.counters()["connections"] == 3


def test_the_client_comes_again(loop: Loop, path: Path) -> None:
    backend, near = parse(f"vhost-user:connect={path}"), NearEnd()
    backend.open(loop, near)
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            turn_until(loop, lambda listener=listener: select.select([listener], [], [], 0)[0])
            device = Device(listener.accept()[0])
            turn_until(loop, lambda device=device: device.serve() or near.carrier[-1])
            assert backend.send(numbered(2)) == 2
            assert len(device.get()) == 2
            device.close()
        path.unlink()
        turn_until(loop, lambda: not near.carrier[-1])
    backend.close()


def test_nothing_is_left_open(loop: Loop, path: Path) -> None:
    before = open_files()
    with listening(loop, path) as (_, near):
        device = Device.accept(path)
        turn_until(loop, lambda: device.serve() or near.carrier[-1])
        device.close()
    assert open_files() == before
    assert not path.exists()


# -- features


@pytest.mark.parametrize(
    ("offered", "used", "taken"),
    [
        (GOOD, CSUM | GUEST_CSUM | HOST_TSO4 | GUEST_TSO4 | MRG_RXBUF | VERSION_1, Takes.CSUM | Takes.TSO4),
        (VERSION_1 | HOST_TSO4 | GUEST_TSO4 | MRG_RXBUF, VERSION_1 | MRG_RXBUF, Takes.NONE),
        (VERSION_1 | CSUM | HOST_ECN, VERSION_1 | CSUM, Takes.CSUM),
        (VERSION_1 | GUEST_CSUM | GUEST_TSO4, VERSION_1 | GUEST_CSUM, Takes.NONE),
        ((1 << 64) - 1, None, Takes.ALL),
    ],
)
def test_nothing_is_used_without_what_it_needs(offered: int, used: int | None, taken: Takes) -> None:
    features = chosen(Feature(offered), partial=True, pairs=1)
    assert used is None or features == used
    assert takes(features) == taken
    assert not features & ~Feature(offered)
    assert Feature.RING_PACKED not in features


# -- peers that are of no use, or mean harm

Deed = Callable[[Device], None]


def _answer(request: int, number: int) -> Deed:
    return lambda device: device.answers.__setitem__(request, number)


REFUSED: list[tuple[str, str, Deed, str]] = [
    ("legacy", "", _answer(vhost_device.GET_FEATURES, GOOD & ~VERSION_1), "it is a legacy device only, without VERSION_1"),
    ("one queue", ",queues=4", _answer(vhost_device.QUEUE_NUM, 2), "it has 2 queue pairs, not 4: write queues=2"),
    ("no MQ", ",queues=4", _answer(vhost_device.GET_PROTOCOL, 8), "it has 1 queue pair, not 4: write queues=1"),
    ("memory", "", lambda device: device.refuses.add(vhost_device.SET_MEM_TABLE), "it refuses SET_MEM_TABLE"),
    ("ring", "", lambda device: device.refuses.add(vhost_device.ADDR), "it refuses SET_VRING_ADDR"),
    ("talks", "", lambda device: device.reply(99, 0), "it does not answer GET_FEATURES as vhost-user does"),
    ("speaks HTTP", "", lambda device: device.peer.send(b"HTTP/1.1 400 Bad"), "it does not answer GET_FEATURES as vhost-user"),
    ("long answer", "", lambda device: device.peer.send(struct.pack("<III", 1, 5, 1 << 31)), "it does not answer GET_FEATURES"),
    ("no answer", "", lambda device: device.peer.send(struct.pack("<IIIQ", 1, 1, 8, 0)), "it does not answer GET_FEATURES"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "deed", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_peer_of_no_use_is_told_once(
    loop: Loop, path: Path, caplog: pytest.LogCaptureFixture, options: str, deed: Deed, text: str
) -> None:
    caplog.set_level(logging.INFO)
    with listening(loop, path, options) as (backend, near):
        for turn in range(3):
            device = Device.accept(path)
            deed(device)

            def hung_up(device: Device = device, count: int = turn + 1) -> bool:
                device.serve()
                return backend.counters()["failures"] == count

            turn_until(loop, hung_up)
            device.close()
        assert True not in near.carrier
    assert len(caplog.records) == 1
    assert text in caplog.text


def _used(device: Device, index: int, *elements: tuple[int, int], count: int | None = None) -> None:
    vring = device.vrings[index]
    for head, length in elements:
        device.use(vring, head, length)
    if count is not None:
        vring.done = count
    device.publish(vring)


def _twice(device: Device) -> None:
    chain = device.chain(device.vrings[0])
    assert chain is not None
    device.vrings[0].seen = 0
    device.put(numbered(1))
    _used(device, 0, (chain[0], 60))


def _too_many_buffers(device: Device) -> None:
    device.put(numbered(1), index=0)
    at = device.memory.find(numbered(1)[0])
    struct.pack_into("<H", device.memory, at - 2, 9)


HARMFUL: list[tuple[str, Deed, str]] = [
    ("index jumps", lambda device: _used(device, 0, count=1000), "it used 1000 buffers of vring 0, of 512 that it had"),
    ("index goes back", lambda device: _used(device, 0, count=65535), "it used 65535 buffers of vring 0"),
    ("no such buffer", lambda device: _used(device, 0, (SIZE, 60)), "it gave back buffer 512 of vring 0, which"),
    ("huge number", lambda device: _used(device, 0, (0xFFFFFFFF, 60)), "it gave back buffer 4294967295 of vring 0"),
    ("twice", _twice, "it gave back buffer 0 of vring 0, which it did not have"),
    ("too long", lambda device: _used(device, 0, (0, 2049)), "it wrote 2049 octets into a buffer of 2048 of vring 0"),
    ("no header", lambda device: _used(device, 0, (0, 11)), "it wrote 11 octets into a buffer"),
    ("no buffers", lambda device: _used(device, 0, (0, 60)), "it says that a frame has 0 buffers of vring 0, of"),
    ("more buffers", _too_many_buffers, "it says that a frame has 9 buffers of vring 0, of which there are 1"),
    ("sent twice", lambda device: _used(device, 1, (0, 0), (0, 0)), "it gave back buffer 0 of vring 1, which it did not have"),
    ("sent more", lambda device: _used(device, 1, count=SIZE + 1), "it used 513 buffers of vring 1, of 512 that it had"),
]  # fmt: skip


@pytest.mark.parametrize(("deed", "text"), [row[1:] for row in HARMFUL], ids=[row[0] for row in HARMFUL])
def test_a_peer_that_breaks_the_rules_loses_its_rings(
    loop: Loop, path: Path, caplog: pytest.LogCaptureFixture, deed: Deed, text: str
) -> None:
    with listening(loop, path) as (backend, near):
        for _ in range(2):
            device = Device.accept(path)
            turn_until(loop, lambda device=device: device.serve() or near.carrier[-1])
            backend.send(numbered(SIZE))
            deed(device)
            backend.send(numbered(1))  # looks for room
            turn_until(loop, lambda: not near.carrier[-1])
            assert backend.send(numbered(1)) == 0
            device.close()
        assert near.frames in ([], [numbered(1)[0]], [bytes(48)], [bytes(48)] * 2)
    assert len(caplog.records) == 1
    assert text in caplog.text


def test_the_peer_cannot_shrink_the_memory(loop: Loop, path: Path) -> None:
    with joined(loop, path) as (backend, _, device):
        for size in (0, device.size + 4096):
            with pytest.raises(PermissionError):
                os.ftruncate(device.file, size)
        with pytest.raises(PermissionError):
            fcntl.fcntl(device.file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        assert backend.send(numbered(1)) == 1


def test_a_flood_of_file_descriptors_is_not_kept(loop: Loop, path: Path) -> None:
    with joined(loop, path) as (_, near, device):
        before = len(open_files())
        with contextlib.suppress(BrokenPipeError):
            for _ in range(20):
                socket.send_fds(device.peer, [b"x"], [device.file] * 200)
                loop.turn()
        turn_until(loop, lambda: not near.carrier[-1])
        assert len(open_files()) <= before


def test_a_peer_that_says_nothing_is_given_up(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = 0
    loop = Loop(now=lambda: now)
    with listening(loop, path) as (backend, _), socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        turn_until(loop, lambda: backend.counters()["connections"])
        now = 9_900_000_000
        loop.turn()
        assert backend.counters()["failures"] == 0
        now = 10_100_000_000
        turn_until(loop, lambda: backend.counters()["failures"])
        assert "does not say what it has to within 10 s" in caplog.text
    loop.close()


def test_a_peer_that_goes_in_the_middle(loop: Loop, path: Path) -> None:
    with joined(loop, path) as (_, _, device):
        words = len(device.said)
    path = path.with_name("t")
    with listening(loop, path) as (backend, near):
        before = open_files()
        for limit in range(words):
            device = Device.accept(path)
            connections = backend.counters()["connections"]

            def gone(device: Device = device, limit: int = limit, connections: int = connections) -> bool:
                if len(device.said) >= limit:
                    device.close()
                    return True
                device.serve_one()
                return False

            turn_until(loop, gone)
            turn_until(loop, lambda n=connections: backend.counters()["connections"] > n or not near.carrier[-1])
            for _ in range(5):
                loop.turn()
            assert not near.carrier[-1]
        assert open_files() == before


@pytest.mark.parametrize("seed", range(3))
def test_any_nonsense_in_the_rings_does_no_harm(loop: Loop, path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)
    with listening(loop, path) as (backend, near):
        for _ in range(30):
            device = Device.accept(path)
            turn_until(loop, lambda device=device: device.serve() or near.carrier[-1])
            backend.send(numbered(chance.randrange(200), chance.choice([60, 3000])))
            for _ in range(chance.randrange(1, 40)):
                vring = device.vrings[chance.randrange(2)]
                area = chance.choice([vring.used, vring.used + 4, vring.available, vring.descriptors])
                at = area + chance.randrange(600)
                device.memory[at : at + 2] = chance.randbytes(2)  # type: ignore[index]
            os.eventfd_write(device.vrings[0].call, 1)
            for _ in range(10):
                loop.turn()
                backend.send(numbered(50))
            device.close()
            turn_until(loop, lambda: not near.carrier[-1])
    assert {record.levelname for record in caplog.records} <= {"WARNING", "INFO"}


def test_segments_of_a_kind_that_there_is_not_are_refused_by_the_switch() -> None:
    assert Offload(True, 34, 16, Gso.UDP).needs == Takes.ALL
