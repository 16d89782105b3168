"""What a queue counts (UPT1_TxStats, UPT1_RxStats), as the driver reads it after GET_STATS.

In here: counters by name and how they are stored. They begin at 0 with each activation (DPDK vmxnet3_ethdev.c saves them
before), count octets without FCS, and count what is on a wire: the segments of a large packet, with headers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, ClassVar

from construct import Construct

from emulators.fabric.frames import BROADCAST_ADDRESS
from regmodel.function import Buffer
from regmodel.layout import layout
from regmodel.structures.vmxnet3 import RX_STATS, TX_STATS

_BITS = (1 << 64) - 1


class Statistics:
    """The counters of ``schema``; ``values`` by the name of the structure's members."""

    schema: ClassVar[Construct]
    way: ClassVar[str]

    def __init__(self) -> None:
        whole = layout(self.schema)
        self._struct: Struct = whole.struct
        self.values = dict.fromkeys(whole.names, 0)
        kinds = ("ucast", "mcast", "bcast")
        self._packets, self._bytes = ([f"{kind}{what}{self.way}OK" for kind in kinds] for what in ("Pkts", "Bytes"))

    def clear(self) -> None:
        self.values = dict.fromkeys(self.values, 0)

    def count(self, frames: Sequence[Buffer], octets: int) -> None:
        """A burst of ``octets`` in all, by kind of destination."""
        values = self.values
        if not [frame for frame in frames if frame[0] & 1]:
            values[self._packets[0]] += len(frames)
            values[self._bytes[0]] += octets
            return
        for frame in frames:
            self.add(frame, 1, len(frame))

    def add(self, frame: Buffer, packets: int, octets: int) -> None:
        """``packets`` with headers like those of ``frame``."""
        kind = 0 if not frame[0] & 1 else 2 if frame[:6] == BROADCAST_ADDRESS else 1
        self.values[self._packets[kind]] += packets
        self.values[self._bytes[kind]] += octets

    def packed(self) -> bytes:
        """As the structure."""
        return self._struct.pack(*[value & _BITS for value in self.values.values()])

    def load(self, state: Mapping[str, Any]) -> None:
        self.values = {name: int(state[name]) for name in self.values}


class TxStatistics(Statistics):
    schema, way = TX_STATS, "Tx"

    def segmented(self, frame: Buffer, packets: int, octets: int) -> None:
        """A large packet that is ``packets`` on a wire."""
        self.values["TSOPktsTxOK"] += packets
        self.values["TSOBytesTxOK"] += octets
        self.add(frame, packets, octets)


class RxStatistics(Statistics):
    schema, way = RX_STATS, "Rx"
