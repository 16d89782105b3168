"""Status, features, configuration, queues and interrupts, by register: what a driver may do, and what not."""

from __future__ import annotations

import json

import pytest

from regmodel.errors import UsageError
from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.virtio.nic import (
    ACKNOWLEDGE,
    BASE,
    DRIVER,
    DRIVER_OK,
    FEATURES_OK,
    LEGACY,
    MODERN,
    NEEDS_RESET,
    NO_VECTOR,
    TRANSITIONAL,
    Driver,
    Nic,
    nics,
)  # fmt: skip

V1 = Feature.VERSION_1


# -- features


def test_what_is_offered_by_default() -> None:
    """QEMU's virtio-net-pci, without UFO, with ACCESS_PLATFORM (see ``emulators.nics.virtio.card``)."""
    with nics(MODERN, 1) as (nic,):
        offered = Driver(nic).offered()
    assert V1 | Feature.ACCESS_PLATFORM | Feature.MAC | Feature.CTRL_VQ | Feature.RING_RESET in offered
    absent = (
        Feature.RING_PACKED | Feature.MQ | Feature.MTU | Feature.RSS | Feature.HASH_REPORT | Feature.SPEED_DUPLEX
        | Feature.GUEST_UFO | Feature.HOST_UFO | Feature.IN_ORDER | Feature.GSO
    )  # fmt: skip
    assert not offered & absent


def test_the_legacy_interface_has_the_first_32() -> None:
    with nics(TRANSITIONAL, 1) as (nic,):
        old, new = Driver(nic, modern=False).offered(), Driver(nic).offered()
    assert Feature.GSO in old and not old >> 32
    assert old & ~(Feature.GSO | Feature.ANY_LAYOUT) == new & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("options", "feature", "there"),
    [
        ({"packed": "on"}, Feature.RING_PACKED, True),
        ({"csum": "off"}, Feature.HOST_TSO4 | Feature.CSUM | Feature.HOST_ECN | Feature.HOST_USO, False),
        ({"ctrl_vq": "off"}, Feature.CTRL_RX | Feature.CTRL_MAC_ADDR | Feature.GUEST_ANNOUNCE, False),
        ({"mtu": "9000"}, Feature.MTU, True),
        ({"speed": "25000"}, Feature.SPEED_DUPLEX, True),
        ({"queue_pairs": "2"}, Feature.MQ, True),
        ({"mac": "none"}, Feature.MAC, False),
        ({"iommu_platform": "off"}, Feature.ACCESS_PLATFORM, False),
    ],
)
def test_properties_come_to_features(options: dict[str, str], feature: Feature, there: bool) -> None:
    with nics(MODERN, 1, **options) as (nic,):
        assert Driver(nic).offered() & feature == (feature if there else 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"queue_pairs": "9"}, "queue_pairs is a number from 1 to 8"),
        ({"queue_size": "100"}, "power of two"),
        ({"queue_size": "2048"}, "16 to 1024"),
        ({"mtu": "x"}, "mtu is a number"),
        ({"duplex": "both"}, "half, full or unknown"),
        ({"packed": "yes"}, "packed is on or off"),
        ({"version_1": "off"}, "no option 'version_1': it has queue_pairs, .* csum"),
        ({"guest_ufo": "on"}, "no option 'guest_ufo'"),
        ({"queue_pairs": "2", "ctrl_vq": "off"}, "needs ctrl_vq"),
    ],
)
def test_properties_that_cannot_be(options: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says), nics(MODERN, 1, **options):
        pass


def test_a_legacy_card_has_no_modern_features() -> None:
    with pytest.raises(UsageError, match="first 32 feature bits"), nics(LEGACY, 1, packed="on"):
        pass


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        (V1 | Feature.RING_PACKED, "feature-not-offered"),
        (V1 | 1 << 51, "feature-not-offered"),
        (Feature.MAC, "features-without-version-1"),
        (V1 | Feature.GUEST_TSO4, "feature-without-basis"),
        (V1 | Feature.CSUM | Feature.HOST_ECN, "feature-without-basis"),
        (V1 | Feature.CTRL_VLAN, "feature-without-basis"),
    ],
)
def test_features_that_are_refused(features: Feature, kind: str) -> None:
    """FEATURES_OK does not stick, nothing else happens, and the driver may try again (VIRTIO 1.3, 3.1.1)."""
    with nics(MODERN, 1) as (nic,):
        driver = Driver(nic)
        assert not driver.accept(Feature(features))
        assert driver.status == ACKNOWLEDGE | DRIVER
        assert nic.diagnoses == {kind: 1}
        driver.status = ACKNOWLEDGE | DRIVER | DRIVER_OK
        assert not driver.status & DRIVER_OK
        assert driver.accept(V1)
        assert driver.status == ACKNOWLEDGE | DRIVER | FEATURES_OK


@pytest.mark.parametrize("word", [2, 3, 4, 0xFFFFFFFF])
def test_features_of_words_that_there_are_not(word: int) -> None:
    """Zeros are as good as nothing (Linux writes words 2 and 3); anything else was not offered."""
    with nics(MODERN, 1) as (nic,):
        driver = Driver(nic)
        for value in (1, 0):
            driver.status = 0
            driver.status = ACKNOWLEDGE | DRIVER
            for n, features in ((1, V1 >> 32), (word, 0), (word, value)):
                nic.write("driver_feature_select", n)
                nic.write("driver_feature", features)
            nic.model.load(json.loads(json.dumps(nic.model.save())))
            driver.status = ACKNOWLEDGE | DRIVER | FEATURES_OK
            assert bool(driver.status & FEATURES_OK) == (not value)
            assert nic.diagnoses == {"feature-not-offered": 1}
        driver.status = 0
        for n in range(2, 100):
            nic.write("driver_feature_select", n)
            nic.write("driver_feature", 1)
        assert len(nic.model.fronts[0].beyond) == 8
        assert driver.accept(V1), "a reset forgets them"


def test_a_legacy_driver_is_not_refused() -> None:
    """It cannot be told: what was not offered is disregarded."""
    with nics(LEGACY, 1) as (nic,):
        driver = Driver(nic, modern=False)
        driver.accept(Feature.MRG_RXBUF | Feature.MQ)
        assert nic.model.features == Feature.MRG_RXBUF
        assert nic.diagnoses == {"feature-not-offered": 1}


# -- status


def test_writing_0_resets() -> None:
    with nics(MODERN, 1) as (nic,):
        driver = Driver(nic)
        driver.start(V1)
        nic.write("queue_select", 1)
        assert nic.read("queue_enable") == 1 and nic.read("config_msix_vector") == 0
        driver.status = 0
        assert driver.status == 0 and nic.read("config_msix_vector") == NO_VECTOR
        for number in range(3):
            nic.write("queue_select", number)
            shown = [nic.read(f"queue_{name}") for name in ("enable", "size", "desc", "msix_vector", "notify_off")]
            assert shown == [0, 256, 0, NO_VECTOR, number]
        assert nic.model.engines == {} and not nic.model.pool.receive_enable
        driver.queues.clear()
        driver.start(V1)  # and all over again
        assert driver.status & DRIVER_OK


def test_a_transitional_device_has_one_status() -> None:
    """Both interfaces show it, whichever the driver uses, and either resets it (VIRTIO 1.3, 2.1)."""
    with nics(TRANSITIONAL, 1) as (nic,):
        new, old = Driver(nic), Driver(nic, modern=False)
        for one, other in ((new, old), (old, new)):
            one.status = ACKNOWLEDGE
            one.status = ACKNOWLEDGE | DRIVER
            assert other.status == one.status == ACKNOWLEDGE | DRIVER
            other.status = 0
            assert other.status == one.status == 0
        assert not new.accept(Feature.MAC) and old.status == ACKNOWLEDGE | DRIVER, "FEATURES_OK did not stick"
        new.start(V1)
        assert old.status == new.status == ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
        nic.alone.card.control(["nic", "0", "needs-reset"])
        assert new.status == old.status | NEEDS_RESET != old.status, "a bit that the legacy interface does not have"
        old.status = 0
        assert new.status == 0 and nic.model.engines == {}


def test_queues_stand_still_before_driver_ok() -> None:
    with nics(MODERN, 1) as (nic,):
        driver = Driver(nic)
        assert driver.accept(V1)
        driver.enable(1)
        driver.transmit(bytes(60))
        nic.settle()
        assert driver.queues[1].poll() == []
        assert nic.diagnoses == {"notification-before-driver-ok": 1}


# -- configuration


def test_the_configuration_says_what_was_chosen() -> None:
    chosen = {"mtu": "9000", "speed": "25000", "duplex": "full", "queue_pairs": "3", "rss": "on", "mac": "02:00:00:00:00:07"}
    with nics(MODERN, 1, **chosen) as (nic,):
        names = ("net_status", "max_virtqueue_pairs", "mtu", "speed", "duplex", "rss_max_key_size", "num_queues")
        assert [nic.read(name) for name in names] == [1, 3, 9000, 25000, 1, 40, 7]
        assert nic.read("rss_max_indirection_table_length") == 128 and nic.read("supported_hash_types") == 0x1FF
        assert bytes(nic.read("mac", i) for i in range(6)).hex() == "020000000007"


@pytest.mark.parametrize("msix", [True, False])
def test_the_link_changes(msix: bool) -> None:
    with nics(MODERN, 1) as (nic,):
        driver = Driver(nic)
        driver.start(V1 | Feature.STATUS, msix=msix)
        generation = nic.read("config_generation")
        nic.alone.card.control(["link", "down"])
        assert nic.read("net_status") == 0 and nic.read("config_generation") != generation
        assert nic.read("isr") == 2, "MSI-X or not (VIRTIO 1.3, 4.1.4.5.1)"
        assert (nic.signalled(), nic.lines) == (([0], 0) if msix else ([], 1))
        nic.alone.card.control(["link", "up"])
        assert nic.read("net_status") == 1


def test_a_driver_without_status_is_not_told_of_the_link() -> None:
    with nics(MODERN, 1) as (nic,):
        Driver(nic).start(V1)
        nic.alone.card.control(["link", "down"])
        assert nic.signalled() == []


def test_the_driver_is_asked_to_announce_itself() -> None:
    with nics(MODERN, 1) as (nic,):
        driver = Driver(nic)
        driver.start(V1 | Feature.STATUS | Feature.CTRL_VQ | Feature.GUEST_ANNOUNCE)
        nic.alone.card.control(["nic", "0", "announce"])
        assert nic.read("net_status") == 3 and nic.signalled() == [0]
        assert driver.command(bytes((3, 0))) == 0
        assert nic.read("net_status") == 1 and 0 not in nic.signalled()


def test_a_legacy_driver_writes_its_address() -> None:
    with nics(LEGACY, 1) as (nic,):
        Driver(nic, modern=False, size=256).start(Feature.MAC)
        for i, octet in enumerate(bytes.fromhex("0200000000aa")):
            nic.write("legacy_mac", octet, i)
        assert nic.model.filters.mac == bytes.fromhex("0200000000aa") in nic.model.pool.macs
    with nics(LEGACY, 1) as (nic,):
        Driver(nic, modern=False, size=256).start(Feature.MAC | Feature.CTRL_VQ | Feature.CTRL_MAC_ADDR)
        before = nic.read("legacy_mac", 5)
        nic.write("legacy_mac", before ^ 0xFF, 5)
        assert nic.read("legacy_mac", 5) == before


def test_the_legacy_configuration_moves_with_msix() -> None:
    with nics(LEGACY, 1) as (nic,):
        read = nic.function.region_read
        mac = nic.model.slot.mac
        assert bytes(read(0, 20 + i, 1) for i in range(6)) == mac
        assert read(0, 26, 2) == 1  # link up
        nic.msix()
        assert read(0, 20, 2) == NO_VECTOR
        assert bytes(read(0, 24 + i, 1) for i in range(6)) == mac
        nic.msix(False)
        assert bytes(read(0, 20 + i, 1) for i in range(6)) == mac
        assert read(0, 60, 4) == 0


# -- queues


@pytest.mark.parametrize("size", [0, 3, 100, 512, 0x8000])
def test_sizes_that_a_split_queue_cannot_have(size: int) -> None:
    with nics(MODERN, 1) as (nic,):
        assert Driver(nic).accept(V1)
        nic.write("queue_select", 0)
        nic.write("queue_size", 64)
        nic.write("queue_size", size)
        assert nic.read("queue_size") == 64 and nic.diagnoses == {"queue-size-refused": 1}


def test_a_packed_queue_need_not_be_a_power_of_two() -> None:
    with nics(MODERN, 1, packed="on") as (nic,):
        assert Driver(nic).accept(V1 | Feature.RING_PACKED)
        nic.write("queue_size", 100)
        assert nic.read("queue_size") == 100


def test_queues_that_there_are_not() -> None:
    with nics(MODERN, 1) as (nic,):
        assert Driver(nic).accept(V1)
        for number in (3, 16, 17, 0xFFFF):
            nic.write("queue_select", number)
            assert nic.read("queue_size") == 0
            nic.write("queue_enable", 1)
            assert nic.read("queue_enable") == 0
        assert nic.model.layouts == {}


@pytest.mark.parametrize("area", ["desc", "driver", "device"])
def test_areas_out_of_line(area: str) -> None:
    with nics() as (nic, other):
        driver, peer = Driver(nic), Driver(other)
        peer.start(V1)
        assert driver.accept(V1)
        for name in ("desc", "driver", "device"):
            nic.write(f"queue_{name}", BASE + (1 if name == area else 0x1000))
        nic.write("queue_enable", 1)
        driver.status = driver.status | DRIVER_OK
        assert driver.status & NEEDS_RESET and nic.diagnoses == {"queue-misaligned": 1}
        assert not peer.status & NEEDS_RESET


def test_a_broken_queue_stops_the_device_and_no_other() -> None:
    with nics() as (nic, other):
        driver, peer = Driver(nic), Driver(other)
        driver.start(V1)
        peer.start(V1)
        driver.queues[1].put16(driver.queues[1].driver + 2, 0x4000)  # an index that jumps
        driver.notify(1)
        nic.settle()
        assert driver.status & NEEDS_RESET and sum(nic.diagnoses.values()) == 1
        assert nic.signalled() == [0], "a configuration change"
        driver.notify(1)
        driver.notify(0)
        nic.settle()
        assert sum(nic.diagnoses.values()) == 1
        driver.status = driver.status | DRIVER_OK
        assert driver.status & NEEDS_RESET, "only a reset ends it"
        peer.offer()
        peer.transmit(b"\xff" * 6 + bytes(54))
        other.settle()
        assert peer.queues[1].poll() and not peer.status & NEEDS_RESET
        driver.status = 0
        assert driver.status == 0
        driver.start(V1)
        driver.offer()
        peer.transmit(b"\xff" * 6 + bytes(54))
        other.settle()
        assert len(driver.received()) == 1


def test_a_broken_legacy_device_stands_still() -> None:
    with nics(LEGACY, 1) as (nic,):
        driver = Driver(nic, modern=False, size=256)
        driver.start(Feature(0))
        driver.queues[1].put16(driver.queues[1].driver + 2, 0x4000)
        driver.notify(1)
        nic.settle()
        assert sum(nic.diagnoses.values()) == 1 and nic.model.engines == {}
        assert driver.status == ACKNOWLEDGE | DRIVER | DRIVER_OK, "there was no such bit then"
        for move in ("queue", "status", "saved"):
            if move == "queue":
                nic.write("queue_sel", 1)
                page = nic.read("queue_pfn")
                nic.write("queue_pfn", 0)
                nic.write("queue_pfn", page)
            elif move == "status":
                driver.status = ACKNOWLEDGE | DRIVER
                driver.status = ACKNOWLEDGE | DRIVER | DRIVER_OK
            else:
                nic.model.load(json.loads(json.dumps(nic.model.save())))
            driver.notify(1)
            nic.settle()
            assert nic.model.engines == {} and not nic.model.pool.receive_enable, f"only a reset ends it, not {move}"
        assert sum(nic.diagnoses.values()) == 1
        driver.start(Feature(0))
        assert set(nic.model.engines) == {0, 1}


def test_an_image_from_before_a_break_was_saved_apart() -> None:
    with nics(MODERN, 1) as (nic,):
        driver = Driver(nic)
        driver.start(V1)
        before = nic.model.save()
        nic.alone.card.control(["nic", "0", "needs-reset"])
        for image, working in ((nic.model.save(), False), (before, True)):
            assert image.pop("broken") is not working
            nic.model.load(image)
            assert nic.model.working is working and set(nic.model.engines) == ({0, 1} if working else set())


def test_a_queue_that_cannot_be_opened_stops_those_after_it() -> None:
    with nics(MODERN, 1) as (nic,):
        driver = Driver(nic)
        assert driver.accept(V1)
        driver.enable(0)
        driver.enable(1)
        nic.model.layouts[0] = nic.model.layouts[0]._replace(desc=1)
        driver.status = driver.status | DRIVER_OK
        assert driver.status & NEEDS_RESET and nic.diagnoses == {"queue-misaligned": 1}
        assert nic.model.engines == {} and not nic.model.pool.receive_enable


def test_one_queue_is_reset_and_set_up_again() -> None:
    """RING_RESET (VIRTIO 1.3, 2.6.1 and 4.1.4.3.1)."""
    with nics() as (nic, other):
        driver, peer = Driver(nic), Driver(other)
        driver.start(V1 | Feature.RING_RESET)
        peer.start(V1)
        peer.offer()
        nic.write("queue_select", 1)
        nic.write("queue_reset", 1)
        assert (nic.read("queue_reset"), nic.read("queue_enable"), nic.read("queue_size")) == (0, 0, 256)
        driver.transmit(b"\xff" * 6 + bytes(54))
        nic.settle()
        assert peer.received() == []
        driver.size = 32
        driver.enable(1, 2)
        driver.transmit(b"\xff" * 6 + bytes(54))
        nic.settle()
        assert len(peer.received()) == 1 and not nic.diagnoses


def test_a_queue_reset_that_was_not_negotiated() -> None:
    with nics(MODERN, 1) as (nic,):
        driver = Driver(nic)
        driver.start(V1)
        nic.write("queue_select", 1)
        nic.write("queue_reset", 1)
        assert (nic.read("queue_reset"), nic.read("queue_enable")) == (0, 1)
        assert nic.diagnoses == {"queue-reset-not-negotiated": 1}


@pytest.mark.parametrize("packed", [False, True])
def test_notification_data(packed: bool) -> None:
    """One doorbell of 32 bits: queue, and how far the driver is (VIRTIO 1.3, 2.9)."""
    features = V1 | Feature.NOTIFICATION_DATA | (Feature.RING_PACKED if packed else Feature(0))
    with nics(packed="on", notification_data="on") as (nic, other):
        driver, peer = Driver(nic), Driver(other)
        driver.start(features)
        peer.start(V1)
        peer.offer()
        queue = driver.queues[1]
        assert queue.add(queue.place([bytes(12) + b"\xff" * 6 + bytes(54)], []))
        queue.publish()
        nic.function.region_write(4, 0x3004, 4, 1 | queue.notification << 16)
        nic.settle()
        assert len(peer.received()) == 1 and not nic.diagnoses
        if packed:
            nic.function.region_write(4, 0x3004, 4, 1 | 0x7FFF << 16)
            assert driver.status & NEEDS_RESET


def test_vectors_that_there_are_not_read_back_as_none() -> None:
    with nics(MODERN, 1) as (nic,):
        for name in ("config_msix_vector", "queue_msix_vector"):
            nic.write(name, 17)
            assert nic.read(name) == 17
            nic.write(name, 18)
            assert nic.read(name) == NO_VECTOR
    with nics(LEGACY, 1) as (nic,):
        nic.msix()
        nic.write("queue_vector", 99)
        assert nic.read("queue_vector") == NO_VECTOR


# -- the window in configuration space


def window(nic: Nic, offset: int, size: int, bar: int = 4) -> None:
    nic.config_write(0xC8 + 4, 1, bar)
    nic.config_write(0xC8 + 8, 4, offset)
    nic.config_write(0xC8 + 12, 4, size)


def test_registers_through_configuration_space() -> None:
    """VIRTIO 1.3, 4.1.4.9: as firmware does it which has no place for BARs."""
    with nics(MODERN, 1) as (nic,):
        at = 0xC8 + 16
        window(nic, 0x14, 1)
        nic.config_write(at, 1, ACKNOWLEDGE | DRIVER)
        assert nic.read("device_status") == 3 == nic.config_read(at, 1)
        window(nic, 0, 4)
        nic.config_write(at, 4, 1)
        window(nic, 4, 4)
        assert nic.config_read(at, 4) == int(Driver(nic).offered()) >> 32
        window(nic, 0x2000, 2)
        assert nic.config_read(at, 2) == int.from_bytes((nic.model.slot.mac or b"")[:2], "little")


@pytest.mark.parametrize(
    ("offset", "size", "bar"), [(0, 4, 0), (0, 3, 4), (2, 4, 4), (0x4000, 4, 4), (0, 8, 4), (0xFFFFFFFC, 4, 4)]
)
def test_a_window_to_nowhere(offset: int, size: int, bar: int) -> None:
    with nics(MODERN, 1) as (nic,):
        window(nic, offset, size, bar)
        nic.config_read(0xC8 + 16, 4)
        nic.config_write(0xC8 + 16, 4, 0x55)
        assert nic.diagnoses == {"bad-window": 2}
