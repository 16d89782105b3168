"""Tests of accesses that are not exactly one register: too narrow, too wide, unaligned, into reserved bits, into nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from regmodel.conformance.accesses import Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Check, Checks, Skip, Test, closed
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.places import Place
from regmodel.function import CONFIG_REGION

Spots: TypeAlias = list[tuple[int, int]]
"""Accesses by (offset, size), in bytes."""
LANES = 0xA5C3965A3CE17887
"""No two bytes of it are alike, and none is like its inverse in another place."""


def _fits(bench: Bench, place: Place, offset: int, size: int, sizes: frozenset[int]) -> bool:
    """The target can carry the access; ``sizes`` are those of its BARs."""
    if place.file == CONFIG_REGION:
        return size <= 4 and not offset % size
    if size not in sizes or (offset % size and not bench.abilities.unaligned):
        return False
    return offset >= 0 and offset + size <= bench.ground.files[place.file].size


def _met(bench: Bench, file: int, offset: int, size: int) -> list[Place]:
    found: list[Place] = []
    for byte in range(offset, offset + size):
        place = bench.ground.at(file, byte)
        if place is not None and place not in found:
            found.append(place)
    return found


def legal(bench: Bench, file: int, offset: int, size: int, value: int) -> int | None:
    """``value`` with the held bits of all registers it would reach as after reset; None if one must not be written."""
    for place in _met(bench, file, offset, size):
        if bench.ground.virtual(place):
            return None
        shift = 8 * (place.offset - offset)
        held, rest = (v << shift if shift >= 0 else v >> -shift for v in (place.held, place.rest))
        value = value & ~held | rest & held
    return value & (1 << 8 * size) - 1


def _odd_accesses(bench: Bench, place: Place, sizes: frozenset[int]) -> Iterator[tuple[int, int]]:
    """Every (offset, size) that touches the place and is not exactly it."""
    for size in (1, 2, 4, 8):
        for offset in range(place.offset - size + 1, place.offset + place.size):
            if (offset, size) != (place.offset, place.size) and _fits(bench, place, offset, size, sizes):
                yield offset, size


def access_width(bench: Bench) -> Checks:
    """Each register in every width and at every alignment that the target can carry, by its policy."""
    for place in bench.ground.registers():
        if skip := closed(bench, "csr_access_width", place):
            yield skip
            continue
        reads = list(_odd_accesses(bench, place, bench.abilities.sizes))
        writes = list(_odd_accesses(bench, place, bench.abilities.writes))
        if not reads and not writes:
            yield Skip(place.path, "the target carries accesses of no other width", Outcome.NOT_APPLICABLE)
            continue

        def steps(place: Place = place, reads: Spots = reads, writes: Spots = writes) -> Steps[None]:
            if place.writable:
                yield from bench.write(place, LANES)
            for offset, size in reads:
                yield from bench.read_at(place.file, offset, size)
            for offset, size in writes:
                value = legal(bench, place.file, offset, size, ~LANES)
                if value is not None:
                    yield from bench.write_at(place.file, offset, size, value)
                    yield from bench.read(place)
                    if place.writable:
                        yield from bench.write(place, LANES)
            touched = {p for offset, size in writes for p in _met(bench, place.file, offset, size)}
            for other in sorted(touched, key=lambda p: p.offset):
                if other.stores and other.writable and not bench.ground.virtual(other):
                    yield from bench.write_at(other.file, other.offset, other.size, other.legal(other.reset))

        yield Check(place.path, steps, place.notes)


def reserved(bench: Bench) -> Checks:
    """Reserved bits keep their reset value whatever is written, and the bits beside them are not disturbed."""
    for place in bench.ground.registers():
        mask = sum(f.mask for f in place.register.fields if f.access.reserved)
        if skip := closed(bench, "csr_reserved", place):
            yield skip
        elif not mask:
            yield Skip(place.path, "it has no reserved bits")
        else:

            def steps(place: Place = place, mask: int = mask) -> Steps[None]:
                for value in (place.reset ^ mask, place.reset | mask, place.reset & ~mask):
                    yield from bench.write(place, value)
                    yield from bench.read(place)
                if place.stores:
                    yield from bench.write(place, place.reset)

            yield Check(place.path, steps)
    for file in bench.ground.files:
        yield from _holes(bench, file)


def _holes(bench: Bench, file: int) -> Checks:
    """Where nothing stands nothing answers, and writing there changes no register."""
    size, place_at = bench.ground.files[file].size, bench.ground.at
    empty = [at for at in range(0, size - size % 4, 4) if all(place_at(file, at + byte) is None for byte in range(4))]
    name = "config.(nothing)" if file == CONFIG_REGION else f"bar{file}.(nothing)"
    virtual = bench.abilities.virtualised
    if file == CONFIG_REGION and "CONFIG" in virtual:
        yield Skip(name, virtual["CONFIG"], Outcome.VIRTUALISED)
    elif file == getattr(bench.device, "msix_bar", None) and "MSIX_TABLE" in virtual:
        yield Skip(name, virtual["MSIX_TABLE"], Outcome.VIRTUALISED)
    elif empty:
        beside = [p for p in bench.ground.registers(file) if not bench.ground.virtual(p)]

        def steps() -> Steps[None]:
            for at in empty:
                yield from bench.read_at(file, at, 4)
            for at in _edges(empty):
                yield from bench.write_at(file, at, 4, 0xFFFFFFFF)
                yield from bench.read_at(file, at, 4)
            for place in beside:
                yield from bench.read(place)

        yield Check(name, steps)


def _edges(empty: list[int]) -> list[int]:
    """The words of holes that a decoder would get wrong: beside a register, and one address line away from one."""
    known = set(empty)
    taken = [at for at in range(0, max(empty) + 4, 4) if at not in known]
    lines = [1 << bit for bit in range(2, max(empty).bit_length())]
    return sorted({at ^ line for at in taken for line in lines} & known)


TESTS = (
    Test("csr_access_width", "narrow, wide and unaligned accesses follow the policy of the BAR", access_width),
    Test("csr_reserved", "reserved bits and holes hold nothing", reserved),
)
