"""What is said to the guest image, and what it answers: described once, for Python and for C.

What lives here: the layouts and numbers on both sides of the shared memory. ``header`` writes them as C, with an assertion
for each offset; ``vectors`` packs and unpacks them. All is little-endian.

The image exports these symbols: ``control``, ``targets`` and ``vectors`` (in the section ``.table``, which is in the ELF
file and filled in before the guest starts), ``report``, ``functions`` and ``results`` (filled in by the guest), ``mailbox``
(both, while it runs), ``irq_counts`` (u32 by message), ``dma_buffer``.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from construct import Array, Bytes, Construct, Int8ul, Int16ul, Int32ul, Int64ul, Struct

MAGIC = 0x31564D52  # "RMV1": the loader and the image speak of the same layouts

VECTORS = 1 << 16
"""Room for so many vectors in a table."""
TARGETS = 32
FUNCTIONS = 160
MESSAGES = 128
"""Message-signalled interrupts which are counted one by one, over all functions."""
SLOTS = 64
"""Requests that may be under way in the mailbox."""
DMA_BYTES = 64 << 20
"""At 256 MiB, where other transports begin to give addresses to DMA memory."""
EXIT_PORT = 0x501
"""Where QEMU's ``isa-debug-exit`` listens; the process ends with status ``2 * value + 1``."""
EXIT_DONE, EXIT_FAILED = 0x10, 0x11


class Op(IntEnum):
    """What one vector does."""

    NOP = 0
    READ = 1  # from ``offset`` of ``space``; with ``Flag.CHECK`` compared with ``value`` under ``mask``
    WRITE = 2
    POLL = 3  # read until ``value`` under ``mask``, for at most ``limit`` us; ``times`` is the number of reads
    DELAY = 4  # ``limit`` us
    ENABLE = 5  # place the BARs and set bits 2:0 of the command register to ``value``
    SIZE = 6  # size BAR ``space`` by writing all ones to it (PCI Local Bus 3.0, 6.2.5.1); bytes
    FLR = 7  # function level reset, then ``limit`` us; BARs and command register stay as the reset left them
    VFS = 8  # enable ``number`` VFs by the SR-IOV capability, then ``limit`` us; they are targets from here
    IRQS = 9  # deliver messages 0 to ``number`` - 1 (``space``: Space.MSI or MSIX); the value is the first one's count
    IRQ_WAIT = 10  # until message ``number`` came ``value`` times or ``limit`` us; ``Flag.TAKE`` starts counting anew
    LOCATE = 11  # only whether the target is there; the value is its routing ID
    BUS_RESET = 12  # secondary bus reset by the bridge above, then ``limit`` us; all functions on that bus are reset


class Space(IntEnum):
    """Where an access goes. BARs and configuration space are numbered as regions of ``regmodel.function``."""

    BAR0 = 0
    BAR1 = 1
    BAR2 = 2
    BAR3 = 3
    BAR4 = 4
    BAR5 = 5
    CONFIG = 7
    MEMORY = 8  # guest-physical
    PORT = 9
    MSI = 10  # no access: which capability IRQS is about
    MSIX = 11


class Flag(IntFlag):
    CHECK = 1  # READ: a value that differs from ``value`` under ``mask`` is Status.MISMATCH
    TAKE = 2


class Status(IntEnum):
    """How a vector ended. Each is recorded, none ends the run."""

    NOT_RUN = 0
    OK = 1
    MISMATCH = 2
    TIMEOUT = 3
    NO_DEVICE = 4  # the target was not found
    GONE = 5  # all ones came back and configuration space is all ones too: master abort
    FAULT = 6  # the access raised exception ``fault``; for a page fault ``value`` is the address
    REFUSED = 7  # no such BAR, beyond its end, no such capability, no room: nothing was accessed


class Match(IntEnum):
    """How a target names its function."""

    BDF = 1
    ID = 2  # the ``index``-th function with this vendor and device
    VF = 3  # VF ``index`` (from 0) of target ``parent``


class Kind(IntEnum):
    ENDPOINT = 0
    BRIDGE = 1
    VF = 2


class BarFlag(IntFlag):
    IO = 1
    BITS64 = 4  # bits 0, 2 and 3 as in the BAR register itself
    PREFETCH = 8


class State(IntEnum):
    """How far the image came."""

    START = 0
    BOOTED = 1
    ENUMERATED = 2
    SERVING = 3
    DONE = 4
    FAILED = 5


class Failure(IntEnum):
    """Why an image gave up as a whole."""

    NONE = 0
    MAGIC = 1  # loader and image were built from different descriptions
    NO_ECAM = 2  # neither MCFG nor a chipset that it knows
    NO_SPACE = 3  # BARs do not fit the address space
    FAULT = 4  # an exception outside of any vector
    TOO_MANY = 5  # more functions than FUNCTIONS


class Mode(IntEnum):
    RUN = 0  # the table, then exit
    SERVE = 1  # the table, then the mailbox until ``stop`` is set


NONE = 0xFFFF

CONTROL = Struct(
    "magic"    / Int32ul,
    "mode"     / Int32ul,
    "targets"  / Int32ul * "used entries of ``targets``",
    "vectors"  / Int32ul * "used entries of ``vectors``",
)  # fmt: skip

TARGET = Struct(
    "match"    / Int8ul,
    "parent"   / Int8ul,
    "index"    / Int16ul,
    "vendor"   / Int16ul,
    "device"   / Int16ul,
    "bdf"      / Int16ul * "routing ID: bus 15:8, device 7:3, function 2:0",
    "found"    / Int16ul * "by the guest: index into ``functions``, or NONE",
    "reserved" / Int32ul,
)  # fmt: skip

VECTOR = Struct(
    "op"       / Int8ul,
    "space"    / Int8ul,
    "width"    / Int8ul  * "bytes: 1, 2, 4 or 8",
    "flags"    / Int8ul,
    "target"   / Int16ul * "index into ``targets``",
    "number"   / Int16ul * "which message, or how many VFs or messages",
    "offset"   / Int32ul * "bytes",
    "limit"    / Int32ul * "us",
    "value"    / Int64ul,
    "mask"     / Int64ul,
)  # fmt: skip

RESULT = Struct(
    "status"   / Int8ul,
    "fault"    / Int8ul * "number of the exception, for Status.FAULT",
    "reserved" / Int16ul,
    "times"    / Int32ul * "POLL: how often it read; SIZE: the type bits; VFS: the index of VF 0 in ``functions``",
    "value"    / Int64ul,
)  # fmt: skip

BAR = Struct(
    "address"  / Int64ul * "as the function decodes it; 0: not placed",
    "size"     / Int64ul * "bytes; 0: no such BAR",
    "flags"    / Int32ul,
    "reserved" / Int32ul,
)  # fmt: skip

FUNCTION = Struct(
    "bdf"        / Int16ul,
    "upstream"   / Int16ul * "index of the bridge above or of a VF's PF, or NONE",
    "vendor"     / Int16ul * "of a VF: its PF's",
    "device"     / Int16ul,
    "class_code" / Int32ul * "base class, sub-class, programming interface",
    "kind"       / Int8ul,
    "revision"   / Int8ul,
    "vf"         / Int16ul * "of a VF: its number from 0",
    "bars"       / Array(6, BAR),
    "vf_bars"    / Array(6, BAR) * "of a PF: those of its first VF",
)  # fmt: skip

REPORT = Struct(
    "state"        / Int32ul,
    "failure"      / Int32ul,
    "done"         / Int32ul * "vectors of the table that have ended",
    "functions"    / Int32ul,
    "ecam"         / Int64ul * "address of bus 0",
    "acpi"         / Int32ul * "1: ECAM was found by ACPI's MCFG, 0: in the chipset",
    "assigned"     / Int32ul * "1: BARs and bus numbers are the image's, 0: the firmware loader's",
    "first_bus"    / Int16ul,
    "last_bus"     / Int16ul,
    "tsc_khz"      / Int32ul,
    "boot_us"      / Int32ul * "from entry to the end of enumeration",
    "run_us"       / Int32ul * "from there to the end of the table",
    "fault"        / Int32ul * "Failure.FAULT: number of the exception",
    "fault_code"   / Int32ul,
    "fault_at"     / Int64ul * "address of the instruction",
    "fault_access" / Int64ul * "CR2",
)  # fmt: skip

MAILBOX = Struct(
    "requests" / Int32ul * "by the host: how many it has made",
    "stop"     / Int32ul,
    "apart"    / Bytes(56) * "the two sides write to different cache lines",
    "replies"  / Int32ul * "by the guest: how many it has answered",
    "apart2"   / Bytes(60),
    "vectors"  / Array(SLOTS, VECTOR) * "request n is in slot n modulo SLOTS",
    "results"  / Array(SLOTS, RESULT),
)  # fmt: skip

STRUCTS: dict[str, Construct] = {
    "control": CONTROL, "target": TARGET, "vector": VECTOR, "result": RESULT, "bar": BAR, "function": FUNCTION,
    "report": REPORT, "mailbox": MAILBOX,
}  # fmt: skip
ENUMS: dict[str, type[IntEnum] | type[IntFlag]] = {
    "OP": Op, "SPACE": Space, "FLAG": Flag, "STATUS": Status, "MATCH": Match, "KIND": Kind, "BAR": BarFlag,
    "STATE": State, "FAILURE": Failure, "MODE": Mode,
}  # fmt: skip
NUMBERS = {
    "MAGIC": MAGIC, "VECTORS": VECTORS, "TARGETS": TARGETS, "FUNCTIONS": FUNCTIONS, "MESSAGES": MESSAGES, "SLOTS": SLOTS,
    "DMA_BYTES": DMA_BYTES, "EXIT_PORT": EXIT_PORT, "EXIT_DONE": EXIT_DONE, "EXIT_FAILED": EXIT_FAILED, "NONE": NONE,
}  # fmt: skip
