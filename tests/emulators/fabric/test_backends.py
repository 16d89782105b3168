"""The back ends alone: what can be written, what goes wrong, queues, pacing, peers that come and go.

What independent programs say to them is in ``test_backends_peers``.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from emulators.fabric.backends import parse, usages
from emulators.fabric.backends.packets import QUEUE
from emulators.fabric.backends.stream import LONGEST
from emulators.fabric.uplink import Parting
from emulators.loop import Loop, ManualClock
from regmodel.errors import UsageError
from regmodel.function import Buffer

from .wires import NearEnd, numbered, plugged, turn_until

BAD = [
    ("tun:x", "no such back end; write one of none, tap:NAME, pcap:in=FILE"),
    ("", "no such back end"),
    ("none:x=1", "unknown option x; write it as none"),
    ("tap:", "NAME is an interface name of 1 to 15 bytes"),
    ("tap:sixteen-letters-", "1 to 15 bytes"),
    ("tap:a/b", "1 to 15 bytes"),
    ("pcap:", "at least one of in= and out="),
    ("pcap:in=a.pcap,in=b.pcap", "in= is there twice"),
    ("pcap:in=a.pcap,pace=slow", "pace=slow is none of fast, real"),
    ("pcap:in=a.pcap,out=./a.pcap", "the same file"),
    ("pcap:in=a.pcap,wait=soon", "wait=soon is not a number of seconds"),
    ("dgram:local=/tmp/a", "local= and remote= are both needed"),
    ("dgram:local=/tmp/a,remote=127.0.0.1:5", "two addresses of the same family"),
    ("dgram:local=0.0.0.0:9,remote=239.1.1.1:9", "remote=239.1.1.1:9 is a multicast group"),
    ("dgram:local=/tmp/a,remote=nowhere", "neither a /path nor HOST:PORT"),
    ("dgram:local=/" + "a" * 107 + ",remote=/tmp/b", "longer than the 107 bytes"),
    ("stream:", "one of listen= and connect="),
    ("stream:listen=/a,connect=/b", "one of listen= and connect="),
    ("stream:connect=host.invalid:80", "the host host.invalid is not known"),
    ("stream:connect=127.0.0.1:99999", "neither a /path nor HOST:PORT"),
    ("patch:", "NAME is a word of your choice"),
    ("patch:a,b", "NAME is a word of your choice"),
    ("gen:rate=fast", "rate=fast is not a number from 1 to"),
    ("gen:size=59", "size=59 is not a number from 60 to 9724"),
    ("gen:dst=x", "'x' is not a MAC address"),
    ("gen:10", "unknown option 10"),
    ("gen:rate", "rate= has no value"),
    ("gen:pps=10", "unknown option pps"),
]


@pytest.mark.parametrize(("spec", "text"), BAD)
def test_a_bad_specification_is_one_line_with_the_remedy(spec: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(spec)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"--net {spec}: ")


CANNOT = [
    ("pcap:in=/nonexistent.pcap", "cannot read /nonexistent.pcap (No such file or directory)"),
    ("pcap:in=/etc/passwd", "/etc/passwd is neither a pcap nor a pcapng file"),
    ("pcap:out=/nonexistent/x.pcap", "cannot write /nonexistent/x.pcap (No such file or directory)"),
    ("dgram:local=/nonexistent/a,remote=/tmp/b", "cannot bind /nonexistent/a (No such file or directory)"),
    ("stream:listen=/nonexistent/a", "cannot bind /nonexistent/a (No such file or directory)"),
    ("stream:listen=192.0.2.1:5555", "cannot bind 192.0.2.1:5555 (Cannot assign requested address)"),
    ("tap:lo", "there is an interface of this name which is no single-queue TAP device"),
]


def open_files() -> list[str]:
    return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(("spec", "text"), CANNOT)
def test_what_cannot_be_opened_is_one_line_and_leaves_nothing_open(spec: str, text: str, loop: Loop) -> None:
    backend = parse(spec)
    before = open_files()
    with pytest.raises(UsageError) as caught:
        backend.open(loop, NearEnd())
    assert text in str(caught.value)
    backend.close()
    assert open_files() == before


def test_every_usage_line_names_its_own_back_end() -> None:
    names = [usage.partition(":")[0] for usage in usages()]
    assert names == ["none", "tap", "pcap", "dgram", "stream", "patch", "vhost-user", "gen", "sink"]


@pytest.mark.parametrize("spec", ["none", "sink", "sink:", "gen:count=1"])
def test_quiet_back_ends_take_everything(spec: str, loop: Loop) -> None:
    with plugged(spec, loop) as (backend, _):
        assert backend.send(numbered(100)) == 100


def test_sink_reads_each_byte(loop: Loop) -> None:
    with plugged("sink:", loop) as (backend, _):
        frames = numbered(3, 100)
        backend.send([memoryview(frames[0]), frames[1]])
        backend.send([bytearray(frames[2])])
        expected = f"{zlib.crc32(b''.join(frames)):08x}"
        assert backend.counters() == {"frames": 3, "octets": 300, "crc32": expected}


# -- gen


class ManualLoop(ManualClock):
    """Time that passes by hand; deferred bursts run to their end at once."""

    def defer(self, burst: object) -> None:
        while burst():  # type: ignore[operator]
            pass


def generated(spec: str, seconds: float = 0) -> NearEnd:
    loop, near, backend = ManualLoop(), NearEnd(), parse(spec)
    backend.open(loop, near)  # type: ignore[arg-type]
    loop.advance(int(seconds * 1e9))
    backend.close()
    loop.advance(10**9)
    return near


def test_gen_is_the_same_for_the_same_options() -> None:
    one, two = (generated("gen:rate=max,flows=3,seed=7,count=200,size=90") for _ in range(2))
    assert len(one.frames) == 200
    assert one.frames == two.frames
    assert len({frame[42:50] for frame in one.frames}) == 200  # the sequence number
    assert one.frames != generated("gen:rate=max,flows=3,seed=8,count=200,size=90").frames
    assert {len(frame) for frame in one.frames} == {90}
    assert max(one.bursts) == 64


@pytest.mark.parametrize("rate", [10, 1000, 4321, 200_000])
def test_gen_keeps_its_rate(rate: int) -> None:
    near = generated(f"gen:rate={rate}", seconds=2)
    assert abs(len(near.frames) - 2 * rate) <= max(rate // 1000, 1)
    assert max(near.bursts) <= 64


def test_gen_waits_and_counts() -> None:
    assert generated("gen:rate=1000,wait=1.5", seconds=1.4).frames == []
    assert len(generated("gen:rate=1000,wait=1.5,count=30", seconds=5).frames) == 30


def test_gen_frames_are_valid_udp() -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Dot1Q, Ether

    near = generated("gen:rate=max,count=9,flows=300,vlan=5,dst=02:00:00:00:00:07,size=64")
    for number, raw in enumerate(near.frames):
        packet = Ether(raw)
        assert packet.dst == "02:00:00:00:00:07"
        assert packet[Dot1Q].vlan == 5
        checksum = packet[IP].chksum
        del packet[IP].chksum
        assert Ether(bytes(packet))[IP].chksum == checksum
        assert packet[IP].len == len(raw) - 18
        assert packet[UDP].sport == 1024 + number
        assert packet[UDP].len == packet[IP].len - 20
        assert int.from_bytes(bytes(packet[UDP].payload)[:8], "big") == number


# -- dgram


def test_dgram_carries_one_frame_per_datagram_both_ways(loop: Loop, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    frames = [*numbered(150), *numbered(3, 9018)]
    with (
        plugged(f"dgram:local={a},remote={b}", loop) as (one, near_one),
        plugged(f"dgram:local={b},remote={a}", loop) as (two, near_two),
    ):
        assert one.send(frames) == len(frames)
        turn_until(loop, lambda: len(near_two.frames) == len(frames))
        assert two.send(frames[:5]) == 5
        turn_until(loop, lambda: len(near_one.frames) == 5)
        assert near_two.frames == frames
        assert near_one.frames == frames[:5]
        assert one.counters() == {"frames_in": 5, "frames_out": len(frames), "queued": 0, "failures": 0}
    assert not a.exists() and not b.exists()


def test_dgram_lets_go_without_losing_a_frame(loop: Loop, tmp_path: Path) -> None:
    """What was taken comes in, and no more is taken meanwhile; what waits for the far end is told."""
    a, b = tmp_path / "a", tmp_path / "b"
    frames = numbered(QUEUE)  # more than any socket holds
    refused: list[OSError] = []

    class Near(NearEnd):
        def receive(self, frames: Sequence[Buffer]) -> None:
            super().receive(frames)
            with pytest.raises(OSError) as caught:
                peer.sendto(b"late", str(a))
            refused.append(caught.value)

    backend, near = parse(f"dgram:local={a},remote={b}"), Near()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(str(b))
        peer.setblocking(False)
        backend.open(loop, near)
        assert backend.send(frames) == len(frames)
        gone = [peer.recv(2048) for _ in range(backend.counters()["frames_out"])]
        for frame in frames[:7]:
            peer.sendto(frame, str(a))
        assert isinstance(backend, Parting)
        assert gone + list(backend.let_go()) == frames and len(gone) < len(frames)
        assert near.frames == frames[:7] and [error.errno for error in refused] == [errno.EPIPE]
        assert not a.exists() and list(backend.let_go()) == []


def test_dgram_queue_is_bounded_and_what_waits_is_sent_in_order(loop: Loop, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    frames = numbered(QUEUE + 500)
    with plugged(f"dgram:local={a},remote={b}", loop) as (one, _), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(str(b))
        peer.setblocking(False)
        taken = one.send(frames)
        room = taken - QUEUE
        assert 0 < room < 500
        assert one.send(frames) == 0
        got: list[bytes] = []

        def drained() -> bool:
            try:
                while True:
                    got.append(peer.recv(2000))
            except BlockingIOError:
                return len(got) >= taken

        turn_until(loop, drained)
        assert got == frames[:taken]


def test_dgram_peer_that_is_away_is_counted_logged_once_and_found_again(
    loop: Loop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    caplog.set_level(logging.INFO)
    with plugged(f"dgram:local={a},remote={b}", loop) as (one, _):
        assert one.send(numbered(3)) == 3
        assert one.send(numbered(2)) == 2
        assert one.counters()["failures"] == 5
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.bind(str(b))
            one.send(numbered(1))
            assert peer.recv(2000) == numbered(1)[0]
        one.send(numbered(1))
        assert one.counters()["failures"] == 6
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
    assert "frames are lost until that changes" in caplog.text


def test_dgram_over_udp_survives_a_refusing_peer(loop: Loop) -> None:
    near_port, far_port = free_port(), free_port()
    with plugged(f"dgram:local=127.0.0.1:{near_port},remote=127.0.0.1:{far_port}", loop) as (one, near):
        for frame in numbered(3):
            one.send([frame])
            loop.turn()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", far_port))
            peer.settimeout(5)
            one.send(numbered(1))
            frame, address = peer.recvfrom(2000)
            assert frame == numbered(1)[0]
            peer.sendto(frame, address)
            turn_until(loop, lambda: near.frames == [frame])


def test_a_path_that_is_served_is_not_taken_over_but_a_stale_one_is(loop: Loop, tmp_path: Path) -> None:
    for kind, spec in ((socket.SOCK_DGRAM, "dgram:local={},remote=/x"), (socket.SOCK_STREAM, "stream:listen={}")):
        path = tmp_path / f"s{kind}"
        with socket.socket(socket.AF_UNIX, kind) as owner:
            owner.bind(str(path))
            if kind == socket.SOCK_STREAM:
                owner.listen()
            with pytest.raises(UsageError, match="in use by another process"):
                parse(spec.format(path)).open(loop, NearEnd())
        with plugged(spec.format(path), loop):
            pass


# -- stream


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_stream_carries_frames_both_ways_and_carrier(loop: Loop, tmp_path: Path, family: str) -> None:
    address = str(tmp_path / "s") if family == "unix" else f"127.0.0.1:{free_port()}"
    frames = [*numbered(150), *numbered(30, 9018), *numbered(2, 65000)]
    with plugged(f"stream:listen={address}", loop) as (server, near_server):
        assert server.send(frames) == 0
        with plugged(f"stream:connect={address}", loop) as (client, near_client):
            turn_until(loop, lambda: near_server.carrier[-1:] == [True] and near_client.carrier[-1:] == [True])
            for chunk in (frames[:100], frames[100:]):
                assert client.send(chunk) == len(chunk)
            turn_until(loop, lambda: len(near_server.frames) == len(frames))
            assert near_server.frames == frames
            assert server.send(frames) == len(frames)
            turn_until(loop, lambda: len(near_client.frames) == len(frames))
            assert near_client.frames == frames
            assert max(near_client.bursts) <= 64
        turn_until(loop, lambda: near_server.carrier == [False, True, False])


def test_stream_client_connects_again(loop: Loop, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s"
    with plugged(f"stream:connect={path}", loop) as (client, near):
        assert near.carrier == [False, False]
        for _ in range(2):
            with plugged(f"stream:listen={path}", loop) as (_, near_server):
                turn_until(loop, lambda: near.carrier[-1])
                client.send(numbered(1))
                turn_until(loop, lambda server=near_server: server.frames == numbered(1))
            turn_until(loop, lambda: not near.carrier[-1])
        assert client.counters()["connections"] == 2
    assert caplog.text.count("nobody listens") == 1


def test_stream_frames_may_come_in_any_pieces(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "s"
    frames = [*numbered(5), *numbered(1, 3000), b"", *numbered(2)]
    stream = b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)
    with plugged(f"stream:listen={path}", loop) as (_, near), socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        for start in range(0, len(stream), 7):
            peer.sendall(stream[start : start + 7])
            loop.turn()
        turn_until(loop, lambda: len(near.frames) == len(frames))
        assert near.frames == frames


def test_stream_of_something_else_is_hung_up_on(loop: Loop, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s"
    with plugged(f"stream:listen={path}", loop) as (_, near):
        for greeting in (b"GET / HTTP/1.1\r\n", struct.pack(">I", LONGEST + 1)):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(path))
                peer.sendall(greeting)
                turn_until(loop, lambda: near.carrier[1:] == [True, False])
                assert peer.recv(1) == b""
            del near.carrier[1:]
        assert near.frames == []
    assert "does not speak this protocol" in caplog.text


def test_stream_queue_is_bounded_and_frames_stay_whole(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with plugged(f"stream:listen={path}", loop) as (server, near), socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        turn_until(loop, lambda: near.carrier[-1])
        frames, taken = numbered(5000, 1514), 0
        while taken < len(frames) and (count := server.send(frames[taken : taken + 64])):
            taken += count
        assert 500 < taken < 5000
        got = bytearray()
        peer.setblocking(False)

        def drained() -> bool:
            try:
                while data := peer.recv(1 << 16):
                    got.extend(data)
            except BlockingIOError:
                pass
            return len(got) >= taken * 1518

        turn_until(loop, drained)
        assert bytes(got) == b"".join(struct.pack(">I", 1514) + frame for frame in frames[:taken])
        assert server.send(frames[:1]) == 1


# -- pcap


@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
def test_pcap_reads_what_it_wrote(loop: Loop, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    frames = [*numbered(200), *numbered(2, 9018)]
    with plugged(f"pcap:out={path}", loop) as (backend, _):
        assert backend.send([memoryview(frame) for frame in frames[:100]]) == 100
        loop.settle()
        assert backend.send(frames[100:]) == len(frames) - 100  # written at the latest when it is closed
    with plugged(f"pcap:in={path}", loop) as (backend, near):
        turn_until(loop, lambda: backend.counters()["finished"])
        assert near.frames == frames
        assert max(near.bursts) == 64


def test_pcap_keeps_the_gaps_of_the_capture(tmp_path: Path) -> None:
    from scapy.utils import RawPcapWriter

    clock = ManualClock()
    loop = Loop(now=clock.now)
    path = tmp_path / "x.pcap"
    writer = RawPcapWriter(str(path), linktype=1)
    writer.write_header(None)
    for frame, usec in zip(numbered(3), (100, 100, 80_100), strict=True):
        writer.write_packet(frame, sec=1_000_000, usec=usec)
    writer.close()
    with plugged(f"pcap:in={path},pace=real", loop) as (backend, near):
        loop.settle()
        assert near.bursts == [2]
        clock.advance(80_000_000 - 1)
        loop.settle()
        assert near.bursts == [2] and not backend.counters()["finished"]
        clock.advance(1)
        loop.settle()
        assert near.bursts == [2, 1] and backend.counters()["finished"]
    loop.close()


def test_pcap_skips_what_is_truncated_and_refuses_other_links(loop: Loop, tmp_path: Path) -> None:
    from scapy.utils import RawPcapWriter

    path = tmp_path / "x.pcap"
    writer = RawPcapWriter(str(path), linktype=1)
    writer.write_header(None)
    writer.write_packet(numbered(1)[0], wirelen=1514)
    writer.write_packet(numbered(2)[1])
    writer.close()
    with plugged(f"pcap:in={path}", loop) as (backend, near):
        turn_until(loop, lambda: backend.counters()["finished"])
        assert near.frames == numbered(2)[1:]
        assert backend.counters()["skipped"] == 1
