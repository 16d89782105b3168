"""TAP devices and partial frames, judged by the kernel: TCP and UDP between two of its network namespaces, through us."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from emulators.fabric import vnet
from emulators.fabric.backends import parse
from emulators.fabric.backends.tap import Tap
from emulators.fabric.offload import Gso, Offload, Partial, Takes, finish_all, sound
from emulators.loop import Loop
from regmodel.function import Buffer
from tests.support.inputs import missing

from .test_backends_peers import net_admin, run  # noqa: F401 (a fixture)
from .wires import turn_until

SERVER = """
import hashlib, socket, sys
family, kind = (socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET), sys.argv[2]
sock = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind((sys.argv[1], 5001))
digest, size, want = hashlib.sha256(), 0, int(sys.argv[3])
if kind == "tcp":
    sock.listen(1)
    print("ready", flush=True)
    sock, _ = sock.accept()
else:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    print("ready", flush=True)
sock.settimeout(20)
while size < want:
    data = sock.recv(1 << 16)
    if not data: break
    digest.update(data); size += len(data)
print(size, digest.hexdigest(), flush=True)
"""
CLIENT = """
import random, socket, sys
family, kind, size = (socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET), sys.argv[2], int(sys.argv[3])
data = random.Random(1).randbytes(size)
sock = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
sock.settimeout(20)
sock.connect((sys.argv[1], 5001))
if kind == "tcp":
    sock.sendall(data)
else:
    sock.setsockopt(17, 103, 1000)  # SOL_UDP, UDP_SEGMENT
    for at in range(0, size, 20000): sock.send(data[at : at + 20000])
"""


def digest_of(size: int) -> str:
    return hashlib.sha256(random.Random(1).randbytes(size)).hexdigest()


class Cable:
    """The near end of one TAP device: what comes in goes out of the other one, as far as ``passes`` unfinished."""

    def __init__(self, partial: bool, wanted: Takes, passes: Takes) -> None:
        self.partial, self.wanted, self.passes = partial, wanted, passes
        self.other: Tap | None = None
        self.longest, self.unfinished = 0, 0

    def receive(self, frames: Sequence[Buffer]) -> None:
        self.longest = max(self.longest, *map(len, frames))
        self.unfinished += sum(isinstance(frame, Partial) for frame in frames)
        finished = finish_all(frames, self.passes)
        assert self.other is not None
        assert self.other.send(finished) == len(finished)

    def set_carrier(self, up: bool) -> None: ...


@pytest.fixture
def namespaces(net_admin: None) -> Iterator[tuple[str, str]]:  # noqa: F811
    names = f"offa{os.getpid()}", f"offb{os.getpid()}"
    for name in names:
        run("ip", "netns", "add", name)
    yield names
    for name in names:
        run("ip", "netns", "del", name)


@contextmanager
def joined(
    loop: Loop, namespaces: tuple[str, str], wanted: Takes, passes: Takes, *, partial: bool = True
) -> Iterator[tuple[Tap, Tap, Cable, Cable]]:
    """Two TAP devices, each in its namespace, with a cable between them: 10.9.0.1 and 10.9.0.2, fd09::1 and fd09::2."""
    taps, cables = [], [Cable(partial, wanted, passes), Cable(partial, wanted, passes)]
    for number, (name, cable) in enumerate(zip(namespaces, cables, strict=True), 1):
        tap = parse(f"tap:{name}")
        assert isinstance(tap, Tap)
        tap.open(loop, cable)
        taps.append(tap)
        run("ip", "link", "set", name, "netns", name)
        run("ip", "-n", name, "addr", "add", f"10.9.0.{number}/24", "dev", name)
        run("ip", "-n", name, "addr", "add", f"fd09::{number}/64", "dev", name, "nodad")
        run("ip", "-n", name, "link", "set", name, "up")
    cables[0].other, cables[1].other = taps[1], taps[0]
    try:
        yield taps[0], taps[1], cables[0], cables[1]
    finally:
        for tap in taps:
            tap.close()


def transfer(loop: Loop, namespaces: tuple[str, str], kind: str, address: str, size: int) -> None:
    """``size`` octets from the first namespace to ``address`` in the second, which has to get them all, and right."""
    words = [address, kind, str(size)]
    command = ["ip", "netns", "exec", namespaces[1], sys.executable, "-c", SERVER, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        client = subprocess.Popen(["ip", "netns", "exec", namespaces[0], sys.executable, "-c", CLIENT, *words])
        turn_until(loop, lambda: server.poll() is not None, seconds=60)
        assert client.wait(20) == 0
        assert server.stdout.read().split() == [str(size), digest_of(size)]


WAYS = [
    pytest.param(Takes.ALL, Takes.ALL, id="whole"),
    pytest.param(Takes.ALL, Takes.NONE, id="finished by us"),
    pytest.param(Takes.CSUM, Takes.NONE, id="summed by us"),
    pytest.param(Takes.NONE, Takes.NONE, id="finished by the kernel"),
]


@pytest.mark.parametrize(("wanted", "passes"), WAYS)
@pytest.mark.parametrize("address", ["10.9.0.2", "fd09::2"], ids=["v4", "v6"])
def test_tcp_between_two_kernels(
    loop: Loop, namespaces: tuple[str, str], wanted: Takes, passes: Takes, address: str
) -> None:
    with joined(loop, namespaces, wanted, passes) as (one, two, there, _):
        transfer(loop, namespaces, "tcp", address, 2_000_000)
        assert one.counters()["failures"] == two.counters()["failures"] == 0
        assert one.counters()["offloads_in"] == wanted.names
        assert bool(there.unfinished) is bool(wanted)
        if Takes.TSO4 in wanted:
            assert there.longest > 20_000
            assert one.counts["frames_in"] < 700
        else:
            assert there.longest <= 1514
        if not passes:
            assert two.counts["frames_out"] >= 2_000_000 // 1448


@pytest.mark.parametrize("passes", [Takes.ALL, Takes.NONE], ids=["whole", "finished by us"])
@pytest.mark.parametrize("address", ["10.9.0.2", "fd09::2"], ids=["v4", "v6"])
def test_udp_segmentation(loop: Loop, namespaces: tuple[str, str], passes: Takes, address: str) -> None:
    with joined(loop, namespaces, Takes.ALL, passes) as (one, two, there, _):
        if Takes.USO not in one.takes:
            missing("USO of TAP devices", "run on Linux 6.2 or newer")
        transfer(loop, namespaces, "udp", address, 200_000)
        assert there.longest > 20_000
        assert two.counters()["failures"] == 0
        assert two.counts["frames_out"] >= (10 if passes else 200)


def test_what_the_receivers_want_may_change(loop: Loop, namespaces: tuple[str, str]) -> None:
    if shutil.which("ethtool") is None:
        missing("ethtool", "apt install ethtool")
    with joined(loop, namespaces, Takes.ALL, Takes.ALL) as (one, _, there, back):
        for wanted in (Takes.ALL, Takes.NONE, Takes.CSUM | Takes.TSO4):
            there.wanted = back.wanted = wanted
            transfer(loop, namespaces, "tcp", "10.9.0.2", 400_000)
            there.longest = 0
            transfer(loop, namespaces, "tcp", "10.9.0.2", 400_000)
            assert (there.longest > 1514) is (Takes.TSO4 in wanted)
            features = run("ip", "netns", "exec", namespaces[0], "ethtool", "-k", namespaces[0])
            assert ("tcp-segmentation-offload: on" in features) is (Takes.TSO4 in wanted)
            assert one.counters()["offloads_in"] == wanted.names


def test_a_port_without_partial_frames_has_none_of_this(loop: Loop, namespaces: tuple[str, str]) -> None:
    with joined(loop, namespaces, Takes.ALL, Takes.NONE, partial=False) as (one, two, there, _):
        transfer(loop, namespaces, "tcp", "10.9.0.2", 400_000)
        assert there.unfinished == 0
        assert one.takes == two.takes == Takes.NONE
        assert one.counters()["offloads_in"] == []


def test_headers_say_the_same_both_ways() -> None:
    frame = bytes(54 + 46)
    for offload in (
        Offload(True, 34, 16),
        Offload(valid=True),
        Offload(True, 34, 6, Gso.UDP_L4, False, 1000, 42),
    ):
        header = vnet.build(Partial(frame, offload))
        assert len(header) == vnet.LEGACY
        assert vnet.parse(header) == offload
    assert vnet.parse(vnet.NOTHING) is None
    segments = Offload(True, 34, 16, Gso.TCPV6, True, 1440, 9999)
    octets = bytearray(frame)
    octets[46] = 0x80  # a TCP header of 32 octets
    assert vnet.parse(vnet.build(Partial(octets, segments))) == segments._replace(hdr_len=66)


@pytest.mark.parametrize("kind", [2, 3, 6, 0x7F])
def test_kinds_of_segments_that_there_are_not_are_not_sound(kind: int) -> None:
    offload = vnet.parse(bytes([1, kind, 0, 0, 100, 0, 34, 0, 16, 0]))
    assert offload is not None
    assert not sound(Partial(bytes(2000), offload))
