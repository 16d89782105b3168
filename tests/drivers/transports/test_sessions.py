"""A driver that knows nothing of it, recorded, replayed without a device, and driven against two devices at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import Difference, ReplayMismatch
from drivers.ethdev import RxOffload
from drivers.nics.igbvf import IgbVf
from drivers.registers import Registers
from drivers.transports import Transport
from drivers.transports.capabilities import BUS_MASTER, COMMAND, MEMORY_SPACE
from drivers.transports.record import Record
from drivers.transports.recording import read_recording
from drivers.transports.replay import Replay
from drivers.transports.tee import Tee
from regmodel.catalogue import Device
from regmodel.devices.igbvf import IGBVF, IGBVF_I350
from tests.drivers.nics.igbvf.bench import Bench, Side, frame

MAC, PEER = bytes.fromhex("02a0b1c2d3e4"), bytes.fromhex("020000000001")
Arrive = Callable[[Sequence[bytes]], None]


def nothing_arrives(frames: Sequence[bytes]) -> None:
    """A replay brings its packets itself."""


def echo(
    transport: Transport, device: Device, arrive: Arrive = nothing_arrives, *, looks: int = 1, interval: int = 0
) -> list[object]:
    """Reset, mailbox, rings, interrupts, packets of all sizes both ways, statistics; what the driver saw of all that."""
    port = IgbVf(transport, device, mac=MAC, interval=interval)
    side = Side(port, rings=32, buffers=128, rx_offloads=RxOffload.CHECKSUM)
    seen: list[object] = [port.mac_addr, port.link_get()]
    for burst in range(1, 6):
        arrive([frame(port.mac_addr, PEER, 60 + 300 * i + burst, burst) for i in range(burst)])
        port.rx_intr_enable(0)
        port.intr_wait(0.001)
        got = [packet for _ in range(looks) for packet in side.receive()]
        seen.append(got)
        side.send(*(PEER + port.mac_addr + packet[12:] for packet in got))
        side.settle()
    seen.append(port.stats())
    port.close()
    return seen


@pytest.mark.parametrize("device", [IGBVF, IGBVF_I350], ids=lambda d: d.name)
def test_a_replay_stands_for_the_device(tmp_path: Path, device: Device) -> None:
    """The same packets, statistics and accesses, without a model; and a driver that looks more often has the same outcome."""
    path = tmp_path / "echo"
    bench = Bench(device)
    with Record(bench.transports[0], device, path) as transport:
        seen = echo(transport, device, bench.from_the_wire)
    bench.close()
    assert [len(got) for got in seen[2:-1]] == [1, 2, 3, 4, 5] and len(bench.wire.frames) == 15  # type: ignore[arg-type]
    with Replay(read_recording(path), device) as transport:
        assert echo(transport, device) == seen
    with Replay(read_recording(path), device, tolerant=True) as transport:
        assert echo(transport, device, looks=3) == seen
    with pytest.raises(ReplayMismatch), Replay(read_recording(path), device) as transport:
        echo(transport, device, looks=3)


def test_a_driver_that_does_something_else_is_told_where(tmp_path: Path) -> None:
    path = tmp_path / "echo"
    bench = Bench()
    with Record(bench.transports[0], IGBVF, path) as transport:
        echo(transport, IGBVF, bench.from_the_wire)
    bench.close()

    told = r"line \d+: recorded: write eitr\[0\] = .*; the driver: write eitr\[0\] = .*interval=100"
    with pytest.raises(ReplayMismatch, match=told), Replay(read_recording(path), IGBVF, tolerant=True) as transport:
        echo(transport, IGBVF, interval=100)


class Pair:
    """Two cards that get the same packets, and a tee of their first VFs."""

    def __init__(self, device: Device = IGBVF) -> None:
        self.benches = [Bench(device), Bench(device)]
        ours, theirs = (bench.transports[0] for bench in self.benches)
        self.tee = Tee(ours, theirs, device)

    def arrive(self, frames: Sequence[bytes]) -> None:
        for bench in self.benches:
            bench.from_the_wire(frames)

    def close(self) -> None:
        for bench in self.benches:
            bench.close()


@pytest.fixture
def pair() -> Any:
    made = Pair()
    yield made
    made.close()


def test_two_models_do_the_same(pair: Pair) -> None:
    alone = Bench()
    with pair.tee:
        seen = echo(pair.tee, IGBVF, pair.arrive)
    assert seen == echo(alone.transports[0], IGBVF, alone.from_the_wire)
    assert pair.benches[0].wire.frames == pair.benches[1].wire.frames == alone.wire.frames
    assert not pair.tee.unmatched
    alone.close()


def test_a_packet_that_arrived_otherwise(pair: Pair) -> None:
    def arrive(frames: Sequence[bytes]) -> None:
        pair.benches[0].from_the_wire(frames)
        pair.benches[1].from_the_wire([bytes([*frames[0][:-1], 0xEE]), *frames[1:]])

    with pytest.raises(Difference, match=r"memory from 0x\w+ on: ours wrote \w\w, theirs has ee"), pair.tee:
        echo(pair.tee, IGBVF, arrive)


def longer(pair: Pair) -> Arrive:
    """The second card gets the packet with one byte more."""

    def arrive(frames: Sequence[bytes]) -> None:
        pair.benches[0].from_the_wire(frames)
        pair.benches[1].from_the_wire([frames[0] + b"\0", *frames[1:]])

    return arrive


def test_a_write_back_that_differs_is_told_by_ring_and_field(pair: Pair) -> None:
    with pytest.raises(Difference, match=r"rx_writeback 0 of rx ring 0: length ours 0x3d, theirs 0x3e \(ours"), pair.tee:
        echo(pair.tee, IGBVF, longer(pair))


def test_parts_of_descriptors_may_be_excluded(pair: Pair) -> None:
    """And the driver goes on with ours."""
    transports = [bench.transports[0] for bench in pair.benches]
    tee = Tee(*transports, IGBVF, exclude=["rx_writeback.length", "tx_writeback", "vfgorc", "vfgotc"])
    with tee:
        seen = echo(tee, IGBVF, longer(pair))
    assert [len(got) for got in seen[2:-1]] == [1, 2, 3, 4, 5]  # type: ignore[arg-type]


def test_a_reset_that_does_not_end_on_one(pair: Pair) -> None:
    bank = pair.benches[1].bank(0)
    bank.before_read("v2pmailbox", lambda path: bank["v2pmailbox"].set(rsti=1))
    with pytest.raises(Difference, match=r"read v2pmailbox: ours 0x\w+ \(rsti=0\), theirs 0x\w+ \(rsti=1\)"), pair.tee:
        echo(pair.tee, IGBVF, pair.arrive)


def test_a_counter_that_does_not_count(pair: Pair) -> None:
    bank = pair.benches[1].bank(0)
    bank.before_read("vfgprc", lambda path: bank["vfgprc"].set(count=0))
    with pytest.raises(Difference, match=r"read vfgprc: ours 0x\w+ \(count=\d+\), theirs 0x0 \(count=0\)"), pair.tee:
        echo(pair.tee, IGBVF, pair.arrive)


# -- the register client on the model


def test_bits_that_the_model_delivers_during_a_wait() -> None:
    """The PF answers a message: PFACK comes with or before PFSTS; it goes through a reset meanwhile: RSTD comes too."""
    bench = Bench(count=1)
    transport = bench.transports[0]
    transport.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
    dev: Any = Registers(IGBVF, transport)
    dev.ctrl.write(rst=1)
    dev.v2pmailbox.wait(rsti=0, rstd=0, timeout=1)
    dev.forget()
    dev.v2pmailbox.write(vfu=1)
    dev.vmbmem.write_words([1])  # E1000_VF_RESET
    dev.v2pmailbox.write(req=1)
    dev.v2pmailbox.wait(pfsts=1, timeout=1)
    assert bench.bank(0)["v2pmailbox"].get("pfack") == 0, "the wait has read it away"
    assert dev.v2pmailbox.take("pfack") == 1 and dev.v2pmailbox.take("pfack") == 0
    loop = bench.alone.loop
    loop.call_at(loop.now() + 1_000_000, lambda: bench.card.control(["pf-reset"]))
    dev.v2pmailbox.wait(pfsts=1, timeout=5)
    transport.sleep(1)
    assert dev.v2pmailbox.rsti == 0
    assert bench.bank(0)["v2pmailbox"].get("rstd") == 0, "some read has met it"
    assert dev.v2pmailbox.take("rstd") == 1
    bench.close()
