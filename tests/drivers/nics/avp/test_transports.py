"""The same driver recorded, and replayed without a device; and on two devices in lock-step.

On the socket it is in ``tests/emulators/test_handover.py``, through Linux VFIO in ``tests/guest/test_avp_python.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from drivers.nics.avp import Avp
from drivers.transports import Transport
from drivers.transports.record import Record
from drivers.transports.recording import read_recording
from drivers.transports.replay import Replay
from drivers.transports.tee import Finding, Tee
from regmodel.devices.avp import AVP
from tests.drivers.nics.avp.bench import Bench, Side, frame

PEER = bytes.fromhex("020000000001")


def echo(transport: Transport, arrive: Callable[[Sequence[bytes]], None]) -> list[object]:
    """Tables, requests, packets of one and of several buffers both ways, and what the driver counts."""
    side = Side(Avp(transport, AVP), queues=2, buffers=64, mtu=9000)
    seen: list[object] = [side.port.mac_addr, side.port.link_get()]
    for burst in range(1, 4):
        arrive([frame(side.port.mac_addr, PEER, 60 + 2400 * i, burst) for i in range(burst)])
        got = [packet for queue in range(2) for packet in side.receive(queue)]
        seen.append(got)
        for packet in got:
            assert side.send(PEER + side.port.mac_addr + packet[12:], queue=1) == 1
    seen.append(side.port.stats())
    side.port.close()
    return seen


def test_a_replay_stands_for_the_device(bench: Bench, tmp_path: Path) -> None:
    """Each access to shared memory is in the recording, so the replay has the packets."""
    path = tmp_path / "echo"
    with Record(bench.transports[0], AVP, path) as transport:
        seen = echo(transport, bench.card.ports[0].switch.uplink.receive)
    assert [len(got) for got in seen[2:-1]] == [1, 2, 3]  # type: ignore[arg-type]
    with Replay(read_recording(path), AVP) as transport:
        assert echo(transport, lambda frames: None) == seen


def in_lock_step(bench: Bench, spoil: Callable[[bytes], bytes]) -> tuple[list[object], list[Finding]]:
    """What the driver sees, and where two cards differ; what comes to the second is spoiled."""
    found: list[Finding] = []
    other = Bench()
    try:
        tee = Tee(bench.transports[0], other.transports[0], AVP, accept=lambda finding: found.append(finding) or True)
        first, second = (each.card.ports[0].switch.uplink.receive for each in (bench, other))

        def arrive(frames: Sequence[bytes]) -> None:
            first(frames)
            second([spoil(each) for each in frames])

        with tee:
            return echo(tee, arrive), found
    finally:
        other.close()


def test_two_devices_do_the_same(bench: Bench) -> None:
    """All that shared memory holds is compared."""
    seen, found = in_lock_step(bench, lambda sent: sent)
    assert [len(got) for got in seen[2:-1]] == [1, 2, 3] and found == []  # type: ignore[arg-type]


def test_one_byte_that_differs_is_told(bench: Bench) -> None:
    _, found = in_lock_step(bench, lambda sent: sent[:40] + bytes([sent[40] ^ 1]) + sent[41:])
    assert found and all("memory" in finding.where for finding in found), found
