"""The in-process transport: the contract, and what only it promises: whose turn it is, and manual time."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import NotSupported
from drivers.transports import in_process
from drivers.transports.capabilities import BUS_MASTER, COMMAND, MEMORY_SPACE
from drivers.transports.in_process import InProcess
from drivers.transports.opening import open_transport
from emulators.alone import Alone, open_functions
from regmodel.devices.igbvf import IGBVF
from regmodel.errors import UsageError
from tests.drivers.transports.contract import DMA_GO, DMA_LOW, SCRATCH, Bench, Contract, ring_of
from tests.emulators.pci import testdevice


class TestContract(Contract):
    @pytest.fixture(params=["manual", "real"])
    def bench(self, request: pytest.FixtureRequest) -> Iterator[Bench]:
        alone = open_functions(testdevice.DEVICE, clock=request.param)
        with InProcess(alone.function, alone) as transport:
            yield Bench(transport, ring_of(alone.function), lambda: InProcess(alone.function, alone))
        alone.close()


# -- whose turn it is


@pytest.fixture
def alone() -> Iterator[Alone]:
    made = open_functions(testdevice.DEVICE, clock="manual")
    yield made
    made.close()


@pytest.fixture
def transport(alone: Alone) -> InProcess:
    found = InProcess(alone.function, alone)
    found.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
    return found


def order(transport: InProcess, iova: int) -> None:
    """Have the device write ``CONTENT`` at ``iova``, when it has its turn."""
    for at, value in ((SCRATCH, CONTENT), (DMA_LOW, iova), (DMA_GO, 1)):
        transport.bar(0).write(at, 4, value)


CONTENT = 0x12345678


@pytest.mark.parametrize(
    ("occasion", "has_turn"),
    [
        (lambda t, b: None, False),
        (lambda t, b: b.sync_for_device(), False),
        (lambda t, b: t.bar(0).write(SCRATCH, 4, 0), False),
        (lambda t, b: t.now(), False),
        (lambda t, b: b.sync_for_cpu(), True),
        (lambda t, b: t.bar(0).u32[0], True),
        (lambda t, b: t.bar(0).read(0, 4), True),
        (lambda t, b: t.config_read(0, 4), True),
        (lambda t, b: t.sleep(0), True),
        (lambda t, b: t.wait_irq(0), True),
    ],
    ids=["nothing", "for_device", "write", "now", "for_cpu", "word", "read", "config", "sleep", "wait"],
)
def test_when_the_device_has_its_turn(transport: InProcess, occasion: Any, has_turn: bool) -> None:
    buffer = transport.alloc(4096)
    order(transport, buffer.iova)
    occasion(transport, buffer)
    assert any(buffer.view) is has_turn


def test_memory_disabled_is_the_functions_business(transport: InProcess, alone: Alone) -> None:
    transport.config_write(COMMAND, 2, 0)
    bar = transport.bar(0)
    bar.u32[SCRATCH // 4] = 5
    assert (bar.u32[SCRATCH // 4], bar.u16[0]) == (0xFFFFFFFF, 0xFFFF)
    assert alone.function.banks[0]["scratch"].value == 0x11111111


def test_close_leaves_the_function_clean(transport: InProcess, alone: Alone) -> None:
    transport.alloc(4096)
    transport.enable_irqs(2)
    transport.close()
    assert len(alone.function.dma) == 0
    assert not alone.function.config["command"].get("bus_master")
    assert alone.function.msix is not None and not alone.function.msix.enabled


# -- time


def test_manual_time_passes_by_waiting_only(transport: InProcess) -> None:
    transport.enable_irqs(1)
    started = transport.now()
    for _ in range(100):
        transport.bar(0).u32[0]
    assert transport.now() == started
    transport.sleep(0.25)
    transport.wait_irq(0.5)
    assert transport.now() - started == 0.75


def test_manual_time_reaches_deadlines_that_are_no_whole_nanoseconds(transport: InProcess) -> None:
    transport.enable_irqs(1)
    for i in range(100):
        transport.sleep(0.001 * i + 1e-10)
        assert list(transport.wait_irq(0.01)) == []


def test_timers_of_the_device_run_at_their_time(transport: InProcess, alone: Alone) -> None:
    times: list[float] = []
    for due in (300_000, 100_000, 7_000_000):
        alone.loop.call_at(due, lambda: times.append(transport.now()))
    transport.sleep(0.001)
    assert times == [0.0001, 0.0003] and transport.now() == 0.001


def test_a_wait_ends_when_a_timer_interrupts(transport: InProcess, alone: Alone) -> None:
    transport.enable_irqs(3)
    alone.loop.call_at(2_000_000, lambda: alone.function.host.irq(2))
    assert list(transport.wait_irq(10)) == [2]
    assert transport.now() == 0.002


def test_a_device_that_never_rests_does_not_stop_the_clock(transport: InProcess, alone: Alone) -> None:
    busy = alone.loop.poll(lambda: True)
    transport.enable_irqs(1)
    assert list(transport.wait_irq(0.001)) == []
    busy.cancel()
    assert transport.now() == 0.001


def test_waiting_in_real_time_does_not_burn(tmp_path: Path) -> None:
    """A datagram from outside ends the wait, long before its time is up."""
    here, there = tmp_path / "card", tmp_path / "peer"
    sender, receiver = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    receiver.bind(str(there))
    transport, *_ = in_process.open_functions(IGBVF, net=f"dgram:local={here},remote={there}")
    with transport, sender, receiver:
        seen: list[object] = []
        world: Any = transport._world
        world.card.ports[0].switch.observer = lambda *event: seen.append(event)
        spent = time.thread_time()
        transport.sleep(0.2)
        assert time.thread_time() - spent < 0.1 and not seen
        sender.sendto(bytes(6) + b"\2" * 6 + bytes(48), str(here))
        transport.sleep(0.001)
        assert seen


# -- opening


def test_two_functions_of_one_card_share_its_world() -> None:
    one, other = in_process.open_functions(IGBVF, 2, clock="manual", vfs="2")
    assert [one.name, other.name] == ["inprocess vf0", "inprocess vf1"]
    one.sleep(0.5)
    assert other.now() == 0.5
    one.close()
    assert other.config_read(0, 4) == 0x10CA8086
    other.close()


def test_open_transport_opens_a_model() -> None:
    with open_transport("inprocess", IGBVF, net="none", clock="manual") as transport:
        assert transport.name == "inprocess"
        assert transport.config_read(0, 4) == 0x10CA8086


@pytest.mark.parametrize(
    ("via", "options", "says"),
    [
        ("inprocess:7", {}, "nothing after its name"),
        ("inprocess", {"clock": "sundial"}, "'real' or 'manual', not 'sundial'"),
        ("inprocess", {"net": "pigeon:"}, "no such back end"),
        ("inprocess", {"net": ["none", "none"]}, "2 --net for 1 ports"),
        ("inprocess", {"colour": "red"}, "'colour'"),
        ("inprocess", {"count": 9}, "not 9"),
        ("vfio", {}, "write it as vfio:BDF"),
        ("vfio-user:", {}, "write it as vfio-user:SOCKET"),
        ("replay", {}, "write it as replay:FILE"),
        ("tee:", {}, "write it as tee:OURS,THEIRS"),
        ("pcie", {}, "no such transport; write one of inprocess, replay:FILE, tee:OURS,THEIRS, vfio:BDF, vfio-user:SOCKET"),
        ("", {}, "no such transport"),
        ("vfio:0000:00:02.0", {"net": "none"}, "no option 'net'"),
    ],
)
def test_what_cannot_be_opened(via: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        open_transport(via, IGBVF, **options)
    assert "\n" not in str(caught.value)


def test_without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "entry_points", lambda **_: ())
    with pytest.raises(NotSupported, match="install all of regmodel"):
        open_transport("inprocess", IGBVF)
