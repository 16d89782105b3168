"""The VF as a whole: resets, link, timer, state, and a guest that writes anything anywhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.dma import BytesMemory
from regmodel.errors import StateError
from regmodel.function import ResetCause
from tests.emulators.nics.igb.station import ENABLE, MEMORY, RX_AT, TX_AT, Station
from tests.support.thorough import THOROUGH


def test_ctrl_rst_resets_and_tells_the_pf() -> None:
    vf = Station().start()
    vf.data(bytes(60))
    vf.ring()
    vf.write("ctrl", 1 << 26)
    assert vf.slot.resets == [ResetCause.SOFTWARE]
    assert vf.read("txdctl") & ENABLE == 0 and vf.read("tdh") == 0 and vf.read("eims") == 0 and vf.read("ctrl") == 0
    vf.write("ctrl_dup", 1 << 26)
    assert len(vf.slot.resets) == 2


@pytest.mark.parametrize("cause", ResetCause)
def test_any_reset_leaves_a_vf_that_a_driver_can_start(cause: ResetCause) -> None:
    vf = Station().start()
    vf.data(bytes(30), eop=0)
    vf.ring()
    vf.vf.reset(cause)
    vf.start()
    vf.data(bytes(60))
    vf.ring()
    assert vf.pool.sent == [bytes(60)] and vf.deliver(bytes(60)) == 1
    assert vf.slot.resets == [cause] and vf.read("status") & 2


def test_link_shows_in_status() -> None:
    vf = Station()
    assert vf.read("status") & 0xC3 == 0x83
    vf.vf.link_changed(False)
    assert vf.read("status") & 2 == 0
    vf.slot.up = False
    vf.vf.link_changed(True)
    vf.vf.reset(ResetCause.BUS)
    assert vf.read("status") & 2 == 0
    assert vf.host.irqs == []


def test_frtimer_counts_in_three_fields() -> None:
    vf = Station()
    vf.host.clock.advance(4_005_006_789 - vf.host.clock.now())
    assert vf.read("frtimer") == 4 << 20 | 5 << 10 | 6


def test_a_saved_state_is_json_and_round_trips() -> None:
    vf = Station().start()
    vf.data(bytes(30), eop=0)
    vf.ring()
    state = json.loads(json.dumps(vf.vf.save()))
    other = Station()
    other.vf.load(state)
    assert other.vf.save() == vf.vf.save()


@pytest.mark.parametrize("damage", [
    {"version": 2}, {"device": "igbvf-i350"}, {"transmit": []}, {"receive": [{}, {}]}, {"interrupts": {}}, {"bank": {}},
    {"bank": None},
])  # fmt: skip
def test_a_state_that_is_not_ours_changes_nothing(damage: dict[str, object]) -> None:
    vf = Station().start()
    vf.data(bytes(30), eop=0)
    vf.ring()
    before = vf.vf.save()
    with pytest.raises(StateError):
        vf.vf.load(Station().vf.save() | damage)
    assert vf.vf.save() == before


# -- anything anywhere

REGISTERS = [
    "ctrl", "eics", "eims", "eimc", "eiac", "eiam", "eicr", "ivar0", "ivar_misc", "psrtype", "tdbal", "tdbah", "tdlen", "tdh",
    "tdt", "txdctl", "tdwbal", "tdwbah", "rdbal", "rdbah", "rdlen", "rdh", "rdt", "rxdctl", "srrctl", "eitr",
]  # fmt: skip
WORDS = st.one_of(
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 70),
    st.sampled_from([TX_AT, RX_AT, 16 * 64, 128, ENABLE, 0x8081_8081, 7, 1 << 25 | 2, 0xA000202, 0xFFFF, MEMORY - 64, 1]),
)
COMMANDS = st.builds(
    lambda size, flags, dtyp, low: size | dtyp << 20 | flags << 24 | low << 32,
    st.one_of(st.integers(0, 200), st.integers(0, 0xFFFF)),
    st.integers(0, 255),
    st.sampled_from([3, 3, 3, 2, 0, 15]),
    st.one_of(st.just(0x300), st.integers(0, 0xFFFFFFFF)),
)
ADDRESSES = st.one_of(st.integers(0, MEMORY - 2000), st.integers(MEMORY - 300, MEMORY + 300), st.integers(0, (1 << 64) - 1))
CONTEXTS = st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFF), st.integers(1, 0xFFFF)).map(
    lambda t: (t[0], (2 << 20 | 1 << 29 | t[1] & 0x1C00) | (t[1] & 0xFF) << 40 | t[2] << 48)
)
DESCRIPTORS = st.one_of(st.tuples(ADDRESSES, COMMANDS), CONTEXTS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(REGISTERS), WORDS),
        st.tuples(st.just("restart"), st.just(""), st.just(0)),
        st.tuples(st.just("deliver"), st.booleans(), st.lists(st.binary(min_size=14, max_size=3000), min_size=1, max_size=3)),
        st.tuples(st.just("advance"), st.just(""), st.integers(0, 10**7)),
        st.tuples(st.just("dma"), st.just(""), st.booleans()),
    ),
    max_size=25,
)


@settings(max_examples=150 * THOROUGH)
@given(
    st.sampled_from(["82576", "I350"]),
    st.lists(DESCRIPTORS, min_size=1, max_size=64),
    st.lists(st.tuples(ADDRESSES, ADDRESSES), min_size=1, max_size=64),
    STEPS,
)
def test_no_guest_can_make_the_model_fail(
    silicon: str, tx: list[tuple[int, int]], rx: list[tuple[int, int]], steps: list[tuple[str, object, object]]
) -> None:
    """Nothing is raised, the engine comes to rest, and memory behind the map stays untouched."""
    vf = Station(silicon)
    fence = BytesMemory(bytearray(b"\xa5" * 4096))
    vf.host.dma.map(MEMORY + 4096, 4096, fence, read=False, write=False)

    def fill() -> None:
        for at, rows in ((TX_AT, tx), (RX_AT, rx)):
            for i in range(64):
                low, high = rows[i % len(rows)]
                vf.memory[at + 16 * i : at + 16 * i + 16] = low.to_bytes(8, "little") + high.to_bytes(8, "little")

    vf.start()
    fill()
    vf.write("tdt", 40)
    for verb, what, value in steps:
        if verb == "write":
            for index in range(len(vf.bank.all(str(what)))):
                vf.write(str(what), int(value), index)  # type: ignore[call-overload]
        elif verb == "restart":
            vf.write("txdctl", 0)
            vf.write("rxdctl", 0)
            vf.start()
            fill()
            vf.write("tdt", 40)
        elif verb == "deliver":
            assert 0 <= vf.vf.deliver(value, loopback=bool(what)) <= len(value)  # type: ignore[arg-type]
        elif verb == "advance":
            vf.host.clock.advance(int(value))  # type: ignore[call-overload]
        elif verb == "dma":
            vf.host.dma.enabled = bool(value)
        vf.settle()
    assert fence.content == b"\xa5" * 4096 and len(vf.memory) == MEMORY
    assert all(len(frame) >= 60 for frame in vf.pool.sent)
    assert all(vector in range(3) for vector in vf.host.irqs)
    json.dumps(vf.vf.save())
    vf.vf.load(vf.vf.save())
