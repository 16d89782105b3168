"""What a judge must know of AVP beyond its registers; data only.

Registers do little by themselves: packets and requests stand in memory, which a register test does not touch.
"""

from __future__ import annotations

from regmodel.bars.avp import pmd
from regmodel.conduct import Conduct, Touched
from regmodel.function import ResetCause

CONDUCT = Conduct(
    touched=(
        Touched("memory", "the host empties the request channel, which stands where the device information says",
            tuple(ResetCause), sources=(pmd("avp_dev_create"),)),
    ),
    quiet=(
        "interrupt_status", "migration_status",  # the host starts a migration, or there is none
        "memmap", "device_info",                 # arranged anew by a migration only
    ),
)  # fmt: skip
