"""QMP, QEMU's control protocol, for code that does not run in an event loop. The protocol itself is ``qemu.qmp``.

May not enter: what is asked. Each call lends its own thread to a private asyncio loop, so a monitor that nobody uses costs
nothing, and no second thread runs beside a device's data path.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from typing import Any

from emulators.qemu.errors import GuestDied, GuestError, GuestTimeout


class Monitor:
    """A QMP session over a connected socket. Times are in seconds."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Any = None

    def execute(self, command: str, arguments: Mapping[str, object] | None = None, timeout: float = 30.0) -> Any:
        """The ``return`` value of a QMP command. GuestError says what QEMU refused."""
        from qemu.qmp import ExecuteError

        client = self._connected(timeout)
        try:
            return self._wait(client.execute(command, dict(arguments or {})), timeout, f"QMP {command}")
        except ExecuteError as error:
            raise GuestError(f"QEMU refuses {command}: {error}") from error

    def event(self, name: str, timeout: float = 30.0) -> dict[str, Any]:
        """The next event of that name, the ones already received included; others which came before it are dropped.

        Raises GuestDied if QEMU ends without it.
        """
        from qemu.qmp import Runstate

        client = self._connected(timeout)

        async def awaited() -> dict[str, Any]:
            over = asyncio.ensure_future(client.runstate_changed())
            await asyncio.sleep(0)  # it waits now, for changes from here on; of one before, the state tells
            try:
                while client.runstate is Runstate.RUNNING or not client.events.empty():
                    next_one = asyncio.ensure_future(client.events.get())
                    try:
                        await asyncio.wait((over, next_one), return_when=asyncio.FIRST_COMPLETED)
                        if next_one.done() and next_one.result()["event"] == name:
                            return dict(next_one.result())
                    finally:
                        next_one.cancel()
                raise EOFError(f"{name} will not come")
            finally:
                over.cancel()

        return dict(self._wait(awaited(), timeout, f"QMP event {name}"))

    def close(self) -> None:
        """End the session. Safe to call more than once."""
        if self._loop is None:
            self._socket.close()
            return
        from qemu.qmp import QMPError

        with contextlib.suppress(QMPError, OSError, EOFError, TimeoutError):  # QEMU is gone already, as at most ends
            self._loop.run_until_complete(asyncio.wait_for(self._client.disconnect(), 5))
        self._loop.close()
        self._loop = None

    def _connected(self, timeout: float) -> Any:
        if self._loop is None:
            import logging

            from qemu.qmp import QMPClient

            logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)  # its errors arrive as exceptions
            self._loop = asyncio.new_event_loop()
            self._client = QMPClient("lab")
            self._wait(self._client.connect(self._socket), timeout, "QMP greeting")
        return self._client

    def _wait(self, coroutine: Any, timeout: float, what: str) -> Any:
        from qemu.qmp import ConnectError, ExecInterruptedError, StateError

        assert self._loop is not None
        try:
            return self._loop.run_until_complete(asyncio.wait_for(coroutine, timeout))
        except TimeoutError as error:
            raise GuestTimeout(f"{what}: QEMU did not answer in {timeout:.0f} s") from error
        except (ConnectError, ExecInterruptedError, StateError, EOFError, OSError) as error:
            raise GuestDied(f"{what}: QEMU is gone") from error
