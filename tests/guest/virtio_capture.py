"""Stock virtio_net on our device and on QEMU's own: its phases, and what chance orders. How it is done is in ``nic_capture``.

``virtio_pci`` is there from the start, because the guest's own console is a virtio device; it lets go of the NIC first.

Not looked at are doorbells, which QEMU takes past its trace (``virtio_pci_ioeventfd_enabled``), and what goes by control queue,
which is memory.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager

from emulators.qemu import Lab
from regmodel.catalogue import Device
from regmodel.registers import Register
from tests.differential.canonical import Step
from tests.differential.trace import Access
from tests.guest import nic_capture
from tests.guest.nic_capture import DOWN, GUEST, KNOWN, OTHER, PEER, UP, VLAN, VLAN_PEER, Canonical, Machine, Phase, Side, ping
from tests.guest.virtio import Front

MODULES = ("virtio_net",)
SAME = {"csum": "off", "guest_csum": "off"}
"""QEMU's datagram back end carries no ``virtio_net_hdr``, so that its device offers neither checksums nor segmentation."""
ADDRESSES = ("queue_desc", "queue_driver", "queue_device", "queue_pfn")
DOORBELLS = ("notify", "queue_notify")
WALK = re.compile(r"config (capabilities_pointer|\w+_header|\w+_cfg_(type|bar))(\+1)?$")
"""What is read on the way through the list of capabilities, whose order means nothing (PCI 6.7): what was found there,
reads behind it show."""


def _machine(front: Front, kernel: str) -> Machine:
    """Where the descriptions have them: modern devices behind a root port, the others on a conventional bus."""
    return Machine(kernel, MODULES, root_port=front.device == "virtio-net")


def theirs(lab: Lab, front: Front, kernel: str) -> AbstractContextManager[Side]:
    more = f"iommu_platform={'on' if front.device == 'virtio-net' else 'off'}"
    return nic_capture.theirs(lab, _machine(front, kernel), f"virtio-net-pci,{front.qemu},vectors=18,{more}")


def ours(lab: Lab, front: Front, kernel: str, **others: str) -> AbstractContextManager[Side]:
    """As QEMU's is, but for options of the device."""
    alone = {} if front.device == "virtio-net" else {"access_platform": "off"}
    return nic_capture.ours(lab, _machine(front, kernel), front.device, {**front.properties, **SAME, **alone, **others})


_COUNTS = "ethtool -S eth0 | grep drops; cd /sys/class/net/eth0/statistics && grep . *"
_DRIVER = "/sys/bus/pci/drivers/virtio-pci"


def _unbind(side: Side) -> object:
    return side.vm.run(f"echo {side.bdf} > {_DRIVER}/unbind", check=True)


def _bind(side: Side) -> object:
    return side.vm.run(f"echo {side.bdf} > {_DRIVER}/bind", check=True)


def phases(front: Front) -> tuple[Phase, ...]:
    """Rings change their size by a reset of one queue, which modern devices alone have."""
    resize: tuple[Phase, ...] = (Phase("change rings", ("ethtool -G eth0 rx 128 tx 128", UP, ping(PEER))),)
    return (
        Phase("let go", (_unbind,)),
        Phase("bind", (_bind,)),
        Phase("probe", ("modprobe virtio_net",)),
        Phase("open", ("ip link set eth0 up", UP)),
        Phase("settings", ("ethtool eth0; ethtool -g eth0; ethtool -k eth0; ethtool -l eth0; ethtool -i eth0",)),
        Phase("traffic", (f"ip addr add {GUEST} dev eth0; {KNOWN}", ping(PEER))),
        Phase("statistics after traffic", (_COUNTS,)),
        Phase("change MTU", ("ip link set eth0 mtu 9000", UP, ping(PEER, 6000), "ip link set eth0 mtu 1500", UP)),
        Phase("VLAN", (VLAN, ping(VLAN_PEER), "ip link del v5")),
        Phase("promiscuous", ("ip link set eth0 promisc on && ip link set eth0 promisc off",)),
        Phase("change address", (f"ip link set eth0 address {OTHER} && {KNOWN}", ping(PEER))),
        *(resize if front.device == "virtio-net" else ()),
        Phase("link down", (lambda side: side.link(False), DOWN)),
        Phase("link up", (lambda side: side.link(True), UP)),
        Phase("close", ("ip link set eth0 down",)),
        Phase("reopen", ("ip link set eth0 up", UP)),
        Phase("close again", ("ip link set eth0 down",)),
        Phase("remove", ("rmmod virtio_net",)),
        Phase("let go again", (_unbind,)),
    )


class Registers(Canonical):
    """Accesses to the structures and to the ports, without vectors. What is banked is named with what was selected:
    ``queue_size (of 1)``.
    """

    def __init__(self, side: Side, device: Device) -> None:
        bars = [bar for bar in device.bars if bar != device.msix_bar]
        super().__init__(side, device, bars)
        self._selected: dict[str, str] = {}
        self._names: dict[tuple[int, int], tuple[str, str]] = {}
        """The register at an offset of a BAR, and the one that selects which of its instances is there."""
        for bar in bars:
            for name, _, offset, entry in device.bars[bar].placed():
                assert isinstance(entry, Register)
                select = entry.banked_by[0] if entry.banked_by else ""
                known = name.partition("[")[0] if select else name
                for at in range(0, entry.size, 4):
                    self._names.setdefault((bar, offset + at), (f"{known}+{at}" if at else known, select))

    def step(self, bar: int, access: Access, offset: int) -> Step:
        name, select = self._names.get((bar, offset), (f"bar{bar}+{offset:#x}", ""))
        if access.op == "W" and name.endswith(("_select", "_sel")):
            self._selected[name] = f"{access.value}"
        is_address = name.startswith(ADDRESSES) and access.value
        value = "an address" if is_address else f"{access.value:#x}"
        return Step(access.op, name, value, f"of {self._selected.get(select, '?')}" if select else "")

    def by_chance(self, step: Step) -> str | None:
        return "" if step.register.partition("[")[0] in DOORBELLS or WALK.match(step.register) else None
