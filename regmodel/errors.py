"""What can go wrong, by kind. Each message is one line which says what to do about it.

The command line prints any ``RegmodelError`` as that one line and exits with its ``status``.
"""

from __future__ import annotations


class RegmodelError(Exception):
    """The root of all errors that a user may see."""

    status = 1


class DescriptionError(RegmodelError):
    """A description contradicts itself. ``path`` names the register or field, ``where`` is ``file:line`` of its declaration."""

    def __init__(self, code: str, path: str, where: str, text: str) -> None:
        super().__init__(f"{where}: {path}: {text} [{code}]")
        self.code, self.path, self.where = code, path, where


class UsageError(RegmodelError):
    """A bad value on the command line or in a call of the public API."""

    status = 2


class DmaFault(RegmodelError):
    """A DMA access that the platform refuses: outside of every map, without permission, or with bus mastering off.

    ``iova`` and ``size`` are in bytes.
    """

    def __init__(self, iova: int, size: int, why: str) -> None:
        super().__init__(f"DMA of {size} bytes at {iova:#x}: {why}")
        self.iova, self.size, self.why = iova, size, why


class StateError(RegmodelError):
    """A saved state does not belong to this device, or to this version of it."""
