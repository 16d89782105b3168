"""Fixtures of guest tests: a served card and guests with its VFs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, VfioUser


class Bench:
    """A served card and the guests that use it; all ends with the test."""

    def __init__(self, lab: Lab, device: str, kernel: str, stack: ExitStack) -> None:
        self.lab, self.device, self.kernel, self._stack = lab, device, kernel, stack
        self.server: ServerProcess

    def serve(self, count: int = 1, **more: Any) -> ServerProcess:
        """Serve ``count`` VFs of one card in a process of its own."""
        self.server = self._stack.enter_context(ServerProcess([self.device] * count, **more))
        self.lab.on_failure("server", self.server.save_evidence)
        return self.server

    def guest(self, *vfs: int, **more: Any) -> VM:
        """A running guest with these VFs (by socket), its stock igbvf loaded and the interfaces named eth0, eth1, ..."""
        return self._stack.enter_context(self.machine(*vfs, **more))

    def guests(self, *machines: VM) -> tuple[VM, ...]:
        """Several guests, booted at the same time."""
        return tuple(self._stack.enter_context(self.lab.together(*machines)))

    def machine(self, *vfs: int, **more: Any) -> VM:
        """A guest that is not started yet."""
        more.setdefault("modules", ["igbvf"])
        devices = [VfioUser(str(self.server.sockets[vf])) for vf in vfs]
        return self.lab.vm(devices=devices, kernel=more.pop("kernel", self.kernel), **more)

    def ctl(self, *words: str) -> Any:
        """Steer the server."""
        with self.server.control() as client:
            return client.ask("ctl", words=list(words))

    def stats(self) -> dict[str, Any]:
        """All counters of the server."""
        with self.server.control() as client:
            return client.ask("stats")

    def pools(self) -> dict[str, dict[str, Any]]:
        """The counters of the first port's pools, by name."""
        found: dict[str, dict[str, Any]] = self.stats()["card"]["ports"][0]["pools"]
        return found

    def add_up(self, *functions: str) -> None:
        """The counter registers of each VF say what the switch says of its pool.

        The switch counts what it handed over, the VF what it had descriptors for, and 4 octets of FCS a frame.
        """
        for name in functions:
            pool, vf = self._at_one_moment(name)
            tx, rx, lost = pool["tx"], pool["rx"], pool["dropped"].get("no_buffers", 0)
            assert vf["vfgptc"] == tx["frames"] and vf["vfgotc"] == tx["octets"] + 4 * tx["frames"], (name, vf, pool)
            assert vf["vfgprc"] == rx["frames"] - lost, (name, vf, pool)
            if not lost:
                assert vf["vfgorc"] == rx["octets"] + 4 * rx["frames"], (name, vf, pool)

    def _at_one_moment(self, name: str) -> tuple[dict[str, Any], dict[str, int]]:
        """The counters of a pool and of its VF, which a guest's own multicast may move between two requests."""
        with self.server.control() as client:
            for _ in range(20):
                before = client.ask("stats")["card"]["ports"][0]["pools"][name]
                vf: dict[str, int] = client.ask("peek", function=name, paths=["vfgptc", "vfgotc", "vfgprc", "vfgorc"])
                if client.ask("stats")["card"]["ports"][0]["pools"][name] == before:
                    return before, vf
        raise AssertionError(f"{name} never rests")

    def listen(self, *kinds: str) -> list[dict[str, Any]]:
        """A list that grows with the server's events of these kinds from now on."""
        heard: list[dict[str, Any]] = []
        client = self._stack.enter_context(self.server.control())
        stream = client.events(kinds)

        def read() -> None:
            with contextlib.suppress(OSError, ValueError):
                for event in stream:
                    heard.append(event)

        threading.Thread(target=read, daemon=True).start()
        return heard


@pytest.fixture
def bench(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A card and guests for one cell: its ``device`` and ``kernel`` if the test varies them, the defaults otherwise."""
    params: dict[str, Any] = getattr(getattr(request.node, "callspec", None), "params", {})
    with ExitStack() as stack:
        yield Bench(lab, params.get("device", "igbvf"), params.get("kernel", "7.2"), stack)


@pytest.fixture
def clean() -> Callable[[VM], None]:
    """Asserts that a guest's kernel had nothing to complain about."""

    def check(vm: VM) -> None:
        assert vm.kernel_warnings() == []

    return check
