"""Whatever the commands of the control queue say: each is answered with OK or ERR, and the device goes on working.

Commands are sensible ones whose lengths, counts and contents are somewhat wrong, and plain octets. What must hold after each:
an answer of one octet, no exception (the loop would swallow it, and there would be no answer), no complaint but that a command
was refused. In the end the state is saved and taken on again, the driver says sensible things, and frames go both ways.
"""

from __future__ import annotations

import json
from struct import pack

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.virtio.nic import NEEDS_RESET, Driver, nics
from tests.emulators.nics.virtio.test_control import CONTROL_QUEUE, ERR, FEATURES, OK, ask
from tests.support.thorough import THOROUGH

RX, MAC, VLAN, ANNOUNCE, MQ, OFFLOADS = range(6)
PAIRS = 4
FRAME = b"\xff" * 6 + b"\x02\0\0\0\0\x99\x88\xb5" + bytes(50)
COUNT = st.one_of(st.integers(0, 70), st.sampled_from([0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF]))
U16 = st.one_of(st.integers(0, 9), st.sampled_from([127, 128, 255, 4095, 4096, 0x7FFF, 0x8000, 0xFFFF]), st.integers(0, 0xFFFF))
U32 = st.one_of(st.integers(0, 0x1FF), st.integers(0, 0xFFFF_FFFF))


@st.composite
def mac_tables(draw: st.DrawFn) -> bytes:
    """Two tables, each with a count that need not be that of its addresses."""
    def table() -> bytes:
        macs = draw(st.binary(max_size=6 * 70))
        return pack("<I", draw(st.one_of(st.just(len(macs) // 6), COUNT))) + macs

    return table() + table()


def or_not(right: st.SearchStrategy[int], wrong: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    """``right`` for the most part: a command of which everything is wrong says no more than that of which one thing is."""
    return st.integers(0, 9).flatmap(lambda n: wrong if n == 0 else right)


QUEUE = st.integers(0, PAIRS - 1)
TYPES = or_not(st.integers(0, 0x3F), U32)
"""Kinds of hash (the first six of VIRTIO 1.3, 5.1.6.4.3.1)."""


@st.composite
def rss_settings(draw: st.DrawFn) -> bytes:
    """A table of any number of entries below a mask that may be another, and a key whose length may be another."""
    entries = draw(or_not(st.sampled_from([1, 2, 8, 64, 128]), st.integers(0, 140)))
    table = draw(st.lists(QUEUE, min_size=entries, max_size=entries))
    if table and draw(st.integers(0, 9)) == 0:
        table[draw(st.integers(0, len(table) - 1))] = draw(U16)
    key = draw(st.binary(max_size=40))
    mask = draw(or_not(st.just(max(len(table) - 1, 0)), U16))
    head = pack("<IHH", draw(TYPES), mask, draw(or_not(QUEUE, U16)))
    size = draw(or_not(st.just(len(key)), st.integers(0, 255)))
    return head + pack(f"<{len(table)}H", *table) + pack("<HB", draw(or_not(st.integers(1, PAIRS), U16)), size) + key


@st.composite
def hash_settings(draw: st.DrawFn) -> bytes:
    key = draw(st.binary(max_size=44))
    return pack("<I8xB", draw(TYPES), draw(or_not(st.just(len(key)), st.integers(0, 255)))) + key


SENSIBLE = st.one_of(
    st.tuples(st.just(RX), st.integers(0, 6), st.binary(min_size=1, max_size=1)),
    st.tuples(st.just(MAC), st.just(0), mac_tables()),
    st.tuples(st.just(MAC), st.just(1), st.binary(min_size=6, max_size=6)),
    st.tuples(st.just(VLAN), st.integers(0, 1), U16.map(lambda vid: pack("<H", vid))),
    st.tuples(st.just(ANNOUNCE), st.integers(0, 1), st.just(b"")),
    st.tuples(st.just(MQ), st.just(0), U16.map(lambda pairs: pack("<H", pairs))),
    st.tuples(st.just(MQ), st.just(1), rss_settings()),
    st.tuples(st.just(MQ), st.just(2), hash_settings()),
    st.tuples(st.just(OFFLOADS), st.just(0), st.integers(0, (1 << 64) - 1).map(lambda bits: pack("<Q", bits))),
)


@st.composite
def commands(draw: st.DrawFn) -> tuple[int, int, bytes]:
    """Class, number and what follows, which may be cut off or go on too long."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=600)))
    klass, number, data = draw(SENSIBLE)
    match draw(st.integers(0, 3)):
        case 0:
            data = data[: draw(st.integers(0, len(data)))]
        case 1:
            data += draw(st.binary(max_size=20))
    return klass, number, data


@settings(max_examples=60 * THOROUGH, suppress_health_check=list(HealthCheck))
@given(st.lists(commands(), min_size=1, max_size=25), st.booleans())
def test_whatever_commands_say(said: list[tuple[int, int, bytes]], packed: bool) -> None:
    options = {"queue_pairs": str(PAIRS), "rss": "on", "hash": "on", "packed": "on"}
    with nics(count=2, **options) as (nic, other):
        driver, peer = Driver(nic), Driver(other)
        driver.start(FEATURES | (Feature.RING_PACKED if packed else Feature(0)), queues=2 * PAIRS + 1)
        peer.start(Feature.VERSION_1)
        refused = 0
        for klass, number, data in said:
            free = nic.memory.at
            answer = ask(driver, klass, number, data)
            nic.memory.at = free
            assert answer in (OK, ERR), (klass, number, data.hex())
            refused += answer == ERR
            assert not driver.status & NEEDS_RESET
            assert nic.diagnoses == ({"control-refused": refused} if refused else {})
        state = json.loads(json.dumps(nic.model.save()))
        nic.model.load(state)
        assert nic.model.save() == state
        works(driver, peer)
        assert not other.diagnoses


def works(driver: Driver, peer: Driver) -> None:
    """A driver that says sensible things hears and is heard."""
    for klass, number, data in ((MQ, 0, b"\1\0"), (RX, 0, b"\1"), (OFFLOADS, 0, bytes(8)), (MAC, 0, bytes(8))):
        assert ask(driver, klass, number, data) == OK
    peer.offer()
    driver.transmit(FRAME)
    driver.nic.settle()
    assert len(driver.queues[1].poll()) == 1 and peer.received() == [FRAME]
    driver.offer()
    peer.transmit(FRAME)
    driver.nic.settle()
    assert driver.received() == [FRAME] and CONTROL_QUEUE in driver.queues
