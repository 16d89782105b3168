"""The conformance suite on a transport: what performs its accesses, and what stands between it and the device.

In here: from the suite's small objects to calls of ``drivers.transports.Transport``, and from what a user writes after
``--via`` to a target. Targets that are no transports (firmware, RTL) bring their own, found by entry point.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from importlib.metadata import entry_points
from types import TracebackType
from typing import Any, Protocol, Self

from drivers.errors import DeviceGone
from drivers.transports import DmaBuffer, Transport
from drivers.transports.capabilities import BUS_MASTER, COMMAND, has_flr
from regmodel.catalogue import Device
from regmodel.conformance import accesses as do
from regmodel.conformance.checks import Test
from regmodel.conformance.outcomes import Report
from regmodel.conformance.places import DECODING, Abilities
from regmodel.conformance.suite import TESTS, judge, select, unreached
from regmodel.errors import RegmodelError, UsageError
from regmodel.function import CONFIG_REGION, ResetCause

GROUP = "regmodel.conformance.targets"
"""Targets that are no transports: name is the scheme of ``--via``, value ``module:open``, called as ``open(rest, device)``
for a context manager that gives something like ``Judged``."""
SERVED = "vfio-user"
NAP = 1e-3


class Judged(Protocol):
    """A target of the suite, and what it can do."""

    name: str
    abilities: Abilities

    def perform(self, access: do.Access) -> int: ...


class Hardware:
    """The other side of the registers of a model in this process: its banks, by path."""

    _PATH = re.compile(r"(?:bar(\d)|config)\.(\w+)(?:\[(\d+)\])?")

    def __init__(self, function: Any) -> None:
        self._function = function

    def cell(self, path: str) -> Any:
        """The register instance ``bar0.eitr[1]``. Raises ``UsageError``."""
        found = self._PATH.fullmatch(path)
        if found is None:
            raise UsageError(f"{path}: no register is written like that; bar0.eitr[1] is")
        bar, name, element = found.groups()
        bank = self._function.config if bar is None else self._function.banks[int(bar)]
        return bank[name, int(element or 0)]


class TransportTarget:
    """``transport``, for the suite. ``reset_cause`` is what ``transport.reset`` is to the device."""

    def __init__(
        self,
        transport: Transport,
        device: Device,
        *,
        reset_cause: ResetCause,
        world: Any = None,
        peer: bool = True,
        neighbour: Transport | None = None,
    ) -> None:
        """``world`` is what holds the device, where that is this process: its registers can be seen from behind, its PF
        reset, its wire reached. ``peer``: the PF has a driver. ``neighbour`` leads to another function on the same wire."""
        function = world.function if world is not None else None
        self.name, self.transport, self._world = transport.name, transport, world
        self._reset_cause, self._function = reset_cause, function
        self._hardware = Hardware(function) if function is not None else None
        self._bars: dict[int, Any] = {}
        self._memory: list[DmaBuffer] = []
        virtualised = {part.name: part.value for part in transport.virtualised}
        self.abilities = Abilities(
            resets=frozenset({reset_cause, *((ResetCause.BUS, ResetCause.FLR) if function is not None else ())}),
            ports=function is not None,
            interrupts=True,
            memory=True,
            peer=peer and bool(device.mailboxes),
            peer_resets=world is not None and bool(device.mailboxes),
            wire=neighbour is not None or bool(getattr(getattr(world, "card", None), "ports", ())),
            raw_config=not virtualised,
            virtualised=virtualised,
            files=frozenset({*device.bars, CONFIG_REGION}),
        )
        self._do: dict[type, Callable[[Any], int | None]] = {
            do.Read: self._read, do.Write: self._write,
            do.ConfigRead: lambda a: transport.config_read(a.offset, a.size),
            do.ConfigWrite: lambda a: transport.config_write(a.offset, a.size, a.value),
            do.Reset: self._reset, do.Wait: lambda a: transport.sleep(a.seconds),
            do.Drive: self._drive, do.Observe: self._observe,
            do.Listen: self._listen, do.Fired: lambda a: sum(1 << v for v in transport.wait_irq(a.seconds)),
            do.Now: lambda a: round(transport.now() * 1e6), do.ResetPeer: self._reset_peer,
            do.Inject: lambda a: self._wire.send(a.frame), do.Heard: self._heard,
            do.Allocate: self._allocate, do.Store: self._store, do.Load: self._load,
        }  # fmt: skip
        self._wire: Any = None
        if neighbour is not None:
            from drivers.neighbour import Neighbour

            self._wire = Neighbour(neighbour, device)
        elif self.abilities.wire:
            from drivers.neighbour import Switch

            self._wire = Switch(world)
        self._decode()

    def perform(self, access: do.Access) -> int:
        """One access. Raises ``TargetGone`` when nobody is there any more, and what the transport raises."""
        try:
            return self._do[type(access)](access) or 0
        except DeviceGone as error:
            raise do.TargetGone(str(error)) from error

    def _bar(self, index: int) -> Any:
        if index not in self._bars:
            self._bars[index] = self.transport.bar(index)
        return self._bars[index]

    def _read(self, access: do.Read) -> int:
        return int(self._bar(access.bar).read(access.offset, access.size))

    def _write(self, access: do.Write) -> None:
        self._bar(access.bar).write(access.offset, access.size, access.value)

    def _reset(self, access: do.Reset) -> None:
        for buffer in self._memory:
            buffer.free()
        self._memory.clear()
        if access.cause is self._reset_cause:
            self.transport.reset()
        else:
            self.transport.disable_irqs()
            assert self._function is not None
            self._function.reset(access.cause)
        self._decode()

    def _decode(self) -> None:
        """Let BARs answer."""
        command = self.transport.config_read(COMMAND, 2)
        self.transport.config_write(COMMAND, 2, command & ~BUS_MASTER | DECODING)

    # -- the hardware's side

    def _drive(self, access: do.Drive) -> None:
        assert self._hardware is not None
        cell = self._hardware.cell(access.path)
        cell.value = cell.value & ~access.mask | access.value & access.mask

    def _observe(self, access: do.Observe) -> int:
        assert self._hardware is not None
        return int(self._hardware.cell(access.path).value)

    def _heard(self, access: do.Heard) -> int:
        from drivers.neighbour import looks

        frames: list[bytes] = []
        for _ in looks(self.transport, access.seconds, NAP):
            frames += [frame for frame in self._wire.heard() if frame[12:14] == do.CHECKS]
            if len(frames) >= access.frames:
                break
        return do.digest(frames)

    def _reset_peer(self, access: do.ResetPeer) -> None:
        self._world.card.control(["pf-reset"])

    # -- memory and interrupts

    def _listen(self, access: do.Listen) -> None:
        self.transport.disable_irqs()
        if access.count:
            self._master()
            self.transport.enable_irqs(access.count)

    def _master(self) -> None:
        command = self.transport.config_read(COMMAND, 2)
        self.transport.config_write(COMMAND, 2, command | BUS_MASTER)

    def _allocate(self, access: do.Allocate) -> int:
        self._master()
        buffer = self.transport.alloc(access.size)
        self._memory.append(buffer)
        return buffer.iova

    def _find(self, address: int, size: int) -> tuple[DmaBuffer, int]:
        for buffer in self._memory:
            if buffer.iova <= address and address + size <= buffer.iova + buffer.size:
                return buffer, address - buffer.iova
        raise UsageError(f"{address:#x}: no DMA memory was allocated there")

    def _store(self, access: do.Store) -> None:
        buffer, at = self._find(access.address, len(access.data))
        buffer.view[at : at + len(access.data)] = access.data
        buffer.sync_for_device(at, len(access.data))

    def _load(self, access: do.Load) -> int:
        buffer, at = self._find(access.address, access.size)
        buffer.sync_for_cpu(at, access.size)
        return int.from_bytes(buffer.view[at : at + access.size], "little")

    def close(self) -> None:
        """Let go of the transport, and of whoever is on the wire."""
        if self._wire is not None:
            with suppress(DeviceGone):
                self._wire.close()
        with suppress(DeviceGone):
            self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_target(
    via: str, device: Device, *, neighbour: str | None = None, **options: Any
) -> AbstractContextManager[Judged]:
    """What ``--via`` names, opened: a transport, or a target that registered itself. ``neighbour`` names another function of
    the same card in the same way, to talk to. Raises ``UsageError`` and theirs.
    """
    from drivers.transports.opening import not_taken, open_transport, schemes

    scheme, _, rest = via.partition(":")
    for ep in entry_points(group=GROUP, name=scheme):
        if neighbour:
            raise UsageError(f"--neighbour {neighbour}: {via} takes no neighbour")
        opener: Callable[..., AbstractContextManager[Judged]] = ep.load()
        if unknown := not_taken(opener, options):
            raise UsageError(f"--{unknown[0]}: --via {via} takes no such option; leave it out")
        return opener(rest, device, **options)
    if scheme == "inprocess":
        return _in_process(device, neighbour, **{**_said(rest), **options})
    if scheme not in schemes():
        every = sorted({*schemes(), *(ep.name for ep in entry_points(group=GROUP))} - {"replay"})
        raise UsageError(f"--via {via}: nothing of that name can be judged; there are {', '.join(every)}")
    transport = open_transport(via, device, **options)
    try:
        other = open_transport(neighbour, device, **options) if neighbour else None
        return TransportTarget(transport, device, reset_cause=_cause(scheme, transport), neighbour=other)
    except BaseException:
        transport.close()
        raise


def _said(rest: str) -> dict[str, str]:
    """``packed=on,queues=4``: options of the model, as for ``regmodel serve --option``."""
    pairs = [said.partition("=") for said in rest.split(",") if said]
    for name, equals, _ in pairs:
        if not equals:
            raise UsageError(f"--via inprocess:{rest}: {name!r} is no option of a model; those are written NAME=VALUE,...")
    return {name: value for name, _, value in pairs}


def _cause(scheme: str, transport: Transport) -> ResetCause:
    """A vfio-user server resets what it serves as a bus does; everybody else prefers a function level reset."""
    return ResetCause.FLR if scheme != SERVED and has_flr(transport) else ResetCause.BUS


def _in_process(device: Device, neighbour: str | None, **options: Any) -> TransportTarget:
    """A card of its own in this process, with the hardware's side of its registers; time passes only while the suite waits.

    With ``neighbour`` (``inprocess``), the second function of the card is on the wire, instead of the judge itself.
    """
    from drivers.errors import NotSupported
    from drivers.transports.in_process import GROUP as MODELS
    from drivers.transports.in_process import InProcess

    for ep in entry_points(group=MODELS, name="model"):
        if neighbour not in (None, "inprocess"):
            raise UsageError(f"--neighbour {neighbour}: beside a device in this process there is only 'inprocess'")
        world = ep.load()(device, 2 if neighbour else 1, **{"clock": "manual", **options})
        transport = InProcess(world.function, world, release=world.close)
        other = InProcess(world.functions[1], world, name="inprocess (neighbour)") if neighbour else None
        cause = ResetCause.FLR if has_flr(transport) else ResetCause.BUS
        return TransportTarget(transport, device, reset_cause=cause, world=world, neighbour=other)
    raise NotSupported(f"no device models are installed (entry point 'model' of group {MODELS}): install all of regmodel")


def judge_target(target: Judged, device: Device, tests: Sequence[Test] = TESTS, needless: bool = False) -> Report:
    """Judge what is open. ``tests`` and ``needless`` as for ``suite.judge``.

    A target that wants to know all accesses beforehand (a table for a guest image) has ``prepare``; what that takes counts.
    """
    began = time.monotonic()
    prepare: Callable[[Iterable[do.Access]], None] | None = getattr(target, "prepare", None)
    if prepare is not None:
        asked, _ = do.rehearse(judge(device, target.abilities, target=target.name, tests=tests, needless=needless), lambda a: 0)
        prepare(asked)
    report = do.run(judge(device, target.abilities, target=target.name, tests=tests, needless=needless), target)
    report.seconds = time.monotonic() - began
    return report


def judge_via(via: str, device: Device, *, tests: Iterable[str] = (), needless: bool = False, **options: Any) -> Report:
    """Open what ``via`` names and judge it by the tests of these names (all, if there are none).

    What cannot be opened (nobody at the socket, no simulator, no such card) is a report as well: all of it incomplete, for
    that reason. Raises ``UsageError`` for what was asked wrongly.
    """
    chosen = select(TESTS, tests)
    report: Report | None = None
    try:
        with open_target(via, device, **options) as target:
            report = judge_target(target, device, chosen, needless)
    except UsageError:
        raise
    except RegmodelError as error:
        report = report or unreached(device, via, chosen, str(error))
        report.stopped = report.stopped or str(error)
    return report
