"""How a driver of virtio-net takes up its work, step by step; data only.

The order is that of the specification (VIRTIO 1.2, section 3.1); the functions are those of the stock drivers, Linux'
virtio_pci, virtio_ring and virtio_net. The Python driver (``drivers.nics.virtio``) does the same.
"""

from __future__ import annotations

from dataclasses import replace

from regmodel.bars.virtio import V
from regmodel.handshakes import Handshake, Step
from regmodel.sources import Reading

DRIVER, DEVICE, MEMORY = "driver", "device", "memory"


def pci(what: str) -> Reading:
    return Reading("linux-source", "drivers/virtio/virtio_pci_modern_dev.c", what)


def old(what: str) -> Reading:
    return Reading("linux-source", "drivers/virtio/virtio_pci_legacy_dev.c", what)


def bus(what: str) -> Reading:
    return Reading("linux-source", "drivers/virtio/virtio.c", what)


def ring(what: str) -> Reading:
    return Reading("linux-source", "drivers/virtio/virtio_ring.c", what)


def net(what: str) -> Reading:
    return Reading("linux-source", "drivers/net/virtio_net.c", what)


INITIALISATION = Handshake(
    "Initialisation",
    "Status bits are added one by one; nobody uses a queue before driver_ok.",
    (DRIVER, DEVICE),
    (
        Step(DRIVER, DEVICE, "reset: write 0, until 0 is read", ("device_status",),
             (pci("vp_modern_set_status"), V("4.1.4.3.2"))),
        Step(DRIVER, DEVICE, "I have seen you; I know how to drive you", ("device_status.acknowledge", "device_status.driver"),
             (bus("register_virtio_device"), bus("virtio_dev_probe"))),
        Step(DRIVER, DEVICE, "what do you offer? two words, one after the other", ("device_feature_select", "device_feature"),
             (pci("vp_modern_get_features"),)),
        Step(DRIVER, DEVICE, "this of it", ("driver_feature_select", "driver_feature", "features"),
             (pci("vp_modern_set_features"),)),
        Step(DRIVER, DEVICE, "agreed?", ("device_status.features_ok",), (bus("virtio_features_ok"),)),
        Step(DEVICE, DRIVER, "the bit stays if so", ("device_status.features_ok",), (bus("virtio_features_ok"),)),
        Step(DRIVER, DEVICE, "read address, link, pairs, MTU", ("mac", "net_status", "max_virtqueue_pairs", "mtu"),
             (net("virtnet_probe"),)),
        Step(DRIVER, DEVICE, "set up each queue (see there)", ("queue_enable",), (pci("vp_modern_set_queue_enable"),)),
        Step(DRIVER, DEVICE, "go", ("device_status.driver_ok",), (net("virtnet_probe"), V("3.1.1"))),
    ),
    (V("3.1.1"),),
)  # fmt: skip

QUEUE = Handshake(
    "A virtqueue is set up",
    "The driver says how large it is and where; enabling it is one way, only a reset takes it back.",
    (DRIVER, DEVICE),
    (
        Step(DRIVER, DEVICE, "this queue", ("queue_select",), (pci("vp_modern_get_queue_size"),)),
        Step(DRIVER, DEVICE, "how large may it be? 0: there is none", ("queue_size",), (pci("vp_modern_get_queue_size"),)),
        Step(DRIVER, DEVICE, "so large it is", ("queue_size",), (pci("vp_modern_set_queue_size"),)),
        Step(DRIVER, DEVICE, "and its three areas are there", ("queue_desc", "queue_driver", "queue_device"),
             (pci("vp_modern_queue_address"),)),
        Step(DRIVER, DEVICE, "its vector; reads as ffff if that could not be had", ("queue_msix_vector",),
             (pci("vp_modern_queue_vector"),)),
        Step(DRIVER, DEVICE, "where is its doorbell?", ("queue_notify_off", "notify"), (pci("vp_modern_map_vq_notify"),)),
        Step(DRIVER, DEVICE, "enable", ("queue_enable",), (pci("vp_modern_set_queue_enable"),)),
    ),
    (V("4.1.5.1.3"),),
)  # fmt: skip

QUEUE_RESET = Handshake(
    "A virtqueue is reset",
    "With RING_RESET a single queue stops, as for another ring size; the others go on.",
    (DRIVER, DEVICE),
    (
        Step(DRIVER, DEVICE, "this queue, stop", ("queue_select", "queue_reset"), (pci("vp_modern_set_queue_reset"),)),
        Step(DEVICE, DRIVER, "reads 0 again: no buffer of it is touched any more", ("queue_reset", "queue_enable"),
             (pci("vp_modern_set_queue_reset"),)),
        Step(DRIVER, DEVICE, "set up anew, and enable", ("queue_size", "queue_desc", "queue_enable"), (V("2.6.1.2"),)),
    ),
    (V("2.6.1"),),
)  # fmt: skip

SPLIT = Handshake(
    "A packet in a split ring",
    "Transmitting; receiving is the same with buffers that the device writes.",
    (DRIVER, MEMORY, DEVICE),
    (
        Step(DRIVER, MEMORY, "header and frame: descriptors, chained or in a table of their own", ("split_desc", "hdr_v1"),
             (ring("virtqueue_add_split"), net("xmit_skb"))),
        Step(DRIVER, MEMORY, "number of the first into the available ring, then its index", ("avail",),
             (ring("virtqueue_add_split"),)),
        Step(DRIVER, DEVICE, "doorbell, unless the device has said that it needs none", ("notify", "used"),
             (ring("virtqueue_kick_prepare_split"), V("2.7.10"))),
        Step(DEVICE, MEMORY, "number and length into the used ring, then its index", ("used_elem", "used"), (V("2.7.8"),)),
        Step(DEVICE, DRIVER, "interrupt, unless the driver has said that it needs none", ("avail", "isr"), (V("2.7.7"),)),
        Step(DRIVER, MEMORY, "takes its buffers back", ("used",), (ring("virtqueue_get_buf_ctx_split"),)),
    ),
    (V("2.7"),),
)  # fmt: skip

PACKED = Handshake(
    "A packet in a packed ring",
    "One ring for both directions; avail and used bits against a wrap counter say whose a descriptor is.",
    (DRIVER, MEMORY, DEVICE),
    (
        Step(DRIVER, MEMORY, "descriptors; the flags of the first one last", ("packed_desc", "hdr_v1"),
             (ring("virtqueue_add_packed"),)),
        Step(DRIVER, DEVICE, "doorbell, as the device wants it", ("event_suppression", "notify"),
             (ring("virtqueue_kick_prepare_packed"),)),
        Step(DEVICE, MEMORY, "one used descriptor for all of the chain, in the place of its first", ("packed_desc",),
             (V("2.8.13"),)),
        Step(DEVICE, DRIVER, "interrupt, as the driver wants it", ("event_suppression",), (V("2.8.14"),)),
    ),
    (V("2.8"),),
)  # fmt: skip

COMMAND = Handshake(
    "A command by the control queue",
    "Class, command and data go out, one octet comes back: what cannot be set is refused, and nothing has changed.",
    (DRIVER, DEVICE),
    (
        Step(DRIVER, DEVICE, "command with its data, and room for the answer", ("mac_table_set", "vlan_add", "mq_vq_pairs_set"),
             (net("virtnet_send_command"),)),
        Step(DRIVER, DEVICE, "doorbell of the last queue", ("notify",), (net("virtnet_send_command"),)),
        Step(DEVICE, DRIVER, "0: done, 1: refused", ("ctrl_ack",), (V("5.1.6.5"),)),
    ),
    (V("5.1.6.5"),),
)  # fmt: skip

LINK = Handshake(
    "The link goes down and comes back",
    "A change of the configuration is told by its own interrupt.",
    (DEVICE, DRIVER),
    (
        Step(DEVICE, DRIVER, "interrupt of the configuration", ("config_msix_vector", "isr.config"), (V("4.1.5.4"),)),
        Step(DRIVER, DEVICE, "read the link, and whether to announce", ("net_status.link_up", "net_status.announce"),
             (net("virtnet_config_changed_work"),)),
        Step(DRIVER, DEVICE, "have announced", ("announce_ack",), (net("virtnet_ack_link_announce"),)),
    ),
    (V("5.1.4.1"),),
)  # fmt: skip

LEGACY = Handshake(
    "Initialisation, legacy",
    "No features_ok: what the driver writes is what counts. A queue is one block of memory, of the size that the device says.",
    (DRIVER, DEVICE),
    (
        Step(DRIVER, DEVICE, "reset, then seen, then known", ("status",),
             (old("vp_legacy_set_status"), bus("virtio_dev_probe"))),
        Step(DRIVER, DEVICE, "offered, and accepted", ("host_features", "guest_features", "features"),
             (old("vp_legacy_get_features"), old("vp_legacy_set_features"))),
        Step(DRIVER, DEVICE, "queue by queue: its size, then its page", ("queue_sel", "queue_num", "queue_pfn"),
             (old("vp_legacy_get_queue_size"), old("vp_legacy_set_queue_address"))),
        Step(DRIVER, DEVICE, "vectors, once MSI-X is enabled", ("config_vector", "queue_vector"),
             (old("vp_legacy_config_vector"), old("vp_legacy_queue_vector"))),
        Step(DRIVER, DEVICE, "go", ("status.driver_ok",), (net("virtnet_probe"),)),
        Step(DRIVER, DEVICE, "buffers are available: the number of the queue", ("queue_notify",), (V("4.1.5.2"),)),
    ),
    (V("3.1.2"),),
)  # fmt: skip


LEGACY_QUEUE = Handshake(
    "A virtqueue is set up, legacy",
    "The device says how large it is; the driver says at which page it begins, and 0 takes it back.",
    (DRIVER, DEVICE),
    (
        Step(DRIVER, DEVICE, "this queue", ("queue_sel",), (old("vp_legacy_get_queue_size"),)),
        Step(DRIVER, DEVICE, "how large is it? 0: there is none", ("queue_num",), (old("vp_legacy_get_queue_size"),)),
        Step(DRIVER, DEVICE, "is it in use? a page of 0: no", ("queue_pfn",), (old("vp_legacy_get_queue_enable"),)),
        Step(DRIVER, DEVICE, "it begins there; from now on it is looked at", ("queue_pfn",),
             (old("vp_legacy_set_queue_address"),)),
        Step(DRIVER, DEVICE, "its vector; reads as ffff if that could not be had", ("queue_vector",),
             (old("vp_legacy_queue_vector"),)),
        Step(DRIVER, DEVICE, "taken back: no vector, then no page", ("queue_vector", "queue_pfn"),
             (old("vp_legacy_queue_vector"), old("vp_legacy_set_queue_address"))),
    ),
    (V("4.1.5.1.3"),),
)  # fmt: skip

_LEGACY_NAMES = {
    "notify": "queue_notify", "hdr_v1": "hdr", "isr": "isr_status", "net_status": "legacy_net_status",
    "config_msix_vector": "config_vector",
}  # fmt: skip


def _as_legacy(shake: Handshake) -> Handshake:
    """The same through the registers of the legacy interface."""

    def renamed(name: str) -> str:
        first, dot, field = name.partition(".")
        return f"{_LEGACY_NAMES.get(first, first)}{dot}{field}"

    steps = tuple(replace(step, names=tuple(map(renamed, step.names))) for step in shake.steps)
    return replace(shake, steps=steps)


def handshakes(*, modern: bool, legacy: bool) -> tuple[Handshake, ...]:
    """Those of a device that has these interfaces."""
    new = (INITIALISATION, QUEUE, QUEUE_RESET, SPLIT, PACKED, COMMAND, LINK) if modern else ()
    return (*new, *((LEGACY, LEGACY_QUEUE) if legacy else ()), *(() if modern else map(_as_legacy, (SPLIT, COMMAND, LINK))))
