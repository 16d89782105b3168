"""The loader finds symbols, places tables at them, and reads memory by them."""

from __future__ import annotations

import struct
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from firmware import elf
from firmware import format as f
from firmware.errors import FirmwareError
from firmware.vectors import Program, at, known_as, unpack_vectors
from regmodel.errors import UsageError

SHARED = ("control", "targets", "vectors", "report", "functions", "results", "mailbox", "irq_counts", "dma_buffer")


def test_every_symbol_that_the_host_knows_is_in_the_image_and_has_its_size(loaded: elf.Image) -> None:
    sizes = {name: loaded.symbol(name).size for name in SHARED}
    assert sizes == {
        "control": f.CONTROL.sizeof(), "targets": f.TARGETS * f.TARGET.sizeof(), "vectors": f.VECTORS * f.VECTOR.sizeof(),
        "report": f.REPORT.sizeof(), "functions": f.FUNCTIONS * f.FUNCTION.sizeof(),
        "results": f.VECTORS * f.RESULT.sizeof(), "mailbox": f.MAILBOX.sizeof(), "irq_counts": 4 * f.MESSAGES,
        "dma_buffer": f.DMA_BYTES,
    }  # fmt: skip


def test_what_is_placed_is_what_a_stranger_finds_there(loaded: elf.Image, tmp_path: Path) -> None:
    program = Program()
    program.read(program.target(at("00:01.0")), 0, 0x1234, 4, 0xCAFE)
    for name, content in program.tables().items():
        loaded.place(name, content)
    path = tmp_path / "patched.elf"
    path.write_bytes(loaded.data)
    nm = {line.split()[2]: int(line.split()[0], 16) for line in _run("nm", "-n", str(path)).splitlines()}
    bounds = f"--start-address={nm['vectors']}", f"--stop-address={nm['vectors'] + 32}"
    dump = _run("objdump", "-s", "-j", ".table", *bounds, str(path))
    words = "".join(word for line in dump.splitlines()[-2:] for word in line[:44].split()[1:5])
    assert unpack_vectors(bytes.fromhex(words)) == program.vectors


def test_the_rest_of_the_file_stays_as_it_was(built: Path, loaded: elf.Image) -> None:
    before, symbol = built.read_bytes(), loaded.symbol("targets")
    loaded.place("targets", b"\xff" * 16, offset=32)
    assert symbol.file is not None
    changed = {i for i, (a, b) in enumerate(zip(before, loaded.data, strict=True)) if a != b}
    assert changed == set(range(symbol.file + 32, symbol.file + 48))


@pytest.mark.parametrize(("content", "offset"), [(bytes(17), 0), (b"1", 16), (b"1", -1)])
def test_nothing_is_placed_beyond_a_symbol(loaded: elf.Image, content: bytes, offset: int) -> None:
    before = bytes(loaded.data)
    with pytest.raises(UsageError, match="do not fit control"):
        loaded.place("control", content, offset)
    assert loaded.data == before


def test_what_is_not_in_the_file_cannot_be_placed(loaded: elf.Image) -> None:
    with pytest.raises(UsageError, match=r"results of image\.elf has no bytes in the file"):
        loaded.place("results", b"1")


def test_a_symbol_that_is_not_there_is_named(loaded: elf.Image) -> None:
    with pytest.raises(FirmwareError, match="no symbol nonsense"):
        loaded.place("nonsense", b"")


def test_memory_is_read_at_the_symbols_address(loaded: elf.Image) -> None:
    memory = bytearray(loaded.symbol("report").address + 4096)
    struct.pack_into("<I", memory, loaded.symbol("irq_counts").address + 8, 7)
    view = elf.GuestView(loaded, memoryview(memory))
    assert view.words("irq_counts")[2] == 7
    view.words("mailbox")[0] = 5
    assert memory[loaded.symbol("mailbox").address] == 5


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"not an ELF file", bytes(4096)])
def test_what_is_no_elf_file_is_one_clear_line(data: bytes) -> None:
    with pytest.raises(FirmwareError, match="no ELF file") as caught:
        elf.Image(data, "thing")
    assert "\n" not in str(caught.value)


def test_a_cut_image_is_refused(built: Path) -> None:
    with pytest.raises(FirmwareError):
        elf.Image(built.read_bytes()[:100_000], "half")


def test_a_stripped_image_is_refused(built: Path, tmp_path: Path) -> None:
    _run("strip", "-o", str(tmp_path / "bare"), str(built))
    with pytest.raises(FirmwareError, match="no symbol table"):
        elf.Image.read(tmp_path / "bare")


def test_the_entry_point_is_in_the_note_that_qemu_reads(built: Path) -> None:
    with built.open("rb") as file:
        parsed = ELFFile(BytesIO(file.read()))
    note = next(n for s in parsed.iter_segments("PT_NOTE") for n in s.iter_notes())
    assert note["n_name"] == "Xen" and note["n_descsz"] == 8
    assert int.from_bytes(note["n_descdata"], "little") == parsed["e_entry"]


def test_tables_survive_a_loader_that_knows_only_the_segments(loaded: elf.Image) -> None:
    program = Program()
    program.locate(program.target(known_as(0x8086, 0x10D3)))
    for name, content in program.tables().items():
        loaded.place(name, content)
    memory = bytearray(64 << 20)
    for segment in ELFFile(BytesIO(bytes(loaded.data))).iter_segments("PT_LOAD"):
        memory[segment["p_paddr"] : segment["p_paddr"] + segment["p_filesz"]] = segment.data()
    view = elf.GuestView(loaded, memoryview(memory)).view("vectors")
    assert unpack_vectors(bytes(view[:32])) == program.vectors


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
