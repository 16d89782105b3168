"""The description of virtio-net: what stands where, against figures that others publish."""

from __future__ import annotations

import pytest

from regmodel.access import OnRead
from regmodel.bank import Bank
from regmodel.bars.virtio import BAR0, BAR4, PAIRS, QUEUES
from regmodel.catalogue import Device, find
from regmodel.registers import Register
from regmodel.structures.virtio_features import Feature
from regmodel.structures.virtio_net import CONTROL, FEATURES, HDR, HDR_V1, HDR_V1_HASH

# QEMU 11.1.3 ``virtio-net-pci``, read through qtest: the list of capabilities as (offset, id, virtio type, offset in BAR 4).
CAPABILITIES = {
    "virtio-net-legacy": [(0x40, 0x11)],
    "virtio-net-transitional": [
        (0x40, 0x09, 1, 0x0000), (0x50, 0x09, 3, 0x1000), (0x60, 0x09, 4, 0x2000), (0x70, 0x09, 2, 0x3000), (0x84, 0x09, 5, 0),
        (0x98, 0x11),
    ],
    "virtio-net": [
        (0x40, 0x10), (0x7C, 0x01), (0x84, 0x09, 1, 0x0000), (0x94, 0x09, 3, 0x1000), (0xA4, 0x09, 4, 0x2000),
        (0xB4, 0x09, 2, 0x3000), (0xC8, 0x09, 5, 0), (0xDC, 0x11),
    ],
}  # fmt: skip
# Identifiers, revision, class, subsystem, interrupt pin, and the first word of each BAR.
HEADERS = {
    "virtio-net-legacy": (0x10001AF4, 0x02000000, 0x00011AF4, 1, (1, 0, 0, 0, 0, 0)),
    "virtio-net-transitional": (0x10001AF4, 0x02000000, 0x00011AF4, 1, (1, 0, 0, 0, 0xC, 0)),
    "virtio-net": (0x10411AF4, 0x02000001, 0x11001AF4, 1, (0, 0, 0, 0, 0xC, 0)),
}


def config(name: str) -> Bank:
    device = find(name)
    assert isinstance(device, Device)
    return Bank(device.config)


def listed(bank: Bank) -> list[tuple[int, ...]]:
    found, at = [], bank.read(0x34, 1)
    while at:
        kind = bank.peek(at, 1)
        found.append((at, kind, bank.peek(at + 3, 1), bank.peek(at + 8, 4)) if kind == 9 else (at, kind))
        at = bank.peek(at + 1, 1)
    return sorted(found)


@pytest.mark.parametrize("name", CAPABILITIES)
def test_capabilities_stand_where_qemu_has_them(name: str) -> None:
    assert listed(config(name)) == CAPABILITIES[name]


@pytest.mark.parametrize("name", HEADERS)
def test_the_header_is_qemus(name: str) -> None:
    bank, (ids, revision, subsystem, pin, bars) = config(name), HEADERS[name]
    assert (bank.read(0, 4), bank.read(8, 4), bank.read(0x2C, 4), bank.read(0x3D, 1)) == (ids, revision, subsystem, pin)
    assert tuple(bank.read(0x10 + 4 * i, 4) for i in range(6)) == bars


def test_queues_are_banked() -> None:
    banked = {n: e.banked_by[0] for n, e in BAR4.entries.items() if isinstance(e, Register) and e.banked_by}
    assert banked["queue_size"] == "queue_select" and banked["device_feature"] == "device_feature_select"
    assert QUEUES == 2 * PAIRS + 1


@pytest.mark.parametrize("bar", [BAR0, BAR4], ids=["legacy", "modern"])
def test_reading_the_cause_clears_it(bar: object) -> None:
    isr = BAR0.entries["isr_status"] if bar is BAR0 else BAR4.entries["isr"]
    assert isinstance(isr, Register) and all(f.access.onread is OnRead.CLEAR for f in isr.named.values())


def test_legacy_configuration_moves() -> None:
    moved, mac = BAR0.moved, BAR0.entries["legacy_mac"]
    assert moved is not None
    assert (mac.offsets[0], moved.shown(mac.offsets[0])) == (24, 20)  # VIRTIO_PCI_CONFIG_OFF
    assert moved.shown(BAR0.entries["config_vector"].offsets[0]) == -1
    assert moved.shown(BAR0.entries["status"].offsets[0]) == 18


def test_headers_have_their_three_sizes() -> None:
    assert (HDR.sizeof(), HDR_V1.sizeof(), HDR_V1_HASH.sizeof()) == (10, 12, 20)


def test_the_names_of_feature_bits_agree() -> None:
    assert {name.upper(): f.mask for name, f in FEATURES.named.items()} == {f.name: f.value for f in Feature}


def test_commands_are_found_by_their_first_two_octets() -> None:
    for message in CONTROL.messages:
        which = {"class": message.number & 0xFF, "cmd": message.number >> 8}
        header = message.schema.build({"header": which, **blank(message)})
        assert CONTROL.find(int.from_bytes(header[:2], "little"), "driver") is message
        assert len(header) <= 4 * CONTROL.words


def blank(message: object) -> dict[str, object]:
    from regmodel.catalogue import Message

    assert isinstance(message, Message)
    parsed = message.schema.parse(bytes(message.schema.sizeof()))
    return {name: value for name, value in parsed.items() if name not in ("header", "_io")}
