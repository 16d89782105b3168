"""Our own server in a thread beside the test, so that a test can look at the device which the client drives.

The device is touched by the server's thread only while the client waits for an answer: a test that looks at it makes one
access first (``settled``), behind which everything posted has arrived.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers.transports.vfio_user import VfioUser
from emulators.alone import Alone, open_functions
from emulators.vfio_user.server import Server
from regmodel.catalogue import Device
from regmodel.function import Function, Region


class Served:
    """One function of ``device`` at the socket ``path``: ``with Served(...) as served``.

    ``mappable``: it offers what its description lets it offer; ``options`` are the server's.
    """

    def __init__(self, device: Device, path: Path, *, mappable: bool = True, **options: Any) -> None:
        self._device, self.path, self._mappable, self._options = device, path, mappable, options
        self.alone: Alone
        self.server: Server
        self._ready, self._told = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def function(self) -> Any:
        return self.alone.function

    def open(self, **options: Any) -> VfioUser:
        return VfioUser(str(self.path), **options)

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._ready.wait(10), "the server does not start"
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self.alone.loop.stop()
        self._told.set()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server's loop does not stop"
        if self._failure is not None:
            raise self._failure

    def _serve(self) -> None:
        """All of it in one thread: a burst that is suspended can only be ended by the thread that began it."""
        try:
            self.alone = open_functions(self._device)
            function: Function = self.alone.function if self._mappable else Unmappable(self.alone.function)
            self.server = Server(self.alone.loop, function, self.path, **self._options)
            self._ready.set()
            self.alone.loop.run()
            self._told.wait(10)  # whoever stops the loop still writes to it after it has seen that
            self.server.close()
            self.alone.close()
        except BaseException as failure:
            self._failure = failure
            self._ready.set()


class Unmappable:
    """A function that offers nothing to be mapped, so that its writes are posted; all else is ``function``'s."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def regions(self) -> list[Region]:
        return [replace(region, mappable=()) for region in self._function.regions()]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


def settled(transport: VfioUser) -> None:
    """All writes that were posted have arrived: a read comes after them."""
    transport.config_read(0, 2)
