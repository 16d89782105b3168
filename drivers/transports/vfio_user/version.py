"""VERSION: the first message, and what is agreed by it (section "VFIO_USER_VERSION")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.errors import NotSupported, UnsupportedReply
from regmodel.structures import vfio_user as wire

MAJOR, MINOR = 0, 0
OURS: Mapping[str, object] = {
    "max_msg_fds": wire.MAX_MSG_FDS,
    "max_data_xfer_size": wire.MAX_DATA_XFER_SIZE,
    "max_dma_maps": wire.MAX_DMA_MAPS,
    "pgsizes": wire.PAGE_SIZE,
}


@dataclass(frozen=True)
class Session:
    """What the *server* takes. Bytes, counts; the defaults are what the protocol assumes of a peer that does not say."""

    max_msg_fds: int = 1
    max_data_xfer_size: int = wire.MAX_DATA_XFER_SIZE
    max_dma_maps: int = wire.MAX_DMA_MAPS
    page: int = wire.PAGE_SIZE
    """Alignment of DMA maps."""


def proposal() -> bytes:
    """The body of our request."""
    return wire.VERSION.pack(MAJOR, MINOR) + json.dumps({"capabilities": OURS}).encode() + b"\0"


def agree(body: bytes, name: str) -> Session:
    """What follows from the body of the reply. ``name`` is for messages.

    Raises ``NotSupported`` for a version that we do not speak, ``UnsupportedReply`` for what is no reply to VERSION.
    """
    if len(body) < wire.VERSION.size:
        raise _damaged(name, f"{len(body)} bytes")
    major, minor = wire.VERSION.unpack_from(body)
    if (major, minor) > (MAJOR, MINOR):
        raise NotSupported(f"{name}: the server speaks version {major}.{minor}, we {MAJOR}.{MINOR} only: use another server")
    said = _capabilities(body[wire.VERSION.size :], name)
    pages = _number(said, "pgsizes", wire.PAGE_SIZE, 1, (1 << 64) - 1, name)
    return Session(
        _number(said, "max_msg_fds", 1, 0, 1 << 16, name),
        _number(said, "max_data_xfer_size", wire.MAX_DATA_XFER_SIZE, 8, 1 << 40, name),
        _number(said, "max_dma_maps", wire.MAX_DMA_MAPS, 1, 1 << 32, name),
        max(pages & -pages, wire.PAGE_SIZE),
    )


def _capabilities(text: bytes, name: str) -> Mapping[str, object]:
    if not text:
        return {}
    try:
        data = json.loads(text.rstrip(b"\0"))
    except (ValueError, RecursionError) as error:
        raise _damaged(name, f"JSON that cannot be read ({error})") from error
    said = data.get("capabilities", {}) if isinstance(data, dict) else None
    if not isinstance(said, dict):
        raise _damaged(name, "JSON without an object of capabilities")
    return said


def _number(said: Mapping[str, object], key: str, default: int, low: int, high: int, name: str) -> int:
    value = said.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise _damaged(name, f"{key} {value!r}, which is not between {low} and {high}")
    return value


def _damaged(name: str, what: str) -> UnsupportedReply:
    return UnsupportedReply(f"{name}: the server answers VERSION with {what}: it is no vfio-user server of version 0.0")
