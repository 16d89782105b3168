"""``--via firmware``: the conformance suite on a device that a guest image reaches, with no operating system between.

What may follow, after a colon:

- nothing: the device itself, served in a process of its own, behind QEMU's ``vfio-user-pci``;
- ``vfio-user:SOCKET``: what somebody serves there;
- a device of QEMU's own as ``-device`` spells it (``e1000e``), and ``igb/vf0`` for a VF of one, which the image enables by
  the PF's SR-IOV capability; ``pci:`` in front puts it on a conventional bus, where a device that knows both kinds is
  another one (``firmware:pci:virtio-net-pci,disable-legacy=off``);
- ``live`` in front of any of these (``firmware:live``, ``firmware:live:igb/vf0``): each access is a request to an image that
  waits for it. Else all of them are compiled into one table beforehand, ``prepare``, and answered when it has run: quick, but
  it leaves out what has to wait for an answer (interrupts, mailbox, rings).

Found by entry point. May not enter: what is asked, and what is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from emulators.process import ServerProcess
from emulators.qemu.firmware import FirmwareMachine, run
from emulators.qemu.lab import Lab
from emulators.qemu.live import Live
from emulators.qemu.machine import Device as Attached
from emulators.qemu.machine import RawDevice, VfioUser
from emulators.qemu.reached import LiveBuffer, Reached
from firmware.compiled import answers, asked
from firmware.format import Mode
from firmware.vectors import Program, at
from regmodel.catalogue import Device
from regmodel.conformance import accesses as do
from regmodel.conformance.places import DECODING, Abilities
from regmodel.errors import UsageError
from regmodel.function import CONFIG_REGION, ResetCause
from regmodel.registers import Register

SETTLE_US: Final = 1000
"""QEMU resets a device, its own or a served one, within the write that asks for it: nothing is there to be waited for."""
PLACE: Final = "01:00.0"
"""Behind a root port of its own, so that its bus can be reset."""
VFIO_USER: Final = dict.fromkeys(("CONFIG", "BARS", "COMMAND", "MSI", "MSIX_TABLE"), "QEMU's vfio-user-pci")
PLACED: Final = {"BARS": "the image, which has given the BARs their places and keeps them there"}


@dataclass(frozen=True)
class Place:
    """What is attached, and which of its functions is meant."""

    attached: Attached
    vf: int | None = None
    server: ServerProcess | None = None
    """The one that was begun for it, which ``ready`` waits for."""
    conventional: bool = False

    def ready(self) -> None:
        """Wait for the server, where it is ours. Raises its ``RegmodelError``."""
        if self.server is not None:
            self.server.ready()

    @property
    def served(self) -> bool:
        return isinstance(self.attached, VfioUser)

    def program(self) -> tuple[Program, int]:
        """A table that begins with whatever brings the function up, and its target."""
        program = Program()
        target = program.target(at(PLACE))
        if self.vf is not None:
            program.enable(target, DECODING)
            program.vfs(target, self.vf + 1, SETTLE_US)
            target = program.vf_of(target, self.vf)
        program.enable(target, DECODING)
        return program, target

    def abilities(self, device: Device, live: bool) -> Abilities:
        """What can be done with it.

        A VF that the image enabled has no driver on its PF, which would let interrupts and DMA of VFs happen (an igb's GPIE,
        VFTE and VFRE); and a reset of the bus would take it away. Nobody stands before its registers: configuration space is
        its own, with all that a VF leaves to its PF.
        """
        whole = live and self.vf is None
        resets = {ResetCause.FLR} if self.vf is not None else {ResetCause.FLR, ResetCause.BUS}
        if not _has_flr(device):
            resets.discard(ResetCause.FLR)
        return Abilities(
            resets=frozenset(resets), interrupts=whole, memory=whole, interactive=live, peer=self.served, raw_config=False,
            files=frozenset({*device.bars, CONFIG_REGION}),
            virtualised=VFIO_USER if self.served else PLACED if self.vf is None else {},
        )  # fmt: skip


def _has_flr(device: Device) -> bool:
    """Whether the function can be asked for a function level reset."""
    control = device.config.entries.get("pcie_device_control")
    return isinstance(control, Register) and control.named["initiate_flr"].access.writable


def place_of(rest: str, device: Device, stack: ExitStack) -> Place:
    """What ``rest`` names; a server that it takes is begun, and ends with ``stack``. Raises ``UsageError``."""
    if not rest:
        server = ServerProcess([device.name])
        stack.callback(server.stop)
        server.begin()
        return Place(VfioUser(server.sockets[0]), server=server)
    if rest.startswith("vfio-user:"):
        return Place(VfioUser(rest.removeprefix("vfio-user:")))
    found = re.fullmatch(r"(pci:)?([A-Za-z0-9][\w.=,-]*)(?:/vf(\d+))?", rest)
    if found is None:
        raise UsageError(f"firmware:{rest}: write firmware, firmware:vfio-user:SOCKET, firmware:e1000e, firmware:igb/vf0 or "
                         "firmware:pci:DEVICE on a conventional bus; or firmware:live:... for what has to wait for an answer")
    return Place(RawDevice(found[2]), int(found[3]) if found[3] else None, conventional=bool(found[1]))


class LiveTarget:
    """One function, for the suite, access by access."""

    def __init__(self, rest: str, device: Device, lab: Lab | None = None) -> None:
        self._stack = ExitStack()
        self._memory: list[LiveBuffer] = []
        with self._stack:  # what was begun ends when the rest fails
            place = place_of(rest, device, self._stack)
            self.name = f"firmware:live:{rest}" if rest else "firmware:live"
            self.abilities = place.abilities(device, live=True)
            program, target = place.program()
            machine = FirmwareMachine(
                lab or Lab(), [place.attached], program, mode=Mode.SERVE, root_port=True, conventional=place.conventional
            )
            place.ready()
            self._stack.enter_context(machine)
            self.reached = Reached(Live(machine), target, name=self.name, settle_us=SETTLE_US)
            self._stack = self._stack.pop_all()

    def perform(self, access: do.Access) -> int:
        """One access. Raises ``TargetGone`` when nobody is there any more."""
        reached = self.reached
        match access:
            case do.Read(bar, offset, size):
                return reached.read(bar, offset, size)
            case do.Write(bar, offset, size, value):
                reached.write(bar, offset, size, value)
            case do.ConfigRead(offset, size):
                return reached.read(CONFIG_REGION, offset, size)
            case do.ConfigWrite(offset, size, value):
                reached.write(CONFIG_REGION, offset, size, value)
            case do.Wait(seconds):
                reached.sleep(seconds)
            case do.Reset(cause):
                self._reset(cause)
            case do.Listen(count):
                reached.disable_irqs()
                if count:
                    reached.enable_irqs(count)
            case do.Fired(seconds):
                return sum(1 << vector for vector in reached.wait_irq(seconds))
            case do.Now():
                return round(reached.now() * 1e6)
            case do.Allocate() | do.Store() | do.Load():
                return self._in_memory(access)
            case _:
                raise UsageError(f"firmware cannot do this: {access}")
        return 0

    def _reset(self, cause: ResetCause) -> None:
        for buffer in self._memory:
            buffer.free()
        self._memory.clear()
        self.reached.disable_irqs()
        self.reached.reset_by(cause)

    def _in_memory(self, access: do.Allocate | do.Store | do.Load) -> int:
        if isinstance(access, do.Allocate):
            self._memory.append(self.reached.alloc(access.size))
            return self._memory[-1].iova
        size = len(access.data) if isinstance(access, do.Store) else access.size
        for buffer in self._memory:
            if buffer.iova <= access.address and access.address + size <= buffer.iova + buffer.size:
                view = buffer.view[access.address - buffer.iova :][:size]
                if isinstance(access, do.Load):
                    buffer.sync_for_cpu()
                    return int.from_bytes(view, "little")
                view[:] = access.data
                return 0
        raise UsageError(f"{access.address:#x}: no DMA memory was allocated there")

    def close(self) -> None:
        """End the machine, and the server where there is one."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)


class TableTarget:
    """One function, for a suite that was rehearsed: ``prepare`` runs all of its accesses at once, ``perform`` answers."""

    def __init__(self, rest: str, device: Device, lab: Lab | None = None) -> None:
        self._stack = ExitStack()
        with self._stack:
            self._place = place_of(rest, device, self._stack)
            self._stack = self._stack.pop_all()
        self.name = f"firmware:{rest}" if rest else "firmware"
        self.abilities = self._place.abilities(device, live=False)
        self._lab = lab or Lab()
        self._answers = do.Answers((), ())
        self._problem = ""
        self.seconds = 0.0
        """From the start of QEMU to the last result."""

    def prepare(self, accesses: Iterable[do.Access]) -> None:
        """Compile the accesses, run them, and keep the answers."""
        accesses = list(accesses)
        program, target = self._place.program()
        reads = asked(program, target, accesses, SETTLE_US)
        self._place.ready()
        result = run(self._lab, [self._place.attached], program, root_port=True, conventional=self._place.conventional)
        found = answers(result.results, reads)
        if len(found) < len(reads) and not result.problem:
            number = reads[len(found)]
            self._problem = f"vector {number}, {result.vectors[number]}: {result[number]}"
        self._problem = self._problem or result.problem
        self.seconds = result.seconds
        self._answers = do.Answers(accesses, found)

    def perform(self, access: do.Access) -> int:
        """The answer that was given. Raises ``TargetGone``, from where the run had stopped."""
        try:
            return self._answers.perform(access)
        except do.TargetGone as error:
            raise do.TargetGone(self._problem or str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)


def open_target(rest: str, device: Device) -> LiveTarget | TableTarget:
    """What follows ``firmware:``, opened."""
    mode, _, where = rest.partition(":")
    return LiveTarget(where, device) if mode == "live" else TableTarget(rest, device)
