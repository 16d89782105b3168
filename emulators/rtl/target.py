"""A whole device as RTL, for the conformance suite: one simulated register block per BAR.

What lives here: the suite's accesses, carried to simulations, and the wires that whoever uses the register blocks would draw
outside of them: a bit that resets the device (``Device.conduct``) leaves as a pulse and comes back as a reset of all blocks.
There is no configuration space: in silicon the PCI core has it, and this is what stands behind the BARs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from emulators.rtl.hardware import Told
from emulators.rtl.simulation import Simulation
from regmodel.catalogue import Description
from regmodel.conformance import accesses as do
from regmodel.conformance.places import Abilities
from regmodel.errors import UsageError
from regmodel.export.verilog import block
from regmodel.function import ResetCause
from regmodel.registers import Kind, Register

Mutate = Callable[[str], str]


class RtlTarget:
    """``device`` as RTL. ``mutate`` changes the Verilog of a BAR before it is compiled, by index of the BAR.

    ``only`` are the BARs to simulate; none: all. Raises ``SimulatorError`` where there is no simulator, ``DescriptionError``
    for BARs that are no register block.
    """

    name = "rtl"

    def __init__(
        self,
        device: Description,
        *,
        only: frozenset[int] | None = None,
        mutate: Mapping[int, Mutate] | None = None,
        room: Path | None = None,
    ) -> None:
        self._device, self.blocks = device, {}
        self._simulations: dict[int, Simulation] = {}
        self._events: dict[str, bool] = {}
        """By path: hardware set and cleared bits the last time; it does so and stores values by turns, to use all inputs."""
        self._wires = {
            (index, *effect.field.split(".")): effect.resets
            for index, bar in device.bars.items()
            for effect in device.conduct.effects
            if effect.resets is not None and effect.field.partition(".")[0] in bar.entries
        }
        self._told: Counter[tuple[int, str, int, str]] = Counter()
        """How often hardware was told, by (BAR, register, element, "written" or "read"); by "ones": which."""
        indexes = sorted(device.bars if only is None else only)
        self.abilities = Abilities(
            resets=frozenset(ResetCause),
            ports=True,
            tells=True,
            clocked=True,
            alone=True,
            sizes=frozenset({1, 2, 4}),
            files=frozenset(indexes),
            raw_config=False,
        )
        try:
            for index in indexes:
                self.blocks[index] = found = block(device, index)
                text = mutate[index](found.text) if mutate and index in mutate else None
                self._simulations[index] = Simulation(found, text=text, room=room)
        except BaseException:
            self.close()
            raise

    def perform(self, access: do.Access) -> int:
        """One access. Raises ``TargetGone`` when a simulation ended."""
        match access:
            case do.Read(bar, offset, size):
                value = self._bar(bar).read(offset, size)
                self._hear(bar)
                return value
            case do.Write(bar, offset, size, value):
                self._bar(bar).write(offset, size, value)
                self._hear(bar)
            case do.During(access, drive):
                return self._tie(access, drive)
            case do.Told(path):
                index, name, element = split(path)
                parts = ((index, name, element, role) for role in ("written", "read", "ones"))
                writes, reads, ones = (self._told.pop(part, 0) for part in parts)
                return do.telling(writes, reads, ones)
            case do.Reset(cause):
                self._reset(cause)
            case do.Drive(path, value, mask):
                events = self._events[path] = not self._events.get(path, True)
                simulation, rest = self._find(path)
                if mask and rest:
                    simulation.store(rest, value, mask, events)
            case do.Observe(path):
                simulation, rest = self._find(path)
                return simulation.value(rest) if rest else 0
            case do.Wait():
                pass  # nothing happens by itself
            case _:
                raise do.ConformanceError(f"a register block has no part in this: {access}")
        return 0

    def _bar(self, index: int) -> Simulation:
        if index not in self._simulations:
            raise UsageError(f"BAR {index} of {self._device.name} is not simulated")
        return self._simulations[index]

    def _find(self, path: str) -> tuple[Simulation, str]:
        """The block, and the path within it, of ``bar0.eitr[1]``; of a bank, the instance that its index register selects.

        The path is empty where nothing is stored: a doorbell, or beyond the last instance.
        """
        bar, name, index = split(path)
        simulation, rest = self._bar(bar), path.partition(".")[2]
        entry = simulation.block.bar.entries.get(name)
        if entry is None or entry.kind is Kind.DOORBELL:
            return simulation, ""
        if isinstance(entry, Register) and entry.banked_by is not None:
            select, count = entry.banked_by
            instance = simulation.value(select)
            return simulation, f"{name}[{index * count + instance}]" if instance < count else ""
        return simulation, rest

    def _tie(self, access: do.Read | do.Write, drive: do.Drive) -> int:
        """An access, and hardware in the same clock; value and write enable, or set and clear events, in turns per path."""
        turn = f"during {drive.path}"
        events = self._events[turn] = not self._events.get(turn, True)
        simulation, rest = self._find(drive.path)
        during = simulation.hardware.stores(rest, drive.value, drive.mask, simulation.signals, events) if rest else {}
        value = 0
        match access:
            case do.Read(bar, offset, size):
                value = self._bar(bar).read(offset, size, during)
            case do.Write(bar, offset, size, written):
                self._bar(bar).write(offset, size, written, during)
        self._hear(access.bar)
        return value

    def _hear(self, bar: int) -> None:
        """Keep what hardware is told, for ``Told``; a pulse that resets the device comes back as that reset."""
        for told in self._simulations[bar].told():
            if told.role in ("written", "read"):
                self._told[bar, told.register, told.element, told.role] += 1
            else:
                self._told[bar, told.register, told.element, "ones"] |= self._into(bar, told)
            cause = self._wires.get((bar, told.register, told.field)) if told.role == "pulse" else None
            if cause is not None:
                self._reset(cause)

    def _into(self, bar: int, told: Told) -> int:
        """Where in its register the ones stand: data is the whole, a pulse a field."""
        entry = self._device.bars[bar].entries[told.register]
        assert isinstance(entry, Register)
        return entry.named[told.field].into(0, told.value) if told.field else told.value

    def _reset(self, cause: ResetCause) -> None:
        for simulation in self._simulations.values():
            simulation.reset(cause)

    def close(self) -> None:
        """End all simulations."""
        for simulation in self._simulations.values():
            simulation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def split(path: str) -> tuple[int, str, int]:
    """BAR, register and element of ``bar0.eitr[1]``. Raises ``UsageError`` for what is in no BAR."""
    prefix, _, rest = path.partition(".")
    if not prefix.startswith("bar") or not prefix[3:].isdigit():
        raise UsageError(f"{path}: not in a BAR")
    name, _, index = rest.rstrip("]").partition("[")
    return int(prefix[3:]), name, int(index or 0)


def open_target(rest: str, device: Description) -> RtlTarget:
    """``--via rtl``: all BARs; ``--via rtl:DIRECTORY`` leaves Verilog and logs there."""
    return RtlTarget(device, room=Path(rest) if rest else None)
