"""What is said when there is no server, none that answers, or none that we understand: one line, with the remedy."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import (
    DeviceGone,
    DeviceTimeout,
    NoSuchFunction,
    NotSupported,
    NotViable,
    PermissionDenied,
    UnsupportedReply,
)
from drivers.transports.opening import open_transport
from drivers.transports.vfio_user import VfioUser, connecting
from drivers.transports.vfio_user import open as open_vfio_user
from drivers.transports.vfio_user.version import proposal
from emulators.process import ServerProcess
from regmodel.devices.igbvf import IGBVF, IGBVF_I350
from regmodel.errors import UsageError

from .scripted import GET_INFO, GET_REGION_INFO, VERSION, Handler, Peer, Request, Scripted

pytestmark = pytest.mark.usefixtures("no_leak")


def fails(path: Path | str, kind: type[Exception], says: str, **options: Any) -> None:
    with pytest.raises(kind, match=says) as caught:
        VfioUser(str(path), **options)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"vfio-user:{path}: ")


def test_no_such_socket(tmp_path: Path) -> None:
    fails(tmp_path / "none", NoSuchFunction, "there is no such socket: start the server .regmodel serve DEVICE --socket ")


def test_nobody_listens_any_more(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "s"))
    fails(tmp_path / "s", NoSuchFunction, "nobody listens there any more: start the server")


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    fails(tmp_path / "f", NoSuchFunction, "this is no socket: give the path that")


def test_a_socket_of_another_kind(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(tmp_path / "s"))
        fails(tmp_path / "s", NoSuchFunction, "this socket is of another kind: give the path that")


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    fails(tmp_path / ("x" * 108), UsageError, "at most 107 bytes")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses nothing to root, so the refusal is made up for it; anybody else gets the kernel's own."""
    with Scripted(tmp_path / "s") as server:
        server.path.chmod(0)
        if os.geteuid() == 0:

            class Refused(socket.socket):
                def connect(self, address: Any) -> None:
                    raise PermissionError(errno.EACCES, "Permission denied")

            monkeypatch.setattr(connecting.socket, "socket", Refused)
        fails(server.path, PermissionDenied, "no permission to connect: become the user who serves it")


@pytest.mark.parametrize("timeout", [0, -1, 1e9, float("nan")])
def test_a_deadline_that_is_none(tmp_path: Path, timeout: float) -> None:
    with Scripted(tmp_path / "s") as server, pytest.raises(UsageError, match="between"):
        VfioUser(str(server.path), timeout=timeout)


def test_a_server_that_accepts_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(tmp_path / "s"))
            fails(tmp_path / "s", DeviceTimeout, "no connection within 0.05 s", timeout=0.05)


def test_another_client_is_attached(tmp_path: Path) -> None:
    with Scripted(tmp_path / "s") as server, VfioUser(str(server.path)):
        fails(server.path, NotViable, "another client is attached.*: end that client", timeout=0.05)


@pytest.mark.parametrize("bound", ["relative", "absolute"])
def test_another_client_is_attached_by_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Server and client need not write the path alike."""
    monkeypatch.chdir(tmp_path)
    ours, theirs = (tmp_path / "s", Path("s")) if bound == "relative" else (Path("s"), tmp_path / "s")
    with Scripted(theirs) as server, VfioUser(str(server.path)):
        fails(ours, NotViable, "another client is attached", timeout=0.05)


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    with Scripted(tmp_path / "s", {VERSION: lambda peer, request: None}) as server:
        fails(server.path, DeviceTimeout, "has not answered VERSION within 0.05 s: it hangs or is stopped", timeout=0.05)


def test_a_server_that_hangs_up(tmp_path: Path) -> None:
    with Scripted(tmp_path / "s", {VERSION: lambda peer, request: peer.sock.close()}) as server:
        fails(server.path, DeviceGone, "the server has hung up.*start it again")


@pytest.mark.parametrize("said", [b'{"hello": "I speak JSON lines"}\n', b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 64])
def test_a_server_of_another_protocol(tmp_path: Path, said: bytes) -> None:
    with Scripted(tmp_path / "s", {VERSION: lambda peer, request: peer.send(said)}) as server:
        fails(server.path, UnsupportedReply, "does not speak vfio-user")


# -- VERSION


def test_what_we_propose() -> None:
    body = proposal()
    assert body[:4] == struct.pack("<HH", 0, 0) and body.endswith(b"}\0")
    assert len(body) <= 198, "QEMU's is as long; servers need no longer"


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (struct.pack("<HH", 1, 0), NotSupported, "speaks version 1.0, we 0.0 only"),
        (struct.pack("<HH", 0, 1), NotSupported, "speaks version 0.1, we 0.0 only"),
        (b"", UnsupportedReply, "answers VERSION with 0 bytes"),
        (b"\0\0\0", UnsupportedReply, "answers VERSION with 3 bytes"),
        (b"\0\0\0\0{", UnsupportedReply, "JSON that cannot be read"),
        (b"\0\0\0\0" + b"[" * 100000, UnsupportedReply, "JSON that cannot be read"),
        (b"\0\0\0\0\xff\0", UnsupportedReply, "JSON that cannot be read"),
        (b"\0\0\0\0[]\0", UnsupportedReply, "without an object of capabilities"),
        (b'\0\0\0\0{"capabilities": 5}\0', UnsupportedReply, "without an object of capabilities"),
        (b'\0\0\0\0{"capabilities": {"max_msg_fds": "x"}}\0', UnsupportedReply, "max_msg_fds 'x'"),
        (b'\0\0\0\0{"capabilities": {"max_msg_fds": -1}}\0', UnsupportedReply, "max_msg_fds -1"),
        (b'\0\0\0\0{"capabilities": {"max_msg_fds": true}}\0', UnsupportedReply, "max_msg_fds True"),
        (b'\0\0\0\0{"capabilities": {"pgsizes": 0}}\0', UnsupportedReply, "pgsizes 0"),
        (b'\0\0\0\0{"capabilities": {"max_data_xfer_size": 4}}\0', UnsupportedReply, "max_data_xfer_size 4"),
    ],
)
def test_versions_that_cannot_be_agreed_on(tmp_path: Path, body: bytes, kind: type[Exception], says: str) -> None:
    with Scripted(tmp_path / "s", {VERSION: lambda peer, request: peer.reply(request, body)}) as server:
        fails(server.path, kind, re.escape(says))


@pytest.mark.parametrize("text", [b"", b"{}", b"{}\0", b'{"capabilities": {}}\0', b'{"capabilities": {"twin_socket": {}}}\0'])
def test_a_server_that_says_little(tmp_path: Path, text: bytes) -> None:
    handlers: dict[int, Handler] = {VERSION: lambda peer, request: peer.reply(request, b"\0\0\0\0" + text)}
    with Scripted(tmp_path / "s", handlers) as server, VfioUser(str(server.path)) as client:
        assert (client.session.max_msg_fds, client.session.max_data_xfer_size) == (1, 1 << 20)
        assert client.session.page == 4096


def test_a_version_that_is_refused(tmp_path: Path) -> None:
    with Scripted(tmp_path / "s", {VERSION: lambda peer, request: peer.refuse(request, errno.EINVAL)}) as server:
        fails(server.path, NotSupported, "the server refuses VERSION: Invalid argument")


# -- what is served


def test_no_pci_function(tmp_path: Path) -> None:
    def info(peer: Peer, request: Request) -> None:
        peer.reply(request, struct.pack("<IIII", 16, 1, 9, 5))

    with Scripted(tmp_path / "s", {GET_INFO: info}) as server:
        fails(server.path, NotSupported, "no PCI function")


@pytest.mark.parametrize("after", range(1, 10))
def test_a_server_that_dies_while_it_is_opened(tmp_path: Path, after: int) -> None:
    """At each of the messages of opening."""
    with Scripted(tmp_path / "s") as server:

        def die(peer: Peer, request: Request) -> None:
            if len(server.requests) == after:
                peer.sock.close()
            else:
                server.answer(peer, request)

        server.handlers = dict.fromkeys((VERSION, GET_INFO, GET_REGION_INFO), die)
        fails(server.path, DeviceGone, "hung up")


def test_the_scheme(tmp_path: Path) -> None:
    with ServerProcess(["igbvf"], folder=tmp_path) as server:
        path = server.sockets[0]
        with open_transport(f"vfio-user:{path}", IGBVF) as transport:
            assert transport.name == f"vfio-user:{path}" and transport.bar(0).size == 0x4000
        with pytest.raises(UsageError, match=r"serves the device 8086:10ca, which is not igbvf-i350 \(8086:1520\): name "):
            open_vfio_user(str(path), IGBVF_I350)
        with open_vfio_user(str(path), None, timeout=1.0) as transport:
            assert transport.config_read(0, 2) == 0x8086


def test_bad_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs the path of a socket"):
        open_vfio_user("", IGBVF)
    with pytest.raises(UsageError, match="either shared or reached by messages"):
        open_vfio_user(str(tmp_path), IGBVF, dma="both")


def test_opening_again_and_again_leaves_nothing(tmp_path: Path) -> None:
    with Scripted(tmp_path / "s") as server:
        before = threading.active_count()
        for _ in range(50):
            with VfioUser(str(server.path)) as client:
                client.alloc(4096)
                client.enable_irqs(3)
                client.bar(0)
        assert threading.active_count() == before
