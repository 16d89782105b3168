"""A hostile server: whatever it sends, the client says one line of its own errors, in time, and keeps nothing open."""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress

from hypothesis import example, given, settings
from hypothesis import strategies as st

from drivers.errors import DriverError, UnsupportedReply
from drivers.transports.vfio_user import info, version
from drivers.transports.vfio_user.channel import Channel
from drivers.transports.vfio_user.connecting import limit_waiting
from drivers.transports.vfio_user.memory import Memory
from drivers.transports.vfio_user.version import Session
from regmodel.errors import RegmodelError
from regmodel.structures.vfio_user import Command
from tests.support.thorough import THOROUGH

from .conftest import open_fds
from .scripted import HEADER

TIMEOUT = 0.001
WORDS = st.sampled_from([0, 1, 2, 4, 8, 16, 31, 32, 33, 48, 4096, 1 << 20, 1 << 31]) | st.integers(0, (1 << 32) - 1)
BODIES = st.binary(max_size=80) | st.builds(
    lambda words, tail: struct.pack(f"<{len(words)}I", *words) + tail, st.lists(WORDS, max_size=16), st.binary(max_size=3)
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Nearly right more often than not: the id and the command that are waited for, and a size that is true."""
    body = draw(BODIES)
    ident = draw(st.sampled_from([1, 1, 1, 2, 3, 0, 0xFFFF]))
    command = draw(st.sampled_from([*map(int, Command), 0, 99, 0xFFFF]))
    size = draw(st.sampled_from([16 + len(body)] * 6 + [0, 15, 17 + len(body), 1 << 21]))
    flags = draw(st.sampled_from([1, 1, 1, 0, 0, 0x10, 0x21, 0x11, 2, 0xFFFFFFFF]))
    return HEADER.pack(ident, command, size, flags, draw(WORDS)) + body


@settings(max_examples=300 * THOROUGH)
@given(
    stream=st.lists(messages() | st.binary(max_size=40), max_size=6).map(b"".join),
    closes=st.booleans(),
    what=st.sampled_from(["read", "region", "irq", "device", "serve", "write", "version"]),
    fds=st.integers(0, 3),
)
@example(stream=HEADER.pack(1, 9, 36, 1, 0) + struct.pack("<QIII", 0, 0, 4, 7), closes=False, what="read", fds=0)
def test_whatever_it_sends(stream: bytes, closes: bool, what: str, fds: int) -> None:
    before = open_fds()
    ours, theirs = socket.socketpair()
    if stream:
        if fds:
            socket.send_fds(theirs, [stream], [0] * fds)
        else:
            theirs.sendall(stream)
    if closes:
        theirs.shutdown(socket.SHUT_WR)
    limit_waiting(ours, TIMEOUT)
    channel = Channel(ours, "vfio-user:test", TIMEOUT)
    Memory(channel, Session(), share=True)
    for _ in range(2):
        try:
            attempt(channel, what)
        except RegmodelError as error:
            assert isinstance(error, DriverError) and "\n" not in str(error)
    channel.close()
    theirs.close()
    assert open_fds() == before


def attempt(channel: Channel, what: str) -> None:
    match what:
        case "read":
            value = channel.read(0, 0, 4)
            assert 0 <= value < 1 << 32
        case "write":
            channel.write(0, 0, 4, 5)
        case "serve":
            channel.serve()
        case "device":
            info.device_info(channel)
        case "irq":
            info.irq_count(channel, info.DeviceInfo(True, 9, 5), info.Irq.MSIX)
        case "version":
            version.agree(channel.call(Command.VERSION, version.proposal(), "VERSION"), "x")
        case "region":
            found, fd = info.region_info(channel, 0)
            assert all(at + size <= found.size for at, size in found.areas)
            if fd >= 0:
                os.close(fd)


KEYS = st.sampled_from(["capabilities", "max_msg_fds", "pgsizes"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
    max_leaves=8,
)


@given(text=JSON.map(lambda data: json.dumps(data).encode()) | st.binary(max_size=30), nul=st.booleans())
def test_whatever_its_version_says(text: bytes, nul: bool) -> None:
    with suppress(UnsupportedReply):
        session = version.agree(bytes(4) + text + b"\0" * nul, "x")
        assert session.page & (session.page - 1) == 0 and session.max_msg_fds >= 0
