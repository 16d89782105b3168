"""The pool filter table for VLANs: few slots, each a VLAN and the pools that are members of it.

In here: the table as hardware has it (82576 datasheet, VLVF[n]; 82599, PFVLVF and PFVLVFB) and the policy by which both
Linux PF drivers hand out its slots. Not in here: the 4096-bit table before it (VFTA), which is ``Switch.vlan_ids``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple


class VlanSlot(NamedTuple):
    """``vid``: 12 bits. ``pools``: a bit mask by pool index. ``enabled``: VI_EN; a disabled slot matches nothing."""

    vid: int = 0
    pools: int = 0
    enabled: bool = False


class VlanTable:
    """Which pools are members of which VLAN. A VLAN may stand in several slots: the members are all of theirs."""

    def __init__(self, changed: Callable[[], None], slots: int = 32) -> None:
        self._changed = changed
        self._slots = [VlanSlot()] * slots

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, index: int) -> VlanSlot:
        return self._slots[index]

    def __setitem__(self, index: int, slot: VlanSlot) -> None:
        self._slots[index] = slot
        self._changed()

    def members(self, vid: int) -> int:
        """The pools, as a bit mask, that receive frames of VLAN ``vid``."""
        pools = 0
        for slot in self._slots:
            if slot.enabled and slot.vid == vid:
                pools |= slot.pools
        return pools

    def find(self, vid: int) -> int | None:
        """The slot that holds ``vid``, or that it would get, or None when all are taken.

        Slot 0 belongs to VLAN 0; the others are searched from the last one down. This is the policy of the Linux PF
        drivers, not of the hardware: igb/e1000_mac.c ``igb_find_vlvf_slot``, ixgbe/ixgbe_common.c
        ``ixgbe_find_vlvf_slot``. It is why of 32 slots 31 are to be had.
        """
        if vid == 0:
            return 0
        downwards = range(len(self._slots) - 1, 0, -1)
        free = None
        for index in downwards:
            if self._slots[index].vid == vid:
                return index
            if free is None and self._slots[index].vid == 0:
                free = index
        return free

    def join(self, vid: int, pool: int) -> bool:
        """Make pool number ``pool`` a member. False, and nothing changed, when no slot is left."""
        index = self.find(vid)
        if index is None:
            return False
        self[index] = VlanSlot(vid, self._slots[index].pools | 1 << pool, True)
        return True

    def leave(self, vid: int, pool: int) -> None:
        """End a membership, if there is one; a slot without members is free again."""
        self._leave(pool, [index for index, slot in enumerate(self._slots) if slot.vid == vid])

    def leave_all(self, pool: int) -> None:
        """End all memberships of one pool, as at its reset."""
        self._leave(pool, range(len(self._slots)))

    def _leave(self, pool: int, indexes: Iterable[int]) -> None:
        for index in indexes:
            slot = self._slots[index]
            if slot.pools >> pool & 1:
                pools = slot.pools & ~(1 << pool)
                self[index] = slot._replace(pools=pools) if pools else VlanSlot()

    def vids(self, pool: int) -> frozenset[int]:
        """The VLANs that pool number ``pool`` is a member of."""
        return frozenset(slot.vid for slot in self._slots if slot.enabled and slot.pools >> pool & 1)

    def clear(self) -> None:
        self._slots = [VlanSlot()] * len(self._slots)
        self._changed()
