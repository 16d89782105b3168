"""Inter-VM shared memory (1af4:1110): QEMU's ``ivshmem-plain`` and ``ivshmem-doorbell``, and ``ivshmem`` as before QEMU 2.6.

What lives here: identity, configuration space and what belongs to the device, gathered; data only. How large the memory is,
and how many vectors there are, is up to who sets the device up: ``plain``, ``doorbell`` and ``legacy`` describe each, the
catalogue has one of each kind. All are laid out as QEMU's own.
"""

from __future__ import annotations

from functools import cache

from regmodel.bars.ivshmem import BAR0, BARS, MEMORY_SIZE, QEMU_FILE, REGISTERS, REGISTERS_SIZE, SPEC, memory_bar
from regmodel.capabilities import msix, msix_bar
from regmodel.catalogue import Device, Identity
from regmodel.conduct import Conduct, Excluded, Touched
from regmodel.devices.ivshmem_handshakes import HANDSHAKES, SHARE
from regmodel.function import ResetCause
from regmodel.mailboxes.ivshmem import MAILBOX
from regmodel.pci import BarSpec, ConfigSpace
from regmodel.registers import Bar
from regmodel.sources import Document, Reading
from regmodel.structures.ivshmem import SOURCES, STRUCTURES

CLASS_RAM = 0x050000
SUBSYSTEM = (0x1AF4, 0x1100)
"""What QEMU gives to devices that have none; AVP, of the same vendor and device number, has another."""
MSIX_BAR, MSIX_AT, MEMORY_BAR = 1, 0x40, 2

REALIZE = Reading("qemu", QEMU_FILE, "ivshmem_common_realize, ivshmem_common_class_init")
EXCLUSIVE = Reading("qemu", "hw/pci/msix.c", "msix_init_exclusive_bar")
DEFAULTS = Reading("qemu", "hw/pci/pci.c", "pci_set_default_subsystem_id")
OLD_REALIZE = Reading("qemu", "hw/misc/ivshmem.c", "as of QEMU 2.5: pci_ivshmem_realize")

THEIRS = ("QEMU's own devices: its qtest's assertions on both",)
PEERS = ("peers of one server",)
SHARED = ("what DPDK 16.07 shares: sizes and offsets as gcc gave them for its sources, noted by hand; no host of it was run",)
"""What it is proven with, in the words of the README. QEMU's own have revision 1, and prove nothing of revision 0."""

CONDUCT = Conduct(
    touched=(
        Touched("ivposition", "the server gives the ID", (ResetCause.POWER_ON,), sources=(REGISTERS,)),
    ),
    excluded=(
        Excluded("*", "shm", "the memory belongs to all who share it: what a test leaves there, others find"),
    ),
)  # fmt: skip


def msix_places(vectors: int) -> tuple[int, int]:
    """Where QEMU puts the pending bits behind a table of ``vectors`` entries, and how large the BAR is then; in bytes."""
    pending = max(0x800, 16 * vectors)
    size = max(0x1000, pending + -(-vectors // 64) * 8)
    return pending, 1 << (size - 1).bit_length()


def _device(name: str, title: str, doc: str, revision: int, size: int, vectors: int, *, server: bool) -> Device:
    identity = Identity(0x1AF4, 0x1110, CLASS_RAM, revision, *SUBSYSTEM)
    pending, room = msix_places(vectors)
    specs = [BarSpec(0, REGISTERS_SIZE), BarSpec(MEMORY_BAR, size, bits64=True, prefetch=True)]
    capabilities = []
    if vectors:
        specs.insert(1, BarSpec(MSIX_BAR, room))
        capabilities.append(msix(MSIX_AT, vectors, table=(MSIX_BAR, 0), pba=(MSIX_BAR, pending)))
    sources = (REALIZE, DEFAULTS, *((EXCLUSIVE,) if vectors else ()), *(() if revision else (OLD_REALIZE,)))
    config = ConfigSpace(
        identity, *capabilities, bars=tuple(specs), pin=int(revision == 0), size=0x100, sources=sources
    )  # fmt: skip
    bars: dict[int, Bar] = {0: BAR0, MEMORY_BAR: memory_bar(size)}
    if vectors:
        bars = {0: BAR0, MSIX_BAR: msix_bar("msix", room, config, MSIX_BAR), MEMORY_BAR: bars[MEMORY_BAR]}
    return Device(
        name=name,
        title=title,
        doc=doc,
        identity=identity,
        config=config,
        bars=bars,
        model="emulators.nics.ivshmem.card:IvshmemCard",
        msix_vectors=vectors,
        msix_bar=MSIX_BAR if vectors else None,
        mailboxes=(MAILBOX,) if server else (),
        structures=STRUCTURES,
        conduct=CONDUCT,
        handshakes=HANDSHAKES if server else (SHARE,),
        variant={"server": server},
        proven=((*THEIRS, *(PEERS if server else ())) if revision else ()) + SHARED,
        sources=(BARS, Document(SPEC, "Interrupt infrastructure"), REALIZE, *SOURCES),
    )


@cache
def plain(size: int = MEMORY_SIZE) -> Device:
    """Memory of ``size`` bytes and nothing else: no peers, no interrupts."""
    doc = "Memory that several guests and the host share"
    return _device("ivshmem-plain", "Inter-VM shared memory", doc, 1, size, 0, server=False)


@cache
def doorbell(size: int = MEMORY_SIZE, vectors: int = 1) -> Device:
    """With a server, and peers that can be interrupted."""
    doc = "Memory that several guests and the host share, and doorbells between them"
    return _device("ivshmem-doorbell", "Inter-VM shared memory with doorbells", doc, 1, size, vectors, server=True)


@cache
def legacy(size: int = MEMORY_SIZE, vectors: int = 0) -> Device:
    """Revision 0. Without ``vectors`` peers interrupt it by INTx, which a status and a mask register guard."""
    doc = "Revision 0, as before QEMU 2.6: INTx with a status and a mask, memory that may come late"
    return _device("ivshmem", "Inter-VM shared memory, revision 0", doc, 0, size, vectors, server=True)


IVSHMEM_PLAIN = plain()
IVSHMEM_DOORBELL = doorbell()
IVSHMEM = legacy()
