"""Hosts that put nonsense into their tables, the heads of queues, pointers and descriptors: one named error comes out."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regmodel.errors import RegmodelError
from regmodel.layout import layout
from regmodel.rings.avp import DESC, FIFO, HEAD
from regmodel.structures.avp import DEVICE_INFO
from tests.drivers.nics.avp.bench import Bench, frame
from tests.support.thorough import THOROUGH

INFO = [(leaf.path, leaf.offset, leaf.size) for leaf in layout(DEVICE_INFO).leaves if not leaf.is_bytes]
MAP = [("magic", 0, 4), ("version", 4, 4), ("nb_maps", 8, 4)]
MAP += [(f"maps[{n // 3}], number {n % 3}", 16 + 8 * n, 8) for n in range(3 * 3)]
HEADS = [(leaf.path, leaf.offset, leaf.size) for leaf in layout(FIFO).leaves if leaf.offset < HEAD]
ROW = [(leaf.path, leaf.offset, leaf.size) for leaf in layout(DESC).leaves if not leaf.is_bytes]
PEER = b"\2\0\0\0\0\x99"


def changed(data: st.DataObject, memory: memoryview | bytearray, at: int, size: int) -> None:
    """A number becomes another one: near to it, at an end, or anything."""
    limit, old = 1 << 8 * size, int.from_bytes(memory[at : at + size], "little")
    near = st.sampled_from([old + 1, old - 1, old ^ 1 << 8 * size - 1, old + 4096, 2 * old])
    new = data.draw(st.sampled_from([0, 1, 7, limit - 1, limit >> 1]) | near | st.integers(0, limit - 1)) % limit
    memory[at : at + size] = new.to_bytes(size, "little")


@settings(max_examples=20 * THOROUGH, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_fuzz(data: st.DataObject) -> None:
    bench = Bench(queue_size="16")
    try:
        model = bench.model()
        places = [(4, at, size) for _, at, size in MAP] + [(5, at, size) for _, at, size in INFO]
        for bar, at, size in data.draw(st.lists(st.sampled_from(places), max_size=2)):
            changed(data, model.banks[bar].memory, at, size)
        with suppress(RegmodelError):
            side = bench.side()
            mac, memory, arrangement = side.port.mac_addr, model.memory.view, model.arrangement
            side.send(frame(PEER, mac, 60, 1))
            model.put([frame(mac, PEER, 60, 2), frame(mac, PEER, 3000, 3)])
            for _ in range(data.draw(st.integers(0, 3))):
                if data.draw(st.booleans()):
                    _, at, size = data.draw(st.sampled_from([*HEADS, ("pointer", HEAD, 8), ("pointer", HEAD + 8, 8)]))
                    at += arrangement.fifo(data.draw(st.sampled_from(["tx", "rx", "alloc", "free"])), 0)
                else:
                    _, at, size = data.draw(st.sampled_from(ROW))
                    role, slot = data.draw(st.sampled_from(["rx", "alloc"])), data.draw(st.integers(0, 2))
                    pointer = arrangement.fifo(role, 0) + HEAD + 8 * slot
                    number = int.from_bytes(memory[pointer : pointer + 8], "little") - arrangement.mbuf_va
                    if not 0 <= number < arrangement.stride * arrangement.count:
                        continue
                    at += arrangement.buffers + number
                changed(data, memory, at, size)
                with suppress(RegmodelError):
                    side.receive()
                with suppress(RegmodelError):
                    side.send(frame(PEER, mac, 3000, 4), frame(PEER, mac, 60, 5))
            side.port.info()
            side.port.stop()
            side.port.close()
    finally:
        bench.close()
