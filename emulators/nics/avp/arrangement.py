"""How the host arranges shared memory: what stands where in BAR 2, under which host addresses, and the tables that say so.

In here: arithmetic and the two tables. Nothing reads or writes a queue.

A host may arrange the memory anew while the driver is detached (live migration), and then everything must move: each
``generation`` shows the regions in another order, at other host addresses.

Sources: DPDK avp_ethdev.c ``avp_dev_translate_address``, ``avp_dev_create``; ``regmodel.structures.avp``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regmodel.bars.avp import MEMORY_SIZE
from regmodel.layout import layout
from regmodel.mailboxes.avp import REQUEST_SIZE
from regmodel.rings.avp import DESC, HEAD, POINTER
from regmodel.structures.avp import (
    DEVICE_INFO,
    DEVICE_MAGIC,
    MAX_MEMPOOLS,
    MAX_QUEUES,
    MEMMAP_INFO,
    MEMMAP_MAGIC,
    MEMMAP_VERSION,
    MODE_GUEST,
    NAME_SIZE,
)

if TYPE_CHECKING:
    from emulators.nics.avp.card import Properties

PAGE = 4096
LINE = 64
"""Bytes of a cache line: descriptors and queues begin at one (``__rte_cache_aligned``)."""
ROLES = ("tx", "rx", "alloc", "free")
REQUEST_SLOTS = 16
_MEMMAP = layout(MEMMAP_INFO)
_VIRTUAL, _PHYSICAL = 0x7F00_0000_0000, 0x1_0000_0000
_ORDERS = (("requests", "queues", "buffers"), ("buffers", "requests", "queues"), ("queues", "buffers", "requests"))


@dataclass(frozen=True)
class Region:
    """``size`` bytes at ``at`` in BAR 2, which the host has at ``virtual`` and ``physical``."""

    at: int
    size: int
    virtual: int
    physical: int


def _lines(size: int) -> int:
    return -(-size // LINE) * LINE


class Arrangement:
    """One arrangement: offsets in BAR 2 of queues (``fifo``), request (``sync``) and buffers (``buffers``)."""

    def __init__(self, properties: Properties, generation: int) -> None:
        self.properties, self.generation = properties, generation
        self.slots = properties.queue_size
        self.pitch = _lines(HEAD + POINTER * self.slots)
        """Bytes from one queue to the next."""
        self.data_at = int(DESC.sizeof())
        self.stride = _lines(self.data_at + properties.mbuf_size)
        """Bytes from one buffer to the next; a descriptor, then room for ``mbuf_size`` octets."""
        requests = PAGE
        queues = -(-self.pitch * MAX_QUEUES * len(ROLES) // PAGE) * PAGE
        self.count = (MEMORY_SIZE - requests - queues) // self.stride
        buffers = (MEMORY_SIZE - requests - queues) // PAGE * PAGE
        self.regions = self._placed({"requests": requests, "queues": queues, "buffers": buffers})
        self.buffers = self.regions["buffers"].at
        self.mbuf_va = self.regions["buffers"].virtual
        self.request_pitch = _lines(HEAD + POINTER * REQUEST_SLOTS)
        self.req, self.resp = (self.regions["requests"].at + i * self.request_pitch for i in (0, 1))
        self.sync = self.resp + self.request_pitch
        self.sync_va = self.regions["requests"].virtual + 2 * self.request_pitch
        assert self.sync + REQUEST_SIZE <= self.regions["requests"].at + PAGE

    def _placed(self, sizes: dict[str, int]) -> dict[str, Region]:
        found, at = {}, 0
        for number, name in enumerate(_ORDERS[self.generation % len(_ORDERS)]):
            place = (self.generation + 1) * 0x10_0000_0000 + number * 0x1_0000_0000
            found[name] = Region(at, sizes[name], _VIRTUAL + place, _PHYSICAL + place)
            at += sizes[name]
        return found

    def fifo(self, role: str, number: int) -> int:
        """Offset in BAR 2 of queue ``number`` of ``role``."""
        return self.regions["queues"].at + self.pitch * (ROLES.index(role) * MAX_QUEUES + number)

    def _physical(self, at: int) -> int:
        region = next(r for r in self.regions.values() if r.at <= at < r.at + r.size)
        return region.physical + at - region.at

    def memmap(self) -> bytes:
        """What BAR 4 says, up to its last valid region."""
        maps = sorted(self.regions.values(), key=lambda region: region.at)
        values = {"magic": MEMMAP_MAGIC, "version": MEMMAP_VERSION, "nb_maps": len(maps)}
        for number, region in enumerate(maps):
            row = {"addr": region.virtual, "phys_addr": region.physical, "length": region.size}
            values |= {f"maps[{number}].{name}": value for name, value in row.items()}
        table = bytearray(_MEMMAP.leaf(f"maps[{len(maps)}].addr").offset)
        for path, value in values.items():
            leaf = _MEMMAP.leaf(path)
            table[leaf.offset : leaf.offset + leaf.size] = value.to_bytes(leaf.size, "little")
        return bytes(table)

    def device_info(self, name: str, mac: bytes, device_id: int) -> bytes:
        """What BAR 5 says."""
        p = self.properties
        release, major, minor = p.version
        first = {f"{role}_phys": self._physical(self.fifo(role, 0)) for role in ROLES}
        pitches = {f"{role}_size": self.pitch for role in ROLES}
        buffers = self.regions["buffers"]
        pools = [{"addr": buffers.virtual, "phys_addr": buffers.physical, "length": buffers.size}]
        pools += [{"addr": 0, "phys_addr": 0, "length": 0}] * (MAX_MEMPOOLS - 1)
        return bytes(DEVICE_INFO.build({
            "magic": DEVICE_MAGIC, "version": {"release": release, "major": major, "minor": minor},
            "ifname": name.encode()[: NAME_SIZE - 1].ljust(NAME_SIZE, b"\0"),
            **first, **pitches, "features": {"vlan_offload": int(p.vlan)},
            "min_rx_queues": p.min_rx_queues, "num_rx_queues": p.rx_queues, "max_rx_queues": p.rx_queues,
            "min_tx_queues": 1, "num_tx_queues": p.tx_queues, "max_tx_queues": p.tx_queues,
            "req_phys": self._physical(self.req), "resp_phys": self._physical(self.resp),
            "sync_phys": self._physical(self.sync), "sync_va": self.sync_va,
            "mbuf_va": self.mbuf_va, "mbuf_phys": buffers.physical, "pool": pools, "ethaddr": mac, "mode": MODE_GUEST,
            "mbuf_size": p.mbuf_size, "device_id": device_id, "max_rx_pkt_len": p.max_rx_pkt_len,
        }))  # fmt: skip
