"""What a virtio-net device decodes over PCI: the modern structures in BAR 4, and the legacy registers in port I/O (BAR 0).

What lives here: offsets, fields, access, resets and their sources; data only. Modern structures stand where QEMU puts them;
capabilities in configuration space say so (``regmodel.devices.virtio_config``), and a driver reads them there.

Modern names are those of VIRTIO 1.2; legacy names are those of the kernel's header, so the two can stand side by side in a
transitional device. Queues are numbered as virtio-net numbers them: receive 0, transmit 0, receive 1, ..., and the control
queue behind the last pair that the device has.

Legacy registers move: the two vector registers at 20 and 22 are there only while MSI-X is enabled. Without it the device's
own configuration begins at 20 and not at 24 (``Moved``).

Reset domains. Writing 0 to the status is the device's own reset (``SOFTWARE``); it ends a negotiation and forgets queues and
vectors. What the device offers, and its own configuration, is not touched by any reset.
"""

from __future__ import annotations

from typing import Any

from construct import Construct

from regmodel.access import RC, RO, RSVD, RW, W1S
from regmodel.function import ResetCause
from regmodel.registers import Bar, Doorbell16, Each, Moved, Reg8, Reg16, Reg32, Reg64, What
from regmodel.sources import Document, Reading, symbols

PAIRS = 8
"""Queue pairs at most."""
QUEUES = 2 * PAIRS + 1
VECTORS = QUEUES + 1
NO_VECTOR = 0xFFFF  # VIRTIO_MSI_NO_VECTOR
QUEUE_SIZE = 256
"""Descriptors per queue unless the device is set up otherwise, as in QEMU."""

MODERN_SIZE, LEGACY_SIZE, MSIX_SIZE = 0x4000, 64, 0x1000
COMMON, ISR, DEVICE, NOTIFY = 0x0000, 0x1000, 0x2000, 0x3000
"""Where the structures stand in BAR 4, a page each."""
NOTIFY_MULTIPLIER = 4
CONFIG_MSIX, CONFIG_NO_MSIX = 24, 20
"""Where legacy device configuration begins."""

UAPI = "include/uapi/linux"
P = symbols("linux-source", f"{UAPI}/virtio_pci.h", "VIRTIO_PCI_")
MSI = symbols("linux-source", f"{UAPI}/virtio_pci.h", "VIRTIO_MSI_")
C = symbols("linux-source", f"{UAPI}/virtio_config.h", "VIRTIO_CONFIG_S_")
N = symbols("linux-source", f"{UAPI}/virtio_net.h", "VIRTIO_NET_")
NET_CONFIG = Reading("linux-source", f"{UAPI}/virtio_net.h", "struct virtio_net_config")
QEMU = Reading("qemu", "hw/virtio/virtio-pci.c", "virtio_pci_realize, virtio_pci_common_read, virtio_pci_common_write")
QEMU_PIO = Reading("qemu", "hw/virtio/virtio-pci.c", "virtio_ioport_read, virtio_ioport_write, virtio_pci_config_read")


def V(section: str) -> Document:
    """The specification. Sections of 1.3 have the same numbers as far as they are cited here."""
    return Document("Virtual I/O Device (VIRTIO) Version 1.2", section)


L = V("4.1.4.10")
"""Where it describes the legacy interface."""


KEPT = (ResetCause.BUS, ResetCause.FLR, ResetCause.SOFTWARE)
offered, accepted = ("device_feature_select", 2), ("driver_feature_select", 2)
queue = ("queue_select", QUEUES)
legacy_queue = ("queue_sel", QUEUES)

# fmt: off
LEGACY_STATUS = (
    "acknowledge"        / RW[0](C("ACKNOWLEDGE"))          * "the guest noticed the device",
    "driver"             / RW[1](C("DRIVER"))               * "the guest has a driver for it",
    "driver_ok"          / RW[2](C("DRIVER_OK"))            * "the driver is ready: the device works",
    "features_ok"        / RW.volatile[3](C("FEATURES_OK")) * "negotiation is over; does not stick if the device disagrees",
    "failed"             / RW[7](C("FAILED"))               * "the driver gave up",
    RSVD[...], V("2.1"),
)
STATUS = (
    "device_needs_reset" / RO[6](C("NEEDS_RESET"))          * "the device met what it cannot go on from",
    *LEGACY_STATUS,
)
CAUSES = (
    "queue"  / RC[0](V("4.1.4.5"))            * "a queue has used buffers",
    "config" / RC[1](P("ISR_CONFIG"))         * "the configuration changed",
    RSVD[...], V("4.1.4.5"),
)
LINK = (
    "link_up"  / RO[0](N("S_LINK_UP"))        * "the link is up",
    "announce" / RO[1](N("S_ANNOUNCE"))       * "the driver should announce itself",
    RSVD[...], V("5.1.4"), NET_CONFIG,
)

COMMON_CONFIGURATION = (
    "device_feature_select" / Reg32(0x00, RW, P("COMMON_DFSELECT"), V("4.1.4.3"))      * "which 32 feature bits the next shows",
    "device_feature"        / Reg32(0x04, RO, P("COMMON_DF"), V("4.1.4.3"), banked_by=offered, survives=KEPT)
                                                                                       * "feature bits that the device offers",
    "driver_feature_select" / Reg32(0x08, RW, P("COMMON_GFSELECT"), V("4.1.4.3"))      * "which 32 feature bits the next shows",
    "driver_feature"        / Reg32(0x0C, RW, P("COMMON_GF"), V("4.1.4.3"), banked_by=accepted)
                                                                                       * "feature bits that the driver accepts",
    "config_msix_vector"    / Reg16(0x10, RW.volatile, P("COMMON_MSIX"), V("4.1.5.1.2"), reset=NO_VECTOR)
                                                                                       * "vector of configuration changes",
    "num_queues"            / Reg16(0x12, RO, P("COMMON_NUMQ"), V("4.1.4.3"), reset=3, survives=KEPT)
                                                                                       * "virtqueues that the device has",
    "device_status"         / Reg8(0x14, *STATUS, P("COMMON_STATUS"))                  * "writing 0 resets the device",
    "config_generation"     / Reg8(0x15, RO, P("COMMON_CFGGENERATION"), V("4.1.4.3.1"), survives=KEPT)
                                                                                       * "counts changes of the configuration",
    "queue_select"          / Reg16(0x16, RW, P("COMMON_Q_SELECT"), V("4.1.4.3"))      * "which queue the rest is about",
    "queue_size"            / Reg16(0x18, RW.volatile, P("COMMON_Q_SIZE"), V("4.1.4.3"), banked_by=queue, reset=QUEUE_SIZE)
                                                                                       * "descriptors; 0: no such queue",
    "queue_msix_vector"     / Reg16(0x1A, RW.volatile, P("COMMON_Q_MSIX"), V("4.1.5.1.2"), banked_by=queue, reset=NO_VECTOR)
                                                                                       * "vector of the queue",
    "queue_enable"          / Reg16(0x1C, "enable" / W1S.volatile[0], RSVD[...],
        P("COMMON_Q_ENABLE"), V("4.1.4.3.2"), banked_by=queue)                         * "a reset alone disables it again",
    "queue_notify_off"      / Reg16(0x1E, RO, P("COMMON_Q_NOFF"), V("4.1.4.4"), banked_by=queue, survives=KEPT)
                                                                                       * "number of its doorbell",
    "queue_desc"            / Reg64(0x20, RW, P("COMMON_Q_DESCLO"), V("4.1.4.3"), banked_by=queue)
                                                                                       * "address of the descriptor area",
    "queue_driver"          / Reg64(0x28, RW, P("COMMON_Q_AVAILLO"), V("4.1.4.3"), banked_by=queue)
                                                                                       * "address of the driver area",
    "queue_device"          / Reg64(0x30, RW, P("COMMON_Q_USEDLO"), V("4.1.4.3"), banked_by=queue)
                                                                                       * "address of the device area",
    "queue_notify_data"     / Reg16(0x38, RO, P("COMMON_Q_NDATA"), V("4.1.4.3"), banked_by=queue, survives=KEPT)
                                                                                       * "what to write to the doorbell",
    "queue_reset"           / Reg16(0x3A, "reset" / W1S.volatile[0], RSVD[...],
        P("COMMON_Q_RESET"), V("4.1.4.3.1"), banked_by=queue)                          * "1 resets this queue; 0: done",
)

DEVICE_CONFIGURATION = (
    "mac"                  / Reg8(Each(DEVICE, 1, 6), RO, NET_CONFIG, V("5.1.4"), survives=KEPT)  * "MAC address, by octet",
    "net_status"           / Reg16(DEVICE + 6, *LINK, survives=KEPT)                              * "link status",
    "max_virtqueue_pairs"  / Reg16(DEVICE + 8, RO, NET_CONFIG, V("5.1.4"), reset=1, survives=KEPT) * "queue pairs at most",
    "mtu"                  / Reg16(DEVICE + 10, RO, NET_CONFIG, V("5.1.4"), survives=KEPT)        * "largest MTU, in octets",
    "speed"                / Reg32(DEVICE + 12, RO, NET_CONFIG, V("5.1.4"), survives=KEPT)        * "Mbit/s; ffffffff: unknown",
    "duplex"               / Reg8(DEVICE + 16, "duplex" / RO[7:0](HALF=0, FULL=1, UNKNOWN=0xFF),
        NET_CONFIG, V("5.1.4"), survives=KEPT)                                                    * "duplex mode",
    "rss_max_key_size"     / Reg8(DEVICE + 17, RO, NET_CONFIG, V("5.1.4"), survives=KEPT)         * "octets of the RSS key",
    "rss_max_indirection_table_length" / Reg16(DEVICE + 18, RO, NET_CONFIG, V("5.1.4"), survives=KEPT)
                                                                                                  * "entries of the RSS table",
    "supported_hash_types" / Reg32(DEVICE + 20,
        "ipv4"   / RO[0](N("RSS_HASH_TYPE_IPv4"))   * "IPv4 addresses",
        "tcpv4"  / RO[1](N("RSS_HASH_TYPE_TCPv4"))  * "IPv4 addresses and TCP ports",
        "udpv4"  / RO[2](N("RSS_HASH_TYPE_UDPv4"))  * "IPv4 addresses and UDP ports",
        "ipv6"   / RO[3](N("RSS_HASH_TYPE_IPv6"))   * "IPv6 addresses",
        "tcpv6"  / RO[4](N("RSS_HASH_TYPE_TCPv6"))  * "IPv6 addresses and TCP ports",
        "udpv6"  / RO[5](N("RSS_HASH_TYPE_UDPv6"))  * "IPv6 addresses and UDP ports",
        "ip_ex"  / RO[6](N("RSS_HASH_TYPE_IP_EX"))  * "addresses of IPv6 extension headers",
        "tcp_ex" / RO[7](N("RSS_HASH_TYPE_TCP_EX")) * "these and TCP ports",
        "udp_ex" / RO[8](N("RSS_HASH_TYPE_UDP_EX")) * "these and UDP ports",
        RSVD[...], NET_CONFIG, V("5.1.6.4.3.1"), survives=KEPT)                                   * "what can be hashed",
)

BAR4 = Bar("modern", MODERN_SIZE,
    *COMMON_CONFIGURATION,
    "isr" / Reg8(ISR, *CAUSES, QEMU)                                                         * "interrupt cause, without MSI-X",
    *DEVICE_CONFIGURATION,
    "notify" / Doorbell16(Each(NOTIFY, NOTIFY_MULTIPLIER, QUEUES), "queue_index" / RW[15:0],
        V("4.1.5.2"), QEMU)                                                                  * "buffers were made available",
    "notify_data" / Doorbell16(Each(NOTIFY + 2, NOTIFY_MULTIPLIER, QUEUES),
        "next_off"  / RW[14:0] * "place of the next descriptor (packed) or index (split)",
        "next_wrap" / RW[15]   * "wrap counter (packed), or the index's highest bit",
        V("2.9"), V("4.1.5.2"))                                     * "upper half of a notification with NOTIFICATION_DATA",
    doc="common configuration, ISR, device configuration, doorbells")


def legacy(name: str, at: int, *what: What, **more: Any) -> Construct:
    """One register of device configuration, ``at`` octets behind its start."""
    if name == "mac":
        return f"legacy_{name}" / Reg8(Each(CONFIG_MSIX, 1, 6), *what, **more)
    return f"legacy_{name}" / Reg16(CONFIG_MSIX + at, *what, **more)


BAR0 = Bar("legacy", LEGACY_SIZE,
    "host_features"  / Reg32(0,  RO, P("HOST_FEATURES"), L, QEMU_PIO, survives=KEPT)         * "what the device offers",
    "guest_features" / Reg32(4,  RW, P("GUEST_FEATURES"), L)                                 * "what the driver accepts",
    "queue_pfn"      / Reg32(8,  RW, P("QUEUE_PFN"), L, banked_by=legacy_queue)              * "address of the queue, in 4 KiB",
    "queue_num"      / Reg16(12, RO, P("QUEUE_NUM"), L, banked_by=legacy_queue, reset=QUEUE_SIZE, survives=KEPT)
                                                                                             * "descriptors; 0: no such queue",
    "queue_sel"      / Reg16(14, RW, P("QUEUE_SEL"), L)                                      * "which queue the rest is about",
    "queue_notify"   / Doorbell16(16, "queue_index" / RW[15:0], P("QUEUE_NOTIFY"), L)        * "buffers were made available",
    "status"         / Reg8(18, *LEGACY_STATUS, P("STATUS"))                                 * "writing 0 resets the device",
    "isr_status"     / Reg8(19, *CAUSES, P("ISR"))                                           * "interrupt cause, without MSI-X",
    "config_vector"  / Reg16(20, RW.volatile, MSI("CONFIG_VECTOR"), L, reset=NO_VECTOR)      * "vector of new configurations",
    "queue_vector"   / Reg16(22, RW.volatile, MSI("QUEUE_VECTOR"), L, banked_by=legacy_queue, reset=NO_VECTOR)
                                                                                             * "vector of the queue",
    legacy("mac", 0, RW.volatile, NET_CONFIG, V("5.1.4.3"), survives=KEPT)                   * "MAC address, by octet",
    legacy("net_status", 6, *LINK, survives=KEPT)                                            * "link status",
    legacy("max_virtqueue_pairs", 8, RO, NET_CONFIG, V("5.1.4"), reset=1, survives=KEPT)     * "queue pairs at most",
    legacy("mtu", 10, RO, NET_CONFIG, V("5.1.4"), survives=KEPT)                             * "largest MTU, in octets",
    moved=Moved(first=CONFIG_NO_MSIX, gone=CONFIG_MSIX - CONFIG_NO_MSIX, when="MSI-X is not enabled"),
    doc="port I/O of legacy drivers")
# fmt: on
