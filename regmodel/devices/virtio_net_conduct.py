"""What a judge must know of a virtio-net device beyond its registers; data only.

Nothing happens before DRIVER_OK, and what happens then is in queues whose addresses a driver gives: registers alone set
nothing going. Writing 0 to the status resets the device.

Packets go through the first pair of queues, by all that both a split and a packed queue need and by mergeable buffers.
"""

from __future__ import annotations

from regmodel.bars.virtio import QEMU, QEMU_PIO, V
from regmodel.conduct import Conduct, Excluded, Front, Held, Same, Virtqueue
from regmodel.structures.virtio_features import Feature
from regmodel.structures.virtio_net import HDR_V1

MOVED = (
    "config_vector", "queue_vector", "legacy_mac", "legacy_net_status", "legacy_max_virtqueue_pairs", "legacy_mtu",
)  # fmt: skip
ELSEWHERE = "while MSI-X is not enabled, it is not there or stands four bytes lower (4.1.4.10)"
REFUSED = "a vector that the device does not have reads back as NO_VECTOR (4.1.5.1.2.1)"
KEPT = "the device keeps its status itself: it drops FEATURES_OK when it does not agree (3.1.1) and sets NEEDS_RESET (2.1.2)"
RUN = "the queues would run, on whatever memory their addresses name"
ONE_STATUS = Same(
    ("device_status", "status"), "a transitional device has one status, whichever interface shows it",
    (V("2.1"), V("4.1.4.10"), QEMU, QEMU_PIO),
)  # fmt: skip
SOURCES = (V("2.1"), V("3.1.1"), V("4.1.4.10"), V("4.1.5.1.2"), QEMU, QEMU_PIO)
"""Where the sentences above come from."""


MODERN = Front(
    status="device_status", offered="device_feature", accepted="driver_feature",
    words=("device_feature_select", "driver_feature_select"), queue="queue_select", size="queue_size",
    areas=("queue_desc", "queue_driver", "queue_device"), enable="queue_enable", vector="queue_msix_vector", told="notify",
)  # fmt: skip
LEGACY = Front(
    status="status", offered="host_features", accepted="guest_features", queue="queue_sel", size="queue_num",
    areas=("queue_pfn",), vector="queue_vector", told="queue_notify",
)  # fmt: skip
ROOM = 1024
PLATFORM = Feature.ACCESS_PLATFORM | Feature.ORDER_PLATFORM
"""A driver should accept the first where it is offered, and a device need not work without (6.1, 6.2)."""


def _pair(ring: str, front: Front, features: Feature, *, packed: bool = False) -> tuple[Virtqueue, ...]:
    """Receive and transmit queue of the first pair (5.1.2)."""
    sources, wanted = (V("3.1.1"), V("5.1.6")), int(features | Feature.MRG_RXBUF)

    def way(number: int, room: int = 0) -> Virtqueue:
        return Virtqueue(
            ring=ring, number=number, front=front, features=wanted, schema=HDR_V1, merged="num_buffers" if room else "",
            packed=packed, inward=bool(room), room=room, welcome=int(PLATFORM) if front.words else 0, sources=sources,
        )  # fmt: skip

    return way(0, ROOM), way(1)


def conduct(*, modern: bool, legacy: bool) -> Conduct:
    """That of a device with these interfaces."""
    held: list[Held] = []
    excluded: list[Excluded] = []
    traffic: tuple[Virtqueue, ...] = ()
    if modern:
        held.append(Held("device_status.driver_ok", RUN))
        excluded += [Excluded("csr_backdoor", "device_status", KEPT), Excluded("csr_backdoor", "config_msix_vector", REFUSED)]
        traffic += _pair("split", MODERN, Feature.VERSION_1)
        traffic += _pair("packed", MODERN, Feature.VERSION_1 | Feature.RING_PACKED, packed=True)
    if legacy:
        traffic += _pair("legacy", LEGACY, Feature.ANY_LAYOUT)
        excluded += [Excluded("csr_backdoor", register, ELSEWHERE) for register in MOVED]
        excluded += [Excluded(test, "queue_vector", ELSEWHERE) for test in ("csr_aliasing", "csr_side_effects")]
    if modern and legacy:
        held.append(Held("status.driver_ok", RUN))
    same = (ONE_STATUS,) if modern and legacy else ()
    return Conduct(held=tuple(held), same=same, excluded=tuple(excluded), traffic=traffic)
