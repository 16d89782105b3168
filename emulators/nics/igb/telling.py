"""What is told of the descriptors of a VF while somebody traces (``Host.on_descriptor``).

In here: names of rings and formats. When something is told, the queues know.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from emulators.nics.igb.words import mask, place
from regmodel.function import OnDescriptor
from regmodel.rings.igb import TX_DATA

_PAIR = Struct("<QQ").pack
_DEXT, _DTYP = mask(TX_DATA, "cmd_type_len", "dext"), place(TX_DATA, "cmd_type_len", "dtyp")
_CONTEXT = 2


def transmit(
    tell: OnDescriptor, op: str, queue: int, first: int, addresses: Sequence[int], commands: Sequence[int]
) -> None:
    """Both words of descriptors from place ``first`` on."""
    for at, (address, command) in enumerate(zip(addresses, commands, strict=True), first):
        if not command & _DEXT:
            form = "tx_legacy"
        elif op == "write-back":
            form = "tx_writeback"
        else:
            form = "tx_context" if _DTYP.of(command) == _CONTEXT else "tx_data"
        tell(op, f"tx[{queue}]", at, form, _PAIR(address, command))


def receive(
    tell: OnDescriptor, op: str, queue: int, first: int, low: Sequence[int], high: Sequence[int], *, legacy: bool
) -> None:
    """The same of a receive queue, whose format is what SRRCTL.DESCTYPE says."""
    form = "rx_legacy" if legacy else {"fetch": "rx_read", "write-back": "rx_writeback"}[op]
    for at, words in enumerate(zip(low, high, strict=True), first):
        tell(op, f"rx[{queue}]", at, form, _PAIR(*words))
