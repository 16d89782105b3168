"""What a port is told and tells beside packets: the handshake, filters and modes, address, MTU, link, start and stop."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.errors import NotSupported, UnsupportedReply
from drivers.ethdev import Event, RxOffload, State
from drivers.mempool import Mempool, RxFlag, TxFlag
from regmodel.devices.vmxnet3 import VMXNET3_LARGE
from regmodel.errors import UsageError
from tests.drivers.nics.vmxnet3.bench import Bench, Side, frame

GROUP, OTHER_GROUP = b"\x01\0\x5e\0\0\1", b"\x01\0\x5e\0\0\2"
STRANGER = b"\x02\0\0\0\0\x77"


def arrive(bench: Bench, b: Side, *targets: bytes) -> list[bytes]:
    """The targets of what comes through of one frame to each."""
    bench.from_the_wire([frame(target, STRANGER, 60) for target in targets])
    return [packet[:6] for packet in b.receive()]


# -- the handshake


def test_the_newest_revision_is_agreed_on(bench: Bench) -> None:
    assert bench.open().agreed.revision == 9
    for wrong in (0, 10):
        with pytest.raises(UsageError, match="revisions of vmxnet3 are 1 to 9"):
            bench.open(1, revision=wrong)


@pytest.mark.parametrize("revision", [1, 3, 6, 7])
def test_a_device_of_that_revision(revision: int) -> None:
    bench = Bench(revision=str(revision))
    port = bench.open()
    assert port.agreed.revision == revision
    assert port.info().max_mtu == (9190 if revision >= 6 else 9000)
    bench.close()


def test_a_device_that_offers_nothing_known(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.meddlers[0], "region_read", lambda index, offset, size: 0)
    with pytest.raises(UnsupportedReply, match="VRRS offers revisions 0x0"):
        bench.open()


def test_the_large_bar() -> None:
    """Its doorbells take the place of the first ones, once DCR says so."""
    bench = Bench(VMXNET3_LARGE)
    writes: list[int] = []
    write = bench.meddlers[0].region_write

    def told(index: int, offset: int, size: int, value: int) -> None:
        writes.append(offset)
        write(index, offset, size, value)

    bench.meddlers[0].region_write = told  # type: ignore[method-assign]
    a, b = bench.side(0), bench.side(1)
    assert a.port.agreed.capabilities == 1 << 16  # type: ignore[attr-defined]
    packet = frame(b.port.mac_addr, a.port.mac_addr, 60)
    writes.clear()
    a.send(packet)
    assert b.receive() == [packet] and writes == [0x1000]
    info = a.port.info()
    assert (info.max_tx_queues, info.max_rx_queues) == (32, 32)
    bench.close()


# -- filters and modes


def test_modes(bench: Bench) -> None:
    b = bench.side(1)
    own, everyone = b.port.mac_addr, b"\xff" * 6
    every = [own, STRANGER, GROUP, OTHER_GROUP, everyone]
    assert arrive(bench, b, *every) == [own, everyone]
    b.port.mc_addr_list_set([GROUP])
    assert arrive(bench, b, *every) == [own, GROUP, everyone]
    b.port.allmulticast_set(True)
    assert arrive(bench, b, *every) == [own, GROUP, OTHER_GROUP, everyone]
    b.port.promiscuous_set(True)
    assert arrive(bench, b, *every) == every
    b.port.promiscuous_set(False)
    b.port.allmulticast_set(False)
    b.port.mc_addr_list_set([])
    assert arrive(bench, b, *every) == [own, everyone]


def test_what_is_asked_for_survives_stop_start_and_reset(bench: Bench) -> None:
    b = bench.side(1)
    address = b"\x02\0\0\0\x12\x34"
    b.port.mac_addr_set(address)
    b.port.mc_addr_list_set([GROUP])
    b.port.vlan_filter(5)
    for again in (lambda: (b.port.stop(), b.port.start()), b.port.reset):
        again()
        assert arrive(bench, b, address, STRANGER, GROUP, OTHER_GROUP) == [address, GROUP]
        assert b.port.mac_addr == address


def test_asked_for_before_it_starts(bench: Bench) -> None:
    port = bench.open(1)
    port.promiscuous_set(True)
    port.mc_addr_list_set([GROUP])
    b = Side(port)
    assert arrive(bench, b, STRANGER, OTHER_GROUP) == [STRANGER, OTHER_GROUP]


def test_the_address(bench: Bench) -> None:
    port = bench.open(1)
    given = port.mac_addr
    assert given == bench.card.slots[1].mac
    port.mac_addr_set(b"\x02\0\0\0\x12\x34")
    with pytest.raises(UsageError, match="no address of a station"):
        port.mac_addr_set(GROUP)
    with pytest.raises(UsageError, match="has room for 1 addresses"):
        port.mac_addr_add(b"\x02\0\0\0\x12\x35")
    port.close()
    assert bench.open(1).registers.macl.read() == 0x2, "VMware's drivers find what was written last"


def test_vlans(bench: Bench) -> None:
    """None joined: all pass. One joined: only it, and what has no tag."""
    b = bench.side(1)

    def tags() -> list[int]:
        head = b.port.mac_addr + STRANGER
        tagged = [head + b"\x81\0" + vid.to_bytes(2, "big") + b"\x88\xb5" + bytes(46) for vid in (5, 6)]
        bench.from_the_wire([*tagged, head + b"\x88\xb5" + bytes(46)])
        return [int.from_bytes(packet[14:16], "big") if packet[12:14] == b"\x81\0" else 0 for packet in b.receive()]

    assert tags() == [5, 6, 0]
    b.port.vlan_filter(5)
    assert tags() == [5, 0]
    b.port.vlan_filter(6)
    assert tags() == [5, 6, 0]
    b.port.vlan_filter(5, False)
    assert tags() == [6, 0]
    b.port.vlan_filter(6, False)
    assert tags() == [5, 6, 0]


def test_a_filter_without_any_vlan(bench: Bench) -> None:
    b = bench.side(1, rx_offloads=RxOffload.VLAN_FILTER)
    bench.from_the_wire([b.port.mac_addr + STRANGER + b"\x81\0\0\5\x88\xb5" + bytes(46)])
    assert b.receive() == []


@pytest.mark.parametrize("way", ["configured", "later"])
def test_stripping(bench: Bench, way: str) -> None:
    b = bench.side(1, rx_offloads=RxOffload.VLAN_STRIP if way == "configured" else RxOffload.NONE)
    if way == "later":
        b.port.vlan_strip_set(True)
    head, body = b.port.mac_addr + STRANGER, b"\x88\xb5" + bytes(i for i in range(46))
    tagged = head + b"\x81\0" + (0xA005).to_bytes(2, "big") + body
    for _ in range(2):
        bench.from_the_wire([tagged, head + body])
        assert b.port.rx_burst(0, b.out) == 2
        first, second = b.out[:2].tolist()
        assert b.pool.content(first) == b.pool.content(second) == head + body
        assert (int(b.pool.rx_flags[first]), int(b.pool.vlan[first])) == (RxFlag.VLAN_STRIPPED, 0xA005)
        assert int(b.pool.rx_flags[second]) == 0
        b.pool.free(b.out[:2])
        b.port.stop()
        b.port.start()
    b.port.vlan_strip_set(False)
    bench.from_the_wire([tagged])
    assert b.receive() == [tagged]


# -- link, states


def test_link(bench: Bench) -> None:
    port = bench.open()
    link = port.link_get()
    assert link.up and link.speed >= 1000 and link.full_duplex
    bench.card.control(["link", "down"])
    assert not port.link_get().up
    assert Event.LINK in port.watch()
    bench.card.control(["link", "up"])
    assert port.link_wait(1.0).up
    assert Event.LINK in port.watch() and not port.watch()


def test_mtu_changes_while_stopped(bench: Bench) -> None:
    a, b = bench.side(0, mtu=9000, rx_offloads=RxOffload.SCATTER), bench.side(1, rx_offloads=RxOffload.SCATTER)
    with pytest.raises(UsageError, match="while it is stopped"):
        b.port.mtu_set(9000)
    b.port.stop()
    b.port.mtu_set(9000)
    b.port.start()
    packet = frame(b.port.mac_addr, a.port.mac_addr, 9014)
    a.send(packet)
    assert b.receive() == [packet]
    for wrong in (59, 9191):
        with pytest.raises(UsageError, match="an MTU of 60 to 9190 bytes"):
            b.port.mtu_set(wrong)


def test_close_leaves_a_quiet_device(bench: Bench) -> None:
    b = bench.side(1)
    address = b.port.mac_addr
    b.port.close()
    assert b.port.state is State.CLOSED and b.pool.available == b.pool.count
    before = bytes(b.pool.octets.tobytes())
    bench.from_the_wire([frame(address, STRANGER, 60)])
    bench.alone.turn()
    assert b.pool.octets.tobytes() == before


def test_many_starts(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    for number in range(5):
        packet = frame(b.port.mac_addr, a.port.mac_addr, 60 + number)
        a.send(packet)
        assert b.receive() == [packet]
        b.port.stop()
        assert b.pool.available == b.pool.count
        b.port.start()


def test_two_queues(bench: Bench) -> None:
    """RSS spreads flows over both; each flow stays where it is."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    a = bench.side(0)
    port = bench.open(1)
    pool = Mempool(port.transport, 512)
    port.configure(2, 2, rx_offloads=RxOffload.RSS_HASH)
    for queue in range(2):
        port.rx_queue_setup(queue, pool, 128)
        port.tx_queue_setup(queue, pool, 64)
    port.start()
    ether = Ether(src=a.port.mac_addr.hex(":"), dst=port.mac_addr.hex(":"))
    flows = [bytes(ether / IP(src=f"10.0.0.{i}", dst="10.0.1.1") / UDP() / bytes(20)) for i in range(1, 33)]
    homes: list[list[set[bytes]]] = []
    out = np.empty(64, np.intp)
    for _ in range(2):
        a.send(*flows)
        seen = []
        for queue in range(2):
            n = port.rx_burst(queue, out)
            seen.append({pool.content(int(i)) for i in out[:n]})
            assert all(int(flags) & RxFlag.RSS_HASH for flags in pool.rx_flags[out[:n]])
            assert all(int(pool.rss[i]) % 2 == queue for i in out[:n]), "the table gives even entries to queue 0"
            pool.free(out[:n])
        homes.append(seen)
    assert homes[0] == homes[1] and all(homes[0]) and homes[0][0] | homes[0][1] == set(flows)
    packet = pool.put(frame(a.port.mac_addr, port.mac_addr, 60))
    assert port.tx_burst(1, np.array([packet], np.intp)) == 1
    assert len(a.receive()) == 1
    port.close()
    assert pool.available == 512


def test_what_it_has_not_got(bench: Bench) -> None:
    a = bench.side(0)
    packet = a.pool.put(bytes(14) + b"\x45" + bytes(60))
    a.pool.l2_len[packet], a.pool.l3_len[packet] = 14, 20
    for flag, name in ((TxFlag.IP_CKSUM, "IPV4_CKSUM"), (TxFlag.SCTP_CKSUM, "SCTP_CKSUM")):
        a.pool.tx_flags[packet] = flag
        with pytest.raises(NotSupported, match=f"asks for {name}, and vmxnet3 has no such offload"):
            a.port.tx_prepare(0, np.array([packet], np.intp))
