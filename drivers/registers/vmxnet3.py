"""The registers of VMXNET3 with their types: ``Vmxnet3(device, transport)``.

What an attribute is and can do is told by the stub beside this file, which ``python -m drivers.stubs vmxnet3`` writes from the
description; what it does, by ``Registers``. The doorbells of the large BAR are in ``Vmxnet3Large``.
"""

from __future__ import annotations

from drivers.registers.client import Registers


class Vmxnet3(Registers):
    """All registers of ``vmxnet3``; ``vmxnet3-large`` has the same, more of them, and a second set of doorbells."""
