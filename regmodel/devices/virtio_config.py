"""Capabilities by which a modern virtio device says where its structures stand (VIRTIO 1.2, 4.1.4).

What lives here: the vendor capabilities of virtio as lists of registers; data only. ``pci_cfg`` is a window: software without
a mapping of the BARs writes where and how wide, then reads or writes the data, and the device does that access.
"""

from __future__ import annotations

from construct import Construct

from regmodel.access import CONST, RSVD, RW
from regmodel.bars.virtio import COMMON, DEVICE, ISR, NOTIFY, NOTIFY_MULTIPLIER, P, V
from regmodel.capabilities import vendor
from regmodel.pci import Capability, Reg8, Reg32

MODERN_BAR, PAGE = 4, 0x1000
TYPES = {"COMMON_CFG": 1, "NOTIFY_CFG": 2, "ISR_CFG": 3, "DEVICE_CFG": 4, "PCI_CFG": 5, "SHARED_MEMORY_CFG": 8}


def _capability(at: int, kind: str, *more: Construct, size: int = 16, offset: int = 0, movable: bool = False) -> Capability:
    """One capability: the structure ``kind`` is a page of the modern BAR from ``offset`` on; or a window (``movable``)."""
    name, say = kind.lower(), RW if movable else CONST
    # fmt: off
    entries = (
        f"{name}_type" / Reg8(at + 3,
            "type" / CONST[7:0](*(P(f"CAP_{t}", of=t) for t in TYPES), **TYPES),
            P("CAP_CFG_TYPE", base=at), V("4.1.4"), reset=TYPES[kind])                       * "Which structure this is",
        f"{name}_bar" / Reg8(at + 4, "bar" / say[7:0],
            P("CAP_BAR", base=at), V("4.1.4"), reset=0 if movable else MODERN_BAR)           * "The BAR that holds it",
        f"{name}_id" / Reg8(at + 5, "id" / CONST[7:0], V("4.1.4"))                           * "Which of several of this type",
        f"{name}_offset" / Reg32(at + 8, "offset" / say[31:0],
            P("CAP_OFFSET", base=at), V("4.1.4"), reset=offset)                              * "Where in the BAR, in bytes",
        f"{name}_size" / Reg32(at + 12, "size" / say[31:0],
            P("CAP_LENGTH", base=at), V("4.1.4"), reset=0 if movable else PAGE)              * "Its length in bytes",
        *more,
    )
    # fmt: on
    return vendor(at, size, *entries, name=name, sources=(V("4.1.4"),))


def structures(at: int) -> tuple[Capability, ...]:
    """All five, one behind the other from ``at`` on, in the order in which QEMU has them."""
    # fmt: off
    multiplier = "notify_cfg_multiplier" / Reg32(at + 0x30 + 16, "bytes" / CONST[31:0],
        P("NOTIFY_CAP_MULT", base=at + 0x30), V("4.1.4.4"), reset=NOTIFY_MULTIPLIER) * "Bytes between doorbells"
    data = "pci_cfg_data" / Reg32(at + 0x44 + 16, "data" / RW.volatile[31:0], RSVD[...], V("4.1.4.9")) * "The bytes there"
    # fmt: on
    return (
        _capability(at, "COMMON_CFG", offset=COMMON),
        _capability(at + 0x10, "ISR_CFG", offset=ISR),
        _capability(at + 0x20, "DEVICE_CFG", offset=DEVICE),
        _capability(at + 0x30, "NOTIFY_CFG", multiplier, size=20, offset=NOTIFY),
        _capability(at + 0x44, "PCI_CFG", data, size=20, movable=True),
    )
