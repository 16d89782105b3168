"""The registers of inter-VM shared memory with their types: ``IvshmemPlain(device, transport)``.

What an attribute is and can do is told by the stub beside this file, which ``python -m drivers.stubs ivshmem-plain`` writes
from the description; what it does, by ``Registers``.
"""

from __future__ import annotations

from drivers.registers.client import Registers


class IvshmemPlain(Registers):
    """All registers of ``ivshmem-plain``; ``ivshmem-doorbell`` and ``ivshmem`` have the same."""
