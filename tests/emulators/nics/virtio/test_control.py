"""The control queue: what each command does to filters, steering and offloads, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack

import pytest

from emulators.control.decoder import Decoder
from emulators.fabric.offload import Takes
from emulators.nics.virtio.rss import Automatic, Rss
from regmodel.structures.virtio_features import Feature
from regmodel.structures.virtio_net import CONTROL
from tests.emulators.nics.virtio.nic import NEEDS_RESET, Driver, Nic, nics

OK, ERR = 0, 1
RX, MAC, VLAN, ANNOUNCE, MQ, OFFLOADS = range(6)
FEATURES = (
    Feature.VERSION_1 | Feature.MAC | Feature.CTRL_VQ | Feature.CTRL_RX | Feature.CTRL_RX_EXTRA | Feature.CTRL_VLAN | Feature.MQ
    | Feature.CTRL_MAC_ADDR | Feature.GUEST_ANNOUNCE | Feature.STATUS | Feature.RSS | Feature.HASH_REPORT | Feature.GUEST_CSUM
    | Feature.GUEST_TSO4 | Feature.CTRL_GUEST_OFFLOADS
)  # fmt: skip
CONTROL_QUEUE = 8  # behind four pairs
KEY = bytes(range(40))


@pytest.fixture
def driver() -> Iterator[Driver]:
    with nics(count=1, queue_pairs="4", rss="on", hash="on") as (nic,):
        made = Driver(nic)
        made.start(FEATURES, queues=9)
        yield made


def ask(driver: Driver, klass: int, command: int, data: bytes = b"") -> int | None:
    return driver.command(bytes((klass, command)) + data, CONTROL_QUEUE)


def table(*macs: str) -> bytes:
    return pack("<I", len(macs)) + b"".join(map(bytes.fromhex, macs))


def rss(types: int = 0x3F, entries: int = 8, unclassified: int = 0, pairs: int = 4, key: bytes = KEY) -> bytes:
    queues = [n % 4 for n in range(entries)]
    trailer = pack("<HB", pairs, len(key)) + key
    return pack("<IHH", types, entries - 1, unclassified) + pack(f"<{entries}H", *queues) + trailer


class TestFilters:
    def test_a_device_starts_promiscuous(self, driver: Driver) -> None:
        pool = driver.nic.model.pool
        assert pool.unicast_promiscuous and pool.multicast_promiscuous and pool.accept_broadcast
        assert ask(driver, RX, 0, b"\0") == OK
        assert not pool.unicast_promiscuous and not pool.multicast_promiscuous and pool.accept_broadcast
        assert pool.macs == {driver.nic.model.slot.mac}

    @pytest.mark.parametrize(
        ("command", "setting", "value"),
        [(0, "unicast_promiscuous", True), (1, "multicast_promiscuous", True), (2, "unicast_promiscuous", True),
         (5, "accept_broadcast", False)],
    )  # fmt: skip
    def test_modes(self, driver: Driver, command: int, setting: str, value: bool) -> None:
        assert ask(driver, RX, 0, b"\0") == OK
        before = getattr(driver.nic.model.pool, setting)
        assert ask(driver, RX, command, b"\1") == OK
        assert (before, getattr(driver.nic.model.pool, setting)) == (not value, value)
        assert ask(driver, RX, command, b"\0") == OK
        assert getattr(driver.nic.model.pool, setting) == before

    def test_tables(self, driver: Driver) -> None:
        pool, mac = driver.nic.model.pool, driver.nic.model.slot.mac
        ask(driver, RX, 0, b"\0")
        assert ask(driver, MAC, 0, table("020000000001") + table("01005e000001", "333300000001")) == OK
        assert pool.macs == {mac, *map(bytes.fromhex, ("020000000001", "01005e000001", "333300000001"))}
        assert ask(driver, RX, 3, b"\1") == OK  # no multicast
        assert pool.macs == {mac, bytes.fromhex("020000000001")}
        assert ask(driver, RX, 4, b"\1") == OK  # no unicast
        assert pool.macs == frozenset()
        assert ask(driver, MAC, 0, table() + table()) == OK
        assert ask(driver, RX, 3, b"\0") == ask(driver, RX, 4, b"\0") == OK
        assert pool.macs == {mac}

    @pytest.mark.parametrize(("unicast", "multicast", "passes"), [(64, 0, ""), (65, 0, "u"), (32, 33, "m"), (65, 65, "um")])
    def test_a_table_that_overflows_lets_all_of_its_kind_pass(
        self, driver: Driver, unicast: int, multicast: int, passes: str
    ) -> None:
        pool = driver.nic.model.pool
        ask(driver, RX, 0, b"\0")
        one = table(*(f"02000000{n:04x}" for n in range(unicast)))
        other = table(*(f"01005e00{n:04x}" for n in range(multicast)))
        assert ask(driver, MAC, 0, one + other) == OK
        assert (pool.unicast_promiscuous, pool.multicast_promiscuous) == ("u" in passes, "m" in passes)

    @pytest.mark.parametrize(
        "data", [b"", b"\1\0\0\0", table("020000000001"), table() + b"\1\0\0\0ab", table() + table() + b"x"]
    )
    def test_tables_that_are_none(self, driver: Driver, data: bytes) -> None:
        before = driver.nic.model.filters.save()
        assert ask(driver, MAC, 0, data) == ERR
        assert driver.nic.model.filters.save() == before

    def test_the_address(self, driver: Driver) -> None:
        mac = bytes.fromhex("0200000000bb")
        assert ask(driver, MAC, 1, mac) == OK
        assert mac in driver.nic.model.pool.macs
        assert bytes(driver.nic.read("mac", i) for i in range(6)) == mac
        assert 0 not in driver.nic.signalled(), "the driver knows it already"
        for wrong in (b"", mac[:5], mac + b"\0", b"\1" + mac[1:]):
            assert ask(driver, MAC, 1, wrong) == ERR
        driver.status = 0
        assert bytes(driver.nic.read("mac", i) for i in range(6)) == driver.nic.model.slot.mac


class TestVlans:
    def tagged(self, vid: int) -> bytes:
        return b"\xff" * 6 + bytes(6) + b"\x81\0" + pack(">H", vid | 0x6000) + b"\x88\xb5" + bytes(46)

    def test_only_what_was_asked_for_comes(self) -> None:
        with nics(queue_pairs="4") as (nic, other):
            a, b = Driver(nic), Driver(other)
            a.start(FEATURES & ~(Feature.RSS | Feature.HASH_REPORT), queues=9)
            b.start(Feature.VERSION_1)
            a.offer(0, 8)

            def come() -> list[int]:
                for vid in (5, 6, 0xFFF):
                    b.transmit(self.tagged(vid))
                b.transmit(b"\xff" * 6 + bytes(54))
                other.settle()
                return [int.from_bytes(f[14:16], "big") & 0xFFF if f[12:14] == b"\x81\0" else -1 for f in a.received()]

            assert come() == [5, 6, 0xFFF, -1], "promiscuous"
            assert ask(a, RX, 0, b"\0") == OK
            assert come() == [-1]
            assert ask(a, VLAN, 0, pack("<H", 6)) == OK
            a.offer(0, 8)
            assert come() == [6, -1]
            assert ask(a, VLAN, 1, pack("<H", 6)) == OK
            assert come() == [-1]

    def test_identifiers_that_are_none(self, driver: Driver) -> None:
        assert ask(driver, VLAN, 0, pack("<H", 0x1000)) == ERR
        assert ask(driver, VLAN, 0, b"\1") == ERR
        assert ask(driver, VLAN, 2, pack("<H", 1)) == ERR


class TestSteering:
    @pytest.mark.parametrize(("pairs", "answer"), [(0, ERR), (1, OK), (4, OK), (5, ERR), (0x8000, ERR)])
    def test_pairs(self, driver: Driver, pairs: int, answer: int) -> None:
        assert ask(driver, MQ, 0, pack("<H", pairs)) == answer
        assert driver.nic.model.pairs == (pairs if answer == OK else 1)
        assert isinstance(driver.nic.model.receiver.steering, Automatic)

    def test_rss(self, driver: Driver) -> None:
        assert ask(driver, MQ, 1, rss()) == OK
        steering = driver.nic.model.receiver.steering
        assert steering == Rss(0x3F, KEY, tuple(n % 4 for n in range(8)), 0, 4)
        assert all(queue is not None and queue.hashing is steering for queue in driver.nic.model.receiver.queues)
        assert ask(driver, MQ, 0, pack("<H", 2)) == OK
        assert isinstance(driver.nic.model.receiver.steering, Automatic) and driver.nic.model.pairs == 2

    @pytest.mark.parametrize(
        "data",
        [
            b"", rss()[:-1], rss(types=0x200), rss(entries=256), rss(unclassified=4), rss(pairs=0), rss(pairs=5),
            rss(key=bytes(41)), pack("<IHH", 1, 2, 0) + bytes(6 + 43), pack("<IHH", 1, 0, 0) + pack("<H", 4) + b"\1\0\0",
        ],
    )  # fmt: skip
    def test_rss_that_cannot_be(self, driver: Driver, data: bytes) -> None:
        assert ask(driver, MQ, 1, data) == ERR
        assert driver.nic.model.rss is None

    def test_the_hash_is_reported(self, driver: Driver) -> None:
        assert ask(driver, MQ, 2, pack("<I8xB", 3, 40) + KEY) == OK
        (first, *_) = driver.nic.model.receiver.queues
        assert first is not None and first.hashing == Rss(3, KEY)
        assert isinstance(driver.nic.model.receiver.steering, Automatic)
        assert ask(driver, MQ, 2, pack("<I8xB", 3, 40) + KEY[:-1]) == ERR

    def test_what_was_chosen_is_forgotten_by_a_reset(self, driver: Driver) -> None:
        assert ask(driver, MQ, 1, rss()) == OK
        driver.status = 0
        assert driver.nic.model.rss is None and driver.nic.model.pairs == 1


class TestOffloads:
    def test_they_change(self, driver: Driver) -> None:
        pool = driver.nic.model.pool
        assert pool.takes == Takes.CSUM | Takes.TSO4
        assert ask(driver, OFFLOADS, 0, pack("<Q", Feature.GUEST_CSUM)) == OK
        assert pool.takes == Takes.CSUM
        assert ask(driver, OFFLOADS, 0, bytes(8)) == OK
        assert pool.takes == Takes.NONE
        driver.status = 0
        assert pool.takes == Takes.NONE

    @pytest.mark.parametrize("data", [pack("<Q", Feature.GUEST_TSO6), pack("<Q", Feature.CSUM), bytes(4), bytes(9)])
    def test_what_was_not_negotiated(self, driver: Driver, data: bytes) -> None:
        assert ask(driver, OFFLOADS, 0, data) == ERR
        assert driver.nic.model.pool.takes == Takes.CSUM | Takes.TSO4


def test_every_described_command_is_known_or_belongs_to_a_feature_that_is_not_offered(driver: Driver) -> None:
    from emulators.nics.virtio.control import COMMANDS

    missing = {m.name for m in CONTROL.messages if (m.number & 0xFF, m.number >> 8) not in COMMANDS}
    assert missing == {"notf_coal_tx_set", "notf_coal_rx_set"}


@pytest.mark.parametrize(
    ("feature", "klass", "command", "data"),
    [
        (Feature.CTRL_RX, RX, 0, b"\0"), (Feature.CTRL_RX, MAC, 0, table() + table()), (Feature.CTRL_RX_EXTRA, RX, 2, b"\0"),
        (Feature.CTRL_MAC_ADDR, MAC, 1, bytes(6)), (Feature.CTRL_VLAN, VLAN, 0, bytes(2)),
        (Feature.GUEST_ANNOUNCE, ANNOUNCE, 0, b""), (Feature.RSS, MQ, 1, rss()),
        (Feature.CTRL_GUEST_OFFLOADS, OFFLOADS, 0, bytes(8)),
    ],
)  # fmt: skip
def test_a_command_needs_its_feature(feature: Feature, klass: int, command: int, data: bytes) -> None:
    for features, answer in ((FEATURES, OK), (FEATURES & ~feature, ERR)):
        with nics(count=1, queue_pairs="4", rss="on", hash="on") as (nic,):
            driver = Driver(nic)
            driver.start(features, queues=9)
            assert ask(driver, klass, command, data) == answer
            assert nic.diagnoses == ({} if answer == OK else {"control-refused": 1})


class TestChains:
    """What is no command at all breaks the queue, and so the device."""

    def broken(self, nic: Nic, driver: Driver, readable: list[bytes], writable: list[int]) -> dict[str, int]:
        queue = driver.queues[CONTROL_QUEUE]
        queue.add(queue.place(readable, writable))
        queue.publish()
        driver.notify(CONTROL_QUEUE)
        nic.settle()
        assert driver.status & NEEDS_RESET
        return nic.diagnoses

    @pytest.mark.parametrize(
        ("readable", "writable", "kind"),
        [([b"\0\0", b"\1"], [], "control-without-answer"), ([b"\0"], [1], "control-length"), ([], [1], "control-length"),
         ([bytes(65000), bytes(600)], [1], "control-length")],
    )  # fmt: skip
    def test_chains(self, driver: Driver, readable: list[bytes], writable: list[int], kind: str) -> None:
        assert self.broken(driver.nic, driver, readable, writable) == {kind: 1}

    @pytest.mark.parametrize("part", [0, 1])
    def test_out_of_memory(self, driver: Driver, part: int) -> None:
        queue = driver.queues[CONTROL_QUEUE]
        buffer = queue.place([b"\0\0\1"], [1])
        (buffer.readable, buffer.writable)[part][0] = (1 << 40, 3 if part == 0 else 1)
        queue.add(buffer)
        queue.publish()
        driver.notify(CONTROL_QUEUE)
        driver.nic.settle()
        assert driver.status & NEEDS_RESET and driver.nic.diagnoses == {"control-unreachable": 1}

    def test_any_cut_will_do(self, driver: Driver) -> None:
        """A message may be divided as the driver likes (VIRTIO 1.3, 2.7.4)."""
        queue = driver.queues[CONTROL_QUEUE]
        buffer = queue.place([b"\0", b"\0", b"\0"], [1, 1])
        assert queue.add(buffer)
        queue.publish()
        driver.notify(CONTROL_QUEUE)
        driver.nic.settle()
        ((done, written),) = queue.poll()
        assert written == 1 and queue.contents(done, 1) == b"\0"
        assert not driver.nic.model.pool.unicast_promiscuous


@pytest.mark.parametrize("features", [Feature(0), Feature.RSS])
def test_hashes_are_reported_whatever_the_number_of_pairs(features: Feature) -> None:
    """HASH_CONFIG stands until another one, or RSS, replaces it; VQ_PAIRS_SET only ends steering by RSS."""
    with nics(queue_pairs="4", rss="on", hash="on") as (nic, other):
        driver, peer = Driver(nic), Driver(other)
        base = Feature.VERSION_1 | Feature.CTRL_VQ | Feature.MQ | Feature.HASH_REPORT
        driver.start(base | features, queues=9)
        peer.start(Feature.VERSION_1)
        address = bytes.fromhex("c6120001c6120002")
        packet = bytes.fromhex("ffffffffffff0200000000010800450000280000400040060000") + address + bytes(20)
        reported = []

        def report() -> None:
            driver.offer()
            peer.transmit(packet)
            other.settle()
            queue = driver.queues[0]
            ((buffer, written),) = queue.poll()
            queue.want_interrupts(True)
            reported.append(bytes(queue.contents(buffer, written)[12:18]))

        assert ask(driver, MQ, 2, pack("<I8xB", 0x3F, 40) + KEY) == OK
        report()
        for pairs in (2, 1):
            assert ask(driver, MQ, 0, pack("<H", pairs)) == OK
        report()
        assert reported[0] == reported[1] and reported[0][4] == 2, "a hash of TCP over IPv4"
        if features:
            assert ask(driver, MQ, 1, rss(unclassified=0, types=0x3F, entries=1)) == OK
            report()
            assert ask(driver, MQ, 0, pack("<H", 1)) == OK
            report()
            assert reported[2] == reported[0] and reported[3] == bytes(6)
        assert not nic.diagnoses


def test_with_one_pair_the_control_queue_is_the_third() -> None:
    """Wherever it would be with all pairs: a driver without MQ has three queues (VIRTIO 1.3, 5.1.2)."""
    with nics(count=1, queue_pairs="4") as (nic,):
        driver = Driver(nic)
        driver.start(Feature.VERSION_1 | Feature.CTRL_VQ | Feature.CTRL_RX)
        assert driver.command(b"\0\0\0") == OK
        assert not nic.model.pool.unicast_promiscuous


def test_commands_are_told_to_who_traces(driver: Driver) -> None:
    seen: list[tuple[str, str, list[int]]] = []
    driver.nic.model.slot.card.on_mailbox = lambda *event: seen.append(event)
    assert ask(driver, RX, 1, b"\1") == OK
    ((slot, sender, words),) = seen
    assert (slot, sender, words) == ("nic0", "driver", [0x010100])
    told = {"t": 0, "event": "mailbox", "function": "nic0", "sender": sender, "words": words}
    (line,) = Decoder({"nic0": driver.nic.model.device}).lines([told])
    assert line.split(maxsplit=2)[1:] == ["nic0", "driver->device rx_allmulti  on=1"]


def test_long_commands_are_decoded_whole(driver: Driver) -> None:
    text = Decoder({"nic0": driver.nic.model.device})
    data = bytes((MQ, 1)) + rss(entries=128)
    words = [int.from_bytes(data[at : at + 4].ljust(4, b"\0"), "little") for at in range(0, len(data), 4)]
    said = text.message("nic0", "driver", words)
    assert said.startswith("mq_rss_config  hash_types=0x3f indirection_table_mask=0x7f indirection_table=[0x0 0x1 0x2 0x3")
    assert said.endswith(f"max_tx_vq=4 hash_key_length=0x28 hash_key_data={KEY.hex(':')}")
    assert text.message("nic0", "driver", [0xFFFF]) == "0000ffff"
