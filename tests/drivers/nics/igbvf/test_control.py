"""What a port asks of its PF, link, and resets of either of them, seen at the switch as well as at the driver."""

from __future__ import annotations

import pytest

from drivers.errors import LinkDown, MailboxRefused, NotSupported
from drivers.ethdev import Event
from drivers.nics.igbvf.device import multicast_hash
from regmodel.errors import UsageError
from tests.drivers.nics.igbvf.bench import Bench, Side, frame

ELSE = bytes.fromhex("02deadbeef01")


def group(i: int) -> bytes:
    return bytes((0x01, 0x00, 0x5E, 0x00, i, 16 * i & 0xFF))


def let_pass(bench: Bench, seconds: float) -> None:
    bench.transports[0].sleep(seconds)


# -- addresses


def test_the_address_is_the_pfs(bench: Bench) -> None:
    port = bench.open()
    assert port.mac_addr == bench.pf.vfs[0].mac != bytes(6)


def test_no_address_is_a_random_one_for_good() -> None:
    """A stock PF without an address for a VF answers its reset by NACK; then a VF chooses, once."""
    bench = Bench(mac="none")
    side = bench.side(0)
    chosen = side.port.mac_addr
    assert chosen[0] & 3 == 2 and bench.pf.vfs[0].mac == chosen
    side.port.reset()
    assert side.port.mac_addr == chosen == bench.pf.vfs[0].mac
    other = bench.open(1, mac=ELSE)
    assert other.mac_addr == ELSE == bench.pf.vfs[1].mac
    bench.close()


def test_set_another_address(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    b.port.mac_addr_set(ELSE)
    a.send(frame(ELSE, a.port.mac_addr, 60))
    assert b.receive() == [frame(ELSE, a.port.mac_addr, 60)]
    assert b.port.mac_addr == ELSE
    b.port.stop()
    b.port.start()
    assert b.port.mac_addr == ELSE == bench.pf.vfs[1].mac


def test_the_host_has_the_last_word(bench: Bench) -> None:
    bench.card.control(["vf", "0", "mac", "02:00:00:00:00:77"])
    let_pass(bench, 0.1)
    port = bench.open()
    with pytest.raises(MailboxRefused, match="set_mac_addr"):
        port.mac_addr_set(ELSE)
    assert port.mac_addr == bytes.fromhex("020000000077") and port.settings.mac is None


def test_more_addresses(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    bench.card.control(["vf", "1", "trust", "on"])
    more = [bytes((2, 0, 0, 0, 1, i)) for i in range(3)]
    for address in more:
        b.port.mac_addr_add(address)
    with pytest.raises(UsageError, match="room for 4"):
        b.port.mac_addr_add(bytes((2, 0, 0, 0, 1, 9)))
    a.send(*[frame(m, a.port.mac_addr, 60) for m in more])
    assert len(b.receive()) == 3
    b.port.mac_addr_clear()
    a.send(*[frame(m, a.port.mac_addr, 60) for m in more], frame(b.port.mac_addr, a.port.mac_addr, 60))
    assert b.receive() == [frame(b.port.mac_addr, a.port.mac_addr, 60)]


# -- multicast, promiscuous, VLAN, MTU


def test_multicast(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    wanted, other = group(1), group(2)
    b.port.mc_addr_list_set([wanted])
    a.send(frame(wanted, a.port.mac_addr, 60), frame(other, a.port.mac_addr, 60))
    assert b.receive() == [frame(wanted, a.port.mac_addr, 60)]
    b.port.mc_addr_list_set([other])
    a.send(frame(wanted, a.port.mac_addr, 60), frame(other, a.port.mac_addr, 60))
    assert b.receive() == [frame(other, a.port.mac_addr, 60)]
    b.port.mc_addr_list_set([])
    a.send(frame(other, a.port.mac_addr, 60))
    assert b.receive() == []


def test_more_multicast_than_fits_is_all_of_it(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    b.port.mc_addr_list_set([group(i) for i in range(30)])
    a.send(frame(group(77), a.port.mac_addr, 60))
    assert b.receive() == []
    b.port.mc_addr_list_set([group(i) for i in range(31)])
    a.send(*[frame(group(i), a.port.mac_addr, 60) for i in (30, 77)])
    assert len(b.receive()) == 2


def test_the_hash_is_that_of_the_switch(bench: Bench) -> None:
    for i in range(40):
        assert multicast_hash(group(i)) == bench.switch.address_hash(group(i))


def test_all_multicast(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    for on in (True, False):
        b.port.allmulticast_set(on)
        a.send(frame(group(5), a.port.mac_addr, 60))
        assert len(b.receive()) == on


def test_a_stock_pf_refuses_unicast_promiscuous_mode(bench: Bench) -> None:
    """And nothing of the attempt is left, which a stock PF grants half of."""
    a, b = bench.side(0), bench.side(1)
    with pytest.raises(MailboxRefused, match="use allmulticast"):
        b.port.promiscuous_set(True)
    assert not b.port.settings.promiscuous
    a.send(frame(group(5), a.port.mac_addr, 60), frame(ELSE, a.port.mac_addr, 60))
    assert b.receive() == []
    b.port.promiscuous_set(False)


def test_vlans_are_refused_under_a_port_vlan(bench: Bench) -> None:
    bench.card.control(["vf", "0", "vlan", "100"])
    port = bench.open()
    with pytest.raises(MailboxRefused, match="set_vlan"):
        port.vlan_filter(5)
    assert not port.settings.vlans


def test_stripping_is_the_pfs(bench: Bench) -> None:
    with pytest.raises(NotSupported, match="its PF decides"):
        bench.open().vlan_strip_set(True)


def test_mtu(bench: Bench) -> None:
    a, b = bench.side(0, mtu=9216), bench.side(1)
    long, fits = (frame(b.port.mac_addr, a.port.mac_addr, size) for size in (1519, 1518))
    a.send(long, fits)
    assert b.receive() == [fits], "MTU 1500, header and a tag"
    b.port.mtu_set(9216)
    a.send(long)
    assert b.receive() == [long]
    with pytest.raises(UsageError, match="68 to 9216"):
        b.port.mtu_set(9217)


# -- link


def test_link(bench: Bench) -> None:
    port = bench.open()
    link = port.link_get()
    assert (link.up, link.speed, link.full_duplex) == (True, 1000, True)
    bench.card.control(["link", "down"])
    assert port.watch() & Event.LINK
    assert not port.link_get().up and port.link_get().speed == 0
    bench.card.control(["link", "up"])
    assert port.watch() == Event.LINK
    assert port.link_get().up


def test_every_flap_counts(bench: Bench) -> None:
    port = bench.open()
    before = port.link_get().changes
    for _ in range(5):
        for state in ("down", "up"):
            bench.card.control(["link", state])
            port.watch()
    assert port.link_get().changes - before == 10 == port.xstats()["link_changes"] - before


def test_link_wait(bench: Bench) -> None:
    port = bench.open()
    bench.card.control(["link", "down"])
    bench.alone.loop.call_at(bench.alone.loop.now() + 300_000_000, lambda: bench.card.control(["link", "up"]))
    started = port.transport.now()
    assert port.link_get(wait=1.0).up
    assert 0.3 <= port.transport.now() - started < 0.4
    bench.card.control(["link", "down"])
    with pytest.raises(LinkDown, match=r"within 0\.5 s; see to the other end"):
        port.link_wait(0.5)


# -- resets


def settled(side: Side) -> tuple[object, ...]:
    s = side.port.settings
    return side.port.mac_addr, s.mtu, sorted(s.vlans), s.mc_addrs, s.allmulticast


def test_reset_restores_everything(bench: Bench) -> None:
    a, b = bench.side(0, mtu=9000), bench.side(1, mtu=9000)
    b.port.mac_addr_set(ELSE)
    b.port.vlan_filter(42)
    b.port.mc_addr_list_set([group(1)])
    before = settled(b)
    b.port.reset()
    assert settled(b) == before
    packets = [frame(ELSE, a.port.mac_addr, 8000), frame(group(1), a.port.mac_addr, 60)]
    a.send(*packets)
    assert b.receive() == packets
    assert bench.switch.vlans.members(42) >> 1 & 1
    assert b.pool.available == 512 - 64


def test_pf_reset_under_traffic(either: Bench) -> None:
    """It is noticed, nothing passes meanwhile, ``reset`` brings everything back, no buffer is lost, statistics go on."""
    a, b = either.side(0, mtu=9000), either.side(1, mtu=9000)
    a.port.mac_addr_set(ELSE)
    for side in (a, b):
        side.port.vlan_filter(42)
        side.port.mc_addr_list_set([group(1)])
    packets = [frame(b.port.mac_addr, ELSE, size) for size in (60, 1500, 5000)]
    a.send(*packets)
    assert b.receive() == packets
    before = b.port.stats()
    either.card.control(["pf-reset"])
    a.send(*packets)  # into a port that is going down
    let_pass(either, 0.2)
    for side in (a, b):
        assert not side.port.reset_needed, "nobody has looked yet"
        assert side.port.watch() & Event.RESET
        assert side.port.reset_needed and not side.port.link_get().up
        with pytest.raises(LinkDown, match=r"call reset\(\)"):
            side.port.link_wait(0.01)
    assert b.port.stats().ipackets >= before.ipackets
    for side in (a, b):
        side.port.reset()
        assert not side.port.reset_needed and side.port.link_get(1.0).up
        assert side.port.watch() & Event.RESET == Event.NONE
    assert a.port.mac_addr == ELSE == either.pf.vfs[0].mac
    assert either.switch.vlans.members(42) & 3 == 3
    b.receive()
    before = b.port.stats()
    a.send(*packets, frame(group(1), ELSE, 60))
    assert b.receive() == [*packets, frame(group(1), ELSE, 60)]
    assert b.port.stats().ipackets - before.ipackets == 4
    a.settle()
    assert (a.pool.available, b.pool.available) == (512 - 64, 512 - 64)
    a.port.close()
    b.port.close()
    assert (a.pool.available, b.pool.available) == (512, 512)


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.014, 0.016, 0.025, 0.031])
def test_reset_in_the_middle_of_a_pf_reset(bench: Bench, delay: float) -> None:
    """Whenever the driver starts over, it comes out with a PF that listens."""
    a, b = bench.side(0), bench.side(1)
    bench.card.control(["pf-reset"])
    let_pass(bench, delay)
    for side in (a, b):
        side.port.reset()
    let_pass(bench, 0.1)
    for side in (a, b):
        if side.port.watch() & Event.RESET:  # it answered before it went down
            side.port.reset()
    a.send(frame(b.port.mac_addr, a.port.mac_addr, 60))
    assert b.receive() == [frame(b.port.mac_addr, a.port.mac_addr, 60)]


def test_a_pf_that_lost_us_refuses_until_reset(bench: Bench) -> None:
    """CTS is lost without any reset of the hardware: the next question is answered by a bare NACK."""
    a = bench.side(0)
    let_pass(bench, 3.0)  # the PF refuses at most every two seconds
    bench.pf.vfs[0].clear_to_send = False
    with pytest.raises(MailboxRefused, match=r"does not listen.*call reset\(\)"):
        a.port.vlan_filter(5)
    assert a.port.watch() & Event.RESET and a.port.reset_needed
    a.port.reset()
    a.port.vlan_filter(5)


def test_a_control_message_without_cts(bench: Bench) -> None:
    port = bench.open()
    bench.pf.vfs[0].clear_to_send = False
    bench.pf.ping(0)
    assert port.watch() & Event.RESET
    port.reset()
    assert port.watch() == Event.LINK, "the link is back"


def test_stop_and_start(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    for i in range(3):
        b.port.stop()
        assert b.pool.available == 512
        a.send(frame(b.port.mac_addr, a.port.mac_addr, 60, i))
        b.port.start()
        a.send(frame(b.port.mac_addr, a.port.mac_addr, 61, i))
        assert b.receive() == [frame(b.port.mac_addr, a.port.mac_addr, 61, i)]


def test_close_lets_another_driver_in(bench: Bench) -> None:
    with bench.open(0) as port:
        port.vlan_filter(3)
    let_pass(bench, 0.001)
    assert not bench.switch.vlans.members(3) & 1
    side = bench.side(0)
    assert side.port.link_get().up
