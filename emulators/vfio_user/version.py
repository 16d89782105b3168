"""VERSION: the first message of a client, and what we answer (section "VFIO_USER_VERSION").

QEMU receives the reply into the buffer of its request, so the reply is never longer than that; it takes minor 0 only, and
complains about capabilities which it does not know, so we repeat only those that the client proposed.
"""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass

from emulators.vfio_user.refused import Refused
from regmodel.structures import vfio_user as wire

MAX_REQUEST = 4096
"""Bytes of JSON that are looked at."""

OURS: dict[str, object] = {  # the most useful first: what does not fit into the reply is left out from the end
    "write_multiple": True,
    "max_msg_fds": wire.MAX_MSG_FDS,
    "max_data_xfer_size": wire.MAX_DATA_XFER_SIZE,
    "max_dma_maps": wire.MAX_DMA_MAPS,
    "pgsizes": wire.PAGE_SIZE,
}


@dataclass(frozen=True)
class Session:
    """What was agreed: how much the *client* takes, and whether it may send REGION_WRITE_MULTI."""

    max_msg_fds: int = 1
    max_data_xfer_size: int = wire.MAX_DATA_XFER_SIZE
    write_multiple: bool = False


def negotiate(body: memoryview) -> tuple[Session, bytes]:
    """The session, and the body of the reply. Raises a fatal ``Refused``: without a version there is no session."""
    if len(body) < wire.VERSION.size or len(body) > MAX_REQUEST:
        raise _refused(f"VERSION with {len(body)} bytes")
    major, _ = wire.VERSION.unpack_from(body)
    if major != 0:
        raise _refused(f"the client speaks version {major}, this server speaks 0.0")
    text = bytes(body[wire.VERSION.size :])
    proposed = _capabilities(text) if text else {}
    session = Session(
        _number(proposed, "max_msg_fds", 1, 0, 1 << 16),
        _number(proposed, "max_data_xfer_size", wire.MAX_DATA_XFER_SIZE, 1, 1 << 32),
        proposed.get("write_multiple") is True,
    )
    reply = wire.VERSION.pack(0, 0)
    if text:
        reply += _fitting({key: value for key, value in OURS.items() if key in proposed}, len(text))
    return session, reply


def _capabilities(text: bytes) -> dict[str, object]:
    if text[-1:] != b"\0":
        raise _refused("VERSION without a NUL at the end of its JSON")
    try:
        data = json.loads(text[:-1])
    except (ValueError, RecursionError) as error:
        raise _refused(f"VERSION with JSON that cannot be read: {error}") from error
    capabilities = data.get("capabilities", {}) if isinstance(data, dict) else None
    if not isinstance(capabilities, dict):
        raise _refused("VERSION with JSON that has no object of capabilities")
    if not isinstance(capabilities.get("migration", {}), dict):
        raise _refused("VERSION with a migration capability that is no object")
    return capabilities


def _number(capabilities: dict[str, object], name: str, default: int, low: int, high: int) -> int:
    value = capabilities.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise _refused(f"VERSION with {name} {value!r}, which is not between {low} and {high}")
    return value


def _fitting(capabilities: dict[str, object], room: int) -> bytes:
    """The JSON and its NUL, in at most ``room`` bytes; nothing at all if even an empty object does not fit."""
    names = list(capabilities)
    while True:
        data = {"capabilities": {name: capabilities[name] for name in names}} if names else {}
        text = json.dumps(data, separators=(",", ":")).encode() + b"\0"
        if len(text) <= room:
            return text
        if not names:
            return b""
        names.pop()


def _refused(text: str) -> Refused:
    return Refused(errno.EINVAL, text, fatal=True)
