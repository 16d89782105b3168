"""The registers of a modern virtio-net device with their types: ``VirtioNet(device, transport)``.

What an attribute is and can do is told by the stub beside this file, which ``python -m drivers.stubs virtio-net`` writes from
the description; what it does, by ``Registers``.
"""

from __future__ import annotations

from drivers.registers.client import Registers


class VirtioNet(Registers):
    """All registers of ``virtio-net``; ``virtio-net-transitional`` has them beside those of ``virtio-net-legacy``."""
