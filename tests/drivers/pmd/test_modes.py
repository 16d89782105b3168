"""The modes on the model in this process: what goes in, what comes out, and that no buffer is lost."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap, wrpcap

from drivers.nics import driver_for
from drivers.pmd.captures import Capture, load
from drivers.pmd.forwarding import MODES
from drivers.pmd.prompt import Prompt
from drivers.pmd.session import Options, Session
from drivers.transports.in_process import open_functions
from regmodel.catalogue import find
from regmodel.errors import UsageError

Open = Callable[..., Session]
PEER = bytes.fromhex("0200000000aa")


@pytest.fixture
def open_session() -> Iterator[Open]:
    """A session on a VF of a new card with a given uplink, started, its link up."""
    opened: list[tuple[Any, Session]] = []

    def make(
        net: str,
        device: str = "igbvf",
        observer: Any = None,
        tell: Any = lambda line: None,
        clock: str = "real",
        **options: Any,
    ) -> Session:
        description = find(device)
        transport = open_functions(description, net=net, clock=clock)[0]
        port = driver_for(description)(transport, description)
        session = Session(port, Options(**options), observer=observer, tell=tell)
        opened.append((transport, session))
        card(session).control(("vf", "0", "spoofchk", "off"))  # frames that are forwarded are not from the VF's address
        session.start()
        assert port.link_get(1.0).up
        return session

    yield make
    for transport, session in opened:
        session.close()
        transport.close()


def card(session: Session) -> Any:
    """The card that the session's port is part of."""
    transport: Any = session.port.transport
    return transport._world.card


def whole(session: Session) -> None:
    """All buffers are in the pool once the port has stopped."""
    session.stop()
    assert session.pool.available == session.pool.count


@pytest.mark.parametrize("device", ["igbvf", "igbvf-i350"])
@pytest.mark.parametrize("size", [60, 64, 1514])
def test_txonly_sends_well_formed_frames(open_session: Open, tmp_path: Path, device: str, size: int) -> None:
    out = tmp_path / "out.pcap"
    session = open_session(f"pcap:out={out}", device, mode="txonly", size=size, peer=PEER)
    rates = session.run(packets=100)
    session.port.transport.sleep(0.05)
    assert rates.after.opackets >= 100
    own = session.port.mac_addr
    whole(session)
    session.close()
    session.port.transport.close()
    frames = rdpcap(str(out))
    assert len(frames) >= 100
    assert {bytes(frame)[:12] for frame in frames} == {PEER + own} and {len(frame) for frame in frames} == {size}


def test_flowgen_visits_all_flows(open_session: Open, tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    session = open_session(f"pcap:out={out}", mode="flowgen", flows=50)
    session.run(packets=200)
    session.port.transport.sleep(0.05)
    whole(session)
    session.close()
    session.port.transport.close()
    assert len({frame[IP].dst for frame in rdpcap(str(out))}) == 50


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    """A capture of 40 echo requests to everybody, each with a number of its own."""
    path = tmp_path / "in.pcap"
    frames = [
        Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:aa") / IP(src="192.0.2.1", dst="192.0.2.9") / ICMP(type=8, seq=i)
        for i in range(40)
    ]
    wrpcap(str(path), [bytes(frame).ljust(60, b"\0") for frame in frames], linktype=1)
    return path


@pytest.mark.parametrize("mode", ["io", "macswap", "icmpecho", "rxonly"])
def test_what_is_received_is_forwarded_as_the_mode_says(open_session: Open, requests: Path, tmp_path: Path, mode: str) -> None:
    out = tmp_path / "out.pcap"
    session = open_session(f"pcap:in={requests},out={out},wait=0.1", mode=mode, clock="manual")
    own = session.port.mac_addr
    session.run(seconds=0.2)
    received, sent = session.streams[0].received, session.streams[0].sent
    whole(session)
    session.close()
    session.port.transport.close()
    sources = [bytes(frame) for frame in rdpcap(str(requests))]
    results = [bytes(frame) for frame in rdpcap(str(out))] if out.stat().st_size else []
    assert received == 40
    if mode == "rxonly":
        assert sent == 0 and results == []
    elif mode == "io":
        assert results == sources
    elif mode == "macswap":
        assert results == [frame[6:12] + frame[:6] + frame[12:] for frame in sources]
    else:
        assert [Ether(frame)[ICMP].seq for frame in results] == list(range(40))
        assert {frame[:12] for frame in results} == {PEER + own}


def test_a_capture_holds_what_was_received(open_session: Open, requests: Path, tmp_path: Path) -> None:
    got = tmp_path / "got.pcap"
    with Capture(got) as capture:
        session = open_session(f"pcap:in={requests},wait=0.1", mode="rxonly", observer=capture.observe, clock="manual")
        session.run(packets=40, seconds=5.0)
        whole(session)
    assert [bytes(f) for f in rdpcap(str(got))] == [bytes(f) for f in rdpcap(str(requests))]


def test_frames_of_a_capture_are_sent_over_and_over(open_session: Open, requests: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    session = open_session(f"pcap:out={out}", mode="txonly", loops=load(requests, 1514))
    session.run(packets=100)
    session.port.transport.sleep(0.05)
    whole(session)
    session.close()
    session.port.transport.close()
    sequence = [frame[ICMP].seq for frame in rdpcap(str(out))]
    assert len(sequence) >= 100 and sequence == [i % 40 for i in range(len(sequence))]


def test_interrupts_carry_the_traffic_too(open_session: Open) -> None:
    session = open_session("gen:rate=500,count=100,wait=0.1", mode="rxonly", interrupts=True, clock="manual")
    session.run(packets=100, seconds=5.0)
    assert session.streams[0].received == 100
    whole(session)


def test_a_reset_by_the_pf_is_mended(open_session: Open) -> None:
    said: list[str] = []
    session = open_session("gen:rate=2000", mode="rxonly", tell=said.append, clock="manual")
    session.run(seconds=0.2)
    card(session).control(("pf-reset",))
    before = session.streams[0].received
    session.run(seconds=2.5)
    assert any("reset" in line for line in said) and session.streams[0].received > before + 500
    whole(session)


def test_the_prompt(open_session: Open) -> None:
    session = open_session("gen:rate=2000", mode="rxonly")
    said: list[str] = []
    script = ["show port info", "set fwd nonsense", "mac_addr set 1:2", "set promisc on", "rx_vlan add 7", "stop", "port stop",
              "port config mtu 9000", "port start", "clear port stats", "frobnicate", "show port stats", "quit"]  # fmt: skip

    class Lines(io.BytesIO):
        def fileno(self) -> int:
            raise AssertionError("nothing is forwarded: nobody has to look whether there is a line")

    Prompt(session, Lines("\n".join(script).encode()), said.append).run()
    text = "\n".join(said)
    assert "MAC address" in text and "there is no mode 'nonsense'" in text and "'1:2' is no MAC address" in text
    assert "frobnicate: no such command" in text and "ipackets" in text
    assert session.port.settings.mtu == 9000
    whole(session)


def test_lines_that_come_at_once_are_done_at_once(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a pipe that stays open: what was read together with ``start`` must not wait for the next write."""
    session = open_session("none", mode="rxonly", clock="manual")
    there, here = os.pipe()
    os.write(here, b"start\nset fwd io\nstop\nquit\n")
    said: list[str] = []
    with os.fdopen(there) as stdin, os.fdopen(here, "wb"):
        monkeypatch.setattr("sys.stdin", stdin)
        runs, run = iter([1.0]), session.run  # one run, of one second of the device's time: it has no end where no line is seen
        monkeypatch.setattr(session, "run", lambda **more: run(seconds=next(runs), **more))
        Prompt(session, say=said.append).run()
    assert "wants `stop` first" in said[0] and said[1].startswith("mode")
    whole(session)


def test_no_mode_goes_without_a_test() -> None:
    assert set(MODES) == {"rxonly", "txonly", "io", "macswap", "flowgen", "icmpecho"}


def test_a_capture_that_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    for name, content, complaint in (
        ("missing", None, "No such file"),
        ("garbage", b"no capture at all, but long enough for a header", "no capture file"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UsageError, match=complaint):
            load(path, 1514)
    long = tmp_path / "long.pcap"
    wrpcap(str(long), [bytes(2000)], linktype=1)
    with pytest.raises(UsageError, match="2000 octets"):
        load(long, 1514)
