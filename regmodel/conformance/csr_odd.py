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
from regmodel.registers import Register, Window

Spots: TypeAlias = list[tuple[int, int]]
"""Accesses by (offset, size), in bytes."""
LANES = 0xA5C3965A3CE17887
"""No two bytes of it are alike, and none is like its inverse in another place."""
EDGE = 8
"""Bytes at the beginning and at the end of memory."""
MOST_EMPTY = 1 << 14
"""Words of nothing that are read: all in a BAR of 64 KiB, of a larger one so many, evenly spread, beside the edges."""


def _fits(bench: Bench, place: Place, offset: int, size: int, sizes: frozenset[int]) -> bool:
    """The target can carry the access; ``sizes`` are those of its BARs."""
    if place.file == CONFIG_REGION:
        return size <= 4 and not offset % size
    if size not in sizes or (offset % size and not bench.abilities.unaligned):
        return False
    if size > 4 and place.file in bench.ground.ports:
        return False
    return offset >= 0 and offset + size <= bench.ground.files[place.file].size


def _met(bench: Bench, file: int, offset: int, size: int) -> list[Place]:
    found: list[Place] = []
    for byte in range(offset, offset + size):
        place = bench.ground.at(file, byte)
        if place is not None and place not in found:
            found.append(place)
    return found


def left_alone(bench: Bench, file: int, offset: int, size: int) -> bool:
    """The access would reach something that the test that runs must not touch."""
    return any(bench.ground.barred(place) for place in _met(bench, file, offset, size))


def legal(bench: Bench, file: int, offset: int, size: int, value: int) -> int:
    """``value`` with the held bits of all registers it would reach as after reset."""
    for place in _met(bench, file, offset, size):
        shift = 8 * (place.offset - offset)
        held, rest = (v << shift if shift >= 0 else v >> -shift for v in (place.held, place.rest))
        value = value & ~held | rest & held
    return value & (1 << 8 * size) - 1


def _odd_accesses(bench: Bench, place: Place, sizes: frozenset[int]) -> Iterator[tuple[int, int]]:
    """Every (offset, size) that touches the place, is not exactly it, and touches nothing that is left alone; of memory, those
    at its beginning and its end.
    """
    first, end = place.offset, place.offset + place.size
    memory = isinstance(place.entry, Window)
    for size in (1, 2, 4, 8):
        begin, middle = first - size + 1, first + EDGE if memory else end
        for offset in (*range(begin, min(middle, end)), *range(max(middle, end - EDGE), end)):
            odd = (memory or (offset, size) != (first, place.size)) and _fits(bench, place, offset, size, sizes)
            if odd and not left_alone(bench, place.file, offset, size):
                yield offset, size


def access_width(bench: Bench) -> Checks:
    """Registers and the edges of memory in every width and at every alignment that the target can carry, by the policy."""
    for place in bench.ground.places:
        if skip := closed(bench, "csr_access_width", place):
            yield skip
            continue
        reads = list(_odd_accesses(bench, place, bench.abilities.sizes))
        writes = list(_odd_accesses(bench, place, bench.abilities.writes))
        if not reads and not writes:
            yield Skip(place.path, "the target carries accesses of no other width", Outcome.NOT_APPLICABLE)
            continue

        def steps(place: Place = place, reads: Spots = reads, writes: Spots = writes) -> Steps[None]:
            yield from _fill(bench, place, writes)
            for offset, size in reads:
                yield from bench.read_at(place.file, offset, size)
            for offset, size in writes:
                yield from bench.write_at(place.file, offset, size, legal(bench, place.file, offset, size, ~LANES))
                for at, width in _near(place, offset, size):
                    yield from bench.read_at(place.file, at, width)
                yield from _fill(bench, place, [(offset, size)])
            touched = {p for offset, size in writes for p in _met(bench, place.file, offset, size)}
            for other in bench.locks.in_order(sorted(touched, key=lambda p: p.offset)):
                if isinstance(other.entry, Register) and other.writable and not bench.ground.barred(other):
                    yield from bench.put_back(other)

        yield Check(place.path, steps, place.notes)


def _near(place: Place, offset: int, size: int) -> Spots:
    """The accesses that show what one to ``offset`` did: the register, or the words (bytes) of memory that it met."""
    return [(at, width) for at, width in place.units if len(place.units) == 1 or offset - width < at < offset + size]


def _fill(bench: Bench, place: Place, spots: Spots) -> Steps[None]:
    """Give the register, or the memory at ``spots``, a value in which no two bytes are alike."""
    if not place.writable:
        return
    if isinstance(place.entry, Register):
        yield from bench.write_unlocked(place, LANES)
        return
    near = {unit for offset, size in spots for unit in _near(place, offset, size)}
    for at, width in sorted(near):
        yield from bench.write_at(place.file, at, width, LANES >> 8 * (at % 4) & (1 << 8 * width) - 1)


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
                    yield from bench.write_unlocked(place, value)
                    yield from bench.read(place)
                yield from bench.put_back(place)

            yield Check(place.path, steps)
    for file in bench.ground.files:
        yield from _holes(bench, file)


def _holes(bench: Bench, file: int) -> Checks:
    """Where nothing stands nothing answers, and writing there changes no register."""
    words = range(0, bench.ground.files[file].size // 4 * 4, 4)
    sampled = words[:: -(-len(words) // MOST_EMPTY) or 1]
    asked = [at for at in sorted({*_edges(bench, file, words), *sampled}) if _is_empty(bench, file, at)]
    edges = [at for at in _edges(bench, file, words) if _is_empty(bench, file, at)]
    name = "config.(nothing)" if file == CONFIG_REGION else f"bar{file}.(nothing)"
    virtual = bench.abilities.virtualised
    if file == CONFIG_REGION and "CONFIG" in virtual:
        yield Skip(name, virtual["CONFIG"], Outcome.VIRTUALISED)
    elif file == getattr(bench.device, "msix_bar", None) and "MSIX_TABLE" in virtual:
        yield Skip(name, virtual["MSIX_TABLE"], Outcome.VIRTUALISED)
    elif asked:
        beside = [p for p in bench.ground.registers(file) if not bench.ground.barred(p)]

        def steps() -> Steps[None]:
            for at in asked:
                yield from bench.read_at(file, at, 4)
            for at in edges:
                yield from bench.write_at(file, at, 4, 0xFFFFFFFF)
                yield from bench.read_at(file, at, 4)
            for place in beside:
                yield from bench.read(place)

        yield Check(name, steps)


def _is_empty(bench: Bench, file: int, at: int) -> bool:
    return all(bench.ground.at(file, at + byte) is None for byte in range(4))


def _edges(bench: Bench, file: int, words: range) -> list[int]:
    """The words that a decoder would get wrong: beside a register or memory, and one address line away from one."""
    taken: set[int] = set()
    for place in bench.ground.places:
        if place.file == file:
            first, last = place.offset & ~3, place.offset + place.size - 1 & ~3
            taken |= {first, last} | (set(range(first, last, 4)) if isinstance(place.entry, Register) else set())
    lines = [1 << bit for bit in range(2, words[-1].bit_length())] if words else []
    return sorted({at ^ line for at in taken for line in lines if at ^ line in words})


TESTS = (
    Test("csr_access_width", "narrow, wide and unaligned accesses follow the policy of the BAR", access_width),
    Test("csr_reserved", "reserved bits and holes hold nothing", reserved),
)
