"""What QEMU's own trace says a guest did to one PCI function: accesses to a BAR and to configuration space.

In here: the text of four trace events of QEMU, and nothing of any device. The events are raised in QEMU's memory core and in
its PCI host bridge, in front of whatever implements the function, so they say the same of a device of QEMU's own and of one
behind ``vfio-user-pci`` (QEMU system/trace-events ``memory_region_ops_read``, hw/pci/trace-events ``pci_cfg_read``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

EVENTS = ("memory_region_ops_read", "memory_region_ops_write", "pci_cfg_read", "pci_cfg_write")

BAR, CONFIG = "bar", "config"

_REGION = re.compile(
    r"memory_region_ops_(read|write) cpu \S+ mr \S+ addr (0x[0-9a-f]+) value (0x[0-9a-f]+) size (\d+) name '(.*)'"
)
_CONFIG = re.compile(r"pci_cfg_(read|write) \S+ ([0-9a-f]{2}:[0-9a-f]{2}\.\d) @(0x[0-9a-f]+) (?:->|<-) (0x[0-9a-f]+)")


@dataclass(frozen=True)
class Access:
    """One access: ``op`` is ``R`` or ``W``, ``space`` is ``bar`` or ``config``. QEMU does not say the size of the latter."""

    op: str
    space: str
    offset: int
    value: int
    size: int = 4


@dataclass(frozen=True)
class Function:
    """Where a function shows up in the trace: ``bdf`` as lspci writes it, its BAR at ``base``, ``size`` bytes."""

    bdf: str
    base: int
    size: int


def accesses(lines: Iterable[str], function: Function) -> Iterator[Access]:
    """The accesses to ``function``, in order."""
    for line in lines:
        if match := _REGION.match(line):
            offset = int(match[2], 16) - function.base
            if 0 <= offset < function.size:
                yield Access(match[1][0].upper(), BAR, offset, int(match[3], 16), int(match[4]))
        elif (match := _CONFIG.match(line)) and match[2] == function.bdf:
            yield Access(match[1][0].upper(), CONFIG, int(match[3], 16), int(match[4], 16))
