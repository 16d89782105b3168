"""The port I/O of a legacy virtio-net device with its types: ``VirtioNetLegacy(device, transport)``.

What an attribute is and can do is told by the stub beside this file, which ``python -m drivers.stubs virtio-net-legacy``
writes from the description; what it does, by ``Registers``.
"""

from __future__ import annotations

from drivers.registers.client import Registers


class VirtioNetLegacy(Registers):
    """All registers of ``virtio-net-legacy``; ``virtio-net-transitional`` has them beside those of ``virtio-net``."""
