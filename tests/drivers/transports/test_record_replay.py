"""Recording and replay: the contract with a recorder before it, and sessions that replay to the last byte, or say where not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.errors import DeviceTimeout, ReplayMismatch
from drivers.registers import Registers
from drivers.transports import Transport
from drivers.transports.capabilities import BUS_MASTER, COMMAND, MEMORY_SPACE
from drivers.transports.in_process import InProcess
from drivers.transports.record import Record
from drivers.transports.recording import read_recording
from drivers.transports.replay import Replay
from drivers.transports.replay import open as open_replay
from emulators.alone import open_functions
from regmodel.devices.igbvf import IGBVF, IGBVF_I350
from regmodel.errors import RegmodelError, UsageError
from regmodel.function import Irq
from tests.drivers.transports.contract import (
    DMA_GO,
    DMA_HIGH,
    DMA_LOW,
    DMA_RESULT,
    MESSAGE,
    SCRATCH,
    Bench,
    Contract,
    ring_of,
)  # fmt: skip
from tests.emulators.pci import testdevice

Session = Callable[[Transport], object]


class TestContract(Contract):
    """A recorder changes nothing that a driver can see."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        alone = open_functions(testdevice.DEVICE, clock="manual")

        def opened(name: str) -> Record:
            return Record(InProcess(alone.function, alone), testdevice.DEVICE, tmp_path / name)

        with opened("first") as transport:
            yield Bench(transport, ring_of(alone.function), lambda: opened("second"))
        alone.close()


def record(path: Path, session: Session, device: Any = testdevice.DEVICE) -> object:
    """What ``session`` gives on a model of ``device``, recorded."""
    alone = open_functions(device, clock="manual")
    try:
        with Record(InProcess(alone.function, alone), device, path) as transport:
            return session(transport)
    finally:
        alone.close()


def replay(path: Path, session: Session, device: Any = testdevice.DEVICE, *, tolerant: bool = False) -> object:
    with Replay(read_recording(path), device, tolerant=tolerant) as transport:
        return session(transport)


def dma_session(transport: Transport, *, look: int = 1, value: int = 0xFEED, give: bytes = b"hello") -> list[object]:
    """A little of everything; ``look`` times at each thing that may be looked at."""
    transport.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
    transport.enable_irqs(3)
    bar = transport.bar(0)
    buffer = transport.alloc(4096)
    buffer.view[100 : 100 + len(give)] = give
    buffer.sync_for_device(0, 512)
    for at, word in ((SCRATCH, value), (DMA_LOW, buffer.iova), (DMA_HIGH, 0), (DMA_GO, 1)):
        bar.u32[at // 4] = word
    for _ in range(look):
        result = bar.u32[DMA_RESULT // 4]
        transport.sleep(0.001)
    for _ in range(look):
        buffer.sync_for_cpu()
    bar.u32[MESSAGE // 4] = 2
    fired = [vector for _ in range(look) for vector in transport.wait_irq(0.01)]
    return [result, bytes(buffer.view[:128]), fired, transport.irq_vectors(Irq.MSI)]


# -- any session replays


OPERATIONS = st.one_of(
    st.tuples(st.just("read"), st.sampled_from([0, SCRATCH, 8, DMA_LOW, DMA_RESULT, 0x80]), st.sampled_from([1, 2, 4, 8])),
    st.tuples(st.just("write"), st.sampled_from([SCRATCH, 8, DMA_LOW, DMA_GO, MESSAGE]), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("config"), st.sampled_from([0, 4, 6, 0x84]), st.sampled_from([1, 2, 4])),
    st.tuples(st.just("command"), st.sampled_from([0, 2, 6])),
    st.tuples(st.just("alloc"), st.integers(-1, 9000)),
    st.tuples(st.just("free"), st.integers(0, 3)),
    st.tuples(st.just("fill"), st.integers(0, 3), st.integers(0, 4000), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("dma"), st.integers(0, 3), st.integers(0, 4000)),
    st.tuples(st.just("take"), st.integers(0, 3), st.integers(0, 5000), st.integers(0, 5000)),
    st.tuples(st.just("irqs"), st.integers(0, 4)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.001])),
    st.tuples(st.just("sleep"), st.sampled_from([0.0, 0.25])),
    st.tuples(st.sampled_from(["now", "reset", "noirqs", "vectors", "bar"])),
)


def perform(transport: Transport, operations: list[tuple[Any, ...]]) -> list[object]:
    """All that a driver sees while it does ``operations``: values, memory, errors."""
    seen: list[object] = []
    buffers: list[Any] = []
    for operation in operations:
        try:
            seen.append(one(transport, buffers, operation))
        except RegmodelError as error:
            seen.append((type(error), str(error)))
    return seen


def one(transport: Transport, buffers: list[Any], operation: tuple[Any, ...]) -> object:
    verb, *rest = operation
    buffer = buffers[rest[0] % len(buffers)] if buffers and verb in ("free", "fill", "dma", "take") else None
    match verb, *rest:
        case "read", offset, size:
            return transport.bar(0).read(offset, size)
        case "write", offset, value:
            transport.bar(0).u32[offset // 4] = value
        case "config", offset, size:
            return transport.config_read(offset, size)
        case "command", value:
            transport.config_write(COMMAND, 2, value)
        case "alloc", size:
            buffers.append(transport.alloc(size))
            return buffers[-1].iova, buffers[-1].size
        case "free", _ if buffer:
            buffer.free()
        case "fill", _, offset, data if buffer:
            buffer.view[offset : offset + len(data)] = data
            buffer.sync_for_device(offset)
        case "dma", _, offset if buffer:
            for at, value in ((DMA_LOW, buffer.iova + offset), (DMA_HIGH, 0), (DMA_GO, 1)):
                transport.bar(0).u32[at // 4] = value
        case "take", _, offset, size if buffer:
            buffer.sync_for_cpu(offset, size)
            return bytes(buffer.view[offset : offset + size])
        case "irqs", count:
            transport.enable_irqs(count)
        case "wait", timeout:
            return list(transport.wait_irq(timeout))
        case "sleep", seconds:
            transport.sleep(seconds)
        case "now":
            return transport.now()
        case "reset":
            transport.reset()
        case "noirqs":
            transport.disable_irqs()
        case "vectors":
            return transport.irq_vectors(Irq.MSI)
        case "bar":
            return transport.bar(5)
    return None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(OPERATIONS, max_size=40))
def test_any_session_replays_strictly(tmp_path: Path, operations: list[tuple[Any, ...]]) -> None:
    path = tmp_path / "session"
    seen = record(path, lambda t: perform(t, operations))
    assert replay(path, lambda t: perform(t, operations)) == seen


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(OPERATIONS.filter(lambda o: o[0] not in ("now", "free")), max_size=40))
def test_what_a_session_does_replays_tolerantly(tmp_path: Path, operations: list[tuple[Any, ...]]) -> None:
    """Not what it sees at each look, but none of its actions is refused, and memory ends the same."""
    path = tmp_path / "session"
    doing = [*operations, ("take", 0, 0, 4096)]
    seen = record(path, lambda t: perform(t, doing))
    again = replay(path, lambda t: perform(t, doing), tolerant=True)
    assert isinstance(seen, list) and isinstance(again, list)
    assert [e for e in seen if isinstance(e, tuple)] == [e for e in again if isinstance(e, tuple)]
    assert seen[-1] == again[-1]


def test_the_file_of_a_session(tmp_path: Path) -> None:
    """The format, as ``recording`` describes it."""
    path = tmp_path / "session"
    record(path, dma_session)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"regmodel-recording": 1, "device": "testdevice", "transport": "inprocess", "virtualised": []}
    assert ["config_write", 4, 2, 6, None] in lines and ["alloc", 4096, [0x10000000, 4096]] in lines
    assert ["to_device", 0x10000000, 0, 512, [[100, b"hello".hex()]], None] in lines
    assert ["to_cpu", 0x10000000, 0, 4096, [[0, "edfe"]]] in lines
    assert ["wait_irq", 0.01, [2]] in lines and lines[-1] == ["close", None]


# -- deviations


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize(
    ("session", "message"),
    [
        (lambda t: dma_session(t, value=5), r"line 7: recorded: write scratch = 0xfeed; the driver: write scratch = 0x5$"),
        (lambda t: dma_session(t, give=b"hellO"), r"memory from 0x10000068 on .* as 6f -- .*; the driver: 4f -- "),
        (lambda t: (dma_session(t), t.bar(0).write(8, 4, 1)), r"close\(\); the driver: write events = 0x1 \(first=1\)"),
        (lambda t: t.config_write(4, 2, 3), r"write command = 0x6 \(memory_space.*the driver: write command = 0x3 \(io_space"),
        (lambda t: t.alloc(4096), r"line 2: recorded: write command .*; the driver: alloc\(4096\)$"),
        (lambda t: t.close(), r"line 2: recorded: write command .*; the driver: close\(\)$"),
        (lambda t: t.config_read(0x84, 1), r"the driver: read vendor_scratch"),
    ],
)
def test_deviations(tmp_path: Path, session: Session, message: str, tolerant: bool) -> None:
    path = tmp_path / "session"
    record(path, dma_session)
    with pytest.raises(ReplayMismatch, match=message) as found:
        replay(path, session, tolerant=tolerant)
    assert "\n" not in str(found.value) and str(path) in str(found.value)


def test_a_mismatch_is_not_hidden_by_cleaning_up(tmp_path: Path) -> None:
    """Whatever the driver tries after it, the first is what he is told."""
    path = tmp_path / "session"
    record(path, dma_session)
    transport = Replay(read_recording(path), testdevice.DEVICE)
    with pytest.raises(ReplayMismatch, match=r"the driver: alloc\(1\)$"), transport:
        try:
            transport.alloc(1)
        finally:
            transport.disable_irqs()
    with pytest.raises(UsageError, match="has been closed"):
        transport.config_read(0, 4)


# -- polls of another length


@pytest.mark.parametrize(("then", "now"), [(1, 3), (3, 1), (5, 5)])
def test_looking_more_or_less_often(tmp_path: Path, then: int, now: int) -> None:
    path = tmp_path / "session"
    seen = record(path, lambda t: dma_session(t, look=then))
    assert replay(path, lambda t: dma_session(t, look=now), tolerant=True) == seen
    if then != now:
        with pytest.raises(ReplayMismatch):
            replay(path, lambda t: dma_session(t, look=now))


def mailbox_session(transport: Transport, pause: float) -> list[int]:
    """Wait until the PF has announced itself; each poll has its own pace."""
    transport.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
    dev: Any = Registers(IGBVF, transport)
    dev.ctrl.write(rst=1)
    end = transport.now() + 1
    seen = []
    while transport.now() < end:
        seen.append(dev.v2pmailbox.rsti)
        if not seen[-1]:
            break
        transport.sleep(pause)
    dev.v2pmailbox.write(vfu=1)
    return [seen[-1], dev.v2pmailbox.vfu]


def test_a_driver_with_another_pace(tmp_path: Path) -> None:
    path = tmp_path / "session"
    seen = record(path, lambda t: mailbox_session(t, 1e-5), IGBVF)
    assert replay(path, lambda t: mailbox_session(t, 0.01), IGBVF, tolerant=True) == seen


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """A recording of igbvf from its lines."""

    def write(*lines: list[Any]) -> Path:
        path = tmp_path / "written"
        head = {"regmodel-recording": 1, "device": "igbvf", "transport": "by hand", "virtualised": []}
        path.write_text("".join(json.dumps(line) + "\n" for line in (head, ["bar", 0, 16384], ["bar", 3, 16384], *lines)))
        return path

    return write


V2P = ("read", 0, 0xC40, 4)


def test_cleared_bits_are_given_once(written: Any) -> None:
    path = written([*V2P, 0x40], [*V2P, 0x40], [*V2P, 0x60], [*V2P, 0x40], ["close", None])
    values = replay(path, lambda t: [t.bar(0).read(0xC40, 4) for _ in range(5)], IGBVF, tolerant=True)
    assert values == [0x40, 0x60, 0x40, 0x40, 0x40]


def test_what_was_not_looked_at_is_not_lost(written: Any) -> None:
    """The driver acts after fewer looks; PFACK, which it did not see, comes with its next look."""
    act = ["write", 0, 0xC40, 4, 1, None]
    path = written([*V2P, 0], [*V2P, 0x20], act, [*V2P, 0x10], ["close", None])

    def session(t: Transport) -> list[int]:
        first = t.bar(0).read(0xC40, 4)
        t.bar(0).write(0xC40, 4, 1)
        return [first, t.bar(0).read(0xC40, 4), t.bar(0).read(0xC40, 4)]

    assert replay(path, session, IGBVF, tolerant=True) == [0, 0x30, 0]


def test_memory_progresses_one_step_per_look(written: Any) -> None:
    take = ["to_cpu", 0x10000000, 0, 4096]
    path = written(
        ["alloc", 4096, [0x10000000, 4096]], [*take, []], [*take, [[0, "01"]]], [*take, []], [*take, [[1, "02"], [4000, "03"]]],
        ["close", None],
    )  # fmt: skip

    def session(t: Transport) -> list[bytes]:
        buffer = t.alloc(4096)
        seen = []
        for _ in range(3):
            buffer.sync_for_cpu(0, 16)
            seen.append(bytes(buffer.view[:2]))
        buffer.sync_for_cpu()
        return [*seen, bytes(buffer.view[4000:4001])]

    assert replay(path, session, IGBVF, tolerant=True) == [b"\1\0", b"\1\2", b"\1\2", b"\3"]


def test_a_driver_that_waits_for_what_does_not_come(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait with a deadline ends by it; one without is stopped."""
    from drivers.transports import looks

    path = written([*V2P, 0], ["now", 5.0], ["write", 0, 0xC40, 4, 1, None], ["close", None])
    with pytest.raises(DeviceTimeout):
        replay(path, lambda t: Registers(IGBVF, t).v2pmailbox.wait(pfsts=1, timeout=0.5), IGBVF, tolerant=True)

    def forever(t: Transport) -> None:
        while not t.bar(0).read(0xC40, 4):
            pass

    monkeypatch.setattr(looks, "PATIENCE", 100)
    with pytest.raises(ReplayMismatch, match=r"recorded: write v2pmailbox = 0x1 \(req=1\); the driver has looked 100 times"):
        replay(path, forever, IGBVF, tolerant=True)


def test_errors_are_replayed(written: Any) -> None:
    path = written([*V2P, {"raise": ["DeviceGone", "unplugged"]}], ["close", None])
    for tolerant in (False, True):
        with pytest.raises(RegmodelError, match="unplugged") as found:
            replay(path, lambda t: (t.bar(0), t.bar(3), t.bar(0).read(0xC40, 4))[2], IGBVF, tolerant=True)
        assert type(found.value).__name__ == "DeviceGone", tolerant


# -- files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no recording: it has no whole first line"),
        (b'{"regmodel-rec', "is no recording: it has no whole first line"),
        (b"\x7fELF\n", "is no recording: its first line is not the header of one"),
        (b"[1]\n", "is no recording"),
        (b'{"regmodel-recording": 2}\n', "is a recording of version 2; this is version 1: record again"),
        (b'{"regmodel-recording": 1}\n', "line 1: the header is damaged"),
        (b'HEAD\n["read",0\n["close",null]\n', r'line 2 is damaged: \'\["read",0\'; record again'),
        (b'HEAD\n["read",0,4]\n', "line 2 is damaged"),
        (b'HEAD\n["levitate",null]\n', "line 2 is damaged"),
        (b'HEAD\n["to_cpu",0,0,4,[[0,"0"]]]\n', "line 2 is damaged"),
        (b'HEAD\n["reset",{"raise":["SystemExit","no"]}]\n', "line 2 is damaged"),
        (b"HEAD\n\n", "line 2 is damaged"),
        (b'HEAD\n["read",0,8,4,"x"]\n', "line 2 is damaged"),
        (b'HEAD\n["read",0,8,4,null]\n', "line 2 is damaged"),
        (b'HEAD\n["write",0,"8",4,1,null]\n', "line 2 is damaged"),
        (b'HEAD\n["alloc",4096,[4096]]\n', "line 2 is damaged"),
        (b'HEAD\n["wait_irq",1,["x"]]\n', "line 2 is damaged"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "session"
    head = b'{"regmodel-recording":1,"device":"igbvf","transport":"x","virtualised":[]}'
    path.write_bytes(content.replace(b"HEAD", head))
    with pytest.raises(UsageError, match=message) as found:
        open_replay(str(path), IGBVF)
    assert "\n" not in str(found.value) and str(path) in str(found.value)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nosuch cannot be read: No such file"):
        open_replay(str(tmp_path / "nosuch"), IGBVF)
    with pytest.raises(UsageError, match="cannot be written: Is a directory"):
        record(tmp_path, dma_session)
    with pytest.raises(UsageError, match="cannot be written: No space left on device"):
        record(Path("/dev/full"), dma_session)
    path = tmp_path / "session"
    record(path, dma_session)
    with pytest.raises(UsageError, match="is a recording of testdevice, not of igbvf-i350"):
        open_replay(str(path), IGBVF_I350)
    with pytest.raises(UsageError, match="'strict' or 'tolerant'"):
        open_replay(str(path), IGBVF_I350, mode="kind")


KILLED = """
import sys, time
from drivers.transports.in_process import InProcess
from drivers.transports.record import Record
from emulators.alone import open_functions
from tests.emulators.pci import testdevice
alone = open_functions(testdevice.DEVICE, clock="manual")
transport = Record(InProcess(alone.function, alone), testdevice.DEVICE, sys.argv[1])
for i in range(100):
    transport.bar(0).u32[1] = i
print("written", flush=True)
time.sleep(60)
"""


def test_a_recorder_that_is_killed_leaves_all_that_it_did(tmp_path: Path) -> None:
    path = tmp_path / "session"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    try:
        assert child.stdout is not None and child.stdout.readline() == "written\n"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)

    def session(t: Transport, count: int = 100) -> None:
        for i in range(count):
            t.bar(0).u32[1] = i

    assert len(read_recording(path).entries) == 101
    replay(path, session)
    with pytest.raises(ReplayMismatch, match=r"the recording has ended \(it was cut off\); the driver: write scratch = 0x64"):
        replay(path, lambda t: session(t, 101))
    path.write_bytes(path.read_bytes()[:-5])  # the disk was full
    with pytest.raises(ReplayMismatch, match=r"has ended \(it was cut off\); the driver: write scratch = 0x63"):
        replay(path, session)
