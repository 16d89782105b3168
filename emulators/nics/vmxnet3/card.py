"""The VMXNET3 card: up to eight NICs on one switch, and what a user may choose of them.

In here: the options. The NIC itself is in ``device``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from emulators.nics.vmxnet3.device import Vmxnet3
from emulators.standalone import standalone
from regmodel.bars.vmxnet3 import REVISIONS
from regmodel.catalogue import Device
from regmodel.errors import UsageError
from regmodel.rings.vmxnet3 import DATA_STEP, RX_DATA_MOST, TX_DATA_LEAST, TX_DATA_MOST
from regmodel.structures.vmxnet3 import MTU_LEAST, MTU_MOST_V6


@dataclass(frozen=True)
class Properties:
    """What the host's administrator chose.

    ``revision`` is the highest on offer. ``tx_queues`` and ``rx_queues`` are the most that a driver may use, ``mtu`` the
    longest in bytes, ``speed`` is in Mbit/s, ``tx_data`` and
    ``rx_data`` are the bytes of an entry of the data rings (revision 3, and 9 for the receive one).
    ``lro`` and ``tso`` may be forbidden, which drivers of revision 9 respect; large packets are not delivered without ``lro``.
    """

    tx_queues: int
    rx_queues: int
    revision: int = REVISIONS
    mtu: int = MTU_MOST_V6
    speed: int = 10_000
    tx_data: int = TX_DATA_LEAST
    rx_data: int = 128
    lro: bool = True
    tso: bool = True

    @classmethod
    def parse(cls, device: Device, options: Mapping[str, str]) -> Properties:
        """From words of the user. Raises ``UsageError`` for names and values that there are not."""
        tx, rx = int(device.variant["tx_queues"]), int(device.variant["rx_queues"])
        readers: dict[str, Callable[[str, str], Any]] = {
            "revision": partial(_number, least=1, most=REVISIONS),
            "tx_queues": partial(_number, least=1, most=tx),
            "rx_queues": partial(_number, least=1, most=rx),
            "mtu": partial(_number, least=MTU_LEAST, most=MTU_MOST_V6),
            "speed": partial(_number, least=10, most=400_000),
            "tx_data": partial(_number, least=TX_DATA_LEAST, most=TX_DATA_MOST, step=DATA_STEP),
            "rx_data": partial(_number, least=0, most=RX_DATA_MOST, step=DATA_STEP),
            "lro": _switch,
            "tso": _switch,
        }
        unknown = sorted(options.keys() - readers.keys())
        if unknown:
            raise UsageError(f"{device.name} has no option {unknown[0]!r}; it has {', '.join(readers)}, mac and seed")
        chosen = {name: readers[name](name, text) for name, text in options.items()}
        return cls(**{"tx_queues": tx, "rx_queues": rx, **chosen})


def _number(name: str, text: str, *, least: int, most: int, step: int = 1) -> int:
    if not text.isdecimal() or not least <= int(text) <= most or int(text) % step:
        steps = f" in steps of {step}" if step > 1 else ""
        raise UsageError(f"{name}={text}: write a number from {least} to {most}{steps}")
    return int(text)


def _switch(name: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise UsageError(f"{name}={text}: write on or off")
    return text == "on"


Vmxnet3Card = standalone(Vmxnet3, Properties.parse)
