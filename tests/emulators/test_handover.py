"""A server process takes over the guests of another one: sockets, memory, interrupts and state go along, nothing is lost."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.nics import driver_for
from drivers.nics.avp import Avp
from drivers.transports.vfio_user import VfioUser
from emulators.handover import Taking, receive, send
from emulators.process import ServerProcess
from regmodel.catalogue import find
from regmodel.devices.avp import AVP
from regmodel.errors import RegmodelError
from tests.drivers.nics.avp.bench import Side, frame
from tests.drivers.nics.igbvf.bench import Side as NicSide

SECONDS = 90.0
PATIENT = {"patience": "30"}
"""For AVP's drivers, all of whom let go: another process may be late."""


@contextlib.contextmanager
def sides(server: ServerProcess) -> Iterator[list[Side]]:
    """A driver on each function of a server."""
    transports = [VfioUser(str(path)) for path in server.sockets]
    try:
        yield [Side(driver(transport)) for transport in transports]
    finally:
        for transport in transports:
            transport.close()


def driver(transport: VfioUser) -> Avp:
    """One that waits for a server which is late."""
    return Avp(transport, AVP, patience=20)


def until(true: Callable[[], bool], *ports: Any) -> None:
    """Let drivers look after their ports until something has happened."""
    deadline = time.monotonic() + SECONDS
    while not true():
        for port in ports:
            port.watch()
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


def taken_over(old: ServerProcess, *ports: Any, **more: Any) -> ServerProcess:
    """A new server for what ``old`` serves."""
    new = ServerProcess(old.devices, arguments=["--take-over", str(old.control_path)], **more)
    new.begin()
    until(lambda: not old.alive or not new.alive, *ports)
    return new.ready()


def packets(receiver: Side, sender: Side, count: int, first: int = 0) -> list[bytes]:
    return [frame(receiver.port.mac_addr, sender.port.mac_addr, 60 + i % 900, first + i) for i in range(count)]


def arrives(side: Side, expected: list[bytes], *ports: Any) -> None:
    """Until these have come, and nothing else."""
    got: list[bytes] = []
    until(lambda: bool(got.extend(side.receive())) or len(got) >= len(expected), *ports)
    assert got == expected


def status(server: ServerProcess, nic: int) -> dict[str, Any]:
    with server.control() as client:
        found: dict[str, Any] = client.ask("ctl", words=["nic", str(nic), "status"])
        return found


@pytest.fixture
def served() -> Iterator[tuple[ServerProcess, list[Side]]]:
    with ServerProcess(["avp", "avp"], options={"max_rx_pkt_len": "2000", **PATIENT}) as server, sides(server) as both:
        yield server, both


def test_drivers_go_on_with_another_process(served: tuple[ServerProcess, list[Side]]) -> None:
    old, (a, b) = served
    unread = packets(b, a, 30)
    assert a.send(*unread) == 30
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    new = taken_over(old, a.port, b.port)
    try:
        until(lambda: a.port.migrations == b.port.migrations == 1, a.port, b.port)
        assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 3, "the guests have the same connections as before"
        arrives(b, unread)
        later = packets(a, b, 20, 100)
        assert b.send(*later) == 20
        arrives(a, later)
        assert [status(new, nic)["generation"] for nic in (0, 1)] == [1, 1]
        with new.control() as client:
            assert client.ask("stats")["card"]["nics"]["nic0"]["receive"][0]["packets"] == 20
    finally:
        new.stop()
    assert "handed over" not in new.log.read_text() if new.log.exists() else True


def test_traffic_during_the_move(served: tuple[ServerProcess, list[Side]]) -> None:
    """What ``tx_burst`` has taken arrives, whenever that was, in order."""
    old, (a, b) = served
    new = ServerProcess(old.devices, arguments=["--take-over", str(old.control_path)])
    new.begin()
    sent: list[bytes] = []
    got: list[bytes] = []

    def moved() -> bool:
        return bool(a.port.migrations == b.port.migrations == 1)

    deadline = time.monotonic() + SECONDS
    try:
        while not (moved() and len(sent) > 400) and time.monotonic() < deadline:
            burst = packets(b, a, 8, len(sent))
            buffers = np.array([a.pool.put(packet) for packet in burst], np.intp)
            taken = a.port.tx_burst(0, buffers)
            a.pool.free(buffers[taken:])
            sent += burst[:taken]
            got += b.receive()
            for side in (a, b):
                side.port.watch()
        assert moved()
        until(lambda: bool(got.extend(b.receive())) or len(got) >= len(sent))
        assert got == sent and len(sent) > 400
    finally:
        new.stop()


def test_nothing_is_lost_at_the_wire(tmp_path: Path) -> None:
    """What waited for the far end is sent by the new process, in order; and each frame that either process has taken from there
    comes to the driver, while some are refused between the two.
    """
    near, far = tmp_path / "near", tmp_path / "far"
    got: list[bytes] = []
    coming: list[bytes] = []
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        wire.bind(str(far))
        wire.setblocking(False)
        old = stack.enter_context(ServerProcess(["avp"], nets=[f"dgram:local={near},remote={far}"], options=PATIENT))
        (side,) = stack.enter_context(sides(old))
        mac = side.port.mac_addr
        going: list[bytes] = []
        with old.control() as client:

            def port() -> dict[str, Any]:
                found: dict[str, Any] = client.ask("stats")["card"]["ports"][0]
                return found

            while port()["uplink"]["backend"]["queued"] < 50:  # the far end's socket is full
                burst = [frame(b"\xff" * 6, mac, 60 + i, i) for i in range(len(going), len(going) + 50)]
                assert side.send(*burst) == 50
                going += burst
                until(lambda: port()["pools"]["nic0"]["tx"]["frames"] == len(going))  # noqa: B023 (called at once)

        def moved() -> bool:
            """A few frames more, as far as somebody takes them."""
            with contextlib.suppress(OSError):
                for _ in range(8):
                    one_more = frame(mac, b"\2\0\0\0\0\7", 60 + len(coming) % 900, len(coming))
                    wire.sendto(one_more, str(near))
                    coming.append(one_more)
            got.extend(side.receive())
            return side.port.migrations == 1 and len(coming) > 400

        new = ServerProcess(["avp"], arguments=["--take-over", str(old.control_path)])
        new.begin()
        stack.callback(new.stop)
        until(moved, side.port)
        new.ready()
        until(lambda: bool(got.extend(side.receive())) or len(got) >= len(coming))
        assert got == coming
        heard: list[bytes] = []
        until(lambda: _hear(wire, heard) or len(heard) >= len(going))
        assert heard == going


def _hear(wire: socket.socket, heard: list[bytes]) -> bool:
    """Take in what is there; False."""
    with contextlib.suppress(BlockingIOError):
        while True:
            heard.append(wire.recv(65536))
    return False


def test_a_driver_that_was_never_there(tmp_path: Path) -> None:
    """Nobody has to let go, and a connection that has said nothing is one all the same."""
    with ServerProcess(["avp"], options=PATIENT) as old, VfioUser(str(old.sockets[0])) as transport:
        new = taken_over(old)
        assert transport.config_read(0, 2) == 0x1AF4
        side = Side(driver(transport))
        assert side.send(frame(b"\xff" * 6, side.port.mac_addr, 60, 1)) == 1
        new.stop()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("igbvf", {}),
        ("virtio-net", {}),
        ("virtio-net", {"packed": "on"}),
        ("virtio-net-legacy", {}),
        ("vmxnet3", {}),
    ],
    ids=["igbvf", "virtio-net", "virtio-net-packed", "virtio-net-legacy", "vmxnet3"],
)
def test_any_nic_can_be_handed_over(name: str, options: dict[str, str]) -> None:
    """Its driver need not know: state, memory and interrupts are all there is. Twice, with packets that nobody had fetched."""
    device = find(name)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ServerProcess([name, name], options=options))
        transports = [stack.enter_context(VfioUser(str(path))) for path in server.sockets]
        a, b = (NicSide(driver_for(device)(transport, device)) for transport in transports)
        for side in (a, b):
            side.port.link_wait(SECONDS)
        b.port.rx_intr_enable(0)
        expected: list[bytes] = []
        for number in range(3):
            few = [frame(b.port.mac_addr, a.port.mac_addr, size, number) for size in (60, 700, 1514)]
            expected += few
            assert a.send(*few) == len(few)
            if number < 2:
                time.sleep(0.05)
                server = taken_over(server)
                stack.callback(server.stop)
        got: list[bytes] = []
        until(lambda: bool(got.extend(b.receive())) or len(got) >= len(expected))
        assert got == expected
        while b.port.intr_wait(0.05)[0]:
            pass  # of those packets
        b.port.rx_intr_enable(0)
        assert a.send(expected[0]) == 1
        assert list(b.port.intr_wait(SECONDS)[0]) == [0], "interrupts come where they came"
        until(lambda: b.receive() == expected[:1])
        back = frame(a.port.mac_addr, b.port.mac_addr, 300, 9)
        assert b.send(back) == 1
        until(lambda: a.receive() == [back])


def test_a_driver_that_does_not_let_go() -> None:
    """Then the old server goes on, and both say why."""
    with ServerProcess(["avp", "avp"]) as old, sides(old) as (a, b):
        with pytest.raises(RegmodelError, match="does not acknowledge that it is to let go"):
            Taking(old.control_path)
        assert old.alive
        until(lambda: status(old, 0)["migration"]["status"] == "ATTACHED", a.port, b.port)
        few = packets(b, a, 5)
        until(lambda: a.send(*few[:1]) == 1, a.port, b.port)
        arrives(b, few[:1], a.port, b.port)


@pytest.mark.parametrize(
    ("devices", "text"),
    [(["avp"], "hands over avp avp: name the same devices, not avp"), (["igbvf", "igbvf"], "name the same devices")],
)
def test_other_devices_are_refused(devices: list[str], text: str) -> None:
    with ServerProcess(["avp", "avp"]) as old:
        with pytest.raises(RegmodelError, match=text):
            ServerProcess(devices, arguments=["--take-over", str(old.control_path)]).start()
        time.sleep(0.05)
        assert old.alive
        with VfioUser(str(old.sockets[0])) as transport:
            Side(driver(transport))


@pytest.mark.parametrize("name", ["ivshmem-plain", "ivshmem-doorbell", "ivshmem"])
def test_shared_memory_and_peers_stay(name: str) -> None:
    """One line, before the driver of another device has been asked; the new process makes nothing."""
    with ServerProcess(["avp", name]) as old, VfioUser(str(old.sockets[0])) as transport:
        side = Side(driver(transport))
        with pytest.raises(RegmodelError, match="ivshmem0 cannot be handed over: shared memory, ID and peers stay"):
            ServerProcess(old.devices, arguments=["--take-over", str(old.control_path)]).start()
        side.port.watch()
        with old.control() as client:
            assert client.ask("ctl", words=["card", "0", "nic", "0", "status"])["migration"]["status"] == "NONE"
        assert old.alive and side.port.migrations == 0


def test_a_new_process_that_has_gone(tmp_path: Path) -> None:
    """Nothing is let go: whoever is connected to the wire stays so."""
    wire = str(tmp_path / "wire")
    with ServerProcess(["avp"], nets=[f"stream:listen={wire}"], options=PATIENT) as old, \
            socket.socket(socket.AF_UNIX) as peer, sides(old) as (side,):
        peer.connect(wire)
        with old.control() as client:
            client.ask("hand_over", to=str(tmp_path / "nobody"))
        until(lambda: side.port.migrations == 1, side.port)
        sent = frame(b"\xff" * 6, side.port.mac_addr, 60, 1)
        until(lambda: side.send(sent) == 1, side.port)
        peer.settimeout(SECONDS)
        assert peer.recv(4 + len(sent), socket.MSG_WAITALL) == len(sent).to_bytes(4, "big") + sent


def test_a_new_process_that_dies(served: tuple[ServerProcess, list[Side]]) -> None:
    """Without a word: the old one goes on, and its drivers take their devices up again."""
    old, (a, b) = served
    listening = socket.socket(socket.AF_UNIX)
    path = str(old.folder / "takes-and-dies")
    listening.bind(path)
    listening.listen()
    with old.control() as client:
        client.ask("hand_over", to=path)
        with pytest.raises(RegmodelError, match="being handed over already"):
            client.ask("hand_over", to=path)
    listening.setblocking(False)
    heard: list[socket.socket] = []

    def came() -> bool:
        with contextlib.suppress(BlockingIOError):
            heard.append(listening.accept()[0])
        return bool(heard)

    until(came, a.port, b.port)
    heard[0].setblocking(True)
    image, fds = receive(heard[0])
    assert len(image["functions"]) == 2 and len(fds) >= 6
    for fd in fds:
        os.close(fd)
    heard[0].close()
    listening.close()
    until(lambda: a.port.migrations == b.port.migrations == 1, a.port, b.port)
    few = packets(b, a, 5)
    assert a.send(*few) == 5
    arrives(b, few)
    assert "not handed over" in old.log.read_text()


def test_nobody_there() -> None:
    with pytest.raises(RegmodelError, match="no server answers here"):
        ServerProcess(["avp"], arguments=["--take-over", "/nowhere.ctl"]).start()


def test_descriptors_travel_in_any_number() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    import threading

    sender = threading.Thread(target=send, args=(one, {"version": 1, "text": "x" * 300_000}, [one.fileno()] * 300))
    sender.start()
    image, fds = receive(other)
    sender.join()
    assert len(fds) == 300 and len(image["text"]) == 300_000
    for fd in fds:
        os.close(fd)
    one.close()
    with pytest.raises(ValueError, match="ended too early"):
        receive(other)
    other.close()
