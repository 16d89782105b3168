"""The comparison judged with traces made by hand: what must count as equal, and what must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from regmodel.devices.igbvf import IGBVF
from tests.differential import capture, peer
from tests.differential.canonical import STATISTICS, Canonical, Phase
from tests.differential.capture import PHASES
from tests.differential.compare import Difference, Entry, blocks, compare, configuration, judge, load, sequences
from tests.differential.trace import BAR, CONFIG, Access, Function, accesses

FILE = Path(__file__).with_name("differences.toml")
OFFSET = {
    "ctrl": 0x0, "status": 0x8, "mbx": 0xC40, "mem0": 0x800, "mem1": 0x804, "eics": 0x1520, "eims": 0x1524, "eiac": 0x152C,
    "eicr": 0x1580, "eitr": 0x1680, "ivar0": 0x1700, "tdbal": 0x3800, "txctl": 0x3814, "rdt": 0x2818, "tdt": 0x3818,
}  # fmt: skip
COUNTERS = [0xF10, 0xF18, 0xF14, 0xF34, 0xF3C, 0xF50, 0xF44, 0xF48, 0xF40]
OPS = {"R": "read", "W": "write"}
CANONICAL = Canonical(IGBVF, known=[0x105E0002, 0x0100])


def trace(text: str) -> list[Access]:
    """``R mbx 30; W mem0 1``: accesses to the BAR; ``statistics`` are nine reads."""
    found: list[Access] = []
    for word in filter(None, (part.strip() for part in text.split(";"))):
        if word == "statistics":
            found += [Access("R", BAR, offset, 7) for offset in COUNTERS]
        else:
            op, name, value = word.split()
            found.append(Access(op, BAR, OFFSET[name], int(value, 16)))
    return found


def phase(text: str, *, traffic: bool = False) -> Phase:
    return CANONICAL.phase(trace(text), traffic=traffic)


def differ(ours: str, theirs: str, *, traffic: bool = False) -> list[Difference]:
    """What differs between two traces of one phase."""
    return sorted(compare({"p": phase(ours, traffic=traffic)}, {"p": phase(theirs, traffic=traffic)}, {"p": "watch"}))


# -- poll loops


def test_poll_loops_of_different_length_are_equal() -> None:
    assert differ("W mbx 1; R mbx 0; R mbx 0; R mbx 30; R mbx 0", "W mbx 1; R mbx 30; R mbx 0") == []
    assert differ("W mbx 1; R mbx 20; R mbx 0; R mbx 10; R mbx 0", "W mbx 1; R mbx 30; R mbx 0") == []


@pytest.mark.parametrize("theirs", ["R mbx 20; R mbx 0", "R mbx 0", "R mbx 30; R mbx 4", "R mbx b0; R mbx 0"])
def test_poll_loops_with_different_outcome_differ(theirs: str) -> None:
    (found,) = differ("W mbx 1; R mbx 30; R mbx 0; W mbx 4", f"W mbx 1; {theirs}; W mbx 4")
    assert (found.at, found.ours) == ("R v2pmailbox", "0x30")


def test_a_bit_that_a_read_does_not_clear_differs() -> None:
    """The fault that a missing read-to-clear is: PFACK is still there where it should have been read away."""
    good = "W mbx 1; R mbx 30; R mbx 0; W mbx 4; R mbx 4; R mem0 a0000005; W mbx 2"
    (found,) = differ(good.replace("R mbx 4;", "R mbx 24;"), good)
    assert (found.at, found.ours, found.theirs) == ("R v2pmailbox", "0x24", "0x4")


def test_a_wrong_reset_value_differs() -> None:
    assert differ("R txctl a00; W txctl 200", "R txctl 2a00; W txctl 2200") == [
        Difference("p", "R txctl[0]", "0xa00", "0x2a00"),
        Difference("p", "W txctl[0]", "0x200", "0x2200"),
    ]


def test_writes_are_never_folded() -> None:
    (found,) = differ("W ivar0 8000; W ivar0 8000", "W ivar0 8000")
    assert found.at == "sequence" and found.ours == "W ivar0 0x8000" and found.theirs == ""


def test_order_counts() -> None:
    assert differ("W ivar0 1; W txctl 2; R status 3", "W txctl 2; W ivar0 1; R status 3") != []


# -- what chance decides


def test_handlers_may_come_at_any_time_and_any_number_of_times() -> None:
    ours = "W ivar0 8000; W eims 4; R status 3; W eims 4; R eicr 0; W eims 7; W eims 2"
    theirs = "W ivar0 8000; R status 3; R eicr 0; W eims 2; W eims 4; W eims 7"
    assert differ(ours, theirs) == []
    (found,) = differ(ours, theirs.replace("W eims 4; ", ""))
    assert (found.phase, found.at, found.ours) == ("any", "interrupt handlers", "W eims 0x4")


def test_enabling_all_vectors_is_not_a_handler() -> None:
    assert differ("R eicr 0; W eims 7", "W eims 7; R eicr 0") != []


def test_moderation_is_compared_where_it_is_set_up_only() -> None:
    assert differ("W ivar0 8000; W eitr 1e8; W eitr c8; R status 3", "W ivar0 8000; W eitr 1e8; R status 3") == []
    (found,) = differ("W ivar0 8000; W eitr 1e8", "W ivar0 8000; W eitr 4")
    assert found.at == "W eitr[0]"


LOOK = "R mbx 0; R status 3; W mbx 4; R mbx 4; R mem0 {}; W mbx 2"
REQUEST = "W mbx 4; R mbx 4; W mem0 10002; W mbx 1; R mbx 30; W mbx 4; R mbx 4; R mem0 60010002; W mbx 2"


def test_runs_of_the_watchdog_are_compared_by_their_parts() -> None:
    look = LOOK.format("a0000004")
    whole = f"{look}; statistics; W eics 2"
    assert differ(f"{REQUEST}; {whole}; {whole}", f"{whole}; {REQUEST}") == []
    assert differ(f"{REQUEST}; {look}; {REQUEST}; statistics; W eics 2", f"{REQUEST}; {REQUEST}; {whole}") == [], "interrupted"
    assert differ(f"{look}; {REQUEST}; W eics 2; statistics", f"{REQUEST}; {look}; W eics 2; statistics") == []
    assert differ(f"{REQUEST}; W eics 2", REQUEST) == [], "a kick alone says nothing"
    assert differ(whole, whole.replace("status 3", "status 1")) == [Difference("watch", "R status", "0x3", "0x1")]
    missing = differ(f"R mbx 0; statistics; W eics 2; {whole}", "R mbx 0; statistics; W eics 2")
    assert [d.at for d in missing] == ["watchdog"] and "cts" in missing[0].ours


@pytest.mark.parametrize("before", ["", REQUEST, "statistics", f"{LOOK.format('a0000004')}; statistics; W eics 2"])
def test_a_run_of_the_watchdog_that_has_begun_is_under_way_until_its_kick(before: str) -> None:
    look = trace("R mbx 0; R status 3; W mbx 4; R mbx 4; R mem0 a0000004; W mbx 2; R status 3; statistics")
    for count in range(1, len(look) + 1):
        assert CANONICAL.under_way([*trace(before), *look[:count]]), count
    for short in ("R mbx 0; statistics", "R mbx 0; R status 3; statistics", "R mbx 0; R status 3; R status 3; statistics"):
        assert all(CANONICAL.under_way([*trace(before), *trace(short)[: count + 1]]) for count in range(len(trace(short))))
    assert not CANONICAL.under_way([*trace(before), *look, *trace("W eics 2")])
    assert not CANONICAL.under_way(trace(before))


def test_a_phase_does_not_end_within_a_run_of_the_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on while the phase is cut, and then nothing is left for the next one but what came after it."""
    log = tmp_path / "trace"
    run, later = trace("R mbx 0; R status 3; statistics; W eics 2"), trace("R status 3")
    lines = [
        f"memory_region_ops_{OPS[a.op]} cpu 0 mr 0x5 addr {a.offset:#x} value {a.value:#x} size 4 name 'b'"
        for a in (*run, *later)
    ]
    log.write_text("of somebody else\n")
    taken = capture.Trace(log, Function("01:10.0", 0, 0x4000))

    def goes_on(count: int) -> None:
        with log.open("a") as file:
            file.writelines(f"{lines.pop(0)}\n" for _ in range(count))

    monkeypatch.setattr(capture.time, "sleep", lambda _: goes_on(1))
    goes_on(6)
    assert taken.cut(CANONICAL) == run
    goes_on(1)
    assert taken.cut(CANONICAL) == later


def test_a_late_kick_does_not_take_the_statistics_of_an_interface_that_goes_down() -> None:
    down = "W eiac 0; statistics; W ctrl 4000000; R mbx 0; W mbx 4"
    assert differ(f"{REQUEST}; {down}; W eics 2", f"{REQUEST}; {down}") == []
    look = LOOK.format("a0000004")
    assert differ(f"{look}; {down}; W eics 2", f"{look}; W eics 2; {down}") == []
    assert differ(f"{look}; statistics; {down}; W eics 2", f"{look}; statistics; W eics 2; {down}") == []


def test_statistics_of_the_driver_itself_are_compared() -> None:
    (found,) = differ("W ivar0 1; statistics", "W ivar0 1; statistics; R status 3")
    assert found.theirs == "R status 0x3"
    phase_ = phase("W ivar0 1; statistics")
    assert [step.register for step in phase_.steps[1:]] == STATISTICS and phase_.steps[1].value == "0x7"


def test_what_the_pf_said_unasked_counts_unless_it_may_come_at_any_time() -> None:
    ours, theirs = (trace(f"W ctrl 4000000; R mbx {seen}; R mbx 0; W mbx 4; R mbx 4") for seen in ("80", "90"))
    assert CANONICAL.phase(ours) != CANONICAL.phase(theirs)
    assert CANONICAL.phase(ours, unasked=True) == CANONICAL.phase(theirs, unasked=True)
    other = trace("W ctrl 4000000; R mbx 10; R mbx 0; W mbx 4; R mbx 4")
    assert CANONICAL.phase(ours, unasked=True) != CANONICAL.phase(other, unasked=True), "RSTD counts"
    later = trace("W ctrl 4000000; R mbx 80; R mbx 0; W mbx 4; R mbx 14")
    assert CANONICAL.phase(ours, unasked=True) != CANONICAL.phase(later, unasked=True), "and so does all that comes later"


def test_tails_move_freely_in_phases_with_traffic_only() -> None:
    assert differ("W tdt 1; R status 3; W rdt 10", "R status 3; W tdt 1; W tdt 2", traffic=True) == []
    assert differ("W tdt 0; W rdt 3fe", "W tdt 0; W rdt 3ff") == [Difference("p", "W rdt[0]", "0x3fe", "0x3ff")]


def test_addresses_of_rings_have_no_value() -> None:
    assert differ("W tdbal 1000", "W tdbal 2000") == []


# -- messages


def test_messages_are_named_and_their_words_compared() -> None:
    ask, told = "W mem0 {}; W mem1 {}", "R mem0 {}; R mem1 {}"
    assert differ(ask.format("4", "5"), ask.format("4", "6")) == [Difference("p", "W vmbmem[1] (set_vlan)", "0x5", "0x6")]
    assert differ(told.format("a0000005", "0"), told.format("60000005", "0")) == [
        Difference("p", "R vmbmem[0] (set_lpe_reply)", "0xa0000005", "0x60000005")
    ]
    found = differ(ask.format("4", "5"), ask.format("5", "5"))
    assert found[0].at == "sequence", "another message is another step, whatever its words"


def test_an_address_that_the_guest_chose_has_no_value_and_one_that_the_host_gave_has() -> None:
    assert differ("W mem0 2; W mem1 11223344", "W mem0 2; W mem1 55667788") == []
    assert differ("W mem0 2; W mem1 105e0002", "W mem0 2; W mem1 55667788") != []
    assert differ("R mem0 80000001; R mem1 0", "R mem0 80000001; R mem1 105e0002") != []


# -- the list of differences

ENTRY = Entry("R status", ("open", "close"), "0x3", "0x1", "ours", "why")
OPEN, CLOSE = (Difference(name, "R status", "0x3", "0x1") for name in ("open", "close"))


def test_a_difference_without_entry_fails() -> None:
    other = Difference("open", "R status", "0x3", "0x2")
    verdict = judge([OPEN, CLOSE, other], [ENTRY])
    assert not verdict and verdict.unexplained == [other] and not verdict.stale
    assert "open: R status" in str(verdict) and "0x2" in str(verdict)


def test_an_entry_without_difference_fails() -> None:
    verdict = judge([OPEN], [ENTRY])
    assert not verdict and verdict.stale == [CLOSE] and not verdict.unexplained
    assert judge([OPEN, CLOSE], [ENTRY])


def test_an_entry_that_gives_other_values_explains_nothing() -> None:
    verdict = judge([Difference("open", "R status", "0x3", "0x0"), CLOSE], [ENTRY])
    assert len(verdict.unexplained) == len(verdict.stale) == 1


def test_the_captures_have_to_be_of_the_same_phases() -> None:
    with pytest.raises(ValueError, match="different phases"):
        compare({"a": phase("")}, {"b": phase("")}, {})


def test_the_file_is_well_formed_and_names_phases_that_exist() -> None:
    known = {p.name for p in PHASES} | {p.watch for p in PHASES} | {"any", "configuration space"}
    for entry in load(FILE):
        assert set(entry.phases) <= known, entry


def test_an_entry_may_be_about_some_fronts(tmp_path: Path) -> None:
    text = "[[difference]]\nfronts = ['a']\nat = 'x'\nphase = 'p'\nours = '1'\ntheirs = '2'\nright = 'ours'\nclause = 'c'\n"
    (tmp_path / "d.toml").write_text(text)
    assert [len(load(tmp_path / "d.toml", front)) for front in ("a", "b", "")] == [1, 0, 0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("right = 'ours'", "right = 'nobody'"), "right is one of"),
        (("clause = 'c'", "clause = ' '"), "say why"),
        (("clause = 'c'", ""), "clause is missing"),
        (("theirs = '2'", "theirs = '1'"), "must differ"),
        (("phase = 'p'", "phase = ['p', 'p']"), "more than one entry"),
    ],
)
def test_an_entry_that_does_not_say_all_is_refused(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    text = "[[difference]]\nat = 'R status'\nphase = 'p'\nours = '1'\ntheirs = '2'\nright = 'ours'\nclause = 'c'\n"
    file = tmp_path / "d.toml"
    file.write_text(text.replace(*change))
    with pytest.raises(ValueError, match=complaint):
        load(file)


# -- the rest


def test_configuration_space_is_compared_by_field_and_beyond() -> None:
    ours, theirs = bytearray(4096), bytearray(4096)
    assert configuration(IGBVF.config, bytes(ours), bytes(theirs)) == set()
    ours[0x10:0x14], theirs[0x10:0x14] = (0xFE80_0000 | 0xC).to_bytes(4, "little"), (0xFD00_0000 | 0xC).to_bytes(4, "little")
    ours[0xAC], theirs[0xAC] = 0x41, 0x11
    theirs[0xF0] = 1
    assert {str(d.at) for d in configuration(IGBVF.config, bytes(ours), bytes(theirs))} == {
        "pcie_link_capabilities.max_link_width", "config+0xf0",
    }  # fmt: skip


def test_short_sequences_of_one_shape_are_compared_with_each_other() -> None:
    mine, other = phase("R status 3").steps, phase("R status 1").steps
    assert blocks("w", "watchdog", [mine], [other]) == {Difference("w", "R status", "0x3", "0x1")}
    assert len(blocks("w", "watchdog", [mine, other], [other])) == 1
    assert sequences("w", mine, mine) == set()


def test_the_trace_is_read_for_one_function_only() -> None:
    lines = """\
memory_region_ops_read cpu 0 mr 0x55 addr 0xfe800c40 value 0x80 size 4 name 'vfio-user:/tmp/vf0.sock BAR 0'
memory_region_ops_write cpu 0 mr 0x56 addr 0xfe804000 value 0x1 size 4 name 'msix-table'
memory_region_ops_write cpu 0 mr 0x55 addr 0xfe800000 value 0x4000000 size 4 name 'igbvf-mmio'
pci_cfg_read igbvf 01:10.0 @0x4 -> 0x100006
pci_cfg_write igbvf 01:10.2 @0x4 <- 0x6
pci_cfg_write igbvf 01:10.0 @0x4 <- 0x2
sriov_config_write igb 01:00.0
""".splitlines()
    assert list(accesses(lines, Function("01:10.0", 0xFE800000, 0x4000))) == [
        Access("R", BAR, 0xC40, 0x80), Access("W", BAR, 0, 0x400_0000),
        Access("R", CONFIG, 4, 0x10_0006), Access("W", CONFIG, 4, 2),
    ]  # fmt: skip


def test_the_peer_answers_pings_and_nothing_else() -> None:
    scapy = pytest.importorskip("scapy.layers.inet", reason="scapy is not installed")
    ether = pytest.importorskip("scapy.layers.l2")
    for tag in (b"", ether.Dot1Q(vlan=5)):
        layers = ether.Ether(src="02:00:5e:10:00:01", dst=peer.MAC.hex(":"))
        layers = layers / tag if tag else layers
        request = layers / scapy.IP(src="192.0.2.1", dst="192.0.2.2") / scapy.ICMP(id=7, seq=3) / b"payload"
        reply = ether.Ether(peer.answer(bytes(request)))
        assert (reply.dst, reply[scapy.IP].src, reply[scapy.ICMP].type, reply[scapy.ICMP].seq) == (
            "02:00:5e:10:00:01", "192.0.2.2", 0, 3,
        )  # fmt: skip
        sent = reply[scapy.ICMP].chksum
        del reply[scapy.ICMP].chksum
        assert ether.Ether(bytes(reply))[scapy.ICMP].chksum == sent
        assert bytes(reply).endswith(b"payload")
    assert peer.answer(b"\xff" * 60) is None
    assert peer.answer(peer.MAC + bytes(54)) is None
