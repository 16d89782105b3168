"""Statistics: 32-bit counters that wrap and are never cleared, made into ones that do neither.

In here: the nine counters of a VF and those of dropped packets by queue. They have to be read more often than they wrap:
octets do so after 34 s at full speed (``EthDev.watch`` is called about once a second).

Sources: Linux igbvf/netdev.c ``igbvf_initialize_last_counter_stats``, ``igbvf_update_stats``; DS chapter 8, statistics (octets
include the FCS).
"""

from __future__ import annotations

from drivers.registers.igbvf import Igbvf

NAMES = ("vfgprc", "vfgptc", "vfgorc", "vfgotc", "vfmprc", "vfgprlbc", "vfgptlbc", "vfgorlbc", "vfgotlbc")
WRAP = 0xFFFF_FFFF


class Statistics:
    """``totals`` by register name, since the driver began."""

    def __init__(self, registers: Igbvf) -> None:
        self._registers = registers
        self._counters = {name: getattr(registers, name) for name in NAMES}
        self.totals = dict.fromkeys(NAMES, 0)
        self.missed = [0] * len(registers.rqdpc)
        self._last: dict[str, int] = {}
        self.rebase()

    def rebase(self) -> None:
        """The counters may have jumped: what they say now is nothing that has happened."""
        self._last = {name: counter.read() for name, counter in self._counters.items()}

    def update(self) -> None:
        """One read of each counter. Raises ``DeviceGone``."""
        for name, counter in self._counters.items():
            now = counter.read()
            if now == WRAP:  # a number like any other, and what is read where no device is
                self._registers.status.read()
            self.totals[name] += now - self._last[name] & WRAP
            self._last[name] = now
        for queue, counter in enumerate(self._registers.rqdpc):
            self.missed[queue] += counter.rqdpc
