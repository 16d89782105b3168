"""What a message is refused with. The messages themselves are described in ``regmodel.structures.vfio_user``."""

from __future__ import annotations

from regmodel.errors import RegmodelError


class Refused(RegmodelError):
    """A message that gets an error reply. ``errno`` is what it carries; after a ``fatal`` one the connection is closed."""

    def __init__(self, errno: int, text: str, *, fatal: bool = False) -> None:
        super().__init__(text)
        self.errno, self.fatal = errno, fatal
