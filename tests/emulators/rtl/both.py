"""A simulation and the oracle side by side, to which the same is done; what is done is drawn from a seed."""

from __future__ import annotations

import random
from collections import Counter

from emulators.rtl.simulation import Simulation
from regmodel.export.verilog.ports import Role, field_port
from regmodel.function import ResetCause
from regmodel.registers import Bar, Register, Window
from tests.emulators.rtl.expected import Expected, Poke, driven

CAUSES = list(ResetCause)


class Both:
    """A simulation and what is expected of it, to which the same is done. Each step compares what is answered."""

    def __init__(self, bar: Bar, simulation: Simulation, seed: int) -> None:
        self.bar, self.simulation, self.expected = bar, simulation, Expected(bar)
        self.random = random.Random(seed)
        self.pokes = driven(bar)
        self.places = [(o, e.size) for e in bar.entries.values() for o in e.offsets]
        self.windows = [(n, e) for n, e in bar.entries.items() if isinstance(e, Window)]
        self.addresses = 1 << simulation.block.plan.address_width

    def run(self, steps: int) -> None:
        self.compare()
        for _ in range(steps):
            self.random.choices([self.access, self.drive, self.reset, self.look], [80, 14, 2, 4])[0]()
        self.compare()

    def access(self) -> None:
        """One access, usually of one register, every fifth with hardware in the same clock."""
        offset, size = self.random.choice(self.places)
        if self.random.random() < 0.3 or size not in (1, 2, 4, 8):
            size = self.random.choice([1, 2, 4, 8])
            offset = max(0, min(offset + self.random.randint(-5, 6), self.addresses - size))
        pokes = self.draw() if self.pokes and self.random.random() < 0.2 else []
        during = self.inputs(pokes)
        if self.random.random() < 0.5:
            value = self.random.choice([0, (1 << 64) - 1, self.random.getrandbits(64)]) & (1 << 8 * size) - 1
            self.simulation.write(offset, size, value, during)
            self.expected.write(offset, size, value, pokes)
            what = f"write of {size} at {offset:#x}, {value:#x}"
        else:
            found = self.simulation.read(offset, size, during)
            wanted = self.expected.read(offset, size, pokes)
            what = f"read of {size} at {offset:#x}"
            assert found == wanted, f"{what}: {found:#x}, not {wanted:#x}"
        told = Counter((t.role, t.register, t.field, t.element, t.value) for t in self.simulation.told() if t.role != "read")
        assert told == self.expected.told, f"{what}: hardware was told {told}, not {self.expected.told}"
        self.expected.told.clear()

    def draw(self) -> list[Poke]:
        """Hardware stores into some fields, of which each is named once."""
        some = self.random.sample(self.pokes, min(len(self.pokes), self.random.randint(1, 6)))
        return [p._replace(value=self.random.getrandbits(p.field.width)) for p in some]

    def inputs(self, pokes: list[Poke]) -> dict[str, int]:
        """The inputs that do it: by value and write enable, or by events, whichever comes up."""
        found: dict[str, int] = {}
        for poke in pokes:
            entry = self.bar.entries[poke.name]
            assert isinstance(entry, Register)
            index = poke.element * (entry.banked_by[1] if entry.banked_by else 1) + poke.instance
            ports = {role: field_port(poke.name, poke.field.name, role) for role in Role}
            every = (1 << poke.field.width) - 1
            if ports[Role.SET] in self.simulation.hardware.ports and self.random.random() < 0.5:
                parts = {Role.SET: poke.value, Role.CLEAR: poke.value ^ every}
            else:
                parts = {Role.NEXT: poke.value, Role.ENABLE: 1}
            for role, bits in parts.items():
                width = self.simulation.hardware.ports[ports[role]].width
                found[ports[role]] = found.get(ports[role], 0) | bits << index * width
        return found

    def drive(self) -> None:
        """Hardware stores while nobody accesses."""
        if self.windows and self.random.random() < 0.3:
            name, window = self.random.choice(self.windows)
            byte = self.random.randrange(window.size)
            word, lane = divmod(window.at % 4 + byte, 4)
            value = self.random.getrandbits(8)
            self.simulation.store(f"{self.bar.bar}.{name}[{word}]", value << 8 * lane, 0xFF << 8 * lane)
            self.expected.oracle.poke(window.at + byte, 1, value)
        elif self.pokes:
            pokes = self.draw()
            self.simulation.pulse(self.inputs(pokes))
            self.expected.poke(pokes)

    def reset(self) -> None:
        causes = self.random.sample(CAUSES, self.random.choice([1, 1, 1, 2]))
        self.simulation.reset(*causes)
        self.expected.reset(*causes)
        self.compare()

    def look(self) -> None:
        """One register as hardware sees it."""
        for state in self.random.sample(self.simulation.block.plan.states, min(1, len(self.simulation.block.plan.states))):
            self.same(state.owner.name, state.owner.element, state.instance or 0, state.index)

    def same(self, name: str, element: int, instance: int, index: int) -> None:
        found = self.simulation.value(f"{name}[{index}]")
        wanted = self.expected.word(name, element, instance)
        assert found == wanted, f"{name}, element {element}, instance {instance}: {found:#x}, not {wanted:#x}"

    def compare(self) -> None:
        """All state."""
        for state in self.simulation.block.plan.states:
            self.same(state.owner.name, state.owner.element, state.instance or 0, state.index)
        for name, window in self.windows:
            for word in range(window.at // 4, (window.at + window.size + 3) // 4):
                mask = sum(0xFF << 8 * b for b in range(4) if window.at <= 4 * word + b < window.at + window.size)
                wanted = sum(self.expected.oracle.peek(4 * word + b, 1) << 8 * b for b in range(4)) & mask
                assert self.simulation.value(f"{name}[{word - window.at // 4}]") & mask == wanted, f"{name}, word {word:#x}"
