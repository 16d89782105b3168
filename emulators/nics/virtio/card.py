"""The virtio-net card: what a user may choose (``Properties``), and the card that ``Device.model`` names.

In here: names, defaults and limits of properties, and which feature bits they come to. What a feature does is elsewhere.

Defaults are QEMU's ``virtio-net-pci`` where it has the property (hw/net/virtio-net.c ``virtio_net_properties``, hw/virtio/
virtio.h ``DEFINE_VIRTIO_COMMON_FEATURES``), with these differences: ``access_platform`` is on, because DMA of this device goes
through the guest's IOMMU; ``guest_ufo`` and ``host_ufo`` do not exist, because the fabric does not cut UDP into IP fragments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emulators.standalone import StandaloneSlot, standalone
from regmodel.bars.virtio import PAIRS, QUEUE_SIZE
from regmodel.catalogue import Device
from regmodel.errors import UsageError
from regmodel.structures.virtio_features import Feature

if TYPE_CHECKING:
    from emulators.host import Host
    from emulators.nics.virtio.device import VirtioNet

SMALLEST, LARGEST = 16, 1024
"""Descriptors per queue. QEMU allows as many at most (VIRTQUEUE_MAX_SIZE); its smallest is 256."""
UNKNOWN_SPEED, UNKNOWN_DUPLEX = 0xFFFFFFFF, 0xFF
DUPLEX = {"half": 0, "full": 1, "unknown": UNKNOWN_DUPLEX}
SWITCH = {"on": True, "off": False}

ON = (
    Feature.CSUM | Feature.GUEST_CSUM | Feature.CTRL_GUEST_OFFLOADS | Feature.GUEST_TSO4 | Feature.GUEST_TSO6
    | Feature.GUEST_ECN | Feature.HOST_TSO4 | Feature.HOST_TSO6 | Feature.HOST_ECN | Feature.GUEST_USO4
    | Feature.GUEST_USO6 | Feature.HOST_USO
    | Feature.MRG_RXBUF | Feature.STATUS | Feature.CTRL_VQ | Feature.CTRL_RX | Feature.CTRL_VLAN | Feature.CTRL_RX_EXTRA
    | Feature.GUEST_ANNOUNCE | Feature.CTRL_MAC_ADDR | Feature.INDIRECT_DESC | Feature.EVENT_IDX | Feature.GSO
    | Feature.ANY_LAYOUT | Feature.ACCESS_PLATFORM | Feature.RING_RESET
)  # fmt: skip
"""Offered unless switched off."""
OFF = (
    Feature.RING_PACKED | Feature.IN_ORDER | Feature.ORDER_PLATFORM | Feature.NOTIFICATION_DATA | Feature.RSS
    | Feature.HASH_REPORT
)  # fmt: skip
"""Offered when switched on."""
ALIASES = {"packed": "ring_packed", "iommu_platform": "access_platform", "hash": "hash_report"}
"""What QEMU calls some of them."""
LEGACY_ONLY = Feature.GSO | Feature.ANY_LAYOUT | Feature.NOTIFY_ON_EMPTY
LOW = Feature(0xFFFFFFFF)
"""Feature bits that the legacy interface has."""

NEEDS: Mapping[Feature, Feature] = {
    Feature.GUEST_TSO4: Feature.GUEST_CSUM,
    Feature.GUEST_TSO6: Feature.GUEST_CSUM,
    Feature.GUEST_ECN: Feature.GUEST_TSO4 | Feature.GUEST_TSO6,
    Feature.GUEST_UFO: Feature.GUEST_CSUM,
    Feature.GUEST_USO4: Feature.GUEST_CSUM,
    Feature.GUEST_USO6: Feature.GUEST_CSUM,
    Feature.HOST_TSO4: Feature.CSUM,
    Feature.HOST_TSO6: Feature.CSUM,
    Feature.HOST_ECN: Feature.HOST_TSO4 | Feature.HOST_TSO6,
    Feature.HOST_UFO: Feature.CSUM,
    Feature.HOST_USO: Feature.CSUM,
    Feature.CTRL_RX: Feature.CTRL_VQ,
    Feature.CTRL_RX_EXTRA: Feature.CTRL_VQ,
    Feature.CTRL_VLAN: Feature.CTRL_VQ,
    Feature.GUEST_ANNOUNCE: Feature.CTRL_VQ,
    Feature.MQ: Feature.CTRL_VQ,
    Feature.CTRL_MAC_ADDR: Feature.CTRL_VQ,
    Feature.RSS: Feature.CTRL_VQ,
    Feature.CTRL_GUEST_OFFLOADS: Feature.CTRL_VQ,
    Feature.HASH_REPORT: Feature.CTRL_VQ,
}
"""A feature on the left asks for one of those on the right at least (VIRTIO 1.3, 5.1.3.1)."""


def without_basis(features: Feature) -> Feature:
    """Those of ``features`` that ask for one which is not among them."""
    found = Feature(0)
    for feature, basis in NEEDS.items():
        if feature in features and not features & basis:
            found |= feature
    return found


@dataclass(frozen=True)
class Properties:
    """``features`` are what the device offers at most; ``mtu`` in octets, ``speed`` in Mbit/s, None where it is not said."""

    queue_pairs: int = 1
    queue_size: int = QUEUE_SIZE
    features: Feature = ON
    mtu: int | None = None
    speed: int | None = None
    duplex: int | None = None

    @classmethod
    def parse(cls, device: Device, options: Mapping[str, str]) -> Properties:
        """From the options of a command line. Raises ``UsageError``."""
        rest = dict(options)
        pairs = _number(rest, "queue_pairs", 1, PAIRS) or 1
        size = _number(rest, "queue_size", SMALLEST, LARGEST) or QUEUE_SIZE
        if size & (size - 1):
            raise UsageError(f"queue_size is a power of two from {SMALLEST} to {LARGEST}, not {size}")
        mtu = _number(rest, "mtu", 68, 65535)
        speed = _number(rest, "speed", 0, 0x7FFFFFFF)
        duplex = _duplex(rest)
        features = _switched(device, rest)
        for feature, there in (
            (Feature.MQ, pairs > 1), (Feature.MTU, mtu is not None),
            (Feature.SPEED_DUPLEX, speed is not None or duplex is not None),
        ):  # fmt: skip
            features |= feature if there else Feature(0)
        if Feature.CTRL_VQ not in features and pairs > 1:
            raise UsageError("more than one queue pair needs ctrl_vq=on")
        while missing := without_basis(features):
            features &= ~missing  # what a feature needs was switched off, and so is it
        return cls(pairs, size, features, mtu, speed, duplex)

    def offered(self, *, modern: bool) -> Feature:
        """What one of the two interfaces shows."""
        return self.features & ~LEGACY_ONLY | Feature.VERSION_1 if modern else self.features & LOW


def _number(options: dict[str, str], name: str, least: int, most: int) -> int | None:
    text = options.pop(name, None)
    if text is None:
        return None
    if not text.isdecimal() or not least <= int(text) <= most:
        raise UsageError(f"{name} is a number from {least} to {most}, not {text!r}")
    return int(text)


def _duplex(options: dict[str, str]) -> int | None:
    text = options.pop("duplex", None)
    if text is not None and text not in DUPLEX:
        raise UsageError(f"duplex is half, full or unknown, not {text!r}")
    return None if text is None else DUPLEX[text]


def _switched(device: Device, options: dict[str, str]) -> Feature:
    """``ON`` with what ``options`` switch; they hold nothing else."""
    features, there = ON, ON | OFF
    for name, text in options.items():
        feature = Feature.__members__.get(ALIASES.get(name, name).upper())
        if feature is None or feature not in there:
            numbers = "queue_pairs, queue_size, mtu, speed, duplex, mac, seed"
            known = ", ".join(f.name.lower() for f in Feature if f in there and f.name)
            raise UsageError(f"{device.name} has no option {name!r}: it has {numbers}, and these, on or off: {known}")
        if text not in SWITCH:
            raise UsageError(f"{name} is on or off, not {text!r}")
        if SWITCH[text] and feature & ~LOW and not device.variant["modern"]:
            raise UsageError(f"{device.name} has no {name}: the legacy interface has the first 32 feature bits only")
        features = features | feature if SWITCH[text] else features & ~feature
    return features


def build(device: Device, host: Host, slot: StandaloneSlot[Properties]) -> VirtioNet:
    """The model of one NIC."""
    from emulators.nics.virtio.device import VirtioNet

    return VirtioNet(device, host, slot)


VirtioCard = standalone(build, Properties.parse)
