"""The 82576 VF with two faults in its description: what the comparison has to notice.

Served by path, as a device from outside of the tree. A register has a wrong reset value; a bit that a read should clear stays.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from regmodel.access import OnRead
from regmodel.devices.igbvf import IGBVF
from regmodel.function import ResetCause

_bar = copy.deepcopy(IGBVF.bars[0])
_bar.entries["txctl"].resets = {ResetCause.POWER_ON: 0x0A00}
_mailbox = _bar.entries["v2pmailbox"]
_mailbox.fields = tuple(
    replace(field, access=replace(field.access, onread=OnRead.NOTHING)) if field.name == "pfack" else field
    for field in _mailbox.fields
)

FAULTY = replace(IGBVF, bars={**IGBVF.bars, 0: _bar})
