"""The AVP card: up to eight ports on one switch, and what a user may choose of them.

In here: the options. The port itself is in ``device``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from emulators.nics.avp.device import Avp
from emulators.standalone import standalone
from regmodel.catalogue import Device
from regmodel.errors import UsageError
from regmodel.structures.avp import HOST_VERSION, MAX_PACKET, MAX_QUEUES, MAX_SEGMENTS

MOST_PATIENCE = 40
"""Seconds: with those until its queues rest, less than a new process waits to take over (``emulators.handover``)."""


@dataclass(frozen=True)
class Properties:
    """What the host's administrator chose.

    ``version`` is that of the host: release, major, minor. ``tx_queues`` and ``rx_queues`` are the most that a driver may use,
    ``min_rx_queues`` how many it must receive from. ``queue_size`` are the slots of a queue, ``mbuf_size`` and
    ``max_rx_pkt_len`` are in octets; no packet that is longer is delivered. ``vlan`` offers to take tags out and put them in.
    With ``flood`` the port gets what is for anybody, and the driver filters (it has no other way to be promiscuous).
    ``patience`` is how many seconds a driver has to acknowledge that it lets go; in three, five requests may time out.
    """

    version: tuple[int, int, int] = HOST_VERSION
    tx_queues: int = MAX_QUEUES
    rx_queues: int = MAX_QUEUES
    min_rx_queues: int = 1
    queue_size: int = 512
    mbuf_size: int = 2048
    max_rx_pkt_len: int = MAX_PACKET
    vlan: bool = True
    flood: bool = True
    patience: int = 3

    @classmethod
    def parse(cls, device: Device, options: Mapping[str, str]) -> Properties:
        """From words of the user. Raises ``UsageError`` for names and values that there are not."""
        readers: dict[str, Callable[[str, str], Any]] = {
            "version": _version,
            "tx_queues": partial(_number, least=1, most=MAX_QUEUES),
            "rx_queues": partial(_number, least=1, most=MAX_QUEUES),
            "min_rx_queues": partial(_number, least=1, most=MAX_QUEUES),
            "queue_size": _queue_size,
            "mbuf_size": partial(_number, least=256, most=16384),
            "max_rx_pkt_len": partial(_number, least=64, most=MAX_PACKET),
            "vlan": _switch,
            "flood": _switch,
            "patience": partial(_number, least=1, most=MOST_PATIENCE),
        }
        unknown = sorted(options.keys() - readers.keys())
        if unknown:
            raise UsageError(f"{device.name} has no option {unknown[0]!r}; it has {', '.join(readers)}, mac and seed")
        chosen = cls(**{name: readers[name](name, text) for name, text in options.items()})
        if chosen.min_rx_queues > chosen.rx_queues:
            raise UsageError(f"min_rx_queues={chosen.min_rx_queues}: there are {chosen.rx_queues} receive queues")
        if chosen.max_rx_pkt_len > MAX_SEGMENTS * chosen.mbuf_size:
            text = f"a packet of {chosen.max_rx_pkt_len} octets does not fit into {MAX_SEGMENTS} buffers of {chosen.mbuf_size}"
            raise UsageError(f"{text}: choose a larger mbuf_size or a smaller max_rx_pkt_len")
        return chosen


def _number(name: str, text: str, *, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise UsageError(f"{name}={text}: write a number from {least} to {most}")
    return int(text)


def _queue_size(name: str, text: str) -> int:
    size = _number(name, text, least=16, most=1024)
    if size & size - 1:
        raise UsageError(f"{name}={text}: write a power of two from 16 to 1024")
    return size


def _version(name: str, text: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"(\d{1,5})\.(\d{1,3})\.(\d{1,3})", text)
    release, major, minor = (int(part) for part in found.groups()) if found else (1 << 16, 0, 0)
    if release > 0xFFFF or major > 0xFF or minor > 0xFF:
        raise UsageError(f"{name}={text}: write release.major.minor, as 1.0.1")
    return release, major, minor


def _switch(name: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise UsageError(f"{name}={text}: write on or off")
    return text == "on"


AvpCard = standalone(Avp, Properties.parse)
