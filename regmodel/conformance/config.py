"""Tests of configuration space as enumeration sees it: capability lists, the sizes of BARs, what sets it going.

That its registers hold what they should is a matter of the register tests, which run on it as on any other file.
Sources: PCI Express Base Specification 5.0, 7.5.1.2.1 (BARs), 7.5.3.1 and 7.6.3 (capability headers).
"""

from __future__ import annotations

from functools import partial

from regmodel.conformance.accesses import Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Check, Checks, Skip, Test, closed
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.places import Place
from regmodel.function import CONFIG_REGION
from regmodel.pci import ConfigSpace

POINTER, EXTENDED = 0x34, 0x100
NO_CONFIG = "the target has no configuration space"
MOST = 48
"""More capabilities than configuration space has room for: the list is a loop."""


def capability_walk(bench: Bench) -> Checks:
    """Follow both lists from their beginning, as the device answers, and meet exactly the capabilities described."""
    config = getattr(bench.device, "config", None)
    if CONFIG_REGION not in bench.ground.files or not isinstance(config, ConfigSpace):
        yield Skip("config.capabilities_pointer", NO_CONFIG, Outcome.NOT_APPLICABLE)
        return
    if who := bench.abilities.virtualised.get("CONFIG"):
        yield Skip("config.capabilities_pointer", who, Outcome.VIRTUALISED)
        return
    yield Check("config.capabilities_pointer", partial(_walk, bench, config, False))
    if config.size > 0x100:
        first = next((c for c in config.capabilities if c.extended), None)
        if first is not None:
            yield Check(f"config.{first.name}_header", partial(_walk, bench, config, True))


def _walk(bench: Bench, config: ConfigSpace, extended: bool) -> Steps[None]:
    described = {c.at: c for c in config.capabilities if c.extended == extended}
    met: list[int] = []
    size, shift, width = (4, 20, 0xFFF) if extended else (2, 8, 0xFF)
    at = EXTENDED if extended else (yield from bench.read_at(CONFIG_REGION, POINTER, 1))
    path = iter([*described, 0])
    if not bench.abilities.interactive:
        at = next(path)
    while at and len(met) < MOST:
        met.append(at)
        header = yield from bench.read_at(CONFIG_REGION, at & ~3, size)
        if header & (0xFFFF if extended else 0xFF) != (described[at].id if at in described else None):
            bench.complain(f"config.{at:#x}", f"is a capability that is not described: {header:#x}")
        at = (header >> shift & width & ~3) if bench.abilities.interactive else next(path)
    if len(met) >= MOST:
        bench.complain(f"config.{met[0]:#x}", "begins a list of capabilities that does not end")
    for at in described.keys() - set(met):
        bench.complain(f"config.{described[at].name}_header", "is not in the list of capabilities")


def bar_sizing(bench: Bench) -> Checks:
    """Each BAR shows its size when ones are written to it, and keeps the address that is; so does the expansion ROM's."""
    places = [bench.ground.by_path.get(f"config.{name}") for name in (*(f"bar{i}" for i in range(6)), "expansion_rom")]
    command = bench.ground.by_path.get("config.command")
    if command is None:
        yield Skip("config.bar0", NO_CONFIG, Outcome.NOT_APPLICABLE)
        return
    for place in (p for p in places if p is not None):
        if skip := closed(bench, "bar_sizing", place):
            yield skip
        elif not bench.abilities.raw_config:
            yield Skip(place.path, "BARs cannot be moved on this target", Outcome.NOT_APPLICABLE)
        else:
            yield Check(place.path, partial(_size, bench, place, command))


def _size(bench: Bench, place: Place, command: Place) -> Steps[None]:
    """Ones, zeros, and an address; decoding is off meanwhile, as 7.5.1.2.1 asks."""
    yield from bench.act(command, 0)
    for value in (place.full, 0, 0x5A5A5A5A, 0xA5A5A5A5):
        yield from bench.act(place, value)
        yield from bench.read(place)
    yield from bench.act(place, place.rest)
    yield from bench.act(command, command.rest)
    yield from bench.read(command)


def enables(bench: Bench) -> Checks:
    """What sets a function going, and which other tests leave alone, goes off and on."""
    if "config.command" not in bench.ground.by_path:
        yield Skip("config.command", NO_CONFIG, Outcome.NOT_APPLICABLE)
    for name in ("command", "msi_message_control", "msix_message_control"):
        place = bench.ground.by_path.get(f"config.{name}")
        if place is None:
            continue
        if skip := closed(bench, "config_enables", place):
            yield skip
        elif not bench.abilities.raw_config:
            yield Skip(place.path, "who reaches the function through these has them in use", Outcome.NOT_APPLICABLE)
        else:
            yield Check(place.path, partial(_switch, bench, place))


def _switch(bench: Bench, place: Place) -> Steps[None]:
    """Each held bit by itself, from off and from on. Nothing has been set up that would use it."""
    for bit in (1 << n for n in range(8 * place.size) if place.held >> n & 1):
        for value in (place.reset & ~bit, place.reset | bit, place.reset | bit, place.reset & ~bit):
            yield from bench.act(place, value)
            yield from bench.read(place)
    yield from bench.act(place, place.rest)
    yield from bench.read(place)


def function_level_reset(bench: Bench) -> Checks:
    """FLR through configuration space: what it leaves there, before anybody puts anything back."""
    command = bench.ground.by_path.get("config.command")
    if command is None:
        yield Skip("config.command", NO_CONFIG, Outcome.NOT_APPLICABLE)
        return
    effects = bench.predictor.effects.get((CONFIG_REGION, "pcie_device_control"), ())
    resets = [(mask, effect) for mask, effect in effects if effect.resets is not None]
    control = bench.ground.by_path.get("config.pcie_device_control")
    if control is not None and (who := bench.ground.virtual(control)):
        yield Skip(command.path, who, Outcome.VIRTUALISED)
        return
    if control is None or not resets:
        reason = "it has no function level reset" if bench.abilities.raw_config else "this target resets it in another way"
        yield Skip(command.path, reason, Outcome.NOT_APPLICABLE)
        return
    for mask, effect in resets:
        if skip := closed(bench, "config_flr", control):
            yield skip
        else:
            yield Check(command.path, partial(_flr, bench, control, mask, effect.seconds), anything=True)


def _flr(bench: Bench, control: Place, mask: int, seconds: float) -> Steps[None]:
    for place in bench.ground.registers(CONFIG_REGION):
        if place is not control:
            yield from bench.act(place, ~place.reset & place.full)
    yield from bench.act(control, ~mask & ~control.reset & control.full)
    yield from bench.reset_through(control, control.rest | mask, seconds)
    for place in bench.ground.registers(CONFIG_REGION):
        yield from bench.read(place)
    yield from bench.decode_again()


TESTS = (
    Test("capability_walk", "the capability lists hold what is described, and end", capability_walk),
    Test("bar_sizing", "BARs tell their size and hold an address", bar_sizing),
    Test("config_enables", "what sets a function going can be switched on and off", enables),
    Test("config_flr", "a function level reset leaves configuration space as described", function_level_reset),
)
