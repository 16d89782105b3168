"""One access is one access, through the register client as well: the processor's own count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from drivers.registers import Registers
from drivers.transports import Transport
from regmodel.access import RC, RSVD, RW
from regmodel.catalogue import Description
from regmodel.registers import Bar, Reg32
from tests.drivers.transports.test_watchpoint import AT, SIZE, Mapped
from tests.support.watchpoint import Unavailable, Watchpoint

REGISTERS = Bar("bar0", SIZE, "r" / Reg32(AT, "low" / RW[7:0], "event" / RC[8], RSVD[...]))
DEVICE = Description(name="made", title="made", doc="", bars={0: REGISTERS})


class OneBar:
    name, virtualised = "mapped", frozenset[Any]()

    def __init__(self, mapped: Mapped) -> None:
        self.bar = lambda index: mapped.bar


@pytest.fixture
def mapped() -> Mapped:
    return Mapped(0)


@pytest.fixture
def count(mapped: Mapped) -> Iterator[Callable[[Callable[[], object]], tuple[int, int]]]:
    """(loads, stores) of the register."""
    try:
        with Watchpoint(mapped.address, 4) as watchpoint:
            yield watchpoint.count
    except Unavailable as missing:
        pytest.skip(f"no hardware watchpoint: {missing}")


def modify(r: Any) -> None:
    with r.modify() as draft:
        draft.low = 5


@pytest.mark.parametrize(
    ("do", "accesses"),
    [
        (lambda r: r.read(), (1, 0)),
        (lambda r: r.low, (1, 0)),
        (lambda r: r.fields(), (1, 0)),
        (lambda r: r.take("event"), (1, 0)),
        (lambda r: r.write(7), (0, 1)),
        (lambda r: r.write(low=7), (0, 1)),
        (lambda r: r.store(7), (0, 1)),
        (modify, (1, 1)),
    ],
)
def test_what_reaches_memory(mapped: Mapped, count: Any, do: Callable[[Any], object], accesses: tuple[int, int]) -> None:
    dev: Any = Registers(DEVICE, cast(Transport, OneBar(mapped)))
    assert count(lambda: do(dev.r)) == accesses
