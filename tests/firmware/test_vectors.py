"""Tables go to bytes and back; what does not fit is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware import format as f
from firmware import header
from firmware.compiled import answers, asked, reset_values
from firmware.format import Flag, Op, Space, Status
from firmware.image import COMPILER
from firmware.vectors import (
    Program,
    Result,
    Vector,
    at,
    known_as,
    pack,
    pack_rows,
    unpack_functions,
    unpack_report,
    unpack_results,
    unpack_vectors,
)
from regmodel.bars.igbvf import BAR0_82576
from regmodel.conformance.accesses import ConfigRead, ConfigWrite, Drive, Read, Reset, Wait, Write
from regmodel.errors import UsageError
from regmodel.function import ResetCause
from regmodel.layout import layout

VECTORS = st.builds(
    Vector, st.sampled_from(Op), st.sampled_from(Space), st.sampled_from([1, 2, 4, 8]), st.sampled_from([Flag(0), *Flag]),
    st.integers(0, f.TARGETS - 1), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF),
    st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1),
)  # fmt: skip


@given(st.lists(VECTORS, max_size=8))
def test_vectors_come_back_as_they_went(vectors: list[Vector]) -> None:
    assert unpack_vectors(pack(vectors)) == vectors


@given(st.lists(VECTORS, max_size=4))
def test_construct_reads_the_same(vectors: list[Vector]) -> None:
    data = pack(vectors)
    for number, vector in enumerate(vectors):
        parsed = f.VECTOR.parse(data[32 * number : 32 * number + 32])
        assert tuple(parsed[name] for name in Vector._fields) == vector


def test_results_are_read_by_member() -> None:
    data = pack_rows(f.RESULT, [(Status.FAULT, 14, 0, 2, 0xFEED), (Status.OK, 0, 0, 0, 2**64 - 1)])
    assert unpack_results(data) == [Result(Status.FAULT, 14, 2, 0xFEED), Result(Status.OK, 0, 0, 2**64 - 1)]


def test_each_vector_is_numbered_as_its_result() -> None:
    program = Program()
    t = program.target(at("00:01.0"))
    numbers = [
        program.enable(t), program.read(t, 0, 0, 4), program.write(t, 0, 0, 4, 1), program.poll(t, 0, 0, 4, 1, 1, 10),
        program.delay(5), program.size(t, 0), program.flr(t), program.bus_reset(t), program.vfs(t, 1), program.irqs(t, 1),
        program.irq_wait(t, 0, 1, 10), program.locate(t),
    ]  # fmt: skip
    assert numbers == list(range(12)) and len(program.vectors) == 12
    assert {v.op for v in program.vectors} == set(Op) - {Op.NOP}


def test_an_expected_value_is_compared_in_the_width_of_the_access() -> None:
    program = Program()
    program.read(0, 0, 0, 2, 0x1234)
    program.read(0, 0, 0, 2)
    assert program.vectors[0].mask == 0xFFFF and program.vectors[0].flags is Flag.CHECK
    assert program.vectors[1].flags == Flag(0)


def test_a_target_is_numbered_once() -> None:
    program = Program()
    assert [program.target(at("01:00.0")), program.target(known_as(1, 2)), program.target(at("0000:01:00.0"))] == [0, 1, 0]
    assert program.vf_of(1, 3) == 2 and program.vf_of(1, 3) == 2


def test_addresses_are_written_as_lspci_writes_them() -> None:
    assert at("00:1f.3").bdf == 0xFB and at("81:00.1").bdf == 0x8101


@pytest.mark.parametrize("text", ["", "1", "00:20.0", "00:00.8", "100:00.0", "zz:00.0"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no PCI address"):
        at(text)


def test_more_than_a_table_holds_is_refused() -> None:
    program = Program()
    program.vectors = [Vector(Op.NOP)] * (f.VECTORS + 1)
    with pytest.raises(UsageError, match="65537 vectors"):
        program.tables()
    program = Program()
    for number in range(f.TARGETS):
        program.target(known_as(1, number))
    with pytest.raises(UsageError, match="32 targets"):
        program.target(known_as(2, 2))


def test_functions_leave_out_bars_that_are_not_there() -> None:
    bars = [0xFE000000, 0x4000, 12, 0] + [0] * 20
    row = [0x0108, 0, 0x8086, 0x10C9, 0x020000, f.Kind.ENDPOINT, 1, 0, *bars, *[0] * 24]
    (found,) = unpack_functions(layout(f.FUNCTION).struct.pack(*row), 1)
    assert (found.address, found.upstream, list(found.bars)) == ("01:01.0", 0, [0]) and found.bars[0].size == 0x4000


def test_a_report_says_where_it_went_wrong() -> None:
    values = {"state": f.State.FAILED, "failure": f.Failure.FAULT, "fault": 13, "fault_at": 0x101234}
    row = [values.get(name, 0) for name in layout(f.REPORT).names]
    assert "exception 13" in str(unpack_report(layout(f.REPORT).struct.pack(*row))) and "0x101234" in str(
        unpack_report(layout(f.REPORT).struct.pack(*row))
    )


def test_a_wrong_offset_in_the_header_does_not_compile(tmp_path: Path) -> None:
    source = header.text() + "int main(void) { return 0; }\n"
    assert _compiles(source, tmp_path)
    assert not _compiles(source.replace("uint16_t target;", "uint32_t target;"), tmp_path)


def _compiles(source: str, folder: Path) -> bool:
    (folder / "try.c").write_text(source)
    return not subprocess.run([COMPILER, "-fsyntax-only", folder / "try.c"], capture_output=True, check=False).returncode


def test_rehearsed_accesses_become_vectors_and_reads_are_answered_in_order() -> None:
    program = Program()
    t = program.target(at("00:01.0"))
    reads = asked(program, t, [
        Read(0, 8, 4), Write(0, 8, 4, 5), ConfigRead(0, 2), Reset(ResetCause.FLR), ConfigWrite(4, 2, 6), Wait(0.5),
        Read(3, 0, 8),
    ])  # fmt: skip
    assert [(v.op, v.space, v.width) for v in program.vectors] == [
        (Op.READ, 0, 4), (Op.WRITE, 0, 4), (Op.READ, 7, 2), (Op.FLR, 0, 0), (Op.ENABLE, 0, 0), (Op.WRITE, 7, 2),
        (Op.DELAY, 0, 0), (Op.READ, 3, 8),
    ]  # fmt: skip
    assert program.vectors[6].limit == 500_000 and reads == [0, 2, 7]
    results = [Result(Status.OK, 0, 0, number) for number in range(8)]
    assert answers(results, reads) == [0, 2, 7]
    results[2] = Result(Status.GONE, 0, 0, 0xFFFF)
    assert answers(results, reads) == [0]


@pytest.mark.parametrize("access", [Drive("bar0.eicr", 1, 1), Reset(ResetCause.POWER_ON)])
def test_what_no_software_can_do_is_refused(access: Drive | Reset) -> None:
    with pytest.raises(UsageError, match="firmware cannot"):
        asked(Program(), 0, [access])


def test_reset_values_cover_every_register_that_is_there() -> None:
    program = Program()
    paths = reset_values(program, 0, 0, BAR0_82576, ResetCause.FLR)
    assert {"ctrl", "status", "rdbal[1]", "eitr[2]"} <= set(paths.values())
    status = next(program.vectors[n] for n, path in paths.items() if path == "ctrl")
    assert status.width == 4 and status.flags is Flag.CHECK
