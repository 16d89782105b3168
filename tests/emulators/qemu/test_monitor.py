"""A conversation with QEMU's monitor that ends before its time."""

from __future__ import annotations

import contextlib
import json
import socket
from threading import Event, Thread
from typing import Any

import pytest

from emulators.qemu.errors import GuestDied, GuestTimeout
from emulators.qemu.monitor import Monitor

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 11}, "package": ""}, "capabilities": []}}


def qemu(sock: socket.socket, over: Event, *events: str) -> None:
    """Greets, agrees, says that those events came, and ends when it is ``over``."""
    with sock:

        def say(message: dict[str, Any]) -> None:
            sock.sendall(json.dumps(message).encode() + b"\r\n")

        say(GREETING)
        assert json.loads(sock.recv(4096))["execute"] == "qmp_capabilities"
        say({"return": {}})
        for event in events:
            say({"event": event, "data": {}, "timestamp": {"seconds": 1, "microseconds": 0}})
        over.wait()


def test_an_event_is_waited_for_as_long_as_it_can_come() -> None:
    (here, there), over = socket.socketpair(), Event()
    thread = Thread(target=qemu, args=(there, over, "RESUME", "DEVICE_DELETED"), daemon=True)
    thread.start()
    with contextlib.closing(Monitor(here)) as monitor:
        assert monitor.event("DEVICE_DELETED", 60)["event"] == "DEVICE_DELETED"
        with pytest.raises(GuestTimeout, match="QMP event STOP: QEMU did not answer in 0 s"):
            monitor.event("STOP", 0.2)
        over.set()
        with pytest.raises(GuestDied, match="QMP event STOP: QEMU is gone"):
            monitor.event("STOP", 60)
    thread.join()
