"""The registers of AVP with their types: ``Avp(device, transport)``.

What an attribute is and can do is told by the stub beside this file, which ``python -m drivers.stubs avp`` writes from the
description; what it does, by ``Registers``.
"""

from __future__ import annotations

from drivers.registers.client import Registers


class Avp(Registers):
    """All registers of ``avp``, and its tables as windows."""
