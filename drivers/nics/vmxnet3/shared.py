"""What driver and device share in memory: DriverShared, a descriptor for each queue, and the tables that they lead to.

In here: what a port is to be, as that memory says it. When the device looks at it is the business of ``device``.

Sources: Linux vmxnet3/vmxnet3_drv.c ``vmxnet3_setup_driver_shared``, ``vmxnet3_set_mc``, ``vmxnet3_restore_vlan``;
vmxnet3_defs.h ``Vmxnet3_DriverShared``; upt1_defs.h ``UPT1_RSSConf``.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.ethdev import RxOffload, Settings
from drivers.nics.vmxnet3.area import Area
from drivers.transports import Transport
from regmodel.layout import layout
from regmodel.structures.vmxnet3 import (
    DRIVER_SHARED,
    KEY_MOST,
    MAGIC,
    RING_BUFFER_SIZE,
    RSS_CONF,
    RX_QUEUE_DESC,
    TABLE_MOST,
    TOEPLITZ,
    TX_QUEUE_DESC,
    VLANS,
)

VERSION = 0x01_09_00_00
"""Of the driver, as Linux counts its own (vmxnet3_int.h ``VMXNET3_DRIVER_VERSION_NUM``)."""
MOST_PIECES = 18
"""Buffers of a received packet that are told apart: vmxnet3_drv.c ``vmxnet3_setup_driver_shared``, 1 + MAX_SKB_FRAGS."""
MOST_GROUPS = 0xFFFF // 6
"""Multicast addresses: the table's length has 16 bits."""
USUAL_TX_QUEUES, USUAL_RX_QUEUES = 8, 16
"""Of more queues than these (vmxnet3_defs.h ``VMXNET3_MAX_TX_QUEUES``) the vectors stand in DSDevReadExt."""
KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"
)  # fmt: skip
"""Microsoft's, with which Toeplitz hashes are verified (Windows driver kit, "Verifying the RSS Hash Calculation")."""


class Shared:
    """The memory of a port of ``tx`` and ``rx`` queues at most."""

    def __init__(self, transport: Transport, tx: int, rx: int) -> None:
        sizes = layout(TX_QUEUE_DESC).size, layout(RX_QUEUE_DESC).size
        self._memory = [transport.alloc(size) for size in (layout(DRIVER_SHARED).size, tx * sizes[0] + rx * sizes[1])]
        self._rss_memory = transport.alloc(layout(RSS_CONF).size)
        self._groups = transport.alloc(MOST_GROUPS * 6)
        self.root = Area(self._memory[0], DRIVER_SHARED)
        self.rss = Area(self._rss_memory, RSS_CONF)
        self.tx: list[Area] = []
        self.rx: list[Area] = []
        self._intr = ""

    # -- before the device is active

    def begin(self, settings: Settings, *, automatic: bool) -> None:
        """All anew for a port of these settings; its queues describe themselves afterwards, in ``tx`` and ``rx``."""
        for queue in (*self.tx, *self.rx):
            queue.release()
        s, root = settings, self.root
        root.clear()
        memory, size = self._memory[1], layout(TX_QUEUE_DESC).size
        memory.view[:] = bytes(len(memory.view))
        self.tx = [Area(memory, TX_QUEUE_DESC, size * q) for q in range(s.tx_queues)]
        first = size * s.tx_queues
        self.rx = [Area(memory, RX_QUEUE_DESC, first + layout(RX_QUEUE_DESC).size * q) for q in range(s.rx_queues)]
        root["magic"], root["size"] = MAGIC, root.size
        root["devRead.misc.driverInfo.version"] = VERSION
        root.put("devRead.misc.driverInfo.gos", gosBits="BITS64", gosType="LINUX")
        root["devRead.misc.driverInfo.vmxnet3RevSpt"] = root["devRead.misc.driverInfo.uptVerSpt"] = 1
        root["devRead.misc.mtu"] = s.mtu
        root["devRead.misc.queueDescPA"] = memory.iova
        root["devRead.misc.queueDescLen"] = sum(queue.size for queue in (*self.tx, *self.rx))
        root["devRead.misc.numTxQueues"], root["devRead.misc.numRxQueues"] = s.tx_queues, s.rx_queues
        root["devRead.misc.maxNumRxSG"] = MOST_PIECES if RxOffload.SCATTER in s.rx_offloads else 1
        self._vectors(s, automatic)
        self.features(s)
        self.modes(s)
        self.groups(s.mc_addrs)
        self.vlans(s)
        if s.rx_queues > 1:
            self._spread(s)

    def _vectors(self, s: Settings, automatic: bool) -> None:
        """Receive queues have theirs, events the next, transmit queues all the last, which stays masked."""
        many = s.tx_queues > USUAL_TX_QUEUES or s.rx_queues > USUAL_RX_QUEUES
        self._intr = "devReadExt.intrConfExt" if many else "devRead.intrConf"
        root = self.root
        root[f"{self._intr}.autoMask"] = int(automatic)
        root[f"{self._intr}.numIntrs"] = s.rx_queues + 2
        root[f"{self._intr}.eventIntrIdx"] = s.rx_queues
        root.put(f"{self._intr}.intrCtrl", disable_all=1)
        for q, queue in enumerate(self.rx):
            queue["conf.intrIdx"] = q
        for queue in self.tx:
            queue["conf.intrIdx"] = s.rx_queues + 1

    def _spread(self, s: Settings) -> None:
        """RSS over all queues in turn, by what every revision can hash."""
        rss, root = self.rss, self.root
        rss.put("hashType", ipv4=1, tcp_ipv4=1, ipv6=1, tcp_ipv6=1)
        rss["hashFunc"], rss["hashKeySize"], rss["indTableSize"] = TOEPLITZ, KEY_MOST, TABLE_MOST
        rss.octets("hashKey")[:] = KEY
        rss.octets("indTable")[:] = bytes(i % s.rx_queues for i in range(TABLE_MOST))
        rss.sync_for_device()
        root["devRead.rssConfDesc.confVer"], root["devRead.rssConfDesc.confLen"] = 1, rss.size
        root["devRead.rssConfDesc.confPA"] = rss.iova

    def hand_over(self) -> None:
        """All of it is the device's to read."""
        self.root.sync_for_device()
        for queue in (*self.tx, *self.rx):
            queue.sync_for_device()

    # -- what may change while it is active, too

    def features(self, s: Settings) -> None:
        """misc.uptFeatures."""
        path = "devRead.misc.uptFeatures"
        checks, strips = RxOffload.CHECKSUM in s.rx_offloads, int(s.vlan_strip)
        self.root.put(path, rxcsum=int(checks), rss=int(s.rx_queues > 1), rxvlan=strips)
        self.root.sync_for_device(path)

    def modes(self, s: Settings) -> None:
        """rxFilterConf.rxMode."""
        path, on = "devRead.rxFilterConf.rxMode", s.allmulticast
        self.root.put(path, ucast=1, bcast=1, mcast=int(bool(s.mc_addrs)), all_multi=int(on), promisc=int(s.promiscuous))
        self.root.sync_for_device(path)

    def groups(self, addresses: Sequence[bytes]) -> None:
        """rxFilterConf.mfTable."""
        table, conf = b"".join(addresses), "devRead.rxFilterConf"
        self._groups.view[: len(table)] = table
        self._groups.sync_for_device(0, len(table))
        self.root[f"{conf}.mfTableLen"], self.root[f"{conf}.mfTablePA"] = len(table), self._groups.iova if table else 0
        for name in ("mfTableLen", "mfTablePA"):
            self.root.sync_for_device(f"{conf}.{name}")

    def vlans(self, s: Settings) -> None:
        """rxFilterConf.vfTable: all of them, unless some were joined. Frames without a tag are of VLAN 0."""
        path = "devRead.rxFilterConf.vfTable"
        table = 0 if s.vlans or RxOffload.VLAN_FILTER in s.rx_offloads else (1 << VLANS) - 1
        for vid in (0, *s.vlans):
            table |= 1 << vid
        self.root.octets(path)[:] = table.to_bytes(VLANS // 8, "little")
        self.root.sync_for_device(path)

    def buffer_sizes(self, room: int) -> None:
        """The argument of SET_RING_BUFFER_SIZE (vmxnet3_defs.h ``Vmxnet3_RingBufferSize``)."""
        argument = layout(RING_BUFFER_SIZE).struct.pack(room, 0, room, 0)
        self.root.octets("cu.data")[: len(argument)] = argument
        self.root.sync_for_device("cu.data")

    def allow_interrupts(self, on: bool) -> None:
        """intrConf.intrCtrl."""
        path = f"{self._intr}.intrCtrl"
        self.root.put(path, disable_all=int(not on))
        self.root.sync_for_device(path)

    @property
    def events(self) -> int:
        """DriverShared.ecr."""
        self.root.sync_for_cpu("ecr")
        return self.root["ecr"]

    def release(self) -> None:
        """Give the memory back, which the device does not touch any more."""
        for area in (self.root, self.rss, *self.tx, *self.rx):
            area.release()
        for memory in (*self._memory, self._rss_memory, self._groups):
            memory.free()
