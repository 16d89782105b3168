"""The vhost-user front end against DPDK's vhost library: testpmd with a ``net_vhost`` port exchanges frames with a pool."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from emulators.fabric.backends import parse
from emulators.fabric.backends.vhost_user import VhostUser
from emulators.fabric.offload import Partial, Takes
from emulators.fabric.switch import Switch
from emulators.loop import Loop
from regmodel.function import Buffer

from .test_offload import BROADCAST, partial
from .testpmd import HostTestpmd, counter
from .wires import turn_until

pytestmark = pytest.mark.guest  # it runs what the lab's guests run, and takes a core while it forwards

MAC = bytes.fromhex("020000000001")


class Port:
    """A port of a NIC with one pool that takes all that there is to take, and a vhost-user back end."""

    def __init__(self, loop: Loop, spec: str, *, partial: bool = True, takes: Takes = Takes.NONE) -> None:
        self.loop, self.got = loop, list[bytes]()
        self.switch = Switch("port0", partial=partial)
        self.pool = self.switch.add_pool("vf0")
        self.pool.endpoint, self.pool.takes = self, takes
        self.switch.replication = self.switch.loopback = True
        pool = self.pool
        pool.accept_broadcast = pool.accept_untagged = pool.transmit_enable = pool.receive_enable = True
        pool.unicast_promiscuous = True
        self.backend: Any = parse(spec)
        assert isinstance(self.backend, VhostUser)
        self.switch.attach(self.backend, loop)

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        self.got += map(bytes, frames)
        return len(frames)

    def until(self, condition: Callable[[], object], seconds: float = 20) -> None:
        turn_until(self.loop, condition, seconds)

    def ask(self, pmd: HostTestpmd, command: str) -> str:
        """Type a command; turn until it is answered."""
        pmd.answer()
        pmd.type(command)
        self.until(lambda: pmd.prompts)
        return pmd.answer()


def frames(count: int, size: int = 60) -> list[bytes]:
    """Distinct UDP frames of a few flows."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    head = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:09") / IP(src="10.0.0.1", dst="10.0.0.2")
    return [bytes(head / UDP(sport=n % 7, dport=9) / n.to_bytes(4, "big")).ljust(size, b"\0") for n in range(count)]


@pytest.mark.parametrize("server", [True, False], ids=["we connect", "it connects"])
def test_rxonly_txonly_and_io(loop: Loop, tmp_path: Path, server: bool) -> None:
    path = tmp_path / "s"
    port = None if server else Port(loop, f"vhost-user:listen={path}")
    with HostTestpmd(tmp_path, [f"net_vhost0,iface={path}" + (",client=1" if not server else "")]) as pmd:
        turn_until(loop, lambda: pmd.prompts, 20)
        if port is None:
            port = Port(loop, f"vhost-user:connect={path}")
        switch = port.switch
        port.until(lambda: switch.link.up)
        assert "Link status: up" in port.ask(pmd, "show port info 0")

        port.ask(pmd, "set fwd rxonly")
        port.ask(pmd, "start")
        sent = [*frames(300), *frames(40, 1514)]
        for start in range(0, len(sent), 64):
            port.pool.transmit(sent[start : start + 64])
        assert switch.uplink.tx.frames == len(sent)
        port.until(lambda: counter(port.ask(pmd, "show port stats 0"), "RX-packets") == len(sent))
        assert counter(port.ask(pmd, "show port stats 0"), "RX-bytes") == sum(map(len, sent))
        port.ask(pmd, "stop")
        assert port.got == []

        port.ask(pmd, "set fwd io")
        port.ask(pmd, "start")
        port.pool.transmit(sent)
        port.until(lambda: len(port.got) == len(sent))
        assert port.got == sent
        port.ask(pmd, "stop")

        port.ask(pmd, "clear port stats all")
        port.got.clear()
        before = switch.uplink.rx.frames
        port.ask(pmd, "set fwd txonly")
        port.ask(pmd, "start")
        port.until(lambda: len(port.got) > 2000)
        said = port.ask(pmd, "stop")
        port.until(lambda: switch.uplink.rx.frames - before == counter(said, "TX-packets"))
        assert {len(frame) for frame in port.got} == {64}
        assert switch.uplink.refused.total() == 0
        assert port.backend.counters()["failures"] <= 1  # until it listened
        switch.detach()


def test_a_peer_that_is_killed_and_comes_back(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "s"
    port = Port(loop, f"vhost-user:listen={path}")
    for _ in range(2):
        with HostTestpmd(tmp_path, [f"net_vhost0,iface={path},client=1"]) as pmd:
            port.until(lambda: port.switch.link.up)
            turn_until(loop, lambda pmd=pmd: pmd.prompts, 20)
            port.ask(pmd, "set fwd io")
            port.ask(pmd, "start")
            port.got.clear()
            port.pool.transmit(frames(20))
            port.until(lambda: port.got == frames(20))
            pmd.kill()
            port.until(lambda: not port.switch.link.up)
        port.pool.transmit(frames(20))
        assert port.got == frames(20)
    assert port.backend.counters()["connections"] == 2
    port.switch.detach()


def test_two_queue_pairs(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with HostTestpmd(tmp_path, [f"net_vhost0,iface={path},queues=2"], "--rxq=2", "--txq=2") as pmd:
        turn_until(loop, lambda: pmd.prompts, 20)
        port = Port(loop, f"vhost-user:connect={path},queues=2")
        port.until(lambda: port.switch.link.up)
        port.ask(pmd, "set fwd io")
        port.ask(pmd, "start")
        sent = frames(200)
        port.pool.transmit(sent)
        port.until(lambda: len(port.got) == len(sent))
        assert sorted(port.got) == sorted(sent)
        said = port.ask(pmd, "stop")
        shares = {int(queue): int(count) for queue, count in re.findall(r"RX Port= 0/Queue= (\d).*\s*RX-packets: (\d+)", said)}
        assert set(shares) == {0, 1}
        assert sum(shares.values()) == 200
        assert min(shares.values()) > 0
        port.switch.detach()


def test_large_segments_reach_a_peer_that_takes_them(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with HostTestpmd(tmp_path, [f"net_vhost0,iface={path},tso=1"]) as pmd:
        turn_until(loop, lambda: pmd.prompts, 20)
        port = Port(loop, f"vhost-user:connect={path}")
        port.until(lambda: port.switch.link.up)
        assert port.backend.takes == Takes.CSUM | Takes.TSO4 | Takes.TSO6 | Takes.ECN
        port.ask(pmd, "set fwd rxonly")
        port.ask(pmd, "set verbose 1")
        port.ask(pmd, "start")
        frame = partial(BROADCAST, 1448)
        port.pool.transmit([frame])
        port.until(lambda: re.search(rf"length={len(frame)} .*RTE_MBUF_F_RX_LRO", pmd.text, re.DOTALL))  # it writes in pieces
        port.switch.detach()
    with HostTestpmd(tmp_path, [f"net_vhost0,iface={path}2"]) as pmd:  # and not one that does not
        turn_until(loop, lambda: pmd.prompts, 20)
        port = Port(loop, f"vhost-user:connect={path}2")
        port.until(lambda: port.switch.link.up)
        assert port.backend.takes == Takes.CSUM
        port.pool.transmit([frame])
        assert port.switch.uplink.tx.frames == 4
        port.switch.detach()


def test_a_port_without_partial_frames(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with HostTestpmd(tmp_path, [f"net_vhost0,iface={path},tso=1"]) as pmd:
        turn_until(loop, lambda: pmd.prompts, 20)
        port = Port(loop, f"vhost-user:connect={path}", partial=False)
        port.until(lambda: port.switch.link.up)
        assert port.backend.counters()["features"] == ["mrg_rxbuf", "version_1"]
        port.ask(pmd, "set fwd io")
        port.ask(pmd, "start")
        port.pool.transmit(frames(64))
        port.until(lambda: port.got == frames(64))
        assert not any(isinstance(frame, Partial) for frame in port.got)
        port.switch.detach()
