"""The registers of an Intel 82576 VF with their types: ``Igbvf(device, transport)``.

What an attribute is and can do is told by the stub beside this file, which ``python -m drivers.stubs igbvf`` writes from the
description; what it does, by ``Registers``.
"""

from __future__ import annotations

from drivers.registers.client import Registers


class Igbvf(Registers):
    """All registers of ``igbvf``; ``igbvf-i350`` has the same but for its number of queues."""
