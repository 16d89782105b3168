"""The rules of the switch one by one, as the 82576 datasheet (7.10.3) and the stock PF's way to program it have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from emulators.fabric.counters import Drop
from emulators.fabric.frames import BROADCAST_ADDRESS, intel_hash, mac_bytes, mac_text, vlan_tag
from emulators.fabric.pool import Pool, VlanInsert
from emulators.fabric.switch import CACHE_ENTRIES, Switch
from emulators.fabric.uplink import Uplink
from emulators.fabric.vlans import VlanSlot
from regmodel.errors import UsageError
from regmodel.function import Buffer

MACS = [bytes([2, 0, 0, 0, 0, n]) for n in range(4)]
STRANGER = mac_bytes("02:00:00:00:99:99")
GROUP = mac_bytes("01:00:5e:00:00:fb")


def frame(target: bytes, source: bytes, vid: int | None = None, size: int = 60) -> bytes:
    head = target + source + (b"" if vid is None else vlan_tag(vid)) + b"\x08\x00"
    return head.ljust(size, b".")


class Port:
    """A recording endpoint, back end or listener."""

    spec = "recorder"

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []
        self.loopback: list[bool] = []

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        self.calls.append([bytes(frame) for frame in frames])
        self.loopback.append(loopback)
        return len(frames)

    def send(self, frames: Sequence[Buffer]) -> int:
        return self.deliver(frames, loopback=False)

    def open(self, loop: object, wire: object) -> None: ...

    def close(self) -> None: ...

    def counters(self) -> dict[str, int]:
        return {"sent": sum(map(len, self.calls))}

    def take(self) -> list[bytes]:
        frames = [frame for call in self.calls for frame in call]
        self.calls.clear()
        self.loopback.clear()
        return frames


class Card:
    """A port with three VFs and a PF pool, programmed as stock igb does after the VFs' resets."""

    def __init__(self) -> None:
        self.switch = Switch("port0")
        self.ports = [Port() for _ in range(5)]
        self.wire = self.ports[4]
        self.switch.uplink.backend = self.wire
        self.switch.loopback = self.switch.replication = self.switch.vlan_filter = True
        for index, name in enumerate(("vf0", "vf1", "vf2", "pf")):
            pool = self.switch.add_pool(name)
            pool.endpoint = self.ports[index]
            pool.macs |= {MACS[index]}
            pool.accept_broadcast = pool.accept_untagged = True
            pool.transmit_enable = pool.receive_enable = True
            pool.mac_anti_spoof = pool.vlan_anti_spoof = name != "pf"
            self.switch.vlans.join(0, index)
        self.vf0, self.vf1, self.vf2, self.pf = self.switch.pools
        self.switch.default_pool = self.pf

    def went(self, source: Pool | None, *frames: bytes) -> set[str]:
        """Send frames one by one; the names of all ports that got any."""
        for one in frames:
            if source is None:
                self.switch.receive([one])
            else:
                source.transmit([one])
        names = ("vf0", "vf1", "vf2", "pf", "wire")
        return {name for name, port in zip(names, self.ports, strict=True) if port.take()}


@pytest.fixture
def card() -> Card:
    return Card()


def test_vf_to_vf_stays_inside_and_to_a_stranger_goes_to_the_wire(card: Card) -> None:
    assert card.went(card.vf0, frame(MACS[1], MACS[0])) == {"vf1"}
    assert card.went(card.vf0, frame(STRANGER, MACS[0])) == {"wire"}
    assert card.went(None, frame(MACS[1], STRANGER)) == {"vf1"}
    assert card.went(None, frame(STRANGER, STRANGER)) == {"pf"}  # the default pool, for frames from the wire only


def test_loopback_off_sends_everything_to_the_wire(card: Card) -> None:
    card.switch.loopback = False
    assert card.went(card.vf0, frame(MACS[1], MACS[0]), frame(BROADCAST_ADDRESS, MACS[0])) == {"wire"}


def test_broadcast_is_replicated_but_not_to_its_sender(card: Card) -> None:
    assert card.went(card.vf0, frame(BROADCAST_ADDRESS, MACS[0])) == {"vf1", "vf2", "pf", "wire"}
    card.vf0.local_loopback = True
    assert card.went(card.vf0, frame(BROADCAST_ADDRESS, MACS[0])) == {"vf0", "vf1", "vf2", "pf", "wire"}
    card.vf2.accept_broadcast = False
    assert card.went(None, frame(BROADCAST_ADDRESS, STRANGER)) == {"vf0", "vf1", "pf"}


def test_a_frame_to_oneself_goes_nowhere(card: Card) -> None:
    assert card.went(card.vf0, frame(MACS[0], MACS[0])) == set()
    assert card.vf0.refused == {Drop.FILTERED: 1}


def test_without_replication_groups_from_the_wire_go_to_the_default_pool(card: Card) -> None:
    card.switch.replication = False
    card.vf1.multicast_promiscuous = True
    assert card.went(None, frame(BROADCAST_ADDRESS, STRANGER)) == {"pf"}
    assert card.went(None, frame(GROUP, STRANGER)) == {"pf"}
    assert card.went(card.vf0, frame(BROADCAST_ADDRESS, MACS[0])) == {"wire"}
    card.switch.default_pool = None
    assert card.went(None, frame(BROADCAST_ADDRESS, STRANGER)) == set()


def test_with_replication_the_default_pool_is_for_unicast_only(card: Card) -> None:
    assert card.went(None, frame(GROUP, STRANGER)) == set()
    assert card.switch.uplink.refused == {Drop.FILTERED: 1}


def test_multicast_by_hash_reaches_all_pools_with_rompe_collisions_included(card: Card) -> None:
    hashed = intel_hash()
    card.switch.multicast_hashes = frozenset({hashed(GROUP)})
    card.vf0.multicast_hash = card.vf1.multicast_hash = True
    twin = mac_bytes("33:33:00:00:00:fb")
    assert hashed(twin) == hashed(GROUP)
    assert card.went(None, frame(GROUP, STRANGER)) == {"vf0", "vf1"}
    assert card.went(None, frame(twin, STRANGER)) == {"vf0", "vf1"}
    assert card.went(card.vf0, frame(GROUP, MACS[0])) == {"vf1", "wire"}
    assert card.went(None, frame(mac_bytes("01:00:5e:00:0f:fb"), STRANGER)) == {"vf0", "vf1"}  # only 12 bits count
    assert card.went(None, frame(mac_bytes("01:00:5e:00:01:fa"), STRANGER)) == set()


def test_an_exact_multicast_filter_comes_before_the_hash(card: Card) -> None:
    card.switch.multicast_hashes = frozenset({intel_hash()(GROUP)})
    card.vf0.multicast_hash = True
    card.vf1.macs |= {GROUP}
    assert card.went(None, frame(GROUP, STRANGER)) == {"vf1"}
    card.vf2.multicast_promiscuous = True
    assert card.went(None, frame(GROUP, STRANGER)) == {"vf1", "vf2"}
    assert card.went(card.vf0, frame(GROUP, MACS[0])) == {"vf1", "vf2", "wire"}


def test_unicast_by_hash_goes_to_the_wire_as_well(card: Card) -> None:
    card.switch.unicast_hashes = frozenset({intel_hash()(STRANGER)})
    card.pf.unicast_hash = True
    assert card.went(card.vf0, frame(STRANGER, MACS[0])) == {"pf", "wire"}


@pytest.mark.parametrize(("mo", "value"), [(0, 0x563), (1, 0xAC6), (2, 0x58D), (3, 0x634)])
def test_hash_takes_twelve_bits_of_the_last_two_bytes(mo: int, value: int) -> None:
    assert intel_hash(mo)(mac_bytes("01:aa:00:12:34:56")) == value


def test_vlans_reach_members_only(card: Card) -> None:
    for pool in (card.vf0, card.vf1):
        assert card.switch.vlans.join(7, pool.index)
    assert card.went(card.vf0, frame(MACS[1], MACS[0], 7)) == {"vf1"}
    assert card.went(card.vf0, frame(BROADCAST_ADDRESS, MACS[0], 7)) == {"vf1", "wire"}
    assert card.went(None, frame(MACS[2], STRANGER, 7)) == {"pf"}  # no member: the default pool has it
    card.switch.default_pool = None
    assert card.went(None, frame(MACS[2], STRANGER, 7)) == set()
    assert card.switch.uplink.refused == {Drop.VLAN: 1}


def test_a_known_address_keeps_a_frame_off_the_wire_even_in_a_foreign_vlan(card: Card) -> None:
    card.switch.vlans.join(7, card.vf0.index)
    assert card.went(card.vf0, frame(MACS[1], MACS[0], 7)) == set()
    assert card.vf0.refused == {Drop.VLAN: 1}


def test_a_vlan_that_the_port_does_not_let_in_reaches_no_pool(card: Card) -> None:
    card.switch.vlan_ids = frozenset({0, 7})
    card.pf.unicast_promiscuous = True
    assert card.went(None, frame(MACS[1], STRANGER, 8)) == set()
    assert card.went(card.pf, frame(MACS[1], MACS[3], 8)) == {"wire"}
    assert card.went(None, frame(MACS[1], STRANGER)) == {"vf1", "pf"}
    card.switch.vlan_filter = False
    assert card.went(None, frame(MACS[1], STRANGER, 8)) == {"vf1", "pf"}


def test_untagged_frames_need_aupe(card: Card) -> None:
    card.vf1.accept_untagged = False
    card.switch.default_pool = None
    assert card.went(None, frame(MACS[1], STRANGER)) == set()
    assert card.went(None, frame(MACS[1], STRANGER, 0)) == {"vf1"}  # VLAN 0 is a VLAN of the table


def test_spoofed_addresses_are_dropped_and_told(card: Card) -> None:
    told: list[tuple[Pool, Drop]] = []
    card.vf0.on_spoof = lambda pool, drop: told.append((pool, drop))
    assert card.went(card.vf0, frame(MACS[1], MACS[2])) == set()
    assert card.went(card.vf0, frame(MACS[1], MACS[0], 9)) == set()
    assert told == [(card.vf0, Drop.MAC_SPOOF), (card.vf0, Drop.VLAN_SPOOF)]
    card.switch.vlans.join(9, card.vf2.index)  # of a higher number: its membership is not ours
    assert card.went(card.vf0, frame(MACS[1], MACS[0], 9)) == set()
    card.vf0.mac_anti_spoof = False
    assert card.went(card.vf0, frame(MACS[1], MACS[2])) == {"vf1"}
    card.switch.vlans.clear()
    card.vf0.vlan_anti_spoof = False
    assert card.went(card.vf0, frame(STRANGER, MACS[0], 9)) == {"wire"}


def test_port_vlan_is_inserted_before_all_checks(card: Card) -> None:
    for pool in (card.vf0, card.vf1):
        card.switch.vlans.join(7, pool.index)
        pool.set_port_vlan(7, priority=3)
        pool.accept_untagged = False
    assert card.vf0.vlan_insert is VlanInsert.DEFAULT
    plain = frame(MACS[1], MACS[0])
    card.vf0.transmit([memoryview(plain)])
    assert card.ports[1].take() == [plain[:12] + b"\x81\x00\x60\x07" + plain[12:]]
    assert card.vf0.tx.octets == 60
    assert card.vf1.rx.octets == card.vf0.tx_loopback.octets == 64
    card.vf0.set_port_vlan(None)
    assert card.vf0.vlan_insert is VlanInsert.DESCRIPTOR
    assert card.went(card.vf0, plain) == set()


@pytest.mark.parametrize(("vid", "longest"), [(None, 1514), (5, 1518)])
def test_length_limit_counts_the_fcs_and_allows_for_the_tag(card: Card, vid: int | None, longest: int) -> None:
    card.switch.vlans.join(5, 0), card.switch.vlans.join(5, 1)
    card.vf0.transmit([frame(MACS[1], MACS[0], vid, size) for size in (longest, longest + 1, 60)])
    assert [len(one) for one in card.ports[1].take()] == [longest, 60]
    assert card.vf1.lost == {Drop.TOO_LONG: 1}
    card.vf1.max_frame = 9018 + 4
    assert card.went(card.vf0, frame(MACS[1], MACS[0], vid, 9018)) == {"vf1"}
    card.switch.max_frame = 9018
    assert card.went(card.vf0, frame(MACS[1], MACS[0], vid, 9018)) == set()


def test_disabled_pools_neither_send_nor_receive(card: Card) -> None:
    card.vf1.receive_enable = False
    assert card.went(card.vf0, frame(MACS[1], MACS[0])) == set()
    assert card.went(card.vf0, frame(BROADCAST_ADDRESS, MACS[0])) == {"vf2", "pf", "wire"}
    card.vf0.transmit_enable = False
    assert card.went(card.vf0, frame(BROADCAST_ADDRESS, MACS[0])) == set()
    assert card.vf0.refused == {Drop.DISABLED: 2}


def test_a_truncated_tag_is_a_runt_and_does_not_spoil_the_cache(card: Card) -> None:
    whole = frame(MACS[1], MACS[3], 0)
    for size in (0, 13, 14, 15):
        card.pf.transmit([whole[:size]])
    assert card.pf.refused == {Drop.RUNT: 4}
    assert card.went(card.pf, whole) == {"vf1"}
    card.pf.transmit([whole[:14]])
    assert card.pf.refused == {Drop.RUNT: 5}


def test_each_destination_is_called_once_per_burst_in_order(card: Card) -> None:
    burst = [frame(MACS[1 + n % 2], MACS[0], size=60 + n) for n in range(8)]
    burst[5] = frame(BROADCAST_ADDRESS, MACS[0], size=65)
    card.vf0.transmit(burst)
    sizes = [[[len(one) for one in call] for call in port.calls] for port in card.ports]
    assert sizes == [[], [[60, 62, 64, 65, 66]], [[61, 63, 65, 67]], [[65]], [[65]]]
    assert [port.loopback for port in card.ports] == [[], [True], [True], [True], [False]]


def test_invented_addresses_do_not_grow_the_cache(card: Card) -> None:
    for n in range(CACHE_ENTRIES + 100):
        card.switch.receive([frame(MACS[1], STRANGER[:4] + n.to_bytes(2, "big"), n % 4096)])
        assert len(card.switch.uplink.cache) <= CACHE_ENTRIES


@pytest.mark.parametrize("setting", [*sorted(Pool.SETTINGS), *sorted(Switch.SETTINGS), "slot", "link"])
def test_every_setting_takes_effect_with_the_next_burst(card: Card, setting: str) -> None:
    card.switch.receive([frame(MACS[1], STRANGER)])
    card.vf0.transmit([frame(MACS[1], MACS[0])])
    assert card.switch.uplink.cache and card.vf0.cache
    if setting == "slot":
        card.switch.vlans[5] = VlanSlot(5, 1, True)
    elif setting == "link":
        card.switch.link.set_admin(False)
    else:
        owner = card.vf2 if setting in Pool.SETTINGS else card.switch
        setattr(owner, setting, getattr(owner, setting))
    assert not card.switch.uplink.cache and not card.vf0.cache


def test_link_down_stops_the_wire_only(card: Card) -> None:
    seen: list[bool] = []
    card.switch.link.listen(seen.append)
    assert card.went(card.vf0, frame(STRANGER, MACS[0])) == {"wire"}
    card.switch.link.set_admin(False)
    card.switch.uplink.set_carrier(False)
    assert card.went(card.vf0, frame(STRANGER, MACS[0])) == set()
    assert card.went(None, frame(MACS[0], STRANGER)) == set()
    assert card.went(card.vf0, frame(MACS[1], MACS[0])) == {"vf1"}
    assert card.switch.uplink.dropped() == {"link_down": 2}
    card.switch.link.set_admin(True)
    card.switch.uplink.set_carrier(True)
    assert card.went(None, frame(MACS[0], STRANGER)) == {"vf0"}
    assert seen == [False, True]


def test_two_ports_of_a_card_know_nothing_of_each_other() -> None:
    one, two = Card(), Card()
    assert one.went(one.vf0, frame(BROADCAST_ADDRESS, MACS[0]), frame(MACS[1], MACS[0]))
    assert not any(port.take() for port in two.ports)
    assert two.vf0.rx.frames == 0


def test_observer_sees_bursts_at_every_port(card: Card) -> None:
    seen: list[tuple[str, str, int]] = []
    card.switch.observer = lambda port, direction, frames: seen.append((port, direction, len(frames)))
    card.vf0.send([frame(MACS[1], MACS[0])] * 3)
    card.switch.receive([frame(MACS[2], STRANGER)])
    assert seen == [("vf0", "in", 3), ("vf1", "out", 3), ("uplink", "in", 1), ("vf2", "out", 1)]


def test_a_pool_without_endpoint_has_no_buffers(card: Card) -> None:
    card.vf1.endpoint = None
    card.vf0.transmit([frame(MACS[1], MACS[0])] * 2)
    assert card.vf1.lost == {Drop.NO_BUFFERS: 2}


def test_reset_forgets_settings_and_keeps_ports(card: Card) -> None:
    card.switch.reset()
    assert card.went(card.vf0, frame(MACS[1], MACS[0])) == set()
    assert card.vf0.refused == {Drop.DISABLED: 1}
    card.vf0.transmit_enable = True
    assert card.went(card.vf0, frame(MACS[1], MACS[0])) == {"wire"}


def test_counters_by_name(card: Card) -> None:
    card.vf0.transmit([frame(BROADCAST_ADDRESS, MACS[0]), frame(MACS[1], MACS[2])])
    counters = card.switch.counters()
    assert counters["pools"]["vf0"]["tx"] == {"frames": 2, "octets": 120, "multicast": 0, "broadcast": 1}
    assert counters["pools"]["vf0"]["dropped"] == {"mac_spoof": 1}
    assert counters["uplink"]["tx"]["frames"] == 1
    assert counters["uplink"]["backend"] == {"spec": "recorder", "sent": 1}
    card.switch.clear_counters()
    assert card.vf0.tx.frames == card.vf0.refused.total() == card.switch.uplink.tx.frames == 0


def test_strip_of_replicated_frames_follows_the_port_if_it_says_so(card: Card) -> None:
    card.vf0.strip_vlan = True
    assert card.vf0.strip_vlan_replicated
    card.switch.strip_replicated = False
    assert not card.vf0.strip_vlan_replicated


def test_of_32_vlan_slots_31_are_to_be_had(card: Card) -> None:
    table = card.switch.vlans
    assert all(table.join(vid, 0) for vid in range(1, 32))
    assert not table.join(32, 0)
    assert table.join(31, 1)
    assert table[0].vid == 0
    assert table[31].vid == 1
    table.leave(1, 0)
    assert table.join(32, 0)
    assert table.vids(0) == frozenset({0, *range(2, 33)})
    table.leave_all(0)
    assert table.vids(0) == frozenset()
    assert table.vids(1) == {0, 31}
    table.leave(999, 1)
    assert table.members(31) == 0b10


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: mac_bytes("02:00:00"), "'02:00:00' is not a MAC address"),
    (lambda: vlan_tag(4096), "VLAN 4096"),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_bad_values_are_named(call: Callable[[], object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        call()


def test_addresses_are_written_as_they_are_read() -> None:
    assert mac_text(mac_bytes("02-AB-00-00-00-01")) == "02:ab:00:00:00:01"


def test_no_frame_from_the_wire_is_short() -> None:
    arrived: list[list[bytes]] = []
    uplink = Uplink(lambda frames: arrived.append([bytes(f) for f in frames]))
    whole, short, odd = bytes(range(60)), bytes(range(14)), bytes(13)
    uplink.receive([memoryview(whole), memoryview(short), memoryview(odd)])
    uplink.receive([whole])
    assert arrived == [[whole, short + bytes(46), odd], [whole]], "what has no whole header is left to be counted as a runt"
