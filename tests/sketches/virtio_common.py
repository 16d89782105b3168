"""Sketch: the structures that a modern virtio device places in one BAR, common configuration first.

Shows registers of 8 to 64 bits, three index registers that bank others, a doorbell per queue and a cause that reading clears.
"""

from regmodel.access import CONST, RC, RO, RSVD, RW, W1S
from regmodel.catalogue import Description
from regmodel.registers import Bar, Doorbell16, Each, Reg8, Reg16, Reg32, Reg64
from regmodel.sources import Document, Reading, Symbol

QUEUES = 64


def S(name: str) -> Symbol:
    return Symbol("linux-source", "include/uapi/linux/virtio_pci.h", f"VIRTIO_PCI_{name}")


def R(what: str) -> Reading:
    return Reading("linux-source", "include/uapi/linux/virtio_pci.h", what)


def V(section: str) -> Document:
    return Document("VIRTIO 1.2", section)


offered, accepted = ("device_feature_select", 2), ("driver_feature_select", 2)
queue = ("queue_select", QUEUES)
NONE = 0xFFFF  # VIRTIO_MSI_NO_VECTOR

# fmt: off
BAR4 = Bar("BAR4", 0x4000,
    "device_feature_select" / Reg32(0x00, RW,    S("COMMON_DFSELECT"))                      * "which 32 feature bits to show",
    "device_feature"        / Reg32(0x04, RO,    S("COMMON_DF"), banked_by=offered)         * "what the device offers",
    "driver_feature_select" / Reg32(0x08, RW,    S("COMMON_GFSELECT"))                      * "which 32 feature bits to show",
    "driver_feature"        / Reg32(0x0C, RW,    S("COMMON_GF"), banked_by=accepted)        * "what the driver accepts",
    "config_msix_vector"    / Reg16(0x10, RW,    S("COMMON_MSIX"), reset=NONE)              * "vector of configuration changes",
    "num_queues"            / Reg16(0x12, CONST, S("COMMON_NUMQ"), reset=3)                 * "virtqueues that the device has",
    "device_status"         / Reg8(0x14,
        "acknowledge"        / RW[0]          * "the guest noticed the device",
        "driver"             / RW[1]          * "the guest has a driver for it",
        "driver_ok"          / RW[2]          * "the driver is ready",
        "features_ok"        / RW.volatile[3] * "the device accepts the features",
        "device_needs_reset" / RO[6]          * "the device cannot go on",
        "failed"             / RW[7]          * "the driver gave up",
        RSVD[...], S("COMMON_STATUS"), V("2.1"))                                            * "writing 0 resets the device",
    "config_generation"     / Reg8(0x15,  RO,    S("COMMON_CFGGENERATION"), V("4.1.4.3.1")) * "changes with the configuration",
    "queue_select"          / Reg16(0x16, RW,    S("COMMON_Q_SELECT"))                      * "which queue the rest shows",
    "queue_size"            / Reg16(0x18, RW,    S("COMMON_Q_SIZE"), banked_by=queue, reset=256)  * "descriptors",
    "queue_msix_vector"     / Reg16(0x1A, RW,    S("COMMON_Q_MSIX"), banked_by=queue, reset=NONE) * "vector of the queue",
    "queue_enable"          / Reg16(0x1C, "enable" / W1S[0], RSVD[...],
        S("COMMON_Q_ENABLE"), V("4.1.4.3.2"), banked_by=queue)                              * "a reset alone clears it",
    "queue_notify_off"      / Reg16(0x1E, CONST, S("COMMON_Q_NOFF"), banked_by=queue)       * "number of its doorbell",
    "queue_desc"            / Reg64(0x20, RW,    S("COMMON_Q_DESCLO"), banked_by=queue)     * "address of the descriptor area",
    "queue_driver"          / Reg64(0x28, RW,    S("COMMON_Q_AVAILLO"), banked_by=queue)    * "address of the driver area",
    "queue_device"          / Reg64(0x30, RW,    S("COMMON_Q_USEDLO"), banked_by=queue)     * "address of the device area",

    "isr" / Reg8(0x1000,
        "queue"  / RC[0] * "a queue has used buffers",
        "config" / RC[1] * "the configuration changed",
        RSVD[...], R("VIRTIO_PCI_CAP_ISR_CFG"), V("4.1.4.5"))                                * "interrupt cause",
    "notify" / Doorbell16(Each(0x3000, 4, QUEUES), "queue_index" / RW[15:0],
        R("VIRTIO_PCI_CAP_NOTIFY_CFG"), V("4.1.5.2"))                                        * "buffers were made available")
# fmt: on

DESCRIPTION = Description(
    name="virtio-common",
    title="virtio 1.2 over PCI: common configuration",
    doc="A fragment: what a modern virtio device has in BAR4 whatever its type, placed as QEMU places it.",
    bars={4: BAR4},
    sources=(V("4.1.4.3"),),
)
