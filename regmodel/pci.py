"""PCI configuration space as a register file: the type 0 header, capabilities, extended capabilities, MSI-X tables.

What lives here: builders of descriptions, and what can be read off them (where MSI-X stands, which BARs there are). What
they do on access (sizing, enabling, resetting) belongs to ``emulators.pci``.

A device lists its capabilities with their offsets; ``ConfigSpace`` writes each one's header and chains them in order of
offset::

    ConfigSpace(IDENTITY, msix(0x70, 3, table=(3, 0), pba=(3, 0x2000)), pcie(0xA0, flr=True), aer(0x100), ari(0x150),
                bars=(BarSpec(0, 0x4000, bits64=True, prefetch=True), ...))

Reset domains. ``FLR`` and conventional reset (``BUS``) put every field to its reset value except the sticky ones (PCI
Express Base 5.0 §7.4) and those that §6.6.2 exempts from FLR; the device's own software reset leaves all of it alone.
Names are the specification's, after the capability's name: ``msix_message_control``, ``pcie_device_control``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from construct import Construct

from regmodel import registers
from regmodel.access import CONST, RO, RSVD, RW, W1C, declaring_line
from regmodel.catalogue import Identity
from regmodel.errors import DescriptionError
from regmodel.function import RegionKind, ResetCause
from regmodel.registers import At, Bar, Register, What
from regmodel.sources import Document, Source, Symbol

SRIOV = "Single Root I/O Virtualization and Sharing Specification 1.1"
STICKY = (ResetCause.BUS, ResetCause.FLR)
"""What a sticky (RWS, ROS, RW1CS) field survives; power-on alone resets it."""


def S(name: str, at: int = 0, **more: Any) -> Symbol:
    """A symbol of the kernel's list of PCI registers; ``at`` is where the capability stands."""
    return Symbol("linux-source", "include/uapi/linux/pci_regs.h", f"PCI_{name}", base=at, **more)


def base(section: str) -> Document:
    """A section of the PCI Express Base Specification 5.0."""
    return Document("PCI Express Base Specification 5.0", section)


def contradiction(code: str, path: str, text: str) -> DescriptionError:
    """What to raise for a description of a function which cannot be."""
    return DescriptionError(code, path, declaring_line(), text)


_NOT_REACHED = (ResetCause.SOFTWARE,)
"""A device's own reset does not reach configuration space."""


def Reg8(at: int, *what: What, **more: Any) -> Register:
    return registers.Reg8(at, *what, survives=_NOT_REACHED, **more)


def Reg16(at: int, *what: What, **more: Any) -> Register:
    return registers.Reg16(at, *what, survives=_NOT_REACHED, **more)


def Reg32(at: At, *what: What, **more: Any) -> Register:
    return registers.Reg32(at, *what, survives=_NOT_REACHED, **more)


def Reg64(at: At, *what: What, **more: Any) -> Register:
    return registers.Reg64(at, *what, survives=_NOT_REACHED, **more)


@dataclass(frozen=True)
class BarSpec:
    """One base address register: ``size`` in bytes (a power of two, at least 16 of memory or 4 of I/O)."""

    index: int
    size: int
    kind: RegionKind = RegionKind.MEMORY
    bits64: bool = False
    prefetch: bool = False

    def __post_init__(self) -> None:
        least = 4 if self.kind is RegionKind.IO else 16
        path = f"bar{self.index}"
        if self.size < least or self.size & (self.size - 1):
            raise contradiction("bar-size", path, f"{self.size:#x} is no power of two of at least {least} bytes")
        if not 0 <= self.index <= (4 if self.bits64 else 5):
            raise contradiction("bar-index", path, "a function has BARs 0 to 5, a 64-bit BAR takes two")
        if self.kind is RegionKind.IO and (self.bits64 or self.prefetch):
            raise contradiction("bar-kind", path, "an I/O BAR is 32 bits wide and not prefetchable")


@dataclass(frozen=True)
class Capability:
    """One capability at ``at``: its registers (without the header, which ``ConfigSpace`` writes), ``size`` with it in bytes.

    ``version`` is for extended capabilities only, which stand at 0x100 and above.
    """

    name: str
    id: int
    at: int
    size: int
    entries: tuple[Construct, ...] = ()
    version: int = 1
    sources: tuple[Source, ...] = ()

    @property
    def extended(self) -> bool:
        return self.at >= 0x100

    def header(self, following: int) -> Construct:
        """The identifier and the offset of the ``following`` capability (0 for none)."""
        name, of = f"{self.name}_header", CONST[15:0] if self.extended else CONST[7:0]
        of = "id" / of(*self.sources, **{self.name.upper(): self.id}) * "which capability this is"
        if self.extended:
            rest = ("version" / CONST[19:16] * "of the capability",
                    "next" / CONST[31:20] * "offset of the next extended capability, or 0")
            word = self.id | self.version << 16 | following << 20
            return name / Reg32(self.at, of, *rest, base("7.6.3"), reset=word) * "Extended capability header"
        next_ = "next" / CONST[15:8] * "offset of the next capability, or 0"
        return name / Reg16(self.at, of, next_, base("7.5.3.1"), reset=self.id | following << 8) * "Capability header"


@dataclass(frozen=True)
class MsixSpec:
    """Where MSI-X stands: the capability at ``at``, ``vectors``, the table and pending bits as (BAR, offset in bytes)."""

    at: int
    vectors: int
    table: tuple[int, int]
    pba: tuple[int, int]


class ConfigSpace(Bar):
    """The configuration space of one function, of ``size`` bytes (4096, or 256 without PCI Express).

    ``rom`` is the expansion ROM's size in bytes (0: none), ``pin`` the interrupt pin (0: none, 1: INTA#). Raises
    ``DescriptionError`` ``capability-place`` for one that overlaps the header, another one or the end, and what ``Bar`` raises.
    """

    def __init__(
        self, identity: Identity, *capabilities: Capability, bars: tuple[BarSpec, ...] = (), rom: int = 0, pin: int = 0,
        size: int = 4096, sources: tuple[Source, ...] = (),
    ) -> None:  # fmt: skip
        self.identity, self.bar_specs, self.rom_size, self.pin = identity, bars, rom, pin
        self.capabilities = tuple(sorted(capabilities, key=lambda c: c.at))
        self.sources = sources
        entries = list(_header(identity, bars, rom, pin, self._first()))
        for capability, following in self._chained(size):
            entries += [capability.header(following), *capability.entries]
        super().__init__("config", size, *entries, doc="configuration space")

    def _first(self) -> int:
        return next((c.at for c in self.capabilities if not c.extended), 0)

    def _chained(self, size: int) -> Iterable[tuple[Capability, int]]:
        """Each capability with the offset of its successor in the same list."""
        end = 0x40
        for c in self.capabilities:
            if c.at < end or c.at % 4 or c.at + c.size > (size if c.extended else 0x100):
                raise contradiction("capability-place", f"config.{c.name}", f"{c.size} bytes do not fit at {c.at:#x}")
            end = c.at + c.size
            later = (n.at for n in self.capabilities if n.at > c.at and n.extended == c.extended)
            yield c, next(later, 0)

    def capability(self, name: str) -> Capability | None:
        """The capability of this name (``msix``, ``msi``, ``pm``, ``pcie``, ``aer``, ...), or None."""
        return next((c for c in self.capabilities if c.name == name), None)

    def reset_of(self, register: str, field: str) -> int:
        """The power-on value of one field."""
        entry = self.entries[register]
        assert isinstance(entry, Register)
        return entry.named[field].of(entry.reset_value(ResetCause.POWER_ON))

    @cached_property
    def msix(self) -> MsixSpec | None:
        """Where MSI-X stands, read off its registers; None without the capability."""
        found = self.capability("msix")
        if found is None:
            return None
        place = {r: (self.reset_of(r, "bir"), self.reset_of(r, "offset") << 3) for r in ("msix_table", "msix_pba")}
        vectors = self.reset_of("msix_message_control", "table_size") + 1
        return MsixSpec(found.at, vectors, place["msix_table"], place["msix_pba"])

    @property
    def msi_vectors(self) -> int:
        """How many MSI vectors the function asks for; 0 without the capability."""
        return 1 << self.reset_of("msi_message_control", "multiple_message_capable") if self.capability("msi") else 0


def _header(identity: Identity, bars: tuple[BarSpec, ...], rom: int, pin: int, first: int) -> Iterable[Construct]:
    """The 64 bytes of the type 0 header."""
    io = RW if any(b.kind is RegionKind.IO for b in bars) else CONST
    memory = RW if rom or any(b.kind is RegionKind.MEMORY for b in bars) else CONST
    intx = RW if pin else CONST
    # fmt: off
    yield "vendor_id" / Reg16(0x00, "id" / CONST[15:0], S("VENDOR_ID"), base("7.5.1.1.1"), reset=identity.vendor) * "Vendor ID"
    yield "device_id" / Reg16(0x02, "id" / CONST[15:0], S("DEVICE_ID"), base("7.5.1.1.2"), reset=identity.device) * "Device ID"
    yield "command" / Reg16(0x04,
        "io_space"              / io[0](S("COMMAND_IO"))              * "decode I/O BARs",
        "memory_space"          / memory[1](S("COMMAND_MEMORY"))      * "decode memory BARs and ROM",
        "bus_master"            / RW[2](S("COMMAND_MASTER"))          * "may issue DMA and message interrupts",
        "parity_error_response" / RW[6](S("COMMAND_PARITY"))          * "log poisoned packets",
        "serr_enable"           / RW[8](S("COMMAND_SERR"))            * "report errors to the root complex",
        "interrupt_disable"     / intx[10](S("COMMAND_INTX_DISABLE")) * "keep INTx deasserted",
        RSVD[...], S("COMMAND"), base("7.5.1.1.3")) * "Command"
    yield "status" / Reg16(0x06,
        "interrupt_status"         / RO[3](S("STATUS_INTERRUPT"))             * "an INTx is pending",
        "capabilities_list"        / CONST[4](S("STATUS_CAP_LIST"))           * "a capability list exists",
        "master_data_parity_error" / W1C[8](S("STATUS_PARITY"))               * "a poisoned packet of ours was seen",
        "signaled_target_abort"    / W1C[11](S("STATUS_SIG_TARGET_ABORT"))    * "completed with Completer Abort",
        "received_target_abort"    / W1C[12](S("STATUS_REC_TARGET_ABORT"))    * "got a Completer Abort",
        "received_master_abort"    / W1C[13](S("STATUS_REC_MASTER_ABORT"))    * "got an Unsupported Request",
        "signaled_system_error"    / W1C[14](S("STATUS_SIG_SYSTEM_ERROR"))    * "sent an error message",
        "detected_parity_error"    / W1C[15](S("STATUS_DETECTED_PARITY"))     * "received a poisoned packet",
        RSVD[...], S("STATUS"), base("7.5.1.1.4"), reset=0x0010 if first else 0) * "Status"
    yield "revision_id" / Reg8(0x08, "id" / CONST[7:0], S("REVISION_ID"), base("7.5.1.1.5"),
        reset=identity.revision) * "Revision"
    yield "prog_if" / Reg8(0x09, "interface" / CONST[7:0], S("CLASS_PROG"), base("7.5.1.1.6"),
        reset=identity.class_code & 0xFF) * "Programming interface"
    yield "class_code" / Reg16(0x0A,
        "sub_class" / CONST[7:0] * "kind of device within it", "base_class" / CONST[15:8] * "broad kind of device",
        S("CLASS_DEVICE"), base("7.5.1.1.6"), reset=identity.class_code >> 8) * "Class code"
    yield "cache_line_size" / Reg8(0x0C, "size" / RW[7:0], S("CACHE_LINE_SIZE"), base("7.5.1.1.7")) * "Cache line size"
    yield "latency_timer" / Reg8(0x0D, "clocks" / CONST[7:0], S("LATENCY_TIMER"), base("7.5.1.1.8")) * "Latency timer: unused"
    yield "header_type" / Reg8(0x0E,
        "layout" / CONST[6:0](S("HEADER_TYPE_MASK"), TYPE0=0) * "of the rest of the header",
        "multi_function" / CONST[7] * "the device has further functions",
        S("HEADER_TYPE"), base("7.5.1.1.9")) * "Header type"
    yield "bist" / Reg8(0x0F, "bist" / CONST[7:0], S("BIST"), base("7.5.1.1.10")) * "Built-in self test: none"
    yield from _bars(bars)
    yield "cardbus_cis" / Reg32(0x28, "pointer" / CONST[31:0], S("CARDBUS_CIS"), base("7.5.1.2.2")) * "CardBus CIS pointer"
    yield "subsystem_vendor_id" / Reg16(0x2C, "id" / CONST[15:0], S("SUBSYSTEM_VENDOR_ID"), base("7.5.1.2.3"),
        reset=identity.subsystem_vendor) * "Subsystem vendor ID"
    yield "subsystem_id" / Reg16(0x2E, "id" / CONST[15:0], S("SUBSYSTEM_ID"), base("7.5.1.2.3"),
        reset=identity.subsystem) * "Subsystem ID"
    yield _rom(rom)
    yield "capabilities_pointer" / Reg8(0x34, "offset" / CONST[7:0], S("CAPABILITY_LIST"), base("7.5.1.1.11"),
        reset=first) * "Capabilities pointer"
    yield "interrupt_line" / Reg8(0x3C, "line" / (RW if pin else CONST)[7:0], S("INTERRUPT_LINE"), base("7.5.1.1.12")) * (
        "Interrupt line: a note of the firmware's")
    yield "interrupt_pin" / Reg8(0x3D, "pin" / CONST[7:0](NONE=0, INTA=1, INTB=2, INTC=3, INTD=4), S("INTERRUPT_PIN"),
        base("7.5.1.1.13"), reset=pin) * "Interrupt pin"
    yield "min_gnt" / Reg8(0x3E, "time" / CONST[7:0], S("MIN_GNT"), base("7.5.1.2.5")) * "Minimum grant: unused"
    yield "max_lat" / Reg8(0x3F, "time" / CONST[7:0], S("MAX_LAT"), base("7.5.1.2.5")) * "Maximum latency: unused"
    # fmt: on


def _bars(bars: tuple[BarSpec, ...]) -> Iterable[Construct]:
    """Six registers. Address bits below the size are wired to 0, which is how software learns the size."""
    specs = {b.index: b for b in bars}
    if len(specs) < len(bars):
        raise contradiction("bar-index", "config", "two base address registers have one index")
    for i in range(6):
        at, where = 0x10 + 4 * i, (S(f"BASE_ADDRESS_{i}"), base("7.5.1.2.1"))
        spec, low = specs.get(i), specs.get(i - 1)
        if low is not None and low.bits64:
            if spec is not None:
                raise contradiction("bar-index", f"config.bar{i}", f"BAR {i - 1} is 64-bit and takes this one too")
            first = max(low.size.bit_length() - 33, 0)
            yield f"bar{i}" / Reg32(at, "address" / RW[31:first], RSVD[...], *where) * f"Base address {i - 1}, bits 63:32"
        elif spec is None:
            yield f"bar{i}" / Reg32(at, "none" / CONST[31:0], *where) * "No base address register"
        else:
            yield f"bar{i}" / _bar(spec, at, where) * f"Base address {i}: {spec.size:#x} bytes"


def _bar(spec: BarSpec, at: int, where: tuple[Source, ...]) -> Register:
    first = spec.size.bit_length() - 1
    address = ("address" / RW[31:first] * "where it is decoded, in bytes",) if first < 32 else ()
    space = "space" / CONST[0](S("BASE_ADDRESS_SPACE"), MEMORY=0, IO=1) * "what it decodes"
    if spec.kind is RegionKind.IO:
        return Reg32(at, space, *address, RSVD[...], *where, reset=1)
    kind = "type" / CONST[2:1](S("BASE_ADDRESS_MEM_TYPE_MASK"), S("BASE_ADDRESS_MEM_TYPE_64", of="BITS64"),
                               BITS32=0, BITS64=2) * "width of the address"
    prefetch = "prefetchable" / CONST[3](S("BASE_ADDRESS_MEM_PREFETCH")) * "reading it has no side effect"
    return Reg32(at, space, kind, prefetch, *address, RSVD[...], *where, reset=4 * spec.bits64 | 8 * spec.prefetch)


def _rom(size: int) -> Construct:
    where = (S("ROM_ADDRESS"), base("7.5.1.2.4"))
    if not size:
        return "expansion_rom" / Reg32(0x30, "none" / CONST[31:0], *where) * "No expansion ROM"
    if size < 2048 or size & (size - 1):
        raise contradiction("rom-size", "config.expansion_rom", f"{size:#x} is no power of two of at least 2 KiB")
    enable, first = "enable" / RW[0](S("ROM_ADDRESS_ENABLE")) * "decode it", size.bit_length() - 1
    return "expansion_rom" / Reg32(0x30, enable, "address" / RW[31:first], RSVD[...], *where) * f"ROM: {size:#x} bytes"
