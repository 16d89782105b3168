"""The switch against the oracle: any settings, changed at any time, any frames from anywhere; and all counters add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.fabric.counters import ON_THE_WAY, Drop
from emulators.fabric.offload import Takes
from emulators.fabric.pool import Pool
from emulators.fabric.switch import Switch
from emulators.fabric.vlans import VlanSlot
from regmodel.function import Buffer
from tests.support.thorough import THOROUGH

from .oracle import Fate, fate, place

UNICAST = [bytes.fromhex(f"0200000000{n:02x}") for n in (0x01, 0x02, 0x03, 0x11)]  # 01, 02, 03 share a hash, 11 does not
GROUP = [bytes.fromhex(text) for text in ("01005e000001", "01005e000002", "333300000103", "ffffffffffff")]
VIDS = [0, 5]
POOLS = 3
ROOM = 1 << 30

addresses = st.sampled_from(UNICAST + GROUP)
booleans = st.booleans()
mostly = st.sampled_from([True, True, True, False])
seldom = st.sampled_from([False, False, False, True])
hashes = st.frozensets(st.sampled_from(sorted({place(address) for address in UNICAST + GROUP})))
lengths = st.sampled_from([60, 64, 60, 14, 15, 16, 13, 0, 1514, 1515, 1518, 1519, 8996, 8997, 9724, 9725])
tags = st.one_of(st.none(), st.builds(lambda vid, pcp: pcp << 13 | vid, st.sampled_from(VIDS), st.integers(0, 7)))


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    tag = draw(tags)
    head = draw(addresses) + draw(st.sampled_from(UNICAST))
    head += b"" if tag is None else b"\x81\x00" + tag.to_bytes(2, "big")
    size = draw(lengths)
    return (head + b"\x08\x00" + bytes([draw(st.integers(0, 255))]) * size)[:size]


POOL_SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "macs": st.frozensets(st.sampled_from(UNICAST + GROUP[:3]), max_size=2),
    "max_frame": st.sampled_from([None, 64, 1518, 1522, 9000, 9728]),
    **dict.fromkeys(("transmit_enable", "receive_enable", "accept_untagged", "accept_broadcast"), mostly),
    **dict.fromkeys(("multicast_hash", "multicast_promiscuous", "unicast_hash", "local_loopback"), booleans),
    **dict.fromkeys(("unicast_promiscuous", "mac_anti_spoof", "vlan_anti_spoof"), seldom),
}
PORT_SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "vlan_filter": booleans,
    "vlan_ids": st.one_of(st.none(), st.frozensets(st.sampled_from(VIDS))),
    "multicast_hashes": hashes,
    "unicast_hashes": hashes,
    "loopback": mostly,
    "replication": mostly,
    "max_frame": st.sampled_from([9728, 1522]),
}
pool_setting = st.sampled_from(sorted(POOL_SETTINGS)).flatmap(
    lambda name: st.tuples(st.just("pool"), st.integers(0, POOLS - 1), st.just(name), POOL_SETTINGS[name])
)
port_setting = st.sampled_from(sorted(PORT_SETTINGS)).flatmap(
    lambda name: st.tuples(st.just("port"), st.just(name), PORT_SETTINGS[name])
)
other_setting = st.one_of(
    st.tuples(st.just("default"), st.one_of(st.none(), st.integers(0, POOLS - 1))),
    st.tuples(st.just("port_vlan"), st.integers(0, POOLS - 1), st.one_of(st.none(), st.sampled_from(VIDS))),
    st.tuples(st.just("slot"), st.integers(0, 3), st.builds(VlanSlot, st.sampled_from(VIDS), st.integers(0, 7), booleans)),
    st.tuples(st.just("link"), booleans),
)
burst = st.tuples(
    st.just("burst"),
    st.integers(-1, POOLS - 1),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),  # of a palette, so that frames come again after a change
    st.sampled_from([bytes, memoryview]),
)
actions = st.lists(st.one_of(burst, burst, burst, pool_setting, port_setting, other_setting), max_size=16)
palettes = st.lists(frames(), min_size=10, max_size=10)
beginning = st.fixed_dictionaries(
    {
        "pools": st.tuples(*[st.fixed_dictionaries(POOL_SETTINGS)] * POOLS),
        "port": st.fixed_dictionaries(PORT_SETTINGS),
        "slots": st.lists(st.builds(VlanSlot, st.sampled_from(VIDS), st.integers(0, 7), mostly), min_size=4, max_size=4),
        "default": st.one_of(st.none(), st.integers(0, POOLS - 1)),
        "room": st.sampled_from([ROOM, 5]),
    }
)


class Recorder:
    """An endpoint, or a back end, with room for some frames."""

    spec = "recorder"
    takes = Takes.NONE

    def __init__(self, room: int) -> None:
        self.room, self.got, self.calls = room, list[tuple[bytes, bool]](), 0

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        self.calls += 1
        taken = min(len(frames), self.room)
        self.room -= taken
        self.got += [(bytes(frame), loopback) for frame in frames]
        return taken

    def send(self, frames: Sequence[Buffer]) -> int:
        return self.deliver(frames, loopback=False)

    def open(self, loop: object, wire: object) -> None: ...

    def close(self) -> None: ...

    def counters(self) -> dict[str, int]:
        return {}


class Bench:
    """A switch with recorders at every port, and what the oracle says that they have to record."""

    def __init__(self, start: dict[str, Any]) -> None:
        self.room = room = start["room"]
        self.switch = Switch("port", vlan_slots=4)
        self.endpoints = [Recorder(room) for _ in range(POOLS)]
        for index, endpoint in enumerate(self.endpoints):
            pool = self.switch.add_pool(f"vf{index}")
            pool.endpoint = endpoint
            for name, value in start["pools"][index].items():
                setattr(pool, name, value)
        for name, value in start["port"].items():
            setattr(self.switch, name, value)
        for index, slot in enumerate(start["slots"]):
            self.switch.vlans[index] = slot
        self.change(("default", start["default"]))
        self.wire = Recorder(room)
        self.switch.uplink.backend = self.wire
        self.fates: list[tuple[int, bytes, Fate, bool]] = []

    def change(self, action: tuple[Any, ...]) -> None:
        match action:
            case ("pool", index, name, value):
                setattr(self.switch.pools[index], name, value)
            case ("port", name, value):
                setattr(self.switch, name, value)
            case ("default", index):
                self.switch.default_pool = None if index is None else self.switch.pools[index]
            case ("port_vlan", index, vid):
                self.switch.pools[index].set_port_vlan(vid)
            case ("slot", index, slot):
                self.switch.vlans[index] = slot
            case ("link", up):
                self.switch.link.set_admin(up)

    def burst(self, origin: int, frames: list[bytes], kind: type) -> None:
        """Send a burst; each port must get exactly its part, in order, in one call."""
        source: Pool | None = None if origin < 0 else self.switch.pools[origin]
        fates = [fate(self.switch, source, frame) for frame in frames]
        self.fates += [(origin, f, x, self.switch.link.up) for f, x in zip(frames, fates, strict=True)]
        before = [(len(p.got), p.calls) for p in (*self.endpoints, self.wire)]
        buffers = [kind(frame) for frame in frames]
        if source is None:
            self.switch.receive(buffers)
        else:
            source.transmit(buffers)
        expected = [[(x.pools[i], source is not None) for x in fates if i in x.pools] for i in range(POOLS)]
        expected.append([(x.wire, False) for x in fates if x.wire is not None and self.switch.link.up])
        for port, (got, calls), frames_expected in zip((*self.endpoints, self.wire), before, expected, strict=True):
            assert port.got[got:] == frames_expected
            assert port.calls - calls == bool(frames_expected)

    def check_counters(self) -> None:
        ports = [*self.switch.pools, self.switch.uplink]
        for origin, port in zip([*range(POOLS), -1], ports, strict=True):
            mine = [(f, x) for o, f, x, _ in self.fates if o == origin]
            assert port.entered.frames == len(mine)
            assert port.entered.octets == sum(len(f) for f, _ in mine)
            groups = [f[:6] for f, x in mine if len(f) >= 14 and x.refused != "runt" and f[0] & 1]
            assert port.entered.broadcast == groups.count(GROUP[3])
            assert port.entered.multicast == len(groups) - groups.count(GROUP[3])
            assert {k.value: v for k, v in port.refused.items()} == Counter(x.refused for _, x in mine if x.refused)
            switched = len(mine) - port.refused.total()
            assert switched <= port.copies <= switched * (POOLS + 1)
        assert sum(p.copies for p in ports) == sum(p.left.frames + sum(p.lost[r] for r in ON_THE_WAY) for p in ports)
        for index, (pool, endpoint) in enumerate(zip(self.switch.pools, self.endpoints, strict=True)):
            self.check_left(pool, endpoint, "no_buffers")
            assert pool.rx_loopback.frames == sum(loopback for _, loopback in endpoint.got)
            assert pool.rx_loopback.octets == sum(len(f) for f, loopback in endpoint.got if loopback)
            assert pool.lost[Drop("too_long")] == sum(index in x.too_long for _, _, x, _ in self.fates)
            looped = [x for o, _, x, _ in self.fates if o == index and (x.pools or x.too_long)]
            assert pool.tx_loopback.frames == len(looped)
        self.check_left(self.switch.uplink, self.wire, "queue_full")
        assert self.switch.uplink.lost[Drop("link_down")] == sum(x.wire is not None and not up for _, _, x, up in self.fates)

    def check_left(self, port: Any, recorder: Recorder, reason: str) -> None:
        frames = [frame for frame, _ in recorder.got]
        assert port.left.frames == len(frames)
        assert port.left.octets == sum(map(len, frames))
        assert port.left.broadcast == sum(frame[:6] == GROUP[3] for frame in frames)
        assert port.left.multicast + port.left.broadcast == sum(frame[0] & 1 for frame in frames)
        assert port.left.frames - port.lost[Drop(reason)] == min(len(frames), self.room)


@settings(max_examples=500 * THOROUGH)
@given(beginning, palettes, actions)
def test_every_frame_goes_where_the_oracle_says(
    start: dict[str, Any], palette: list[bytes], todo: list[tuple[Any, ...]]
) -> None:
    bench = Bench(start)
    for action in todo:
        match action:
            case ("burst", origin, indexes, kind):
                bench.burst(origin, [palette[index] for index in indexes], kind)
            case _:
                bench.change(action)
    bench.check_counters()
