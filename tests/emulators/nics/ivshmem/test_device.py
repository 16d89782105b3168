"""The device in this process: registers of both revisions, memory, doorbells, what a user may choose, state."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulators.alone import Alone, open_functions
from emulators.loop import Loop
from emulators.nics.ivshmem.card import IvshmemCard
from emulators.nics.ivshmem.client import ServerError
from emulators.nics.ivshmem.memory import anonymous
from emulators.nics.ivshmem.server import IvshmemServer
from emulators.pci.function import PciFunction
from emulators.serve import Running, Wanted
from regmodel.catalogue import find
from regmodel.errors import StateError, UsageError
from regmodel.function import Irq, ResetCause
from tests.emulators.nics.ivshmem.liar import open_descriptors

INTRMASK, INTRSTATUS, IVPOSITION, DOORBELL = 0, 4, 8, 12
ALL = 0xFFFF_FFFF


class Guest:
    """One function, with decoding and bus mastering on, and its interrupts listened to."""

    def __init__(self, alone: Alone, number: int = 0) -> None:
        self.alone, self.function = alone, alone.functions[number]
        self.fired: list[int] = []
        self.function.config_write(4, b"\x06\x00")
        for irq, count in self.function.irqs().items():
            if irq is not Irq.ERR:
                self.function.set_irqs(irq, 0, [lambda v=v: self.fired.append(v) for v in range(count)])  # type: ignore[misc]

    def read(self, offset: int, size: int = 4, bar: int = 0) -> int:
        return self.function.region_read(bar, offset, size)

    def write(self, offset: int, value: int, size: int = 4, bar: int = 0) -> None:
        self.function.region_write(bar, offset, size, value)

    def interrupts(self) -> list[int]:
        """Those since the last call."""
        self.alone.loop.settle()
        fired, self.fired = self.fired, []
        return fired


@pytest.fixture
def plugged() -> Iterator[Any]:
    """``plugged(device, count, **options)``: guests; all is given back in the end."""
    before, alones = open_descriptors(), []

    def plug(device: str, count: int = 1, **options: str) -> list[Guest]:
        alones.append(open_functions(find(device), count, **options))
        if device != "ivshmem":
            alones[-1].loop.settle()  # all have heard of each other
        return [Guest(alones[-1], number) for number in range(count)]

    yield plug
    for alone in alones:
        alone.close()
    assert open_descriptors() == before


class TestRegisters:
    @pytest.mark.parametrize("device", ["ivshmem-plain", "ivshmem-doorbell"])
    def test_revision_1(self, plugged: Any, device: str) -> None:
        """The single-device assertions of QEMU's tests/qtest/ivshmem-test.c; an interrupt is none of them."""
        (guest,) = plugged(device)
        assert [guest.read(o) for o in (INTRMASK, INTRSTATUS, IVPOSITION)] == [0, 0, 0]
        guest.write(INTRMASK, ALL)
        assert guest.read(INTRMASK) == ALL
        guest.write(INTRSTATUS, 1)
        assert (guest.read(INTRSTATUS), guest.read(INTRSTATUS)) == (1, 0)
        guest.write(IVPOSITION, 1)
        assert (guest.read(IVPOSITION), guest.read(DOORBELL)) == (0, 0)
        guest.write(DOORBELL, 8 << 16)
        assert guest.interrupts() == []
        guest.function.reset(ResetCause.BUS)
        guest.function.config_write(4, b"\x06\x00")
        assert guest.read(INTRMASK) == 0

    def test_everything_else_is_reserved(self, plugged: Any) -> None:
        (guest,) = plugged("ivshmem-plain")
        guest.write(16, ALL)
        assert guest.read(16) == 0 and guest.read(252) == 0
        guest.write(INTRMASK, 0x55, size=1)  # the specification knows four bytes only
        assert guest.read(INTRMASK) == 0

    def test_regions(self, plugged: Any) -> None:
        (plain,) = plugged("ivshmem-plain", size="1M")
        assert {r.index: r.size for r in plain.function.regions()} == {0: 256, 2: 1 << 20, 7: 256}
        (bell,) = plugged("ivshmem-doorbell", size="1M", vectors="200")
        assert {r.index: r.size for r in bell.function.regions()} == {0: 256, 1: 4096, 2: 1 << 20, 7: 256}
        memory = next(r for r in bell.function.regions() if r.index == 2)
        assert memory.mappable == ((0, 1 << 20),) and memory.fd is not None and os.fstat(memory.fd).st_size == 1 << 20
        assert bell.function.irqs() == {Irq.MSIX: 200}


class TestRevision0:
    def test_the_id_comes_late(self, plugged: Any) -> None:
        guests = plugged("ivshmem", 2)
        assert [g.read(IVPOSITION) for g in guests] == [ALL, ALL]
        guests[0].alone.loop.settle()
        assert [g.read(IVPOSITION) for g in guests] == [0, 1]

    def test_intx_is_status_and_mask(self, plugged: Any) -> None:
        first, second = plugged("ivshmem", 2)
        first.interrupts()
        line = second.function.config
        second.write(INTRMASK, 1)
        first.write(DOORBELL, 1 << 16)
        assert second.interrupts() == [0] and line["status"].get("interrupt_status") == 1
        assert second.read(INTRSTATUS) == 1 and line["status"].get("interrupt_status") == 0
        assert second.read(INTRSTATUS) == 0
        second.write(INTRMASK, 0)
        first.write(DOORBELL, 1 << 16)
        assert second.interrupts() == []
        second.write(INTRMASK, 2)
        assert line["status"].get("interrupt_status") == 0
        second.write(INTRMASK, 3)
        assert line["status"].get("interrupt_status") == 1
        second.function.reset(ResetCause.BUS)
        assert line["status"].get("interrupt_status") == 0

    def test_with_msix_there_is_no_intx(self, plugged: Any) -> None:
        first, second = plugged("ivshmem", 2, vectors="2")
        first.interrupts(), second.write(INTRMASK, ALL)
        first.write(DOORBELL, 1 << 16 | 1)
        assert second.interrupts() == [1] and second.read(INTRSTATUS) == 0


class TestDoorbells:
    def test_each_peer_and_vector(self, plugged: Any) -> None:
        guests = plugged("ivshmem-doorbell", 3, vectors="4")
        assert [g.read(IVPOSITION) for g in guests] == [0, 1, 2]
        for sender in guests:
            for number, receiver in enumerate(guests):
                for vector in range(4):
                    sender.write(DOORBELL, number << 16 | vector)
                    assert [g.interrupts() for g in guests] == [[vector] if g is receiver else [] for g in guests]

    @pytest.mark.parametrize("value", [7 << 16, 1 << 16 | 2, 1 << 16 | 0x100, ALL])
    def test_nobody_there(self, plugged: Any, value: int) -> None:
        """Ignored, and noted; 0x100 is where QEMU, which looks at eight bits of the vector, would ring vector 0."""
        guests = plugged("ivshmem-doorbell", 2, vectors="2")
        guests[0].write(DOORBELL, value)
        assert [g.interrupts() for g in guests] == [[], []]
        assert guests[0].function.host.diagnostics["doorbell-unheard"] == 1

    def test_a_guest_that_has_not_turned_msix_on_hears_nothing(self, plugged: Any) -> None:
        first, second = plugged("ivshmem-doorbell", 2)
        second.function.config_write(0x42, b"\x00\x00")
        first.write(DOORBELL, 1 << 16)
        assert second.interrupts() == []
        second.function.config_write(0x42, b"\x00\x80")
        assert second.interrupts() == []

    def test_a_peer_that_came_a_moment_ago(self, plugged: Any) -> None:
        """The server has said so already; nobody had the time to listen."""
        (first,) = plugged("ivshmem-doorbell")
        card = first.alone.card
        late = PciFunction(card.slots[1].device, first.alone.loop, card.slots[1])
        first.write(DOORBELL, 1 << 16)
        assert first.function.model.stats()["rung"] == 1
        first.alone.loop.settle()
        assert late.model.stats()["interrupts"] == 1  # type: ignore[attr-defined]
        late.close()

    def test_a_masked_vector_stays_pending(self, plugged: Any) -> None:
        first, second = plugged("ivshmem-doorbell", 2)
        second.write(12, 1, bar=1)
        first.write(DOORBELL, 1 << 16)
        assert second.interrupts() == [] and second.read(0x800, 8, bar=1) == 1
        second.write(12, 0, bar=1)
        assert second.interrupts() == [0] and second.read(0x800, 8, bar=1) == 0

    def test_many_rings_are_one_interrupt(self, plugged: Any) -> None:
        first, second = plugged("ivshmem-doorbell", 2)
        for _ in range(5):
            first.write(DOORBELL, 1 << 16)
        assert second.interrupts() == [0]


class TestMemory:
    def test_it_is_one_for_all_functions(self, plugged: Any) -> None:
        first, second = plugged("ivshmem-plain", 2, size="64K")
        for size in (1, 2, 4, 8):
            first.write(0x8000 + size, 0x1122334455667788 & ((1 << 8 * size) - 1), size, bar=2)
            assert second.read(0x8000 + size, size, bar=2) == 0x1122334455667788 & ((1 << 8 * size) - 1)
        first.function.reset(ResetCause.BUS)
        assert second.read(0x8001, 1, bar=2) == 0x88

    def test_a_file(self, plugged: Any, tmp_path: Path) -> None:
        path = tmp_path / "shm"
        (made,) = plugged("ivshmem-plain", memory=str(path), size="64K")
        made.write(0, 0xABCD, bar=2)
        assert path.read_bytes()[:2] == b"\xcd\xab" and path.stat().st_size == 65536
        (found,) = plugged("ivshmem-plain", memory=str(path))
        assert found.read(0, bar=2) == 0xABCD

    def test_a_file_that_shrinks_kills_nobody(self, plugged: Any, tmp_path: Path) -> None:
        path = tmp_path / "shm"
        (guest,) = plugged("ivshmem-plain", memory=str(path), size="64K")
        os.truncate(path, 4096)
        assert guest.read(8192, bar=2) == ALL
        guest.write(8192, 1, bar=2)
        assert path.stat().st_size == 4096 and guest.read(0, bar=2) == 0


class TestOptions:
    @pytest.mark.parametrize(
        ("device", "options", "text"),
        [
            ("ivshmem-plain", {"vectors": "2"}, "no option 'vectors'; it has size, memory"),
            ("ivshmem-doorbell", {"mac": "none"}, "no option 'mac'"),
            ("ivshmem-plain", {"size": "5M"}, "power of two"),
            ("ivshmem-plain", {"size": "2K"}, "at least 4K"),
            ("ivshmem-plain", {"size": ""}, "power of two"),
            ("ivshmem-doorbell", {"vectors": "0"}, "from 1 to 2048"),
            ("ivshmem-doorbell", {"vectors": "2049"}, "from 1 to 2048"),
            ("ivshmem", {"vectors": "x"}, "from 0 to 2048"),
            ("ivshmem-doorbell", {"server": "/x", "size": "4K"}, "size and server exclude each other"),
            ("ivshmem-plain", {"memory": "/nonexistent/x"}, "No such file"),
            ("ivshmem-plain", {"ports": "2"}, "leave --ports away"),
        ],
    )
    def test_refusals(self, device: str, options: dict[str, str], text: str) -> None:
        loop = Loop()
        with pytest.raises(UsageError, match=text):
            IvshmemCard(find(device), loop, **options)
        loop.close()

    def test_a_file_of_another_size(self, tmp_path: Path) -> None:
        (tmp_path / "shm").write_bytes(bytes(12288))
        loop = Loop()
        for more in ({}, {"size": "4K"}):
            with pytest.raises(UsageError, match="has 0x3000 bytes"):
                IvshmemCard(find("ivshmem-plain"), loop, memory=str(tmp_path / "shm"), **more)
        loop.close()

    def test_no_server_there(self, tmp_path: Path) -> None:
        before = open_descriptors()
        with pytest.raises(ServerError, match=r"cannot connect.*regmodel ivshmem-server"):
            open_functions(find("ivshmem-doorbell"), server=str(tmp_path / "s"))
        assert open_descriptors() == before


class TestServers:
    def test_a_card_serves_others(self, plugged: Any, tmp_path: Path) -> None:
        """Its own server listens; here the client is a card in another loop, which has to be worked meanwhile."""
        (host,) = plugged("ivshmem-doorbell", listen=str(tmp_path / "s"), size="64K", vectors="2")
        other = IvshmemCard(find("ivshmem-doorbell"), host.alone.loop, server=str(tmp_path / "s"), vectors="2")
        sock, _ = other.dial()
        host.alone.loop.settle()
        other.dial = lambda: (sock, "s")  # type: ignore[method-assign]
        function = PciFunction(other.slots[0].device, host.alone.loop, other.slots[0])
        function.config_write(4, b"\x06\x00")
        assert function.region_read(0, IVPOSITION, 4) == 1
        function.region_write(0, DOORBELL, 4, 1)
        assert host.interrupts() == [1]
        host.write(0, 77, bar=2)
        assert function.region_read(2, 0, 4) == 77
        other.close()
        function.close()
        host.interrupts()
        assert host.function.model.stats()["peers"] == {}

    def test_a_server_that_dies(self, plugged: Any, tmp_path: Path) -> None:
        """Peers go on without it; one diagnostic."""
        loop = Loop()
        server = IvshmemServer(loop, anonymous(1 << 16), 1, tmp_path / "s")
        card = IvshmemCard(find("ivshmem-doorbell"), loop, server=str(tmp_path / "s"))
        sockets = [card.dial()[0] for _ in range(2)]
        loop.settle()
        card.dial = lambda: (sockets.pop(0), "s")  # type: ignore[method-assign]
        functions = [PciFunction(slot.device, loop, slot) for slot in card.slots[:2]]
        loop.settle()
        server.close()
        loop.settle()
        assert [f.host.diagnostics for f in functions] == [{"server-gone": 1}] * 2
        fired: list[int] = []
        functions[1].config_write(4, b"\x06\x00")
        functions[1].set_irqs(Irq.MSIX, 0, [lambda: fired.append(1)])
        functions[0].config_write(4, b"\x06\x00")
        functions[0].region_write(0, DOORBELL, 4, 1 << 16)
        loop.settle()
        assert fired == [1]
        card.close()
        for function in functions:
            function.close()
        loop.close()


class TestSteering:
    def test_words(self, plugged: Any) -> None:
        first, second = plugged("ivshmem-doorbell", 2, vectors="2")
        card = first.alone.card
        assert card.control(["nic", "0", "status"]) == {
            "rung": 0, "lost": 0, "interrupts": 0, "id": 0, "vectors": 2, "server": True, "peers": {"1": 2},
        }  # fmt: skip
        card.control(["nic", "0", "ring", "1", "1"])
        assert second.interrupts() == [1]
        for words in (["nic", "0", "ring", "1", "2"], ["nic", "5", "status"], ["nic", "0", "x"], ["link", "up"], []):
            with pytest.raises(UsageError):
                card.control(words)
        json.dumps(card.stats())

    def test_state(self, plugged: Any) -> None:
        first, second = plugged("ivshmem-doorbell", 2, size="64K")
        first.write(INTRMASK, 0x1234)
        first.write(0, 99, bar=2)
        state = json.loads(json.dumps(first.function.save()))
        assert len(json.dumps(state)) < 100_000
        second.function.load(state)
        assert second.read(INTRMASK) == 0x1234 and second.read(IVPOSITION) == 1
        (other,) = plugged("ivshmem-doorbell", size="128K")
        with pytest.raises(StateError):
            other.function.load(state)
        assert other.read(INTRMASK) == 0


def test_what_is_served_is_described_as_large_as_it_is(tmp_path: Path) -> None:
    """Of the size that was asked for, which the device of the catalogue has not."""
    loop, named = Loop(), find("ivshmem-plain")
    running = Running(loop, [Wanted(named.name, named, tmp_path / "s")], options={"size": "64K"})
    try:
        [served], [function] = running.served, running.describe()["functions"]
        assert served.device.bars[2].size == function["bars"][2] == 64 << 10 != named.bars[2].size
        assert (served.device.name, served.device.identity) == (named.name, named.identity)
    finally:
        running.close()
        loop.close()
