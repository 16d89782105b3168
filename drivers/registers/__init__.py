"""The register client: a device's registers as Python attributes, generated from its description.

``Registers(device, transport)`` is all that a driver needs: ``dev.rdt[0].write(5)``, ``dev.status.lu``,
``with dev.rxdctl[0].modify() as r: r.enable = 1``, ``dev.v2pmailbox.wait(pfsts=1, timeout=0.5)``. An access is one bus access
of the declared width. The typed faces of single devices, for editors and mypy, stand beside it (``igbvf``); they are written
by ``python -m drivers.stubs``.
"""

from drivers.registers.client import Face, NoSuchRegister, Registers
from drivers.registers.memory import Memory, Pair, Place, WritableMemory, WritablePlace
from drivers.registers.shape import Value
from drivers.registers.words import Array, Draft, NoSuchField, NoSuchInstance, Word

__all__ = [
    "Array",
    "Draft",
    "Face",
    "Memory",
    "NoSuchField",
    "NoSuchInstance",
    "NoSuchRegister",
    "Pair",
    "Place",
    "Registers",
    "Value",
    "Word",
    "WritableMemory",
    "WritablePlace",
]
