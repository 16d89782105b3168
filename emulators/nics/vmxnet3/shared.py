"""What the driver says in shared memory, read once and checked: the configuration of a run of the device.

In here: from bytes of the guest to checked values. All numbers come from the guest; what makes no sense is ``Refused``,
with the name of the diagnosis, and the device does not start. No registers, no queues.

Sources: Linux vmxnet3_drv.c ``vmxnet3_setup_driver_shared`` and DPDK vmxnet3_ethdev.c of the same name, which fill it in;
vmxnet3_defs.h for limits and alignments; QEMU hw/net/vmxnet3.c ``vmxnet3_activate_device``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from construct import Construct

from regmodel.errors import DmaFault
from regmodel.function import Dma
from regmodel.layout import layout
from regmodel.rings.vmxnet3 import (
    DATA_STEP,
    RING_ALIGN,
    RING_SIZE_STEP,
    RX_COMPLETION_MOST,
    RX_DATA_MOST,
    RX_RING_MOST,
    TX_COMPLETION_MOST,
    TX_RING_MOST,
)
from regmodel.structures.vmxnet3 import (
    DRIVER_SHARED,
    KEY_MOST,
    MAGIC,
    MTU_LEAST,
    MTU_MOST,
    MTU_MOST_V6,
    QUEUE_DESC_ALIGN,
    RSS_CONF,
    RX_QUEUE_DESC,
    TABLE_MOST,
    TOEPLITZ,
    TX_QUEUE_DESC,
    Feature,
)

Leaves: TypeAlias = dict[str, Any]
SHARED, TX_QUEUE, RX_QUEUE = (layout(schema).size for schema in (DRIVER_SHARED, TX_QUEUE_DESC, RX_QUEUE_DESC))
AT, TX_AT, RX_AT = (layout(schema).offsets for schema in (DRIVER_SHARED, TX_QUEUE_DESC, RX_QUEUE_DESC))
"""Offsets in bytes, by path."""
SHARED_OLD = AT["devReadExt.intrConfExt.autoMask"]
"""Bytes of DriverShared before revision 6."""
EXT_TX, EXT_RX = 8, 16
"""With more queues than this, interrupts are described in devReadExt (Linux vmxnet3_drv.c ``queuesExtEnabled``)."""


class Refused(Exception):
    """The device cannot work so. ``kind`` names the diagnosis."""

    def __init__(self, kind: str, **detail: object) -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail


@dataclass(frozen=True)
class TxConf:
    """One transmit queue: where its descriptor and its rings are, how many entries they have, and its vector."""

    at: int
    ring: int
    size: int
    completions: int
    completions_size: int
    vector: int


@dataclass(frozen=True)
class RxConf:
    """One receive queue: two rings, completions, and the data ring, whose entries have ``data_size`` bytes (0: none)."""

    at: int
    rings: tuple[int, int]
    sizes: tuple[int, int]
    completions: int
    completions_size: int
    data: int
    data_size: int
    vector: int


@dataclass(frozen=True)
class Shared:
    """All of it. ``at`` is where DriverShared is; ``control`` the address of the word with IC_DISABLE_ALL; bit n of
    ``moderated`` is set when vector n is to be moderated, whatever the level (upt1_defs.h UPT1_IML_*).
    """

    at: int
    mtu: int
    features: Feature
    fragments: int
    auto_mask: bool
    event_vector: int
    control: int
    moderated: int
    tx: tuple[TxConf, ...]
    rx: tuple[RxConf, ...]

    @property
    def highest_vector(self) -> int:
        """Of those that queues and events name."""
        return max(self.event_vector, *(tx.vector for tx in self.tx), *(rx.vector for rx in self.rx))

    def save(self) -> dict[str, Any]:
        return asdict(self) | {"features": int(self.features)}

    @classmethod
    def loaded(cls, state: Mapping[str, Any]) -> Shared:
        """Raises TypeError, KeyError, ValueError for what is no such image."""
        tx = tuple(TxConf(**q) for q in state["tx"])
        rx = tuple(RxConf(**{**q, "rings": tuple(q["rings"]), "sizes": tuple(q["sizes"])}) for q in state["rx"])
        return cls(**{**state, "features": Feature(state["features"]), "tx": tx, "rx": rx})


@dataclass(frozen=True)
class RssConf:
    """The RSS configuration: ``types`` are UPT1_RSS_HASH_TYPE_*, ``table`` holds receive queues."""

    types: int
    key: bytes
    table: bytes

    def save(self) -> list[Any]:
        return [self.types, self.key.hex(), self.table.hex()]


def leaves(dma: Dma, schema: Construct, at: int, size: int | None = None) -> Leaves:
    """The leaves of ``schema`` at ``at`` by path; of the first ``size`` bytes, the rest is 0. Raises ``DmaFault``."""
    whole = layout(schema)
    data = bytes(dma.read(at, whole.size if size is None else size)).ljust(whole.size, b"\0")
    return dict(zip(whole.names, whole.struct.unpack(data), strict=True))


def read_shared(dma: Dma, at: int, revision: int, most_tx: int, most_rx: int, most_mtu: int) -> Shared:
    """DriverShared at ``at`` and the queue descriptors. Raises ``Refused``."""
    try:
        return _read_shared(dma, at, revision, most_tx, most_rx, most_mtu)
    except DmaFault as fault:
        raise Refused("shared-unreachable", fault=str(fault)) from None


def _read_shared(dma: Dma, at: int, revision: int, most_tx: int, most_rx: int, most_mtu: int) -> Shared:
    shared = leaves(dma, DRIVER_SHARED, at, SHARED if revision >= 6 else SHARED_OLD)
    misc, interrupts = "devRead.misc.", "devRead.intrConf."
    if shared["magic"] != MAGIC:
        raise Refused("shared-magic", address=at, magic=shared["magic"])
    tx, rx = shared[f"{misc}numTxQueues"], shared[f"{misc}numRxQueues"]
    if not (1 <= tx <= most_tx and 1 <= rx <= most_rx):
        raise Refused("shared-queues", transmit=tx, receive=rx)
    mtu, most = shared[f"{misc}mtu"], min(most_mtu, MTU_MOST_V6 if revision >= 6 else MTU_MOST)
    if not MTU_LEAST <= mtu <= most:
        raise Refused("shared-mtu", mtu=mtu)
    table, length = shared[f"{misc}queueDescPA"], shared[f"{misc}queueDescLen"]
    if table % QUEUE_DESC_ALIGN or length < tx * TX_QUEUE + rx * RX_QUEUE:
        raise Refused("shared-queue-descriptors", address=table, bytes=length)
    if revision >= 6 and (tx > EXT_TX or rx > EXT_RX):
        interrupts = "devReadExt.intrConfExt."
    receive = table + tx * TX_QUEUE
    return Shared(
        at=at,
        mtu=mtu,
        features=Feature(shared[f"{misc}uptFeatures"] & sum(Feature)),
        fragments=shared[f"{misc}maxNumRxSG"],
        auto_mask=bool(shared[f"{interrupts}autoMask"]),
        event_vector=shared[f"{interrupts}eventIntrIdx"],
        control=at + AT[f"{interrupts}intrCtrl"],
        moderated=sum(1 << vector for vector, level in enumerate(shared[f"{interrupts}modLevels"]) if level),
        tx=tuple(_read_tx(dma, table + i * TX_QUEUE) for i in range(tx)),
        rx=tuple(_read_rx(dma, receive + i * RX_QUEUE, revision) for i in range(rx)),
    )


def _read_tx(dma: Dma, at: int) -> TxConf:
    q = leaves(dma, TX_QUEUE_DESC, at)
    conf = TxConf(at, q["conf.txRingBasePA"], q["conf.txRingSize"], q["conf.compRingBasePA"], q["conf.compRingSize"],
                  q["conf.intrIdx"])  # fmt: skip
    _check_ring(dma, conf.ring, conf.size, TX_RING_MOST)
    _check_completions(dma, conf.completions, conf.completions_size, TX_COMPLETION_MOST)
    return conf


def _read_rx(dma: Dma, at: int, revision: int) -> RxConf:
    q = leaves(dma, RX_QUEUE_DESC, at)
    data, data_size = (q["conf.rxDataRingBasePA"], q["conf.rxDataRingDescSize"]) if revision >= 3 else (0, 0)
    conf = RxConf(
        at,
        (q["conf.rxRingBasePA[0]"], q["conf.rxRingBasePA[1]"]),
        (q["conf.rxRingSize[0]"], q["conf.rxRingSize[1]"]),
        q["conf.compRingBasePA"],
        q["conf.compRingSize"],
        data,
        data_size if data else 0,
        q["conf.intrIdx"],
    )
    _check_ring(dma, conf.rings[0], conf.sizes[0], RX_RING_MOST)
    if conf.sizes[1]:  # a driver without need for it gives none
        _check_ring(dma, conf.rings[1], conf.sizes[1], RX_RING_MOST)
    _check_completions(dma, conf.completions, conf.completions_size, RX_COMPLETION_MOST)
    if conf.data_size % DATA_STEP or conf.data_size > RX_DATA_MOST:
        raise Refused("ring-data", address=conf.data, bytes=conf.data_size)
    if conf.data_size:
        dma.view(conf.data, 1, write=True)
        dma.view(conf.data + conf.data_size * conf.sizes[0] - 1, 1, write=True)
    return conf


def _check_ring(dma: Dma, base: int, size: int, most: int) -> None:
    """Alignment and size as the header has them, and that it begins and ends in memory."""
    if not 1 <= size <= most or size % RING_SIZE_STEP or base % RING_ALIGN:
        raise Refused("ring-layout", address=base, entries=size)
    dma.view(base, 16)
    dma.view(base + 16 * size - 16, 16)


def _check_completions(dma: Dma, base: int, size: int, most: int) -> None:
    if not 1 <= size <= most or base % RING_ALIGN:
        raise Refused("ring-layout", address=base, entries=size)
    dma.view(base, 16, write=True)
    dma.view(base + 16 * size - 16, 16, write=True)


def read_rss(dma: Dma, at: int, queues: int) -> RssConf | None:
    """What rssConfDesc of DriverShared at ``at`` leads to; None when it asks for no hash. Raises ``Refused``, ``DmaFault``."""
    place = leaves(dma, DRIVER_SHARED, at, SHARED_OLD)
    length, conf_at = place["devRead.rssConfDesc.confLen"], place["devRead.rssConfDesc.confPA"]
    if length < layout(RSS_CONF).size:
        raise Refused("rss-length", bytes=length)
    conf = leaves(dma, RSS_CONF, conf_at)
    key, entries = conf["hashKeySize"], conf["indTableSize"]
    if conf["hashFunc"] != TOEPLITZ:
        return None
    if not (4 <= key <= KEY_MOST and 1 <= entries <= TABLE_MOST and max(conf["indTable"][:entries]) < queues):
        raise Refused("rss-configuration", key=key, entries=entries)
    return RssConf(conf["hashType"], conf["hashKey"][:key].ljust(KEY_MOST, b"\0"), conf["indTable"][:entries])
