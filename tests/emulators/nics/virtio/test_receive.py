"""Receive: headers, buffers of every kind, merged ones, frames that wait, hashes, and which queue pair takes a frame."""

from __future__ import annotations

from struct import unpack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.fabric.offload import Gso, Offload, Partial
from emulators.nics.virtio import receive
from emulators.nics.virtio.header import takes
from emulators.nics.virtio.receive import Receiver
from emulators.nics.virtio.rss import Automatic, Rss
from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.virtio.station import MODERN, OFFLOADS, Station
from tests.emulators.nics.virtio.test_queues import FORMATS, every_format
from tests.support.thorough import THOROUGH

SMALL = Feature.VERSION_1 | Feature.INDIRECT_DESC


def split_frames(received: list[bytes], size: int = 12) -> list[tuple[bytes, bytes]]:
    """(header, frame) from buffers, merged by num_buffers."""
    frames = []
    rest = list(received)
    while rest:
        first = rest.pop(0)
        count = unpack("<H", first[10:12])[0]
        body = first[size:] + b"".join(rest.pop(0) for _ in range(count - 1))
        frames.append((first[:size], body))
    return frames


@given(
    format_=st.sampled_from(FORMATS), merge=st.booleans(), pieces=st.sampled_from([1, 1 << 11]),
    steps=st.lists(st.one_of(
        st.lists(st.integers(14, 300), min_size=1, max_size=5).map(lambda sizes: ("frames", sizes)),
        st.tuples(st.just("offer"), st.lists(st.integers(1, 120), min_size=1, max_size=4), st.booleans(), st.integers(1, 3)),
        st.just(("turn",)), st.just(("reap",)),
    ), max_size=40),
)  # fmt: skip
@settings(max_examples=150 * THOROUGH)
def test_every_frame_arrives_once_and_in_order(format_, merge, pieces, steps):
    """Whatever buffers there are, and whoever waits for whom."""
    station = Station(SMALL | format_ | (Feature.MRG_RXBUF if merge else Feature(0)), pieces=pieces)
    driver, sent, got, number = station.receive_driver, [], [], 0
    driver.want_interrupts(True)
    for step in steps:
        if step[0] == "frames":
            frames = [bytes([number + n & 0xFF]) * size for n, size in enumerate(step[1])]
            number += len(frames)
            assert station.rx.deliver(frames) == len(frames)
            sent += frames
        elif step[0] == "offer":
            for _ in range(step[3]):
                sizes = [12, *step[1]] if merge else [*step[1], 400]
                station.offer(sizes, indirect=step[2])
        elif step[0] == "turn":
            station.turn()
        else:
            station.interrupts.clear()
            got += station.received()
            driver.want_interrupts(True)
    for _ in range(1000):
        station.settle()
        got += station.received()
        if not station.rx.counters()["waiting"]:
            break
        room = station.offer([60, 60] if merge else [400]) or station.offer([60] if merge else [400])
        assert room, "frames wait, and the ring is full of buffers"
    dropped = station.diagnoses["rx-frame-exceeds-ring"] + station.diagnoses["rx-frame-exceeds-buffer"]
    frames = [frame for _, frame in split_frames(got)]
    assert not station.errors and len(frames) + dropped == len(sent)
    assert frames == sent if not dropped else [frame for frame in sent if frame in frames] == frames


@every_format
def test_a_frame_that_a_full_ring_cannot_hold_is_dropped(format_):
    """Chains of several descriptors fill a ring with fewer of them than it has descriptors."""
    station = Station(MODERN | format_)
    for _ in range(station.size // 4):
        assert station.offer([12, 1, 1, 1])
    assert not station.offer([60])
    station.rx.deliver([bytes(100), bytes(20)])
    station.settle()
    assert [frame for _, frame in split_frames(station.received())] == [bytes(20)]
    assert station.diagnoses == {"rx-frame-exceeds-ring": 1} and station.rx.counters()["waiting"] == 0


@every_format
def test_merged_buffers(format_):
    station = Station(MODERN | format_)
    for _ in range(5):
        station.offer([30])
    station.rx.deliver([bytes(range(100))])
    ((header, frame),) = split_frames(station.received())
    assert frame == bytes(range(100)) and unpack("<H", header[10:]) == (4,)
    assert len(station.receive_driver.outstanding) == 1
    assert station.interrupts == [0]


@every_format
def test_what_was_merged_appears_at_once(format_, monkeypatch):
    """A driver that sees the first buffer of a frame takes the others for granted (virtio_net.c ``receive_mergeable``)."""
    station = Station(MODERN | format_)
    for _ in range(5):
        station.offer([30])
    queue, seen = station.rx.queue, []
    give = queue._give

    def watch(*arguments):
        seen.append(station.received())
        give(*arguments)

    monkeypatch.setattr(queue, "_give", watch)
    station.rx.deliver([bytes(100)])
    assert seen == [[]] and len(station.received()) == 4


def test_big_packets_without_merging():
    """17 pages and a header, as Linux offers them to a device with segmentation and without MRG_RXBUF (``add_recvbuf_big``)."""
    station = Station(SMALL | OFFLOADS, size=32)
    frame = Partial(bytes(range(256)) * 200, Offload(True, 34, 16, Gso.TCPV4, False, 1448, 54))
    for indirect in (False, True):
        assert station.offer([12, 4084, *[4096] * 15], indirect=indirect)
        station.rx.deliver([frame])
        ((header, body),) = split_frames(station.received())
        assert body == frame and unpack("<BBHHHHH", header) == (1, 1, 54, 1448, 34, 16, 1)


@pytest.mark.parametrize("features, flags", [(OFFLOADS, 2), (Feature(0), 0)])
def test_a_checksum_that_somebody_verified(features, flags):
    station = Station(MODERN | features)
    station.offer([1500])
    station.rx.deliver([Partial(bytes(80), Offload(valid=True))])
    ((header, _),) = split_frames(station.received())
    assert header == bytes((flags,)) + bytes(9) + b"\1\0"


def test_a_legacy_header():
    station = Station(Feature(0))
    station.offer([10, 1500])
    station.rx.deliver([bytes(range(80))])
    assert station.received() == [bytes(10) + bytes(range(80))]


def test_a_frame_too_long_for_its_buffer_is_dropped_alone():
    station = Station(SMALL)
    for _ in range(3):
        station.offer([112])
    assert station.rx.deliver([b"a" * 100, b"b" * 101, b"c" * 100]) == 3
    assert [frame[:1] for _, frame in split_frames(station.received())] == [b"a", b"c"]
    assert station.diagnoses == {"rx-frame-exceeds-buffer": 1} and station.rx.counters()["dropped"] == 1


def test_frames_wait_for_buffers_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(receive, "WAITING", 250)
    station = Station(MODERN | Feature.EVENT_IDX)
    assert station.rx.deliver([bytes([n]) * 100 for n in range(4)]) == 2
    assert station.rx.counters() | {"doorbells": 0} == {
        "doorbells": 0, "interrupts": 0, "bursts": 1, "frames": 0, "dropped": 2, "waiting": 2,
    }  # fmt: skip
    station.offer([200])
    assert station.rx.doorbells == 1
    station.settle()
    station.offer([200])
    station.settle()
    assert [frame[0] for _, frame in split_frames(station.received())] == [0, 1]
    assert station.rx.deliver([bytes(100)]) == 1  # waits again


def test_no_doorbells_while_there_are_buffers():
    for format_ in FORMATS:
        station = Station(MODERN | format_)
        station.offer([200])
        station.offer([200])
        before = station.rx.doorbells
        station.rx.deliver([bytes(60)])
        station.received()
        station.offer([200])
        station.rx.deliver([bytes(60)])
        station.received()
        station.offer([200])
        assert station.rx.doorbells == before


def test_what_waited_is_saved():
    station, other = Station(MODERN), Station(MODERN)
    station.rx.deliver([b"\1" * 60, b"\2" * 60])
    other.rx.load(station.rx.save())
    other.offer([200])
    other.offer([200])
    other.settle()
    assert [frame for _, frame in split_frames(other.received())] == [b"\1" * 60, b"\2" * 60]


def test_takes():
    from emulators.fabric.offload import Takes

    assert takes(OFFLOADS) == Takes.CSUM | Takes.TSO4 | Takes.TSO6 | Takes.ECN | Takes.USO
    assert takes(Feature.GUEST_TSO4) == Takes.NONE
    assert takes(Feature.GUEST_CSUM | Feature.GUEST_USO4) == Takes.CSUM


# -- steering

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
ALL = 0x1FF


def ipv4(source: str, target: str, sport: int, dport: int, protocol: int = 6, fragment: int = 0) -> bytes:
    addresses = b"".join(bytes(map(int, address.split("."))) for address in (source, target))
    head = b"\x45\0\0\x28\0\0" + fragment.to_bytes(2, "big") + bytes((64, protocol, 0, 0)) + addresses
    return bytes(12) + b"\x08\0" + head + sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes(16)


def ipv6(source: str, target: str, sport: int, dport: int, protocol: int = 6) -> bytes:
    from ipaddress import IPv6Address

    head = b"\x60\0\0\0\0\x14" + bytes((protocol, 64)) + IPv6Address(source).packed + IPv6Address(target).packed
    return bytes(12) + b"\x86\xdd" + head + sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes(16)


# Microsoft, "Verifying the RSS hash calculation": source, target, ports, hash of addresses, hash with TCP ports
V4 = [
    ("66.9.149.187", "161.142.100.80", 2794, 1766, 0x323E8FC2, 0x51CCC178),
    ("199.92.111.2", "65.69.140.83", 14230, 4739, 0xD718262A, 0xC626B0EA),
    ("24.19.198.95", "12.22.207.184", 12898, 38024, 0xD2D0A5DE, 0x5C2B394A),
]
V6 = [
    ("3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2CC18CD5, 0x40207D3D),
    ("3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0F0C461C, 0xDDE51BBF),
]


@pytest.mark.parametrize("build, rows, plain, tcp", [(ipv4, V4, (1, 1), (2, 2)), (ipv6, V6, (8, 4), (16, 5))])
def test_hashes_of_the_verification_suite(build, rows, plain, tcp):
    for source, target, sport, dport, addresses, ports in rows:
        frame = build(source, target, sport, dport)
        assert Rss(ALL & ~0x1C0, KEY).hash(frame) == (tcp[1], ports)
        assert Rss(plain[0], KEY).hash(frame) == (plain[1], addresses)
        tagged = frame[:12] + b"\x81\0\0\5" + frame[12:]
        assert Rss(tcp[0], KEY).hash(tagged) == (tcp[1], ports)
        assert Rss(4 | 32, KEY).hash(frame) == (0, 0)


def test_fragments_and_others_have_no_ports():
    assert Rss(ALL, KEY).hash(ipv4("66.9.149.187", "161.142.100.80", 2794, 1766, fragment=0x2000)) == (1, 0x323E8FC2)
    assert Rss(ALL, KEY).hash(ipv4("66.9.149.187", "161.142.100.80", 2794, 1766, protocol=1)) == (1, 0x323E8FC2)
    assert Rss(2, KEY, (1,), 3).pair(ipv4("66.9.149.187", "161.142.100.80", 2794, 1766, protocol=1)) == 3
    for frame in (b"", bytes(14), bytes(60), b"\0" * 12 + b"\x08\0\x45", b"\0" * 12 + b"\x81\0"):
        assert Rss(ALL, KEY, (1,), 3).pair(frame) == 3


def test_the_table_is_indexed_by_the_hash():
    rss = Rss(ALL, KEY, tuple(range(8)))
    assert rss.pair(ipv4("66.9.149.187", "161.142.100.80", 2794, 1766)) == 0x51CCC178 & 7


@pytest.mark.parametrize("features", [Feature(0), Feature.RING_PACKED])
def test_the_hash_is_reported(features):
    station = Station(MODERN | Feature.HASH_REPORT | features)
    station.rx.hashing = Rss(ALL, KEY)
    station.offer([1500])
    station.offer([1500])
    station.rx.deliver([ipv4("66.9.149.187", "161.142.100.80", 2794, 1766), bytes(60)])
    reported = [unpack("<10xHIHH", header) for header, _ in split_frames(station.received(), 20)]
    assert reported == [(1, 0x51CCC178, 2, 0), (1, 0, 0, 0)]


@pytest.mark.parametrize("build", [ipv4, ipv6])
def test_a_flow_is_received_where_it_is_sent(build):
    steering = Automatic(4)
    one, other = ("1.2.3.4", "5.6.7.8") if build is ipv4 else ("fd00::1", "fd00::2")
    for pair in (3, 1, 2, 0):
        steering.learn([build(one, other, 1000, 80)], pair)
        assert steering.pair(build(other, one, 80, 1000)) == pair
    assert {steering.pair(build(other, one, 80, port)) for port in range(2000, 2100)} == {0, 1, 2, 3}
    assert steering.pair(bytes(60)) == 0
    steering.learn([b"short", bytes(60)], 1)


def test_a_flow_of_a_pair_that_is_gone():
    steering = Automatic(4)
    frame = ipv4("1.2.3.4", "5.6.7.8", 1000, 80)
    steering.learn([frame], 3)
    steering.pairs = 2
    assert steering.pair(frame) < 2


def test_queues_of_a_device():
    first, second = Station(MODERN), Station(MODERN)
    receiver = Receiver()
    receiver.queues = [first.rx, None]
    frames = [ipv4("66.9.149.187", "161.142.100.80", 2794, 1766), bytes(60)]
    for station in (first, second):
        for _ in range(4):
            station.offer([1500])
    assert receiver.deliver(frames) == 2 and len(first.received()) == 2
    receiver.steering = Rss(ALL, KEY, (1,), 0)
    assert receiver.deliver(frames) == 1 and len(first.received()) == 1
    receiver.queues[1] = second.rx
    assert receiver.deliver(frames) == 2
    assert [frame for _, frame in split_frames(second.received())] == frames[:1]
