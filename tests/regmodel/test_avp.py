"""The description of AVP, against DPDK's header: a compiler says where each member of each structure stands."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from construct import Construct

from regmodel.bars.avp import BAR2, BAR4, BAR5
from regmodel.catalogue import find
from regmodel.layout import layout
from regmodel.mailboxes.avp import CONFIG, DEVICE, NETWORK_IF, PATIENCE, REQUEST_SIZE
from regmodel.registers import Window
from regmodel.rings.avp import DESC, FIFO, POINTER
from regmodel.structures.avp import (
    DEVICE_INFO,
    GUEST_VERSION,
    HOST_VERSION,
    MAX_MAPS,
    MAX_MEMPOOLS,
    MAX_QUEUES,
    MAX_SEGMENTS,
    MEMMAP_INFO,
    NAME_SIZE,
    make_version,
    strip_minor,
)
from tests.support.inputs import missing

HEADER = Path("/usr/include/dpdk/rte_avp_common.h")
TYPES: Mapping[str, tuple[str, Construct]] = {
    "rte_avp_memmap_info": ("rte_avp_memmap_info", MEMMAP_INFO),
    "rte_avp_device_info": ("rte_avp_device_info", DEVICE_INFO),
    "rte_avp_fifo": ("rte_avp_fifo", FIFO),
    "rte_avp_desc": ("rte_avp_desc", DESC),
    "rte_avp_device_config": ("rte_avp_device_config", CONFIG),
    "request of a configuration": ("rte_avp_request", DEVICE),
    "request to start": ("rte_avp_request", NETWORK_IF),
}
NUMBERS = {
    "RTE_AVP_CURRENT_HOST_VERSION": make_version(*HOST_VERSION),
    "RTE_AVP_CURRENT_GUEST_VERSION": make_version(*GUEST_VERSION),
    "RTE_AVP_STRIP_MINOR_VERSION(0x12345678)": strip_minor(0x12345678),
    "RTE_AVP_MAX_MAPS": MAX_MAPS,
    "RTE_AVP_MAX_MEMPOOLS": MAX_MEMPOOLS,
    "RTE_AVP_MAX_QUEUES": MAX_QUEUES,
    "RTE_AVP_MAX_MBUF_SEGMENTS": MAX_SEGMENTS,
    "RTE_AVP_NAMESIZE": NAME_SIZE,
    "RTE_AVP_PCI_SUB_VENDOR_ID": 0x1AF4,
    "RTE_AVP_PCI_SUB_DEVICE_ID": find("avp").identity.subsystem,
    "sizeof(void *)": POINTER,
    "sizeof(struct rte_avp_request)": REQUEST_SIZE,
}


def members(schema: Construct) -> dict[str, tuple[int, int]]:
    """(offset, bytes) of what the header names, by its C name: the first and the last element of arrays of structures."""
    found: dict[str, tuple[int, int]] = {}
    for leaf in layout(schema).leaves:
        index = re.search(r"\[(\d+)\]", leaf.path)
        if index is None or index[1] in ("0", "7", "2047"):
            found[leaf.path] = (leaf.offset, leaf.size)
    return found


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What gcc says of each expression."""
    if not HEADER.exists() or shutil.which("gcc") is None or shutil.which("pkg-config") is None:
        missing("DPDK's header of AVP, or gcc", "apt-get install libdpdk-dev gcc pkg-config")
    room = tmp_path_factory.mktemp("avp")
    wanted = [*NUMBERS]
    for kind, schema in TYPES.values():
        wanted.append(f"sizeof(struct {kind})")
        for path in members(schema):
            wanted += [f"offsetof(struct {kind}, {path})", f"sizeof(((struct {kind} *)0)->{path})"]
    lines = "".join(f'printf("%s=%llu\\n", "{e}", (unsigned long long)({e}));\n' for e in dict.fromkeys(wanted))
    source = "#include <stdio.h>\n#include <stddef.h>\n#include <rte_avp_fifo.h>\nint main(void) {\n" + lines + "return 0; }\n"
    flags = subprocess.run(["pkg-config", "--cflags", "libdpdk"], capture_output=True, text=True, check=True).stdout.split()
    command = ["gcc", "-w", *flags, "-xc", "-", "-o", str(room / "said")]
    done = subprocess.run(command, input=source, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[:2000]
    said = subprocess.run([room / "said"], capture_output=True, text=True, check=True, timeout=10).stdout
    return {name: int(value) for name, _, value in (line.rpartition("=") for line in said.splitlines())}


@pytest.mark.parametrize("name", TYPES)
def test_members_stand_where_the_compiler_puts_them(name: str, compiled: dict[str, int]) -> None:
    kind, schema = TYPES[name]
    ours = members(schema)
    theirs = {
        path: (compiled[f"offsetof(struct {kind}, {path})"], compiled[f"sizeof(((struct {kind} *)0)->{path})"]) for path in ours
    }
    assert ours == theirs and len(ours) >= 3


@pytest.mark.parametrize("name", ["rte_avp_memmap_info", "rte_avp_device_info", "rte_avp_fifo", "rte_avp_desc",
                                  "request of a configuration", "request to start"])  # fmt: skip
def test_structures_have_the_compilers_size(name: str, compiled: dict[str, int]) -> None:
    kind, schema = TYPES[name]
    assert layout(schema).size == compiled[f"sizeof(struct {kind})"]


def test_a_configuration_is_packed(compiled: dict[str, int]) -> None:
    """25 bytes; in a request it fills a union that is aligned to 4."""
    assert compiled["sizeof(struct rte_avp_device_config)"] == 25 == layout(CONFIG).size - 3


@pytest.mark.parametrize("expression", NUMBERS)
def test_numbers(expression: str, compiled: dict[str, int]) -> None:
    assert compiled[expression] == NUMBERS[expression]


def test_bars_have_room_for_what_is_in_them() -> None:
    for bar in (BAR4, BAR5):
        (window,) = bar.entries.values()
        assert isinstance(window, Window) and window.size <= bar.size and not window.mappable
    assert BAR2.size & BAR2.size - 1 == 0, "a BAR is a power of two"
    assert [name for name, e in BAR2.entries.items() if isinstance(e, Window) and e.mappable] == ["memory"]


def test_the_guest_waits_for_half_a_second() -> None:
    """AVP_REQUEST_DELAY_USECS times AVP_MAX_REQUEST_RETRY of DPDK's avp_ethdev.c."""
    assert pytest.approx(5000e-6 * 100) == PATIENCE


def test_it_is_told_from_ivshmem_by_its_subsystem() -> None:
    identity = find("avp").identity
    assert (identity.vendor, identity.device, identity.subsystem_vendor, identity.subsystem) == (0x1AF4, 0x1110, 0x1AF4, 0x1104)
