"""The statistics registers of one VF: VFGPRC and its like, 32 bits wide, wrapping, never cleared.

In here: what counts as what. Octets include the FCS, as everywhere in this family. Transmitted is what left the queue:
frames that the switch then refuses (anti-spoof) are in, as they are in the switch's own count of the pool. Received is
what was written to a ring.

Source: 82576 datasheet, chapter 8 (statistics, VF registers); Linux igbvf/netdev.c ``igbvf_update_stats``.
"""

from __future__ import annotations

from collections.abc import Sequence

from emulators.fabric.frames import FCS
from emulators.fabric.pool import Pool
from regmodel.bank import Bank
from regmodel.function import Buffer, Packets

_WRAP = 0xFFFF_FFFF


class Counters:
    """The nine counters of a VF, in its register file."""

    def __init__(self, bank: Bank) -> None:
        self._words = bank["vfgptc"].store  # all registers by index: this is done for every burst
        self._gptc, self._gotc, self._gptlbc, self._gotlbc = (
            bank[name].index for name in ("vfgptc", "vfgotc", "vfgptlbc", "vfgotlbc")
        )
        self._gprc, self._gorc, self._gprlbc, self._gorlbc, self._mprc = (
            bank[name].index for name in ("vfgprc", "vfgorc", "vfgprlbc", "vfgorlbc", "vfmprc")
        )

    def transmit(self, pool: Pool, packets: Packets, frames: Sequence[Buffer]) -> None:
        """Hand a burst to the switch and count what it says: all frames, and those that stayed within the port."""
        all_, local, words = pool.tx, pool.tx_loopback, self._words
        octets, local_frames, local_octets = all_.octets, local.frames, local.octets
        packets.send(frames)
        count = len(frames)
        words[self._gptc] = words[self._gptc] + count & _WRAP
        words[self._gotc] = words[self._gotc] + all_.octets - octets + FCS * count & _WRAP
        count = local.frames - local_frames
        if count:
            words[self._gptlbc] = words[self._gptlbc] + count & _WRAP
            words[self._gotlbc] = words[self._gotlbc] + local.octets - local_octets + FCS * count & _WRAP

    def received(self, frames: int, octets: int, multicast: int, loopback: bool) -> None:
        """``frames`` of together ``octets`` (without FCS) were written to a ring; ``multicast`` without broadcast."""
        octets, words = octets + FCS * frames, self._words
        words[self._gprc] = words[self._gprc] + frames & _WRAP
        words[self._gorc] = words[self._gorc] + octets & _WRAP
        if multicast:
            words[self._mprc] = words[self._mprc] + multicast & _WRAP
        if loopback:
            words[self._gprlbc] = words[self._gprlbc] + frames & _WRAP
            words[self._gorlbc] = words[self._gorlbc] + octets & _WRAP
