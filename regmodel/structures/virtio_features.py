"""The feature bits of virtio: those of every device and those of a network device, by their number in the 64-bit word.

In here: which bit is which. What a bit means to a device is in ``emulators.nics.virtio``, to a driver in
``drivers.nics.virtio``. Names are those of the specification without ``VIRTIO_F_``, ``VIRTIO_RING_F_`` or ``VIRTIO_NET_F_``.

Sources: VIRTIO 1.3, 5.1.3 (network device), 6 and 6.3 (reserved feature bits, legacy ones included); linux/virtio_config.h,
linux/virtio_net.h, linux/virtio_ring.h.
"""

from __future__ import annotations

from enum import IntFlag


class Feature(IntFlag):
    """One bit each. A driver acknowledges a subset of what its device offers."""

    # network device: VIRTIO 1.3, 5.1.3
    CSUM = 1 << 0  # device handles packets with partial checksum
    GUEST_CSUM = 1 << 1  # driver handles packets with partial checksum
    CTRL_GUEST_OFFLOADS = 1 << 2  # receive offloads change at run time
    MTU = 1 << 3  # device reports the largest MTU
    MAC = 1 << 5  # device has a MAC address
    GSO = 1 << 6  # legacy only: packets with any GSO type
    GUEST_TSO4 = 1 << 7
    GUEST_TSO6 = 1 << 8
    GUEST_ECN = 1 << 9
    GUEST_UFO = 1 << 10
    HOST_TSO4 = 1 << 11
    HOST_TSO6 = 1 << 12
    HOST_ECN = 1 << 13
    HOST_UFO = 1 << 14
    MRG_RXBUF = 1 << 15  # driver merges receive buffers
    STATUS = 1 << 16  # the status field of the configuration
    CTRL_VQ = 1 << 17  # the control queue
    CTRL_RX = 1 << 18  # its receive modes
    CTRL_VLAN = 1 << 19  # its VLAN filter
    CTRL_RX_EXTRA = 1 << 20  # its further receive modes
    GUEST_ANNOUNCE = 1 << 21  # driver announces itself when told to
    MQ = 1 << 22  # several queue pairs
    CTRL_MAC_ADDR = 1 << 23  # MAC address by the control queue
    DEVICE_STATS = 1 << 50
    VQ_NOTF_COAL = 1 << 52
    NOTF_COAL = 1 << 53
    GUEST_USO4 = 1 << 54
    GUEST_USO6 = 1 << 55
    HOST_USO = 1 << 56
    HASH_REPORT = 1 << 57  # the hash of a packet in its header
    GUEST_HDRLEN = 1 << 59  # hdr_len is exact
    RSS = 1 << 60
    RSC_EXT = 1 << 61
    STANDBY = 1 << 62
    SPEED_DUPLEX = 1 << 63

    # every device: VIRTIO 1.3, 6
    NOTIFY_ON_EMPTY = 1 << 24  # legacy only: an interrupt when the device ran out of buffers
    ANY_LAYOUT = 1 << 27  # legacy only: no assumption on how a message is divided into descriptors
    INDIRECT_DESC = 1 << 28
    EVENT_IDX = 1 << 29
    VERSION_1 = 1 << 32  # not legacy
    ACCESS_PLATFORM = 1 << 33  # addresses are those of the platform's DMA (IOMMU)
    RING_PACKED = 1 << 34
    IN_ORDER = 1 << 35  # buffers are used in the order in which they were made available
    ORDER_PLATFORM = 1 << 36  # memory is ordered as the platform orders it for devices
    SR_IOV = 1 << 37
    NOTIFICATION_DATA = 1 << 38  # a doorbell says how far the driver got
    NOTIF_CONFIG_DATA = 1 << 39
    RING_RESET = 1 << 40  # one queue may be reset
    ADMIN_VQ = 1 << 41
