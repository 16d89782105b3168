"""The terms of ``drivers.ethdev``: what a port can do, is asked for, and says. Values only, nothing is done in here."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum, Flag, auto
from typing import Protocol

from drivers.mempool import Indices, Mempool
from regmodel.errors import UsageError


class RxOffload(Flag):
    """What can be asked of a receiving port (``RTE_ETH_RX_OFFLOAD_*``); PACKET_TYPE is DPDK's ``set_ptypes``."""

    NONE = 0
    CHECKSUM = auto()
    VLAN_STRIP = auto()
    VLAN_FILTER = auto()
    SCATTER = auto()
    RSS_HASH = auto()
    PACKET_TYPE = auto()


class TxOffload(Flag):
    """What can be asked of a sending port, packet by packet (``RTE_ETH_TX_OFFLOAD_*``)."""

    NONE = 0
    VLAN_INSERT = auto()
    IPV4_CKSUM = auto()
    UDP_CKSUM = auto()
    TCP_CKSUM = auto()
    SCTP_CKSUM = auto()
    TCP_TSO = auto()
    MULTI_SEGS = auto()


@dataclass(frozen=True)
class Descriptors:
    """How many descriptors a ring may have: from ``least`` to ``most``, in steps of ``align``."""

    least: int
    most: int
    align: int

    @property
    def default(self) -> int:
        """How many a ring has unless somebody says otherwise."""
        return min(512, self.most)

    def check(self, count: int) -> None:
        if not self.least <= count <= self.most or count % self.align:
            text = f"a ring has {self.least} to {self.most} descriptors, a multiple of {self.align}, not {count}"
            raise UsageError(text)


@dataclass(frozen=True, kw_only=True)
class Info:
    """What a port can do (``rte_eth_dev_info``). MTUs in bytes; ``min_rx_room`` is of a receive buffer;
    ``tso_max_mss`` and ``tso_max_header`` are payload and headers of a segment, all in bytes."""

    driver: str
    device: str
    max_rx_queues: int
    max_tx_queues: int
    rx_descriptors: Descriptors
    tx_descriptors: Descriptors
    min_mtu: int = 68
    max_mtu: int
    min_rx_room: int
    max_mac_addrs: int = 1
    max_mc_addrs: int = 0
    rx_offloads: RxOffload
    tx_offloads: TxOffload
    tso_max_mss: int = 0
    tso_max_header: int = 0
    rx_interrupts: bool = False


class State(Enum):
    OPEN = "open: configure() comes next"
    CONFIGURED = "configured: its queues are to be set up, then start()"
    STARTED = "started"
    CLOSED = "closed"


@dataclass(frozen=True)
class Link:
    """``speed`` in Mbit/s, 0 while the link is down; ``changes`` of up and down since the port was opened."""

    up: bool
    speed: int = 0
    full_duplex: bool = True
    changes: int = 0


class Event(Flag):
    """What ``watch`` found (``RTE_ETH_EVENT_INTR_*``)."""

    NONE = 0
    LINK = auto()  # the link changed: see link_get()
    RESET = auto()  # the device has lost its settings: call reset()


@dataclass
class Stats:
    """``rte_eth_stats``. Octets are without FCS where the device can tell."""

    ipackets: int = 0
    opackets: int = 0
    ibytes: int = 0
    obytes: int = 0
    imissed: int = 0
    ierrors: int = 0
    oerrors: int = 0
    rx_nombuf: int = 0

    def __sub__(self, other: Stats) -> Stats:
        return Stats(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(Stats)})


class RxQueue(Protocol):
    """A receive queue that runs."""

    def burst(self, out: Indices) -> int:
        """Put up to ``len(out)`` packets into ``out``; says how many."""


class TxQueue(Protocol):
    """A transmit queue that runs."""

    def burst(self, packets: Indices) -> int:
        """Take packets, in order, as long as there are descriptors; says how many."""

    def reclaim(self) -> int:
        """Give the buffers of sent packets back to their pool; says how many descriptors are free."""


@dataclass(frozen=True)
class QueueSetup:
    pool: Mempool
    descriptors: int
    drop: bool = True


@dataclass
class Settings:
    """What the user asked for, to be restored when a device has forgotten it."""

    rx_queues: int = 0
    tx_queues: int = 0
    rx_offloads: RxOffload = RxOffload.NONE
    tx_offloads: TxOffload = TxOffload.NONE
    mtu: int = 1500
    mac: bytes | None = None  # None: the one that the device came with
    more_macs: list[bytes] = field(default_factory=list)
    mc_addrs: list[bytes] = field(default_factory=list)
    vlans: set[int] = field(default_factory=set)
    promiscuous: bool = False
    allmulticast: bool = False
    vlan_strip: bool = False
