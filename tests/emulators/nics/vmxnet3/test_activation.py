"""Registers, commands, and what makes the device start or not."""

from __future__ import annotations

from typing import Any

import pytest

from emulators.loop import Loop
from emulators.nics.vmxnet3.card import Vmxnet3Card
from regmodel.bars.vmxnet3 import Command
from regmodel.devices.vmxnet3 import VMXNET3, VMXNET3_LARGE
from regmodel.errors import UsageError
from regmodel.function import ResetCause
from regmodel.structures.vmxnet3 import COALESCE_SCHEME, QUEUE_DESC_ALIGN, Event
from tests.emulators.nics.vmxnet3.station import MEMORY, QUEUES, SCHEME, SHARED, Sizes, Station
from tests.support.afterwards import closed_afterwards

FRAME = bytes.fromhex("020000000099 020000000001 0800") + bytes(46)
MISC = "devRead__misc__"


@pytest.mark.parametrize("revision", range(1, 10))
def test_each_revision_can_be_selected_and_runs(revision: int) -> None:
    s = Station(revision=str(revision))
    assert s.read("vrrs") == (1 << revision) - 1 and s.read("uvrs") == 1
    s.start(revision)
    s.send(FRAME)
    assert s.wire() == [FRAME] and s.tx[0].done() == [0]
    assert s.read("vrrs") == (1 << revision) - 1, "it goes on showing what is on offer"
    assert not s.host.diagnosed


@pytest.mark.parametrize("written", [0, 1 << 5, 0b11, 1 << 31])
def test_what_is_not_on_offer_is_not_selected(written: int) -> None:
    s = Station(revision="5")
    s.write("vrrs", written)
    assert s.nic.revision == 1 and s.host.diagnosed["revision-not-on-offer"] == 1


def test_the_permanent_address_is_that_of_the_card_and_another_may_be_set() -> None:
    s = Station(mac="02:11:22:33:44:55")
    assert (s.read("macl"), s.read("mach")) == (0x33221102, 0x5544)
    s.start()
    s.write("macl", 0x44332206)
    assert s.nic.filters.address[0] == 2, "it takes effect with its second half"
    s.write("mach", 0x6655)
    assert s.pool.macs == {bytes.fromhex("062233445566")}
    assert (s.command(Command.GET_PERM_MAC_LO), s.command(Command.GET_PERM_MAC_HI)) == (0x33221102, 0x5544)
    assert s.command(Command.RESET_DEV) == 0 and s.read("mach") == 0x6655
    s.nic.reset(ResetCause.BUS)
    assert s.read("mach") == 0x5544


@pytest.mark.parametrize(
    ("command", "revision", "expected"),
    [
        (Command.GET_DID_LO, 1, 0x07B0), (Command.GET_DID_HI, 1, 1), (Command.GET_DEV_EXTRA_INFO, 1, 0),
        (Command.GET_CONF_INTR, 1, 0), (Command.GET_ADAPTIVE_RING_INFO, 1, 1),
        *[(Command.GET_LINK, revision, 10_000 << 16 | 1) for revision in (1, 8, 9)],
        (Command.GET_TXDATA_DESC_SIZE, 3, 128), (Command.GET_TXDATA_DESC_SIZE, 9, 128 << 16 | 128),
        (Command.GET_RSS_FIELDS, 4, 3), (Command.GET_MAX_QUEUES_CONF, 6, 16 << 8 | 8),
        (Command.GET_MAX_CAPABILITIES, 7, 0b1111_1101), (Command.GET_DCR0_REG, 7, 0), (Command.GET_TSRING_DESC_SIZE, 9, 0),
        (Command.GET_DISABLED_OFFLOADS, 9, 0), (Command.REGISTER_MEMREGS, 3, 0), (Command.UPDATE_IML, 1, 0),
        (Command.UPDATE_PMCFG, 1, 0), (Command.SET_RING_BUFFER_SIZE, 7, 0),
    ],
)  # fmt: skip
def test_results_of_commands(command: Command, revision: int, expected: int) -> None:
    s = Station()
    s.start(revision)
    assert s.command(command) == expected
    assert not s.host.diagnosed


@pytest.mark.parametrize(
    ("speed", "revision", "told"),
    [("1000", 8, 1000), ("1000", 9, 1), ("40000", 9, 40_000), ("100000", 9, 100), ("100000", 8, 0xFFFF)],
)
def test_a_speed_is_told_as_drivers_understand_it(speed: str, revision: int, told: int) -> None:
    s = Station(speed=speed)
    s.start(revision)
    assert s.command(Command.GET_LINK) == told << 16 | 1


@pytest.mark.parametrize("command", [c for c in Command if c.revision > 1])
def test_a_command_of_a_later_revision_is_unknown(command: Command) -> None:
    s = Station()
    s.start(command.revision - 1)
    assert s.command(command) == 0 and s.host.diagnosed["unknown-command"] == 1


@pytest.mark.parametrize("command", [0, 1, 0xCAFE000A, 0xCAFE0014, 0xF00D0015, 0xFFFFFFFF])
def test_an_unknown_command_is_answered_with_0(command: int) -> None:
    s = Station()
    assert s.command(command) == 0 and s.host.diagnosed["unknown-command"] == 1


def test_forbidden_offloads_are_told() -> None:
    s = Station(lro="off", tso="off").start()
    assert s.command(Command.GET_DISABLED_OFFLOADS) == 3
    s = Station(lro="off").start()
    assert s.command(Command.GET_DISABLED_OFFLOADS) == 2


def test_capabilities_are_granted_as_far_as_there_are_any() -> None:
    s = Station(large=True)
    s.write("vrrs", 1 << 5)
    assert s.read("dcr") == 0 == s.read("ptcr")
    s.write("vrrs", 1 << 6)
    assert s.read("dcr") == 1 << 16 | 0b1111_1101 and s.read("ptcr") == 1 << 31
    s.write("dcr", 1 << 17 | 1 << 16 | 1)
    assert s.command(Command.GET_DCR0_REG) == 1 << 16 | 1
    assert s.read("dcr") == 1 << 16 | 0b1111_1101, "it goes on showing what there is"
    s.write("vrrs", 1 << 6)
    assert s.command(Command.GET_DCR0_REG) == 0


def test_doorbells_of_the_large_bar() -> None:
    s = Station(large=True).start(9, queues=12)
    s.tx[11].add([FRAME])
    s.write("lb_txprod", 1, 11)
    s.settle()
    assert s.wire() == [FRAME] and s.tx[11].done() == [0]
    assert s.host.irqs == [11], "interrupts are described in devReadExt"


BAD = {
    "shared-magic": {"magic": 0xBABEFEE0},
    "shared-queues": {f"{MISC}numTxQueues": 9},
    "shared-queues ": {f"{MISC}numRxQueues": 0},
    "shared-mtu": {f"{MISC}mtu": 59},
    "shared-mtu ": {f"{MISC}mtu": 9191},
    "shared-queue-descriptors": {f"{MISC}queueDescPA": QUEUES + QUEUE_DESC_ALIGN // 2},
    "shared-queue-descriptors ": {f"{MISC}queueDescLen": 511},
    "shared-unreachable": {f"{MISC}queueDescPA": MEMORY},
    "shared-unreachable ": {f"{MISC}queueDescPA": (1 << 64) - 128},
    "multicast-table": {"devRead__rxFilterConf__mfTableLen": 7},
    "shared-unreachable  ": {"devRead__rxFilterConf__mfTableLen": 6, "devRead__rxFilterConf__mfTablePA": MEMORY - 1},
    "rss-length": {f"{MISC}uptFeatures": 2, "devRead__rssConfDesc__confLen": 175},
}


@pytest.mark.parametrize("kind", BAD)
def test_what_makes_no_sense_is_refused_with_one_diagnosis(kind: str) -> None:
    queues = 2 if kind.startswith("rss") else 1
    changes: dict[str, Any] = {f"{MISC}queueDescLen": 512 * queues, **BAD[kind]}
    s = Station().start(activate=False, queues=queues, **changes)
    assert s.command(Command.ACTIVATE_DEV) == 1
    assert s.host.diagnosed == {kind.strip(): 1}
    s.send(FRAME)
    assert not s.wire() and not s.pool.receive_enable
    s.share()
    s.queues = 1
    s.share()
    assert s.command(Command.ACTIVATE_DEV) == 0, "a driver that says it right is served"


@pytest.mark.parametrize(
    "sizes",
    [Sizes(tx=0), Sizes(tx=33), Sizes(tx=4128), Sizes(tx_done=0), Sizes(tx_done=4097), Sizes(rx=(0, 32)), Sizes(rx=(48, 32)),
     Sizes(rx=(64, 4128)), Sizes(rx_done=8193), Sizes(rx_done=0)],
)  # fmt: skip
def test_rings_that_cannot_be_are_refused(sizes: Sizes) -> None:
    s = Station()
    s.write("vrrs", 1)
    s.sizes = sizes
    s.share()
    s.write("dsal", SHARED)
    s.write("dsah", 0)
    assert s.command(Command.ACTIVATE_DEV) == 1 and s.host.diagnosed == {"ring-layout": 1}


@pytest.mark.parametrize(("field", "value", "kind"), [
    ("txRingBasePA", 0x100, "ring-layout"), ("txRingBasePA", MEMORY - 512, "shared-unreachable"),
    ("compRingBasePA", MEMORY, "shared-unreachable"), ("compRingBasePA", 8, "ring-layout"),
])  # fmt: skip
def test_rings_outside_of_memory_are_refused(field: str, value: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    s = Station()
    right = s.tx_conf

    def wrong(i: int) -> dict[str, Any]:
        conf = right(i)
        conf["conf"][field] = value
        return conf

    monkeypatch.setattr(s, "tx_conf", wrong)
    s.start(activate=False)
    assert s.command(Command.ACTIVATE_DEV) == 1 and s.host.diagnosed == {kind: 1}


def test_a_shared_area_outside_of_memory() -> None:
    s = Station().start(activate=False)
    s.write("dsah", 1)
    assert s.command(Command.ACTIVATE_DEV) == 1 and s.host.diagnosed == {"shared-unreachable": 1}


def test_before_revision_6_the_shared_area_ends_where_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """DriverShared of 720 bytes at the very end of memory."""
    s = Station().start(5, activate=False)
    s.put(MEMORY - 720, s.get(SHARED, 720))
    s.write("dsal", MEMORY - 720)
    s.write("dsah", 0)
    assert s.command(Command.ACTIVATE_DEV) == 0


def test_activation_writes_status_and_threshold_and_clears_statistics() -> None:
    s = Station().start()
    for way in ("tx", "rx"):
        status = s.queue_desc(way).status
        assert (status.stopped, status.error) == (0, 0)
    assert s.queue_desc("tx").ctrl.txThreshold == 1
    assert s.command(Command.ACTIVATE_DEV) == 0, "twice is as good as once"


@pytest.mark.parametrize("how", ["quiesce", "reset", "dsal", "bus"])
def test_a_device_at_rest_does_nothing(how: str) -> None:
    s = Station().start()
    s.tx[0].add([FRAME])
    s.write("txprod", 1)
    if how == "quiesce":
        assert s.command(Command.QUIESCE_DEV) == 0
    elif how == "reset":
        assert s.command(Command.RESET_DEV) == 0
    elif how == "dsal":
        s.write("dsal", 0)
        s.write("dsah", 0)
    else:
        s.nic.reset(ResetCause.BUS)
    s.settle()
    s.card.ports[0].switch.link.set_admin(False)
    s.settle()
    assert not s.wire() and not s.tx[0].done() and not s.host.irqs and not s.pool.receive_enable
    assert s.read("imr") == (1 if how in ("reset", "bus") else 0)


def test_it_can_be_started_again_with_other_rings() -> None:
    s = Station().start()
    s.send(FRAME, FRAME)
    s.command(Command.QUIESCE_DEV)
    s.command(Command.RESET_DEV)
    s.start(3, sizes=Sizes(tx=32, tx_done=32))
    for _ in range(5):
        s.send(*[FRAME] * 31)
    assert len(s.wire()) == 2 + 155


def test_coalescing_is_taken_and_told() -> None:
    s = Station().start()
    scheme = COALESCE_SCHEME.build({"coalMode": 2, "tx_depth": 64, "tx_comp_depth": 32, "rx_depth": 16})
    s.put(SCHEME, scheme)
    place = (1).to_bytes(4, "little") + (16).to_bytes(4, "little") + SCHEME.to_bytes(8, "little")
    cu = SHARED + 8 + 688 + 8
    s.put(cu, place)
    assert s.command(Command.SET_COALESCE) == 0
    s.put(SCHEME, bytes(16))
    assert s.command(Command.GET_COALESCE) == 0 and s.get(SCHEME, 16) == scheme
    s.put(SCHEME, b"\x09".ljust(16, b"\0"))
    s.command(Command.SET_COALESCE)
    assert s.host.diagnosed["coalesce-mode"] == 1
    s.put(cu + 4, bytes(4))
    s.command(Command.GET_COALESCE)
    assert s.host.diagnosed["coalesce-length"] == 1


def test_hashed_fields_are_those_that_are_supported() -> None:
    s = Station().start()
    s.put(SHARED + 8 + 688 + 8, (0x3F).to_bytes(4, "little"))
    s.command(Command.SET_RSS_FIELDS)
    assert s.command(Command.GET_RSS_FIELDS) == 0xF


def test_link_changes_are_events() -> None:
    s = Station().start()
    link = s.card.ports[0].switch.link
    link.set_admin(False)
    assert s.command(Command.GET_LINK) & 1 == 0
    assert s.shared.ecr == 0
    s.settle()
    assert s.shared.ecr == Event.LINK == s.read("ecr") and s.host.irqs == [1]
    s.write("ecr", Event.LINK)
    assert s.shared.ecr == 0 == s.read("ecr")
    link.set_admin(True)
    s.settle()
    assert s.command(Command.GET_LINK) & 1 and s.shared.ecr == Event.LINK


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"revision": "10"}, "from 1 to 9"), ({"revision": "0"}, "from 1 to 9"), ({"revision": "x"}, "from 1 to 9"),
        ({"tx_queues": "9"}, "from 1 to 8"), ({"rx_queues": "17"}, "from 1 to 16"), ({"mtu": "20"}, "from 60 to 9190"),
        ({"lro": "yes"}, "on or off"), ({"tx_data": "130"}, "in steps of 64"), ({"queues": "1"}, "it has revision"),
    ],
)  # fmt: skip
def test_options_that_there_are_not(options: dict[str, str], says: str) -> None:
    tx = "tx_queues" if "queues" in options else "x"
    with pytest.raises(UsageError, match="it has tx_queues|no option|" + says if tx == "tx_queues" else says):
        Vmxnet3Card(VMXNET3, closed_afterwards(Loop()), **options)


def test_the_large_bar_has_more_queues() -> None:
    card = Vmxnet3Card(VMXNET3_LARGE, closed_afterwards(Loop()), tx_queues="32", rx_queues="32")
    assert card.properties.tx_queues == 32
