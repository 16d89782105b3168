"""Two NICs on one switch: each personality, each format, by MSI-X and by INTx; several queue pairs; a state that is moved."""

from __future__ import annotations

import itertools
import json
from struct import pack

import pytest

from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.virtio.nic import LEGACY, MODERN, NO_VECTOR, TRANSITIONAL, Driver, Nic, nics

KINDS = {
    "legacy": (LEGACY, False, Feature(0), {}),
    "legacy-merge": (LEGACY, False, Feature.MRG_RXBUF | Feature.EVENT_IDX, {}),
    "transitional-legacy": (TRANSITIONAL, False, Feature.MRG_RXBUF, {}),
    "transitional-modern": (TRANSITIONAL, True, Feature.VERSION_1, {}),
    "modern-split": (MODERN, True, Feature.VERSION_1 | Feature.MRG_RXBUF | Feature.EVENT_IDX, {}),
    "modern-packed": (MODERN, True, Feature.VERSION_1 | Feature.RING_PACKED | Feature.EVENT_IDX, {"packed": "on"}),
    "modern-hash": (MODERN, True, Feature.VERSION_1 | Feature.HASH_REPORT | Feature.CTRL_VQ, {"hash": "on"}),
}
BOTH = pytest.mark.parametrize(("kind", "msix"), list(itertools.product(KINDS, (True, False))))


def frame(target: bytes, source: bytes, payload: bytes = b"hello") -> bytes:
    return target + source + b"\x88\xb5" + payload.ljust(50, b".")


def pair(devices: list[Nic], modern: bool, features: Feature, *, msix: bool = True, size: int = 16) -> list[Driver]:
    drivers = [Driver(nic, modern=modern, size=size) for nic in devices]
    for driver in drivers:
        if not modern:
            driver.size = driver.nic.model.queue_size
        driver.start(features | Feature.MAC, msix=msix)
        driver.offer()
    return drivers


@BOTH
def test_frames_go_both_ways(kind: str, msix: bool) -> None:
    device, modern, features, options = KINDS[kind]
    with nics(device, **options) as two:
        a, b = pair(two, modern, features, msix=msix)
        macs = [bytes(nic.read("mac" if modern else "legacy_mac", i) for i in range(6)) for nic in two]
        assert macs[0] != macs[1]
        for sender, receiver, (source, target) in ((a, b, macs), (b, a, macs[::-1])):
            sent = frame(target, source)
            sender.transmit(sent)
            sender.nic.settle()
            assert receiver.received() == [sent]
            assert [buffer.readable[0][1] for buffer, _ in sender.queues[1].poll()] == [sender.header + len(sent)]
            if msix:
                assert sender.nic.signalled() == [2] and receiver.nic.signalled() == [1]
                assert sender.nic.lines == receiver.nic.lines == 0
            for nic in two:
                cause = nic.read("isr" if modern else "isr_status")
                assert cause == (0 if msix else 1), "the cause is shown without MSI-X, and reading clears it"
                assert nic.read("isr" if modern else "isr_status") == 0
        if not msix:
            assert [nic.lines for nic in two] == [1, 1], "one level for what was not taken"
        assert not any(nic.diagnoses for nic in two)


def test_an_interrupt_line_falls_when_its_cause_is_read() -> None:
    with nics() as two:
        a, _ = pair(two, True, Feature.VERSION_1, msix=False)
        assert a.nic.function.intx is not None
        a.transmit(frame(b"\xff" * 6, bytes(6)))
        a.nic.settle()
        assert a.nic.function.intx.asserted
        assert a.nic.read("isr") == 1
        assert not a.nic.function.intx.asserted


def test_flows_come_back_to_the_queue_that_they_went_out_by() -> None:
    """Automatic receive steering (VIRTIO 1.3, 5.1.6.5.6)."""
    features = Feature.VERSION_1 | Feature.CTRL_VQ | Feature.MQ
    with nics(queue_pairs="4") as two:
        drivers = [Driver(nic) for nic in two]
        for driver in drivers:
            driver.start(features | Feature.MAC, queues=9)
            assert driver.command(bytes((4, 0)) + (4).to_bytes(2, "little"), 8) == 0
            for number in range(0, 8, 2):
                driver.offer(number)
        a, b = drivers
        macs = [nic.model.slot.mac or b"" for nic in two]
        for n in range(4):
            ip = lambda source, target: bytes((0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0)) + source + target  # noqa: E731
            here, there = bytes((10, 0, 0, n)), bytes((10, 0, 1, n))
            udp = lambda one, other: bytes((one, 0, other, 0)) + bytes(20)  # noqa: E731
            a.transmit(macs[1] + macs[0] + b"\x08\0" + ip(here, there) + udp(1, 2), 2 * n + 1)
            a.nic.settle()
            b.transmit(macs[0] + macs[1] + b"\x08\0" + ip(there, here) + udp(2, 1), 1)
            b.nic.settle()
            assert {number: len(a.received(number)) for number in (0, 2, 4, 6)} == {m: int(m == 2 * n) for m in (0, 2, 4, 6)}


def test_a_transmit_queue_that_is_not_in_use_is_not_read() -> None:
    features = Feature.VERSION_1 | Feature.CTRL_VQ | Feature.MQ | Feature.MAC
    with nics(queue_pairs="2") as two:
        a, b = (Driver(nic) for nic in two)
        for driver in (a, b):
            driver.start(features, queues=5)
            driver.offer()
        sent = frame(b"\xff" * 6, bytes(6))
        a.transmit(sent, 3)
        a.nic.settle()
        assert b.received() == []
        assert a.command(bytes((4, 0, 2, 0)), 4) == 0
        assert b.received() == [sent], "what waited goes when the queue comes into use"


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_nic_goes_on_elsewhere(kind: str) -> None:
    device, modern, features, options = KINDS[kind]
    with nics(device, **options) as two, nics(device, **options) as others:
        a, b = pair(two, modern, features)
        for text in (b"one", b"two", b"three"):
            a.transmit(frame(two[1].model.slot.mac or b"", bytes(6), text))
        a.nic.settle()
        assert len(b.received()) == 3
        for old, new in zip(two, others, strict=True):
            new.content[:] = old.content
            new.function.load(json.loads(json.dumps(old.function.save())))
            new.msix()
        for driver, new in zip((a, b), others, strict=True):
            driver.nic.memory.content = new.content
            driver.nic = new
        sent = frame(others[1].model.slot.mac or b"", bytes(6), b"four")
        a.transmit(sent)
        a.nic.settle()
        assert b.received() == [sent]
        assert others[1].signalled() == [1]
        assert others[0].function.save() != two[0].function.save()


@pytest.mark.parametrize(("device", "modern"), [(MODERN, True), (LEGACY, False), (TRANSITIONAL, False)])
def test_no_frame_is_longer_than_the_mtu_that_was_agreed_on(device: str, modern: bool) -> None:
    """VIRTIO 1.3, 5.1.4.1; what is dropped is counted by the switch. A driver that did not accept it takes what fits."""
    base = Feature.VERSION_1 if modern else Feature(0)
    ether, tag = b"\xff" * 6 + bytes(6), b"\x81\x00\x00\x05"
    sizes = (1014, 1019, 1514)

    def lengths(a: Driver, b: Driver) -> list[int]:
        a.offer(count=8)
        for size in sizes:
            b.transmit(ether + bytes(size - 12))
        b.transmit(ether + tag + bytes(1018 - 16))
        b.nic.settle()
        b.queues[1].poll()
        return list(map(len, a.received()))

    with nics(device, mtu="1000") as two, nics(device, mtu="1000") as others:
        a, b = pair(two, modern, base | Feature.MTU)
        assert lengths(a, b) == [1014, 1018] and two[0].model.pool.dropped() == {"too_long": 2}
        saved = json.loads(json.dumps(two[0].function.save()))
        a.start(base)
        assert lengths(a, b) == [*sizes, 1018] and two[0].model.pool.dropped() == {"too_long": 2}
        others[0].function.load(saved)
        assert others[0].model.pool.longest(False) == 1018, "as where it was saved"


def test_the_mtu_is_for_segments_on_the_wire() -> None:
    """A frame with a gso_type may be longer than the MTU (VIRTIO 1.3, 5.1.4.1): what it is cut into is not."""
    tcp = Feature.CSUM | Feature.GUEST_CSUM | Feature.HOST_TSO4 | Feature.GUEST_TSO4
    headers = bytes.fromhex("450007d000004000400600000a0000010a000002" "04d2005000000000000000005010000000000000")
    sent = b"\xff" * 6 + bytes(6) + b"\x08\x00" + headers + bytes(1960)
    with nics(mtu="1000") as two:
        a, b = pair(two, True, Feature.VERSION_1 | Feature.MTU | tcp)
        queue = b.queues[1]
        for size in (900, 1400):
            header = pack("<BBHHHHH", 1, 1, 54, size, 34, 16, 0)
            assert queue.add(queue.place([header + sent], []))
        queue.publish()
        b.notify(1)
        b.nic.settle()
        assert a.received() == [sent] and two[0].model.pool.dropped() == {"too_long": 1}


def test_a_state_of_another_device_is_refused() -> None:
    from regmodel.errors import StateError

    with nics(MODERN, 1) as (modern,), nics(LEGACY, 1) as (legacy,):
        before = modern.function.model.save()
        with pytest.raises(StateError, match="virtio-net-legacy"):
            modern.function.model.load(legacy.function.model.save())
        for key in ("filters", "layouts", "configuration", "banks", "rss"):
            broken = {**before, key: "nonsense"}
            with pytest.raises(StateError):
                modern.function.model.load(broken)
            assert modern.function.model.save() == before


def test_vectors_may_be_shared_or_absent() -> None:
    with nics() as two:
        a, _ = pair(two, True, Feature.VERSION_1)
        a.nic.write("queue_select", 1)
        a.nic.write("queue_msix_vector", NO_VECTOR)
        a.transmit(frame(b"\xff" * 6, bytes(6)))
        a.nic.settle()
        assert a.nic.signalled() == [] and a.nic.lines == 0
        a.nic.write("queue_msix_vector", 5)
        a.queues[1].poll()
        a.queues[1].want_interrupts(True)
        a.transmit(frame(b"\xff" * 6, bytes(6)))
        a.nic.settle()
        assert a.nic.signalled() == [5]
