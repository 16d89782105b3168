"""What can go wrong with an image. Each message is one line which says what to do about it."""

from __future__ import annotations

from regmodel.errors import RegmodelError


class FirmwareError(RegmodelError):
    """An image could not be used, or did not do what it was made for."""


class BuildError(FirmwareError):
    """An image could not be built: gcc or ld is missing, or refuses the sources."""
