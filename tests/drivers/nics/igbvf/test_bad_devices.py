"""Devices and PFs that do not play along: each is one typed error of one line, in time, and costs no buffer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from drivers.errors import (
    DeviceGone,
    DeviceTimeout,
    DriverError,
    MailboxRefused,
    MailboxTimeout,
    ResetStuck,
    RingError,
    UnsupportedReply,
)
from drivers.mempool import Mempool
from regmodel.errors import UsageError
from tests.drivers.nics.igbvf.bench import Bench, Side, frame

ACK, NACK, CTS = 1 << 31, 1 << 30, 1 << 29


def raises(kind: type[Exception], match: str, action: Callable[[], object], bench: Bench, within: float = 5.0) -> None:
    """``action`` raises exactly this, in one line, within so many seconds of the device's time."""
    before = bench.alone.now()
    with pytest.raises(kind, match=match) as raised:
        action()
    assert type(raised.value) is kind and "\n" not in str(raised.value)
    assert bench.alone.now() - before < within


# -- gone


def test_gone_before_it_is_opened(bench: Bench) -> None:
    bench.meddlers[0].gone = True
    raises(DeviceGone, "status reads all ones", bench.open, bench)


def test_gone_while_it_runs(bench: Bench) -> None:
    side = bench.side(0)
    bench.meddlers[0].gone = True
    assert side.port.rx_burst(0, side.out) == 0, "rings are memory: they cannot tell"
    port = side.port
    for action in (port.watch, port.link_get, port.stats, port.xstats, port.reset, lambda: port.vlan_filter(3)):
        raises(DeviceGone, "all ones", action, bench)


def test_gone_at_the_end(bench: Bench) -> None:
    """Buffers come back even then."""
    side = bench.side(0)
    bench.meddlers[0].gone = True
    raises(DeviceGone, "all ones", side.port.close, bench)
    assert side.pool.available == 512


def test_the_first_error_is_told(bench: Bench) -> None:
    def use() -> None:
        side = bench.side(0)
        with side.port:
            bench.meddlers[0].gone = True
            raise ValueError("first")

    with pytest.raises(ValueError, match="first") as raised:
        use()
    assert any("all ones" in note for note in raised.value.__notes__)


# -- resets and queues that do not come


def test_pf_never_comes_out_of_reset(bench: Bench) -> None:
    bench.pf.in_reset = bench.pf.down = True
    raises(ResetStuck, r"shows RSTI for 3 s", bench.open, bench)


@pytest.mark.parametrize("register", ["rxdctl", "txdctl"])
def test_queue_never_enables(bench: Bench, register: str) -> None:
    port = bench.open()
    bench.meddlers[0].ignored.add(bench.bank(0)[register].offset)
    pool = Mempool(port.transport, 256)
    port.configure()
    port.rx_queue_setup(0, pool, 64)
    port.tx_queue_setup(0, pool, 64)
    raises(DeviceTimeout, rf"{register}\[0\]: no enable=1", port.start, bench)
    assert pool.available == 256
    bench.meddlers[0].ignored.clear()
    port.start()
    assert pool.available == 256 - 64


# -- the mailbox


def test_no_acknowledgement(bench: Bench) -> None:
    side = bench.side(0)
    bench.pf.down = True
    raises(MailboxTimeout, "no acknowledgement of set_vlan within 1 s", lambda: side.port.vlan_filter(3), bench)
    assert side.port.reset_needed and not side.port.link_get().up
    bench.pf.down = False
    side.port.reset()
    side.port.vlan_filter(3)


def test_no_reply(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    side = bench.side(0)
    monkeypatch.setattr(bench.pf, "_answer", lambda vf, words: None)
    raises(MailboxTimeout, "no reply to set_vlan within 1 s", lambda: side.port.vlan_filter(3), bench)


def test_pf_keeps_the_mailbox(bench: Bench) -> None:
    side = bench.side(0)
    bench.bank(0)["v2pmailbox"].set(pfu=1)
    raises(MailboxTimeout, "the PF has kept the mailbox for 10 ms", lambda: side.port.vlan_filter(3), bench)


@pytest.mark.parametrize(
    "word",
    [4 | CTS, 4 | ACK | NACK | CTS, 5 | ACK | CTS, 0x7777 | ACK | CTS, 0],
    ids=["neither", "both", "other", "unknown", "zero"],
)
def test_replies_that_this_driver_does_not_know(bench: Bench, monkeypatch: pytest.MonkeyPatch, word: int) -> None:
    side = bench.side(0)
    monkeypatch.setattr(bench.pf, "_answer", lambda vf, words: [word])
    raises(UnsupportedReply, "answered set_vlan with", lambda: side.port.vlan_filter(3), bench)


@pytest.mark.parametrize("word", [1, 1 | ACK | NACK, 0x101 | ACK], ids=["neither", "both", "other"])
def test_replies_to_the_reset_that_this_driver_does_not_know(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, word: int
) -> None:
    monkeypatch.setattr(bench.pf, "_answer", lambda vf, words: [word, 0, 0])
    raises(UnsupportedReply, "answered reset with", bench.open, bench)


def test_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    side = bench.side(0)
    monkeypatch.setattr(bench.pf, "_answer", lambda vf, words: [words[0] | NACK | CTS])
    for action in (
        lambda: side.port.vlan_filter(3),
        lambda: side.port.mtu_set(2000),
        lambda: side.port.allmulticast_set(True),
        lambda: side.port.mc_addr_list_set([b"\x01\0\0\0\0\1"]),
        lambda: side.port.mac_addr_set(b"\x02\0\0\0\0\1"),
    ):
        raises(MailboxRefused, "the PF refuses", action, bench)
    s = side.port.settings
    assert (s.vlans, s.mtu, s.allmulticast, s.mc_addrs, s.mac) == (set(), 1500, False, [], None), "what was refused is not kept"
    assert side.port.xstats()["mailbox_refused"] == 5


class Chatter:
    """A PF that sends a control message over its own reply, ``times`` times."""

    def __init__(self, pf: Any, times: int) -> None:
        self._send, self.times, self.pf = pf._send, times, pf

    def __call__(self, vf: int, words: Sequence[int], tries: int = 10) -> None:
        self._send(vf, words, tries)
        if self.times and words[0] & 0xFFFF == 4:
            self.times -= 1
            self._send(vf, [0x100 | CTS], tries)


@pytest.mark.parametrize("times", [1, 2])
def test_pf_talks_over_its_reply(bench: Bench, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The question is asked again."""
    side = bench.side(0)
    monkeypatch.setattr(bench.pf, "_send", Chatter(bench.pf, times))
    side.port.vlan_filter(3)
    assert bench.switch.vlans.members(3) & 1 and not side.port.watch()


def test_pf_always_talks_over_its_reply(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    side = bench.side(0)
    monkeypatch.setattr(bench.pf, "_send", Chatter(bench.pf, 99))
    raises(MailboxTimeout, "talks over its reply to set_vlan, 3 times", lambda: side.port.vlan_filter(3), bench)


# -- rings


@pytest.fixture
def side(bench: Bench) -> Side:
    return bench.side(0)


@pytest.mark.parametrize("head", [64, 65, 0xFFFF])
def test_receive_head_outside_of_the_ring(bench: Bench, side: Side, head: int) -> None:
    bench.bank(0)["rdh"].value = head
    raises(RingError, rf"RDH\[0\] is {head}", side.port.watch, bench)
    side.port.reset()
    side.port.watch()


@pytest.mark.parametrize("head", [1, 63, 64])
def test_transmit_head_where_nothing_was_given(bench: Bench, side: Side, head: int) -> None:
    bench.bank(0)["tdh"].value = head
    raises(RingError, rf"TDH\[0\] is {head} of 64, and the descriptors that were given are 0 to 0", side.port.watch, bench)


def ring(side: Side) -> np.ndarray[Any, Any]:
    """The receive ring as words of 32 bits."""
    return np.frombuffer(side.port._receivers[0]._memory.view, np.uint32)


def test_write_back_that_was_not_asked_for(bench: Bench, side: Side) -> None:
    ring(side)[4 * 63 + 2] = 3
    raises(RingError, "descriptor 63 of queue 0 was written back and had not been given", side.port.watch, bench)


def test_a_length_beyond_the_buffer(bench: Bench, side: Side) -> None:
    words = ring(side)
    words[2:4] = 3, 2049
    raises(RingError, "says 2049 octets, and its buffers have 2048", side.receive, bench)
    words[3] = 2048
    assert [len(packet) for packet in side.receive()] == [2048]


def test_a_length_beyond_the_buffer_among_others(bench: Bench, side: Side) -> None:
    words = ring(side)
    for i, length in enumerate((60, 1500, 65535, 64)):
        words[4 * i + 2 : 4 * i + 4] = 3, length
    assert side.port.rx_burst(0, side.out) == 2, "what is good comes first"
    side.pool.free(side.out[:2])
    raises(RingError, "says 65535 octets", side.receive, bench)
    side.port.reset()
    assert side.pool.available == 512 - 64


def test_a_length_beyond_the_buffer_behind_the_wrap(bench: Bench, side: Side) -> None:
    bench.from_the_wire([frame(side.port.mac_addr, b"\x02\0\0\0\0\1", 60)] * 60)
    assert len(side.receive()) == 60
    words = ring(side)
    for i in (60, 61, 62, 63):
        words[4 * i + 2 : 4 * i + 4] = 3, 60
    words[2:4] = 3, 3000
    assert side.port.rx_burst(0, side.out) == 4
    side.pool.free(side.out[:4])
    raises(RingError, "says 3000 octets", side.receive, bench)
    side.port.reset()
    assert side.pool.available == 512 - 64


def test_a_packet_without_end(bench: Bench, side: Side) -> None:
    words = ring(side)
    for i in range(32):
        words[4 * i + 2 : 4 * i + 4] = 1, 2048
    assert side.receive() == [], "16 KiB may still be a packet"
    raises(RingError, "has 18432 octets and no end", side.receive, bench)
    side.port.reset()
    assert side.pool.available == 512 - 64
    bench.from_the_wire([frame(side.port.mac_addr, b"\x02\0\0\0\0\1", 60)])
    assert len(side.receive()) == 1


def test_damaged_frames_are_counted_and_dropped(bench: Bench, side: Side) -> None:
    words = ring(side)
    for i, status in enumerate((3, 3 | 1 << 24, 3 | 1 << 31, 3)):
        words[4 * i + 2 : 4 * i + 4] = status, 60
    assert len(side.receive()) == 2
    assert side.port.stats().ierrors == 2
    assert side.pool.available == 512 - 64


def test_a_pool_too_small_for_the_ring(bench: Bench) -> None:
    port = bench.open()
    pool = Mempool(port.transport, 64)
    port.configure()
    port.rx_queue_setup(0, pool, 64)
    port.tx_queue_setup(0, pool, 64)
    pool.alloc(1)
    raises(UsageError, "make it larger", port.start, bench)
    assert pool.available == 63


def test_all_errors_are_of_one_family() -> None:
    assert issubclass(RingError, DriverError) and issubclass(MailboxRefused, DriverError)
