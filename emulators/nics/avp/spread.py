"""Which of several receive queues a frame goes to: what of it stays the same for all packets of a flow.

In here: a choice. Nobody tells a host how to spread packets, but a flow must stay in order, and so in one queue.
"""

from __future__ import annotations

from emulators.fabric.frames import TAG, VLAN_TYPE
from regmodel.function import Buffer

IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
WITH_PORTS = (6, 17)
"""TCP and UDP."""


def spread(frame: Buffer) -> Buffer:
    """Addresses of IP, and ports where the frame is no fragment; else those of Ethernet."""
    at = 12 + TAG * (frame[12:14] == VLAN_TYPE)
    kind = frame[at : at + 2]
    if kind == IPV4 and len(frame) >= at + 26:
        ports = frame[at + 11] in WITH_PORTS and frame[at + 2] == 0x45 and not (frame[at + 8] & 0x3F or frame[at + 9])
        return frame[at + 14 : at + (26 if ports else 22)]
    if kind == IPV6 and len(frame) >= at + 46:
        return frame[at + 10 : at + (46 if frame[at + 8] in WITH_PORTS else 42)]
    return frame[:12]
