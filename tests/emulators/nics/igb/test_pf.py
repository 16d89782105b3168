"""The stock PF driver, asked by the stock VF driver's accesses: every message in its accepted, refused and unknown form."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.fabric.frames import intel_hash, mac_bytes
from emulators.fabric.pool import VlanInsert
from emulators.nics.igb.pf import DRAIN_TIME
from regmodel.errors import UsageError
from regmodel.function import ResetCause
from tests.emulators.nics.igb.vf_driver import (
    ACK,
    CTS,
    MSG_ACK,
    MSG_NACK,
    PFACK,
    PFSTS,
    REQ,
    RSTD,
    RSTI,
    SECOND,
    V2PMAILBOX,
    VFU,
    VMBMEM,
    Bench,
    Stuck,
    VfDriver,
)  # fmt: skip
from tests.support.thorough import THOROUGH

Benches = Callable[..., Bench]
MAC, OTHER = mac_bytes("02:aa:00:00:00:01"), mac_bytes("02:aa:00:00:00:02")
CLEAR, ADD = 1, 2


def mac_of(reply: list[int]) -> bytes:
    return reply[1].to_bytes(4, "little") + reply[2].to_bytes(4, "little")[:2]


# -- reset and the gate


def test_reset_is_acknowledged_with_an_address_and_opens_the_pool(bench: Bench) -> None:
    vf = bench.driver()
    pool = vf.slot.pool
    assert not pool.receive_enable and not pool.transmit_enable
    reply = vf.reset()
    assert reply[0] == 1 | MSG_ACK, "no CTS in this reply"
    assert pool.macs == {mac_of(reply)} and not pool.macs & bench.card.slots[1].pool.macs
    assert pool.receive_enable and pool.transmit_enable
    assert pool.accept_broadcast and pool.accept_untagged and not pool.multicast_hash
    assert pool.mac_anti_spoof and pool.vlan_anti_spoof


def test_without_an_address_reset_is_refused_but_opens_the_pool(benches: Benches) -> None:
    vf = benches(mac="none").driver()
    assert vf.reset() == [1 | MSG_NACK, 0, 0]
    assert vf.slot.pool.receive_enable and vf.slot.pool.macs == frozenset()
    assert vf.set_mac(MAC)
    assert vf.slot.pool.macs == {MAC}
    assert vf.reset()[0] == 1 | MSG_NACK, "the address that the VF chose is forgotten"


def test_what_comes_before_reset_is_acknowledged_and_not_answered_for_two_seconds(bench: Bench) -> None:
    vf = bench.driver()
    vf.post(5, 1518)
    assert not vf.check(PFSTS)
    bench.advance(2 * SECOND)
    vf.post(5, 1518)
    assert not vf.check(PFSTS)
    bench.advance(1)
    assert vf.ask(5, 1518) == [5 | MSG_NACK]
    assert vf.slot.pool.max_frame is None
    vf.reset()
    assert vf.set_lpe(1600)


def test_a_vf_that_reads_without_being_clear_to_send_is_told_so(bench: Bench) -> None:
    vf = bench.driver()
    bench.advance(3 * SECOND)
    vf.read(1)
    bench.settle()
    assert vf.check(PFSTS) and vf.bank.read(VMBMEM, 4) == MSG_NACK
    vf.read(1)
    bench.settle()
    assert not vf.check(PFSTS), "once in two seconds"


def test_a_second_reset_starts_over(vf: VfDriver, bench: Bench) -> None:
    assert vf.set_vlan(7) and vf.set_multicast([1, 2]) and vf.set_promisc(2) and vf.set_lpe(9000)
    vf.reset()
    pool = vf.slot.pool
    assert bench.pf.settings.vlans.of(0) == [0] and not pool.multicast_hash and not pool.multicast_promiscuous
    assert bench.port.switch.multicast_hashes == frozenset()
    assert not pool.strip_vlan
    assert pool.max_frame == 9000, "igb_vf_reset does not touch LPE"


@pytest.mark.parametrize("cause", [ResetCause.FLR, ResetCause.BUS, ResetCause.SOFTWARE])
def test_a_reset_of_the_vf_closes_its_pool_at_once(vf: VfDriver, bench: Bench, cause: ResetCause) -> None:
    vf.set_vlan(7)
    vf.software_reset(cause)
    assert not vf.slot.pool.receive_enable and not vf.slot.pool.transmit_enable
    bench.settle()
    assert bench.pf.settings.vlans.of(0) == [0]
    assert not bench.pf.vfs[0].clear_to_send


def test_our_own_reply_is_not_answered(vf: VfDriver) -> None:
    for word in (MSG_ACK | 5, MSG_NACK | 5, MSG_ACK | 1):
        vf.post(word)
        assert not vf.check(PFSTS)


@pytest.mark.parametrize("word", [0, 7, 0xFFFF, 0x100, 1 | 1 << 16, 1 | CTS])
def test_unknown_messages_are_refused(vf: VfDriver, word: int) -> None:
    assert vf.ask(word) == [word | CTS | MSG_NACK]


# -- addresses


def test_a_vf_may_change_its_address(vf: VfDriver) -> None:
    assert vf.set_mac(MAC)
    assert vf.slot.pool.macs == {MAC}


@pytest.mark.parametrize("address", ["00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"])
def test_an_invalid_address_is_refused(vf: VfDriver, address: str) -> None:
    before = vf.slot.pool.macs
    assert not vf.set_mac(mac_bytes(address)) and not vf.set_mac(mac_bytes(address), ADD)
    assert vf.slot.pool.macs == before


def test_an_address_that_the_host_set_is_not_the_vfs_to_change(vf: VfDriver, bench: Bench) -> None:
    bench.port.control("vf", "0", "mac", "02:00:00:00:00:77")
    given = mac_bytes("02:00:00:00:00:77")
    assert not vf.set_mac(MAC) and not vf.set_mac(MAC, ADD) and not vf.set_mac(MAC, CLEAR)
    assert mac_of(vf.reset()) == given
    bench.port.control("vf", "0", "trust", "on")
    assert vf.set_mac(MAC) and vf.slot.pool.macs == {MAC}
    bench.port.control("vf", "0", "trust", "off")
    bench.port.control("vf", "0", "mac", "00:00:00:00:00:00")
    assert vf.set_mac(OTHER)


def test_extra_filters_until_there_is_no_room(vf: VfDriver, bench: Bench) -> None:
    """24 receive addresses, less 7 VFs', the PF's own and 3 kept back: 13."""
    extra = [bytes((2, 1, 0, 0, 0, n)) for n in range(14)]
    own = vf.slot.pool.macs
    assert [vf.set_mac(address, ADD) for address in extra] == [True] * 13 + [False]
    assert vf.slot.pool.macs == own | set(extra[:13])
    assert not bench.ready(1).set_mac(extra[13], ADD), "all VFs share them"
    assert vf.set_mac(extra[0], CLEAR), "an address must be valid even to clear"
    assert vf.slot.pool.macs == own
    assert bench.driver(1).set_mac(extra[13], ADD)


def test_clearing_as_igbvf_does_it_is_refused(vf: VfDriver) -> None:
    assert vf.set_mac(OTHER, ADD)
    assert not vf.set_mac(bytes(6), CLEAR)
    assert OTHER in vf.slot.pool.macs
    assert not vf.set_mac(OTHER, 3)


def test_a_filter_with_the_address_of_another_one_takes_it_over(bench: Bench) -> None:
    a, b = bench.ready(0), bench.ready(1)
    assert a.set_mac(OTHER, ADD) and b.set_mac(OTHER, ADD)
    assert OTHER not in a.slot.pool.macs and OTHER in b.slot.pool.macs


def test_the_i350_has_more_receive_addresses(benches: Benches) -> None:
    vf = benches("I350").ready()
    assert [vf.set_mac(bytes((2, 1, 0, 0, 0, n)), ADD) for n in range(22)] == [True] * 21 + [False]


# -- multicast


def test_exactly_thirty_of_two_hundred_groups(bench: Bench) -> None:
    """igbvf sends the hashes of the first 30 groups; frames of all groups with one of these hashes are received."""
    a, b = bench.ready(0), bench.ready(1)
    groups = [bytes((0x33, 0x33, 0, 0, n * 7 % 256, n)) for n in range(200)]
    place = intel_hash()
    sent = [place(group) for group in groups[:30]]
    assert a.set_multicast(sent)
    received = [g for g in groups if _receives(bench, g, 0)]
    assert received == [g for g in groups if place(g) in set(sent)]
    assert not any(_receives(bench, g, 1) for g in groups)
    assert b.set_multicast([])
    assert not any(_receives(bench, g, 1) for g in groups)


def _receives(bench: Bench, target: bytes, vf: int) -> bool:
    from emulators.fabric.resolve import resolve

    return bench.card.slots[vf].pool in resolve(bench.port.switch, None, target + MAC + b"\x08\x00").pools


@settings(max_examples=60 * THOROUGH)
@given(st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 0xFFFF), max_size=30)), max_size=8))
def test_multicast_hashes_are_the_union_of_the_last_lists(messages: list[tuple[int, list[int]]]) -> None:
    bench = Bench()
    try:
        last: dict[int, list[int]] = {}
        for vf, hashes in messages:
            driver = bench.driver(vf) if vf in last else bench.ready(vf)
            assert driver.set_multicast(hashes)
            last[vf] = hashes
        assert bench.port.switch.multicast_hashes == {h & 0xFFF for hashes in last.values() for h in hashes}
        for vf, hashes in last.items():
            assert bench.card.slots[vf].pool.multicast_hash == bool(hashes)
    finally:
        bench.close()


def test_more_than_thirty_is_all_multicast(vf: VfDriver) -> None:
    assert vf.set_multicast(list(range(30)), count=31)
    assert vf.slot.pool.multicast_promiscuous and not vf.slot.pool.multicast_hash
    assert vf.set_multicast([5])
    assert not vf.slot.pool.multicast_promiscuous and vf.slot.pool.multicast_hash


def test_promiscuous_multicast_is_granted_and_unicast_refused(vf: VfDriver, bench: Bench) -> None:
    assert vf.set_multicast([0x123])
    assert vf.ask(6 | 2 << 16) == [6 | CTS | MSG_ACK], "what is granted is not echoed"
    assert vf.slot.pool.multicast_promiscuous
    assert vf.ask(6 | 3 << 16) == [6 | 1 << 16 | CTS | MSG_NACK]
    assert vf.slot.pool.multicast_promiscuous, "granted all the same"
    assert not vf.slot.pool.unicast_promiscuous
    assert vf.ask(6 | 1 << 16) == [6 | 1 << 16 | CTS | MSG_NACK]
    assert not vf.slot.pool.multicast_promiscuous and vf.slot.pool.multicast_hash
    assert bench.port.switch.multicast_hashes == {0x123}
    assert vf.set_promisc(0)


# -- VLANs


def test_thirty_one_vlans_and_no_more(vf: VfDriver, bench: Bench) -> None:
    assert [vf.set_vlan(vid) for vid in range(100, 132)] == [True] * 31 + [False]
    assert bench.pf.settings.vlans.of(0) == [0, *range(100, 131)]
    assert bench.ready(1).set_vlan(100), "a VLAN that has a slot can be joined"
    assert not bench.driver(1).set_vlan(200)
    assert not vf.set_vlan(200, add=False), "leaving a VLAN that has no slot needs one, too"
    assert vf.set_vlan(130, add=False) and bench.driver(1).set_vlan(200)


def test_vlan_zero_stays(vf: VfDriver, bench: Bench) -> None:
    assert vf.set_vlan(0, add=False)
    assert bench.pf.settings.vlans.of(0) == [0]
    assert vf.set_vlan(0)


def test_stripping_starts_with_the_first_vlan(vf: VfDriver) -> None:
    assert vf.set_vlan(0) and not vf.slot.pool.strip_vlan
    assert vf.set_vlan(5) and vf.slot.pool.strip_vlan
    assert vf.set_vlan(5, add=False) and vf.slot.pool.strip_vlan, "and does not stop with the last one"


def test_the_last_one_out_closes_the_vlan(bench: Bench) -> None:
    a, b = bench.ready(0), bench.ready(1)
    switch = bench.port.switch
    assert a.set_vlan(5) and b.set_vlan(5)
    assert switch.vlans.members(5) == 0b11 and switch.vlan_ids == frozenset({0, 5})
    assert a.set_vlan(5, add=False)
    assert switch.vlans.members(5) == 0b10 and switch.vlan_ids == {0, 5}
    assert b.set_vlan(5, add=False)
    assert switch.vlans.members(5) == 0 and switch.vlan_ids == {0}


def test_the_number_of_a_vlan_has_twelve_bits(vf: VfDriver, bench: Bench) -> None:
    assert vf.set_vlan(0xFFFF_F007)
    assert bench.pf.settings.vlans.of(0) == [0, 7]


def test_under_a_port_vlan_the_vf_may_not_choose(vf: VfDriver, bench: Bench) -> None:
    bench.port.control("vf", "0", "vlan", "42", "qos", "3")
    pool = vf.slot.pool
    assert bench.pf.settings.vlans.of(0) == [42]
    assert pool.vlan_insert is VlanInsert.DEFAULT and pool.port_vlan == b"\x81\x00\x60\x2a"
    assert pool.strip_vlan and not pool.accept_untagged
    assert not vf.set_vlan(5) and not vf.set_vlan(42, add=False)
    vf.reset()
    assert bench.pf.settings.vlans.of(0) == [42] and pool.strip_vlan and not pool.accept_untagged
    bench.port.control("vf", "0", "vlan", "0")
    assert bench.pf.settings.vlans.of(0) == [0] and pool.port_vlan is None
    assert not pool.strip_vlan and pool.accept_untagged
    assert vf.set_vlan(5)


VLAN_STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.booleans()), max_size=120)


@settings(max_examples=40 * THOROUGH)
@given(VLAN_STEPS)
def test_memberships_are_those_that_were_acknowledged(steps: list[tuple[int, int, bool]]) -> None:
    bench = Bench()
    try:
        drivers = [bench.ready(n) for n in range(3)]
        members = {n: {0} for n in range(3)}
        for vf, vid, add in steps:
            taken = set().union(*members.values()) - {0}
            expected = vid == 0 or vid in taken or len(taken) < 31
            assert drivers[vf].set_vlan(vid, add) == expected
            if expected and add:
                members[vf].add(vid)
            elif expected and vid:
                members[vf].discard(vid)
        for vf in range(3):
            assert set(bench.pf.settings.vlans.of(vf)) == members[vf]
        assert bench.port.switch.vlan_ids == frozenset().union(*members.values())
    finally:
        bench.close()


# -- frame length


@pytest.mark.parametrize(("asked", "granted"), [(0, 0), (1518, 1518), (9018, 9018), (0x2600, 0x2600), (0x2601, 0x2600)])
def test_long_packets(vf: VfDriver, asked: int, granted: int) -> None:
    assert vf.slot.pool.max_frame is None
    assert vf.set_lpe(asked)
    assert vf.slot.pool.max_frame == granted


def test_a_negative_length_reaches_the_register_as_in_the_stock_driver(vf: VfDriver) -> None:
    assert vf.set_lpe(0xFFFF_FFFF)
    assert vf.slot.pool.multicast_promiscuous and vf.slot.pool.max_frame == 0x3FFF


# -- the buffer


def test_a_vf_that_keeps_the_buffer_loses_its_clearance(vf: VfDriver, bench: Bench) -> None:
    vf.lock()
    vf.bank.write(VMBMEM, 4, 5)
    vf.bank.write(V2PMAILBOX, 4, REQ | VFU)
    bench.advance(9_000_000)
    assert bench.pf.vfs[0].clear_to_send
    bench.advance(3_000_000)
    assert not bench.pf.vfs[0].clear_to_send
    assert bench.ready(1).set_lpe(2000), "the others are not held up"
    vf.bank.write(V2PMAILBOX, 4, 0)
    vf.reset()
    assert vf.set_lpe(2000)


def test_a_vf_that_is_slow_to_release_is_waited_for(vf: VfDriver, bench: Bench) -> None:
    vf.lock()
    vf.check(PFACK)
    vf.check(PFSTS)
    vf.bank.write(VMBMEM, 4, 5)
    vf.bank.write(VMBMEM + 4, 4, 1700)
    vf.bank.write(V2PMAILBOX, 4, REQ | VFU)
    bench.advance(3_000_000)
    assert not vf.check(PFACK)
    vf.bank.write(V2PMAILBOX, 4, 0)
    bench.advance(1_000_000)
    assert vf.check(PFACK) and vf.check(PFSTS) and vf.slot.pool.max_frame == 1700


def test_every_signal_interrupts_the_vf(vf: VfDriver) -> None:
    before = vf.interrupts
    vf.set_lpe(1518)
    assert vf.interrupts == before + 2, "PFACK, then PFSTS"


# -- PF reset and link


def test_a_reset_of_the_pf_is_seen_and_recovered_from(bench: Bench) -> None:
    a, b = bench.ready(0), bench.ready(1)
    bench.port.control("vf", "1", "vlan", "9")
    assert a.set_vlan(7) and a.set_multicast([3])
    macs = a.slot.pool.macs
    heard: list[tuple[str, int]] = []
    bench.card.on_mailbox = lambda name, sender, words: heard.append((name, words[0]))
    bench.port.control("pf-reset")
    assert heard == [("vf0", 0x100), ("vf1", 0x100)], "pinged without CTS"
    assert not a.slot.pool.receive_enable and not a.slot.pool.transmit_enable
    bench.advance(DRAIN_TIME - 1)
    assert a.read(1) == [0x100], "there is time to read that"
    with pytest.raises(Stuck, match="no PFACK"):
        a.post(5, 1518)
    bench.advance(1)
    assert a.bank.read(V2PMAILBOX, 4) == RSTI and a.bank.read(VMBMEM, 4) == 0
    assert not a.slot.pool.receive_enable and not a.slot.pool.transmit_enable
    assert not bench.pf.link_of(0)
    with pytest.raises(Stuck, match="in reset"):
        a.reset()
    bench.advance(50_000_000)
    assert a.bank.read(V2PMAILBOX, 4) & (RSTI | RSTD) == RSTD
    assert bench.pf.link_of(0)
    assert a.slot.pool.macs == frozenset() and not a.slot.pool.receive_enable
    assert mac_of(a.reset()) in macs and a.slot.pool.receive_enable
    assert a.set_vlan(7) and bench.pf.settings.vlans.of(0) == [0, 7]
    b.reset()
    assert bench.pf.settings.vlans.of(1) == [9], "what the host has set comes back"
    assert b.slot.pool.port_vlan is not None


def test_a_vf_that_waits_is_told_to_reset_itself(vf: VfDriver, bench: Bench) -> None:
    """As igbvf's watchdog does: it looks at the message, finds neither CTS nor NACK, and its ACK brings the NACK."""
    bench.advance(3 * SECOND)
    bench.port.control("pf-reset")
    bench.advance(SECOND)
    assert vf.read(1) == [0x100]
    bench.settle()
    assert vf.read(1) == [MSG_NACK]


def test_link_events_are_pinged_with_clearance(bench: Bench) -> None:
    a, b = bench.ready(0), bench.driver(1)
    before = a.interrupts
    bench.port.control("link", "down")
    bench.settle()
    assert a.interrupts == before + 1 and a.check(PFSTS) and a.read(1) == [0x100 | CTS]
    assert b.check(PFSTS) and b.read(1) == [0x100]
    assert not bench.pf.link_of(0)
    bench.port.control("link", "up")
    assert bench.pf.link_of(0)


def test_a_ping_does_not_overwrite_a_request(vf: VfDriver, bench: Bench) -> None:
    vf.write([5, 1600])
    bench.port.control("link", "down")
    bench.settle()
    assert vf.slot.pool.max_frame == 1600 and vf.check(PFACK)


def test_state_overrides_the_link(vf: VfDriver, bench: Bench) -> None:
    bench.port.control("vf", "0", "state", "disable")
    assert not bench.pf.link_of(0) and bench.pf.link_of(1)
    assert not vf.slot.pool.receive_enable and not vf.slot.pool.transmit_enable
    vf.reset()
    assert not vf.slot.pool.receive_enable
    bench.port.control("link", "down")
    bench.port.control("vf", "0", "state", "enable")
    assert bench.pf.link_of(0) and vf.slot.pool.receive_enable and not bench.pf.link_of(1)
    bench.port.control("vf", "0", "state", "auto")
    assert not bench.pf.link_of(0)


def test_spoof_checks(vf: VfDriver, bench: Bench) -> None:
    pool = vf.slot.pool
    bench.port.control("vf", "0", "spoofchk", "off")
    assert not pool.mac_anti_spoof and not pool.vlan_anti_spoof
    assert bench.card.slots[1].pool.mac_anti_spoof
    bench.port.control("pf-reset")
    bench.advance(DRAIN_TIME)
    assert pool.mac_anti_spoof, "igb_vmm_control does not ask what was set"


BAD = [
    ("vf", "7", "mac", "02:00:00:00:00:01"),
    ("vf", "-1", "trust", "on"),
    ("vf", "x"),
    ("vf",),
    ("vf", "0", "mac"),
    ("vf", "0", "mac", "nonsense"),
    ("vf", "0", "mac", "01:00:00:00:00:01"),
    ("vf", "0", "vlan", "4096"),
    ("vf", "0", "vlan", "1", "qos", "8"),
    ("vf", "0", "vlan", "1", "qos"),
    ("vf", "0", "vlan", "1", "proto", "802.1ad"),
    ("vf", "0", "vlan", "²"),
    ("vf", "0", "spoofchk", "yes"),
    ("vf", "0", "trust", "on", "off"),
    ("vf", "0", "state", "up"),
    ("vf", "0", "rate", "100"),
    ("link", "sideways"),
    ("pf-reset", "now"),
    ("bogus",),
]


@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_bad_commands_get_one_line_and_change_nothing(bench: Bench, words: tuple[str, ...]) -> None:
    before = bench.card.save()
    with pytest.raises(UsageError) as error:
        bench.port.control(*words)
    assert "\n" not in str(error.value)
    assert bench.card.save() == before


def test_no_room_for_a_port_vlan(vf: VfDriver, bench: Bench) -> None:
    assert all(vf.set_vlan(vid) for vid in range(1, 32))
    with pytest.raises(UsageError, match="32 VLAN filters"):
        bench.port.control("vf", "1", "vlan", "50")
    bench.port.control("vf", "1", "vlan", "31")


def test_stats_are_json(vf: VfDriver, bench: Bench) -> None:
    vf.set_vlan(7)
    vf.set_promisc(1)
    stats = json.loads(json.dumps(bench.card.stats()))
    assert stats["ports"][0]["vfs"]["0"]["vlans"] == [0, 7]
    assert stats["ports"][0]["mailbox"]["refused"] == 1
    assert stats["ports"][0]["mailbox"]["requests"] == 3


# -- whatever a guest does

ACCESS = st.one_of(
    st.tuples(st.just("control"), st.sampled_from([REQ, ACK, VFU, VFU | REQ, 0, 0xFF])),
    st.tuples(st.just("control"), st.integers(0, 0xFFFF_FFFF)),
    st.tuples(st.just("message"), st.lists(st.integers(0, 0xFFFF_FFFF), min_size=1, max_size=16)),
    st.tuples(st.just("known"), st.tuples(st.integers(0, 7), st.integers(0, 255), st.lists(st.integers(0, 0xFFFF_FFFF)))),
    st.tuples(st.just("read"), st.none()),
    st.tuples(st.just("time"), st.integers(1, 3 * SECOND)),
    st.tuples(st.just("reset"), st.sampled_from(list(ResetCause))),
    st.tuples(st.just("host"), st.sampled_from(["pf-reset", "link down", "link up", "vf 0 state disable", "vf 0 vlan 3"])),
)


@settings(max_examples=150 * THOROUGH)
@given(st.lists(ACCESS, max_size=30))
def test_no_guest_breaks_the_pf_or_gets_it_stuck(accesses: list[tuple[str, object]]) -> None:
    bench = Bench()
    try:
        vf, other = bench.driver(0), bench.ready(1)
        for what, detail in accesses:
            _access(bench, vf, what, detail)
            while bench.pf._mailbox_task():  # an exception in here would only be logged by the loop
                pass
        bench.advance(SECOND, step=10_000_000)
        vf.bank.write(V2PMAILBOX, 4, 0)
        for driver in (vf, other):
            driver.reset()
            assert driver.set_lpe(1518)
        json.dumps(bench.card.save())
    finally:
        bench.close()


def _access(bench: Bench, vf: VfDriver, what: str, detail: object) -> None:
    match what, detail:
        case "control", int(value):
            vf.bank.write(V2PMAILBOX, 4, value)
        case "message", list(words):
            _message(vf, words)
        case "known", (int(number), int(info), list(words)):
            _message(vf, [number | info << 16, *words[:15]])
        case "read", _:
            vf.bank.read(V2PMAILBOX, 4)
        case "time", int(ns):
            bench.advance(ns, step=ns)
        case "reset", ResetCause() as cause:
            vf.software_reset(cause)
        case "host", str(words):
            bench.port.control(*words.split())


def _message(vf: VfDriver, words: list[int]) -> None:
    for i, word in enumerate(words):
        vf.bank.write(VMBMEM + 4 * i, 4, word)
    vf.bank.write(V2PMAILBOX, 4, REQ)
