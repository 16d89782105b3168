"""Rings in a driver's memory, as the tee finds them: by the registers that place them, where each queue has its own."""

from __future__ import annotations

import pytest

from drivers.transports.rings import Rings
from regmodel.catalogue import find


def test_a_ring_is_found_where_its_registers_say() -> None:
    device = find("igbvf")
    rings = Rings(device)
    ring = next(ring for ring in device.rings if ring.name == "tx")
    for register, value in ((ring.base[0], 0x1000), (ring.base[1], 1), (ring.length, 0x800)):
        bar, described = device.register_bar(register)
        rings.written(bar, described.entries[register].offsets[1], value)
    (slot,) = rings.slots(0x1_0000_1010, 16)
    assert slot is not None and (slot.number, slot.placed.index, slot.address) == (1, 1, 0x1_0000_1010)
    assert list(rings.slots(0x1_0000_1800, 16)) == [None]


@pytest.mark.parametrize("name", ["virtio-net", "virtio-net-transitional", "virtio-net-legacy"])
def test_queues_that_share_their_registers_are_memory(name: str) -> None:
    device = find(name)
    rings = Rings(device)
    for ring in device.rings:
        for register in {*ring.base, ring.length}:
            bar, described = device.register_bar(register)
            rings.written(bar, described.entries[register].offsets[0], 0x1000)
    assert list(rings.slots(0x1000, 16)) == [None]
