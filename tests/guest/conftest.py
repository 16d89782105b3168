"""Fixtures of guest tests: a served card and guests with its VFs."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import pytest

from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, VfioUser
from regmodel.catalogue import find


class Bench:
    """A served card and the guests that use it, as a context manager; all ends with the test.

    Guests end first, even those that were there before a server: when one of them failed, it is then that all is kept.
    """

    def __init__(self, lab: Lab, device: str, kernel: str) -> None:
        self.lab, self.device, self.kernel = lab, device, kernel
        self._servers, self._stack = ExitStack(), ExitStack()
        self.server: ServerProcess

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._servers.push(self._stack)
        self._servers.__exit__(kind, error, trace)

    def serve(self, count: int = 1, **more: Any) -> ServerProcess:
        """Serve ``count`` functions of one card in a process of its own."""
        self.server = self._servers.enter_context(ServerProcess([self.device] * count, **more))
        return self.server

    def guest(self, *vfs: int, **more: Any) -> VM:
        """A running guest with these functions (by socket), its stock driver loaded, the interfaces named eth0, eth1, ..."""
        return self._stack.enter_context(self.machine(*vfs, **more))

    def guests(self, *machines: VM) -> tuple[VM, ...]:
        """Several guests, booted at the same time."""
        return tuple(self._stack.enter_context(self.lab.together(*machines)))

    def machine(self, *vfs: int, **more: Any) -> VM:
        """A guest that is not started yet."""
        more.setdefault("modules", list(find(self.device).drivers[:1]))
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
    """A card and guests for one cell: its ``device`` and ``kernel`` if the test varies them, the defaults otherwise.

    A module whose tests are all of one device that is no igb VF says so: ``DEVICE = "vmxnet3"``.
    """
    params: dict[str, Any] = getattr(getattr(request.node, "callspec", None), "params", {})
    device = params.get("device", getattr(request.module, "DEVICE", "igbvf"))
    found = Bench(lab, device, params.get("kernel", "7.2"))
    yield found
    error = request.node.stash.get(FAILURE, None)  # a fixture is not told of it, and guests and server keep what they know
    found.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


FAILURE = pytest.StashKey[BaseException]()
"""With what a test failed, or what was prepared for it."""


NO_FAILURE = (pytest.skip.Exception, pytest.xfail.Exception)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.when != "teardown" and call.excinfo is not None and not call.excinfo.errisinstance(NO_FAILURE):
        item.stash[FAILURE] = call.excinfo.value


@pytest.fixture
def clean() -> Callable[..., None]:
    """Asserts that a guest's kernel had nothing to complain about, but what a test asked for: a pattern that names it, and that
    it must have complained about.
    """

    def check(vm: VM, asked_for: str = "") -> None:
        complaints = vm.kernel_warnings()
        expected = [line for line in complaints if asked_for and re.search(asked_for, line)]
        assert [line for line in complaints if line not in expected] == []
        assert bool(expected) == bool(asked_for), f"the kernel never said {asked_for!r}"

    return check
