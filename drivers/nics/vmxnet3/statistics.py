"""Statistics: counters by queue that the device writes into memory when it is asked to, and that begin anew with each start.

In here: their sums over all starts. Octets are without FCS, as the device counts them.

Sources: vmxnet3_defs.h ``VMXNET3_CMD_GET_STATS``; upt1_defs.h ``UPT1_TxStats``, ``UPT1_RxStats``; DPDK vmxnet3_ethdev.c
``vmxnet3_hw_stats_save``, ``vmxnet3_dev_stats_get``.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.nics.vmxnet3.area import Area
from regmodel.layout import layout
from regmodel.structures.vmxnet3 import RX_STATS, TX_STATS

RX, TX = layout(RX_STATS).names, layout(TX_STATS).names


class Statistics:
    """Counters by direction, queue and name, since the driver began: ``rx[0]["ucastPktsRxOK"]``."""

    def __init__(self, rx: int, tx: int) -> None:
        self.rx, self.tx = [dict.fromkeys(RX, 0) for _ in range(rx)], [dict.fromkeys(TX, 0) for _ in range(tx)]
        self._saved = [[dict(queue) for queue in side] for side in (self.rx, self.tx)]

    def update(self, rx: Sequence[Area], tx: Sequence[Area]) -> None:
        """The device has written the statistics of its queues."""
        for now, saved, queues, names in zip((self.rx, self.tx), self._saved, (rx, tx), (RX, TX), strict=True):
            for q, queue in enumerate(queues):
                queue.sync_for_cpu()
                for name in names:
                    now[q][name] = saved[q][name] + queue[f"stats.{name}"]

    def save(self) -> None:
        """The device begins anew at 0."""
        self._saved = [[dict(queue) for queue in side] for side in (self.rx, self.tx)]

    def total(self, *names: str) -> int:
        """The sum over these counters and all queues."""
        return sum(queue.get(name, 0) for side in (self.rx, self.tx) for queue in side for name in names)
