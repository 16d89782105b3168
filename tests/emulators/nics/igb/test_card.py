"""The card as a whole: ports, numbers, addresses, who hears what, commands, state."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from emulators.model import load_card
from emulators.nics.igb.pf import DRAIN_TIME
from emulators.pci.function import PciFunction
from regmodel.devices.igbvf import IGBVF, IGBVF_I350
from regmodel.errors import StateError, UsageError
from regmodel.function import Buffer, ResetCause
from tests.emulators.nics.igb.station import FakeHost
from tests.emulators.nics.igb.vf_driver import (
    CTS,
    MSG_ACK,
    PFACK,
    PFSTS,
    REQ,
    RSTD,
    RSTI,
    SECOND,
    V2PMAILBOX,
    VMBMEM,
    Bench,
    VfDriver,
)

Benches = Callable[..., Bench]
BROADCAST = b"\xff" * 6


class Ear:
    """An endpoint that remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        self.heard += [bytes(frame) for frame in frames]
        return len(frames)


def frame(target: bytes, source: bytes, fill: int = 0) -> bytes:
    return (target + source + b"\x08\x00").ljust(60, bytes((fill,)))


def mac(vf: VfDriver) -> bytes:
    (address,) = vf.slot.pool.macs
    return address


def listen(bench: Bench) -> list[Ear]:
    """An ear at each VF of the card, all of them clear to send."""
    ears = []
    for slot in bench.card.slots:
        bench.ready(slot.number)
        slot.pool.endpoint = ear = Ear()
        ears.append(ear)
    return ears


@pytest.mark.parametrize(
    ("ports", "places"),
    [
        (1, [(0, 0), (0, 1), (0, 2), (0, 3)]),
        (2, [(0, 0), (1, 0), (0, 1), (1, 1)]),
        (4, [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1)]),
    ],
)
def test_vfs_are_numbered_over_the_ports_in_turn(benches: Benches, ports: int, places: list[tuple[int, int]]) -> None:
    card = benches(ports=ports).card
    assert len(card.ports) == ports and len(card.slots) == 7 * ports
    assert [slot.name for slot in card.slots[:3]] == ["vf0", "vf1", "vf2"]
    for number, (port, local) in enumerate(places):
        slot = card.slots[number]
        assert (slot.number, slot.local, slot.port) == (number, local, card.ports[port])
        assert slot.pool is card.ports[port].pools[local]


def test_addresses_differ_and_come_from_the_seed(benches: Benches) -> None:
    def addresses(**options: object) -> list[bytes]:
        bench = benches(ports=2, **options)
        return [mac(bench.ready(slot.number)) for slot in bench.card.slots]

    first = addresses()
    assert len(set(first)) == 14
    assert all(address[0] == 0x02 for address in first), "locally administered, unicast"
    assert addresses() == first
    assert not set(addresses(seed="1")) & set(first)


def test_vf_to_vf_within_a_port_and_never_across(benches: Benches) -> None:
    bench = benches(ports=2)
    ears = listen(bench)
    a, b, c = (bench.driver(n) for n in (0, 2, 1))
    a.slot.pool.transmit([frame(mac(b), mac(a)), frame(mac(c), mac(a), 1), frame(BROADCAST, mac(a), 2)])
    assert ears[2].heard == [frame(mac(b), mac(a)), frame(BROADCAST, mac(a), 2)]
    assert all(not ears[n].heard for n in (0, 1, 3, 5))
    assert ears[4].heard == [frame(BROADCAST, mac(a), 2)]


def test_the_pf_takes_what_no_vf_wants(bench: Bench) -> None:
    listen(bench)
    stranger = frame(b"\x02\x55\0\0\0\0", b"\x02\x66\0\0\0\0")
    bench.port.switch.receive([stranger, frame(BROADCAST, b"\x02\x66\0\0\0\0")])
    assert bench.port.pf_endpoint is not None
    assert (bench.port.pf_endpoint.received.frames, bench.port.pf_endpoint.received.broadcast) == (2, 1)


def test_the_pf_has_an_address_of_its_own(bench: Bench) -> None:
    ears = listen(bench)
    (address,) = bench.port.switch.pools[-1].macs
    a = bench.driver(0)
    a.slot.pool.transmit([frame(address, mac(a))])
    assert bench.port.pf_endpoint is not None and bench.port.pf_endpoint.received.frames == 1
    assert not any(ear.heard for ear in ears)


def test_eight_vfs_leave_the_pf_without_a_pool(benches: Benches) -> None:
    bench = benches(vfs="8")
    ears = listen(bench)
    assert len(bench.port.switch.pools) == 8 and bench.port.pf_endpoint is None
    bench.port.switch.receive([frame(b"\x02\x55\0\0\0\0", b"\x02\x66\0\0\0\0")])
    assert not any(ear.heard for ear in ears)
    a, h = bench.driver(0), bench.driver(7)
    h.slot.pool.transmit([frame(mac(a), mac(h))])
    assert len(ears[0].heard) == 1
    assert [h.set_vlan(vid) for vid in range(1, 33)] == [True] * 31 + [False]
    bench.port.control("pf-reset")
    bench.advance(SECOND)
    assert h.reset()[0] == 1 | MSG_ACK


@pytest.mark.parametrize(
    "options",
    [{"ports": 3}, {"ports": "x"}, {"vfs": 0}, {"vfs": 9}, {"vfs": "-1"}, {"mac": "random"}, {"colour": "red"}],
    ids=str,
)
def test_bad_options(options: dict[str, object]) -> None:
    bench = Bench()
    try:
        with pytest.raises(UsageError) as error:
            load_card(IGBVF, bench.loop, **options)
        assert "\n" not in str(error.value)
    finally:
        bench.close()


def test_the_two_silicons_differ(benches: Benches) -> None:
    """RPLOLR of the 82576 strips the tags of multicast and broadcast for all pools; the I350 has none."""
    old, new = benches("82576"), benches("I350")
    assert old.port.switch.strip_replicated is True and new.port.switch.strip_replicated is None
    for bench in (old, new):
        vf = bench.ready()
        assert vf.set_vlan(5) and vf.slot.pool.strip_vlan
        vf.reset()
        assert not vf.slot.pool.strip_vlan


def test_commands_of_the_card_count_vfs_over_the_card(benches: Benches) -> None:
    bench = benches(ports=2)
    bench.card.control(["vf", "3", "trust", "on"])
    assert bench.card.ports[1].pf.vfs[1].trusted
    bench.card.control(["port", "0", "vf", "3", "trust", "on"])
    assert bench.card.ports[0].pf.vfs[3].trusted
    bench.card.control(["port", "1", "link", "down"])
    assert not bench.card.slots[1].link.up and bench.card.slots[0].link.up
    assert bench.card.control(["stats"]) == bench.card.stats()
    assert [port["name"] for port in bench.card.stats()["ports"]] == ["port0", "port1"]


@pytest.mark.parametrize(
    "words", [[], ["link", "down"], ["port", "2", "pf-reset"], ["port"], ["vf", "14", "trust", "on"]], ids=str
)
def test_bad_commands_of_the_card(benches: Benches, words: list[str]) -> None:
    with pytest.raises(UsageError):
        benches(ports=2).card.control(words)


def test_the_conversation_can_be_followed_and_need_not_be(bench: Bench) -> None:
    early = bench.driver(0)
    heard: list[tuple[str, str, int]] = []
    bench.card.on_mailbox = lambda name, sender, words: heard.append((name, sender, words[0]))
    early.reset()
    bench.ready(1)
    bench.card.on_mailbox = None
    early.set_lpe(1518)
    assert heard == [("vf0", "VF", 1), ("vf0", "PF", 1 | MSG_ACK), ("vf1", "VF", 1), ("vf1", "PF", 1 | MSG_ACK)]


def test_state_is_taken_on_by_another_card(benches: Benches) -> None:
    bench = benches()
    vf = bench.ready()
    assert vf.set_vlan(7) and vf.set_multicast([1, 2, 3]) and vf.set_lpe(9000)
    bench.port.control("vf", "1", "vlan", "9", "qos", "2")
    bench.port.control("vf", "2", "spoofchk", "off")
    bench.port.control("vf", "3", "state", "disable")
    image = json.loads(json.dumps(bench.card.save()))

    other = benches(seed="5")
    twin = other.driver(0)
    other.card.load(image)
    assert other.card.save() == bench.card.save()
    for pool, as_was in zip(other.port.switch.pools, bench.port.switch.pools, strict=True):
        assert {n: getattr(pool, n) for n in pool.SETTINGS} == {n: getattr(as_was, n) for n in as_was.SETTINGS}
    for name in bench.port.switch.SETTINGS - {"address_hash", "default_pool"}:
        assert getattr(other.port.switch, name) == getattr(bench.port.switch, name)
    assert twin.accepted(5, 1518), "clear to send without another reset"


def test_a_pf_reset_that_was_saved_ends_where_it_is_loaded(benches: Benches) -> None:
    bench, other = benches(), benches()
    bench.ready()
    bench.port.control("pf-reset")
    twin = other.driver(0)
    other.card.load(json.loads(json.dumps(bench.card.save())))
    other.advance(SECOND)
    assert twin.check(PFSTS) and twin.read(1) == [0x100]
    assert twin.reset()[0] == 1 | MSG_ACK
    assert twin.ask(5, 1518)[0] & CTS


def test_a_damaged_state_changes_nothing(benches: Benches) -> None:
    bench, other = benches(), benches("I350")
    good = json.dumps(bench.card.save())
    before = bench.card.save()
    broken = [json.loads(good) for _ in range(4)]
    broken[0]["version"] = 2
    broken[1]["ports"][0]["registers"]["vlvf"] = [1]
    del broken[2]["ports"][0]["macs"]
    broken[3]["ports"][0]["vfs"][0]["mac"] = "zz"
    for image in [*broken, other.card.save(), {}]:
        with pytest.raises(StateError):
            bench.card.load(image)
        assert bench.card.save() == before


def test_both_devices_name_this_card() -> None:
    assert {device.model for device in (IGBVF, IGBVF_I350)} == {"emulators.nics.igb.card:IgbCard"}


# -- with the model of the VF in the slot


def test_a_built_vf_sees_the_link_and_the_mailbox(bench: Bench) -> None:
    function = PciFunction(IGBVF, bench.loop, bench.card.slots[0], name="vf0")
    function.config_write(4, b"\x06\x00")
    lu, status, v2p = 2, 8, V2PMAILBOX
    assert function.region_read(0, status, 4) & lu
    assert function.region_read(0, v2p, 4) & (RSTI | RSTD) == RSTD
    function.region_write(0, VMBMEM, 4, 1)
    function.region_write(0, v2p, 4, REQ)
    bench.settle()
    assert function.region_read(0, v2p, 4) == PFSTS | PFACK
    assert function.region_read(0, VMBMEM, 4) == 1 | MSG_ACK
    assert bench.card.slots[0].pool.receive_enable
    bench.card.control(["pf-reset"])
    assert function.region_read(0, status, 4) & lu
    bench.advance(DRAIN_TIME)
    assert not function.region_read(0, status, 4) & lu
    assert function.region_read(0, v2p, 4) & RSTI
    bench.advance(SECOND)
    assert function.region_read(0, status, 4) & lu
    function.region_write(0, 0, 4, 1 << 26)
    assert function.region_read(0, v2p, 4) & (RSTI | RSTD) == RSTD
    bench.card.control(["vf", "0", "state", "disable"])
    assert not function.region_read(0, status, 4) & lu
    function.reset(ResetCause.FLR)
    function.config_write(4, b"\x06\x00")
    assert not function.region_read(0, status, 4) & lu, "a reset of the VF does not undo it"


def test_queues_drop_rather_than_block_the_port(bench: Bench) -> None:
    function = PciFunction(IGBVF, bench.loop, bench.card.slots[0], name="vf0")
    assert function.model.queue_drop_enable  # type: ignore[attr-defined]


@pytest.mark.parametrize("vfs", [1, 7, 8])
def test_status_says_how_many_vfs_the_port_has(benches: Benches, vfs: int) -> None:
    slot = benches(vfs=vfs).card.slots[0]
    model = slot.build(FakeHost(slot.pool))
    status = model.banks[0]["status"]
    assert (status.get("num_vfs"), status.get("iov_mode"), status.get("gio_master_enable")) == (vfs, 1, 1)
    model.reset(ResetCause.BUS)
    assert (status.get("num_vfs"), status.get("iov_mode")) == (vfs, 1)


def test_a_pf_reset_resets_the_vfs_but_for_their_statistics(benches: Benches) -> None:
    bench = benches()
    models = [slot.build(FakeHost(slot.pool)) for slot in bench.card.slots[:2]]
    written = {"rxdctl": 0x0201_0810, "txdctl": 0x0200_0000, "txctl": 0x2200, "ivar0": 0x8081, "ivar_misc": 0x82, "eims": 7}
    for model in models:
        bank = model.banks[0]
        for name, value in written.items():
            bank.write(bank[name].offset, 4, value)
        bank["vfgprc"].value = 5
    bench.port.control("pf-reset")
    bench.advance(DRAIN_TIME)
    for model, rxdctl in zip(models, (0, 0x0001_0000), strict=True):
        bank = model.banks[0]
        after = {name: bank[name].value for name in written}
        assert after == {"rxdctl": rxdctl, "txdctl": 0, "txctl": 0x2A00, "ivar0": 0, "ivar_misc": 0, "eims": 0}
        assert (bank["vfgprc"].value, bank["status"].get("num_vfs")) == (5, 7)
        assert bank.read(V2PMAILBOX, 4) == RSTI


def test_stock_igb_leaves_queue_0_of_vf_0_without_thresholds(benches: Benches) -> None:
    slots = benches().card.slots
    models = [slot.build(FakeHost(slot.pool)) for slot in slots[:2]]
    for cause in (None, ResetCause.BUS, ResetCause.FLR, ResetCause.SOFTWARE):
        for model in models if cause else ():
            model.reset(cause)
        assert [model.banks[0]["rxdctl"].value for model in models] == [0, 0x0001_0000]
