"""Capabilities of PCI functions, as lists of registers that ``pci.ConfigSpace`` chains, and the MSI-X table in a BAR.

What lives here: one builder per capability, each with its offset ``at`` first. Field names are the specification's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from construct import Construct

from regmodel.access import CONST, RO, RSVD, RW, W1C, W1P
from regmodel.bits import Field
from regmodel.function import ResetCause
from regmodel.pci import SRIOV, STICKY, Capability, ConfigSpace, MsixSpec, Reg8, Reg16, Reg32, Reg64, S, base, contradiction
from regmodel.registers import Bar, Each
from regmodel.sources import Document, Source

SIZES = {"B128": 0, "B256": 1, "B512": 2, "B1024": 3, "B2048": 4, "B4096": 5}


def msix(at: int, vectors: int, table: tuple[int, int], pba: tuple[int, int]) -> Capability:
    """MSI-X: ``vectors`` entries of 16 bytes, and pending bits, each at (BAR, offset in bytes)."""
    # fmt: off
    entries = (
        "msix_message_control" / Reg16(at + 2,
            "table_size"    / CONST[10:0](S("MSIX_FLAGS_QSIZE")) * "vectors less one",
            "function_mask" / RW[14](S("MSIX_FLAGS_MASKALL"))    * "all vectors are masked",
            "enable"        / RW[15](S("MSIX_FLAGS_ENABLE"))     * "interrupts are MSI-X",
            RSVD[...], S("MSIX_FLAGS", at), base("7.7.2.2"), reset=vectors - 1) * "Message control",
        "msix_table" / Reg32(at + 4,
            "bir" / CONST[2:0](S("MSIX_TABLE_BIR")) * "BAR", "offset" / CONST[31:3](S("MSIX_TABLE_OFFSET")) * "in 8 bytes",
            S("MSIX_TABLE", at), base("7.7.2.3"), reset=table[1] | table[0]) * "Table",
        "msix_pba" / Reg32(at + 8,
            "bir" / CONST[2:0](S("MSIX_PBA_BIR")) * "BAR", "offset" / CONST[31:3](S("MSIX_PBA_OFFSET")) * "in 8 bytes",
            S("MSIX_PBA", at), base("7.7.2.4"), reset=pba[1] | pba[0]) * "Pending bits",
    )
    # fmt: on
    return Capability("msix", 0x11, at, 12, entries, sources=(S("CAP_ID_MSIX", of="MSIX"),))


def msi(at: int, vectors: int = 1, *, bits64: bool = True, maskable: bool = False) -> Capability:
    """MSI with up to ``vectors`` (a power of two, at most 32) messages."""
    data = at + (0x0C if bits64 else 8)
    width = "64" if bits64 else "32"
    control = vectors.bit_length() - 1 << 1 | bits64 << 7 | maskable << 8
    # fmt: off
    entries = [
        "msi_message_control" / Reg16(at + 2,
            "enable"                   / RW[0](S("MSI_FLAGS_ENABLE"))     * "interrupts are MSI",
            "multiple_message_capable" / CONST[3:1](S("MSI_FLAGS_QMASK")) * "log2 of the messages asked for",
            "multiple_message_enable"  / RW[6:4](S("MSI_FLAGS_QSIZE"))    * "log2 of the messages granted",
            "address_64_capable"       / CONST[7](S("MSI_FLAGS_64BIT"))   * "the address has 64 bits",
            "per_vector_masking"       / CONST[8](S("MSI_FLAGS_MASKBIT")) * "mask and pending bits exist",
            RSVD[...], S("MSI_FLAGS", at), base("7.7.1.2"), reset=control) * "Message control",
        "msi_message_address" / Reg32(at + 4, "address" / RW[31:2], RSVD[1:0],
            S("MSI_ADDRESS_LO", at), base("7.7.1.3")) * "Message address, low half",
        "msi_message_data" / Reg16(data, "data" / RW[15:0],
            S(f"MSI_DATA_{width}", at), base("7.7.1.5")) * "Message data",
    ]
    if bits64:
        entries.append("msi_message_upper_address" / Reg32(at + 8, "address" / RW[31:0],
            S("MSI_ADDRESS_HI", at), base("7.7.1.4")) * "Message address, high half")
    if maskable:
        top = vectors - 1
        entries.append("msi_mask_bits" / Reg32(data + 4, "mask" / RW[top:0], RSVD[...],
            S(f"MSI_MASK_{width}", at), base("7.7.1.7")) * "Masked vectors")
        entries.append("msi_pending_bits" / Reg32(data + 8, "pending" / RO[top:0], RSVD[...],
            S(f"MSI_PENDING_{width}", at), base("7.7.1.8")) * "Pending vectors")
    # fmt: on
    size = data - at + (12 if maskable else 2)
    return Capability("msi", 0x05, at, size, tuple(entries), sources=(S("CAP_ID_MSI", of="MSI"),))


def pm(at: int, *, no_soft_reset: bool = False, pme: int = 0) -> Capability:
    """Power management, version 3. ``pme`` is the mask of states (bit 0 is D0, bit 4 is D3cold) that may signal PME."""
    # fmt: off
    entries = (
        "pm_capabilities" / Reg16(at + 2,
            "version"     / CONST[2:0](S("PM_CAP_VER_MASK"))   * "of the PCI Power Management specification",
            "pme_clock"   / CONST[3](S("PM_CAP_PME_CLOCK"))    * "needs a clock to signal PME (PCI only)",
            "dsi"         / CONST[5](S("PM_CAP_DSI"))          * "needs device specific initialisation",
            "aux_current" / CONST[8:6](S("PM_CAP_AUX_POWER"))  * "auxiliary current needed in D3cold, as coded",
            "d1_support"  / CONST[9](S("PM_CAP_D1"))           * "has power state D1",
            "d2_support"  / CONST[10](S("PM_CAP_D2"))          * "has power state D2",
            "pme_support" / CONST[15:11](S("PM_CAP_PME_MASK")) * "states that may signal PME",
            RSVD[...], S("PM_PMC", at), base("7.5.2.1"), reset=3 | pme << 11) * "Power management capabilities",
        "pm_control_status" / Reg16(at + 4,
            "power_state"   / RW[1:0](S("PM_CTRL_STATE_MASK"), D0=0, D1=1, D2=2, D3HOT=3) * "power state: writing changes it",
            "no_soft_reset" / CONST[3](S("PM_CTRL_NO_SOFT_RESET")) * "D3hot to D0 keeps the state",
            "pme_enable"    / (RW if pme else CONST)[8](S("PM_CTRL_PME_ENABLE")).sticky(*STICKY) * "may signal PME",
            "data_select"   / CONST[12:9](S("PM_CTRL_DATA_SEL_MASK")) * "what the data register shows: there is none",
            "data_scale"    / CONST[14:13](S("PM_CTRL_DATA_SCALE_MASK")) * "scale of the data register: there is none",
            "pme_status"    / (W1C if pme else CONST)[15](S("PM_CTRL_PME_STATUS")).sticky(*STICKY) * "PME was signalled",
            RSVD[...], S("PM_CTRL", at), base("7.5.2.2"), reset=no_soft_reset << 3) * "Control and status",
    )
    # fmt: on
    return Capability("pm", 0x01, at, 8, entries, sources=(S("CAP_ID_PM", of="PM"),))


@dataclass(frozen=True)
class Link:
    """The link that capabilities tell of: ``speed`` as coded (1 is 2.5 GT/s), ``width`` in lanes, exit latencies as coded."""

    speed: int = 1
    width: int = 1
    aspm: int = 0
    l0s_exit: int = 0
    l1_exit: int = 0
    port: int = 0


def pcie(
    at: int, *, flr: bool = False, vf: bool = False, payload: int = 0, l0s: int = 0, l1: int = 0, link: Link = Link(),
) -> Capability:  # fmt: skip
    """PCI Express, version 2, of an endpoint. ``payload`` is Max_Payload_Size supported as coded (0 is 128 bytes).

    A virtual function (``vf``) has no say in what its PF and the link do: those controls are reserved, and the link status
    reads 0 (SR-IOV 1.1 §3.5).
    """
    say = CONST if vf else RW

    def doc(section: str) -> tuple[Document, ...]:
        return (base(section), Document(SRIOV, "3.5")) if vf else (base(section),)

    capable = payload | l0s << 6 | l1 << 9 | 1 << 15 | flr << 28
    lane = link.speed | link.width << 4 | link.aspm << 10 | link.l0s_exit << 12 | link.l1_exit << 15 | link.port << 24
    # fmt: off
    entries = (
        "pcie_capabilities" / Reg16(at + 2,
            "version"                  / CONST[3:0](S("EXP_FLAGS_VERS")) * "of the capability structure",
            "device_port_type"         / CONST[7:4](S("EXP_FLAGS_TYPE"), S("EXP_TYPE_LEG_END", shift=4, of="LEGACY_ENDPOINT"),
                                                    ENDPOINT=0, LEGACY_ENDPOINT=1) * "what kind of function it is",
            "slot_implemented"         / CONST[8](S("EXP_FLAGS_SLOT"))   * "the port leads to a slot (ports only)",
            "interrupt_message_number" / CONST[13:9](S("EXP_FLAGS_IRQ")) * "vector of slot and root events (ports only)",
            RSVD[...], S("EXP_FLAGS", at), *doc("7.5.3.2"), reset=2) * "PCI Express capabilities",
        "pcie_device_capabilities" / Reg32(at + 4,
            "max_payload_size_supported" / CONST[2:0](S("EXP_DEVCAP_PAYLOAD"), **SIZES) * "largest payload, in bytes",
            "phantom_functions"          / CONST[4:3](S("EXP_DEVCAP_PHANTOM")) * "function numbers used as tags",
            "extended_tag"               / CONST[5](S("EXP_DEVCAP_EXT_TAG")) * "8-bit tags are supported",
            "l0s_acceptable_latency"     / CONST[8:6](S("EXP_DEVCAP_L0S")) * "how long leaving L0s may take, as coded",
            "l1_acceptable_latency"      / CONST[11:9](S("EXP_DEVCAP_L1")) * "how long leaving L1 may take, as coded",
            "role_based_error_reporting" / CONST[15](S("EXP_DEVCAP_RBER")) * "errors are reported by role, as PCIe 1.1 asks",
            "slot_power_limit_value"     / CONST[25:18](S("EXP_DEVCAP_PWR_VAL")) * "slot power (upstream ports)",
            "slot_power_limit_scale"     / CONST[27:26](S("EXP_DEVCAP_PWR_SCL")) * "unit of that value",
            "function_level_reset"       / CONST[28](S("EXP_DEVCAP_FLR")) * "initiate_flr works",
            RSVD[...], S("EXP_DEVCAP", at), *doc("7.5.3.3"), reset=capable) * "Device capabilities",
        "pcie_device_control" / Reg16(at + 8,
            "correctable_error_enable"   / say[0](S("EXP_DEVCTL_CERE"))     * "report correctable errors",
            "non_fatal_error_enable"     / say[1](S("EXP_DEVCTL_NFERE"))    * "report non-fatal errors",
            "fatal_error_enable"         / say[2](S("EXP_DEVCTL_FERE"))     * "report fatal errors",
            "unsupported_request_enable" / say[3](S("EXP_DEVCTL_URRE"))     * "report unsupported requests",
            "relaxed_ordering_enable"    / say[4](S("EXP_DEVCTL_RELAX_EN")) * "may set Relaxed Ordering in its requests",
            "max_payload_size"           / say[7:5](S("EXP_DEVCTL_PAYLOAD"), **SIZES)
                                              .sticky(ResetCause.FLR) * "largest payload that it may send, in bytes",
            "extended_tag_enable"        / CONST[8](S("EXP_DEVCTL_EXT_TAG")) * "may use 8-bit tags",
            "phantom_functions_enable"   / CONST[9](S("EXP_DEVCTL_PHANTOM")) * "may use phantom functions",
            "aux_power_enable"           / CONST[10](S("EXP_DEVCTL_AUX_PME")) * "may draw auxiliary power",
            "no_snoop_enable"            / say[11](S("EXP_DEVCTL_NOSNOOP_EN")) * "may set No Snoop in its requests",
            "max_read_request_size"      / say[14:12](S("EXP_DEVCTL_READRQ"), **SIZES) * "largest read, in bytes",
            "initiate_flr"               / (W1P if flr else CONST)[15](S("EXP_DEVCTL_BCR_FLR")) * "reset this function",
            S("EXP_DEVCTL", at), *doc("7.5.3.4"), reset=0 if vf else 0x2810) * "Device control",
        "pcie_device_status" / Reg16(at + 0xA,
            "correctable_error"    / W1C[0](S("EXP_DEVSTA_CED"))     * "one was detected",
            "non_fatal_error"      / W1C[1](S("EXP_DEVSTA_NFED"))    * "one was detected",
            "fatal_error"          / W1C[2](S("EXP_DEVSTA_FED"))     * "one was detected",
            "unsupported_request"  / W1C[3](S("EXP_DEVSTA_URD"))     * "one was received",
            "aux_power"            / CONST[4](S("EXP_DEVSTA_AUXPD")) * "auxiliary power was detected",
            "transactions_pending" / RO[5](S("EXP_DEVSTA_TRPND"))    * "reads of ours are not complete",
            RSVD[...], S("EXP_DEVSTA", at), *doc("7.5.3.5")) * "Device status",
        "pcie_link_capabilities" / Reg32(at + 0xC,
            "max_link_speed"   / CONST[3:0](S("EXP_LNKCAP_SLS"), S("EXP_LNKCAP_SLS_5_0GB", of="GT5"),
                                            GT2_5=1, GT5=2, GT8=3) * "fastest speed",
            "max_link_width"   / CONST[9:4](S("EXP_LNKCAP_MLW")) * "lanes",
            "aspm_support"     / CONST[11:10](S("EXP_LNKCAP_ASPMS"), L0S=1, L1=2, L0S_L1=3) * "idle states of the link",
            "l0s_exit_latency" / CONST[14:12](S("EXP_LNKCAP_L0SEL")) * "how long leaving L0s takes, as coded",
            "l1_exit_latency"  / CONST[17:15](S("EXP_LNKCAP_L1EL")) * "how long leaving L1 takes, as coded",
            "clock_pm"         / CONST[18](S("EXP_LNKCAP_CLKPM")) * "tolerates that the reference clock stops",
            "port_number"      / CONST[31:24](S("EXP_LNKCAP_PN")) * "number of the link's port",
            RSVD[...], S("EXP_LNKCAP", at), *doc("7.5.3.6"), reset=lane) * "Link capabilities",
        "pcie_link_control" / Reg16(at + 0x10,
            "aspm_control"            / say[1:0](S("EXP_LNKCTL_ASPMC")).sticky(ResetCause.FLR) * "idle states in use",
            "read_completion_boundary" / say[3](S("EXP_LNKCTL_RCB")).sticky(ResetCause.FLR) * "64 or 128 bytes",
            "common_clock"            / say[6](S("EXP_LNKCTL_CCC")).sticky(ResetCause.FLR) * "one clock at both ends",
            "extended_synch"          / say[7](S("EXP_LNKCTL_ES")).sticky(ResetCause.FLR) * "longer training",
            RSVD[...], S("EXP_LNKCTL", at), *doc("7.5.3.7")) * "Link control",
        "pcie_link_status" / Reg16(at + 0x12,
            "current_link_speed"    / CONST[3:0](S("EXP_LNKSTA_CLS")) * "speed of the link, as coded",
            "negotiated_link_width" / CONST[9:4](S("EXP_LNKSTA_NLW")) * "lanes",
            "slot_clock"            / CONST[12](S("EXP_LNKSTA_SLC"))  * "uses the reference clock of the slot",
            RSVD[...], S("EXP_LNKSTA", at), *doc("7.5.3.8"), reset=0 if vf else link.speed | link.width << 4) * "Link status",
        "pcie_device_capabilities_2" / Reg32(at + 0x24,
            "completion_timeout_ranges"  / CONST[3:0] * "ranges of time-outs that can be chosen, as coded",
            "completion_timeout_disable" / CONST[4](S("EXP_DEVCAP2_COMP_TMOUT_DIS")) * "disabling is supported",
            RSVD[...], S("EXP_DEVCAP2", at), *doc("7.5.3.15"), reset=0x1F) * "Device capabilities 2",
        "pcie_device_control_2" / Reg16(at + 0x28,
            "completion_timeout_value"   / say[3:0](S("EXP_DEVCTL2_COMP_TIMEOUT")) * "time-out of its requests, as coded",
            "completion_timeout_disable" / say[4](S("EXP_DEVCTL2_COMP_TMOUT_DIS")) * "its requests never time out",
            RSVD[...], S("EXP_DEVCTL2", at), *doc("7.5.3.16")) * "Device control 2",
    )
    # fmt: on
    return Capability("pcie", 0x10, at, 0x3C, entries, sources=(S("CAP_ID_EXP", of="PCIE"),))


def vendor(at: int, size: int, *entries: Construct, name: str = "vendor", sources: tuple[Source, ...] = ()) -> Capability:
    """Vendor specific: ``entries`` stand at 3 bytes and more after ``at``; ``size`` is the length in bytes that it declares."""
    length = f"{name}_length" / Reg8(at + 2, "length" / CONST[7:0] * "bytes", base("7.9.4"), reset=size) * "Length"
    return Capability(name, 0x09, at, size, (length, *entries), sources=(S("CAP_ID_VNDR", of=name.upper()), *sources))


# name, bit, symbol, severity bit after reset (fatal), what it is; the same bits in status, mask and severity.
# fmt: off
_UNCORRECTABLE = (
    ("data_link_protocol_error",   4, "DLP",        1, "the data link protocol was violated"),
    ("surprise_down_error",        5, "SURPDN",     1, "the link went down unannounced"),
    ("poisoned_tlp_received",     12, "POISON_TLP", 0, "a packet marked as damaged arrived"),
    ("flow_control_error",        13, "FCP",        1, "flow control was violated"),
    ("completion_timeout",        14, "COMP_TIME",  0, "a request was not answered in time"),
    ("completer_abort",           15, "COMP_ABORT", 0, "a request was refused as a violation"),
    ("unexpected_completion",     16, "UNX_COMP",   0, "an answer came that nobody asked for"),
    ("receiver_overflow",         17, "RX_OVER",    1, "more arrived than was granted"),
    ("malformed_tlp",             18, "MALF_TLP",   1, "a packet was ill-formed"),
    ("ecrc_error",                19, "ECRC",       0, "an end-to-end checksum was wrong"),
    ("unsupported_request_error", 20, "UNSUP",      0, "a request is not supported"),
)
_CORRECTABLE = (
    ("receiver_error",             0, "RCVR",      "a symbol could not be received"),
    ("bad_tlp",                    6, "BAD_TLP",   "a packet's link checksum was wrong"),
    ("bad_dllp",                   7, "BAD_DLLP",  "a link packet's checksum was wrong"),
    ("replay_num_rollover",        8, "REP_ROLL",  "a packet was sent four times in vain"),
    ("replay_timer_timeout",      12, "REP_TIMER", "a packet was not acknowledged in time"),
    ("advisory_non_fatal_error",  13, "ADV_NFAT",  "an uncorrectable error that is reported as this"),
)
# fmt: on


def aer(at: int, *, vf: bool = False) -> Capability:
    """Advanced error reporting, version 1. A VF obeys its PF's masks and severities: its own are reserved."""
    say = CONST if vf else RW

    def unc(access: Any) -> list[Field]:
        return [n / access[b](S(f"ERR_UNC_{s}")).sticky(*STICKY) * doc for n, b, s, _, doc in _UNCORRECTABLE]

    def cor(access: Any) -> list[Field]:
        return [n / access[b](S(f"ERR_COR_{s}")).sticky(*STICKY) * doc for n, b, s, doc in _CORRECTABLE]

    severity = 0 if vf else sum(fatal << b for _, b, _, fatal, _ in _UNCORRECTABLE)
    # fmt: off
    entries = (
        "aer_uncorrectable_status"   / Reg32(at + 0x04, *unc(W1C), RSVD[...], S("ERR_UNCOR_STATUS", at), base("7.8.4.2")) * (
            "Uncorrectable errors"),
        "aer_uncorrectable_mask"     / Reg32(at + 0x08, *unc(say), RSVD[...], S("ERR_UNCOR_MASK", at), base("7.8.4.3")) * (
            "Uncorrectable errors that are not reported"),
        "aer_uncorrectable_severity" / Reg32(at + 0x0C, *unc(say), RSVD[...], S("ERR_UNCOR_SEVER", at), base("7.8.4.4"),
            reset=severity) * "Uncorrectable errors that are fatal",
        "aer_correctable_status"     / Reg32(at + 0x10, *cor(W1C), RSVD[...], S("ERR_COR_STATUS", at), base("7.8.4.5")) * (
            "Correctable errors"),
        "aer_correctable_mask"       / Reg32(at + 0x14, *cor(say), RSVD[...], S("ERR_COR_MASK", at), base("7.8.4.6"),
            reset=0 if vf else 0x2000) * "Correctable errors that are not reported",
        "aer_capabilities_control"   / Reg32(at + 0x18,
            "first_error_pointer"     / RO[4:0].sticky(*STICKY)          * "bit of the oldest uncorrectable error",
            "ecrc_generation_capable" / CONST[5](S("ERR_CAP_ECRC_GENC")) * "can append end-to-end checksums",
            "ecrc_generation_enable"  / CONST[6](S("ERR_CAP_ECRC_GENE")) * "appends them",
            "ecrc_check_capable"      / CONST[7](S("ERR_CAP_ECRC_CHKC")) * "can check end-to-end checksums",
            "ecrc_check_enable"       / CONST[8](S("ERR_CAP_ECRC_CHKE")) * "checks them",
            RSVD[...], S("ERR_CAP", at), base("7.8.4.7")) * "Capabilities and control",
        "aer_header_log"             / Reg32(Each(at + 0x1C, 4, 4), "log" / RO[31:0].sticky(*STICKY),
            S("ERR_HEADER_LOG", at), base("7.8.4.8")) * "Header of the packet in error",
    )
    # fmt: on
    return Capability("aer", 0x0001, at, 0x2C, entries, sources=(S("EXT_CAP_ID_ERR", of="AER"),))


def ari(at: int, following: int = 0) -> Capability:
    """Alternative routing-ID interpretation; ``following`` is the next function number (0 for a VF)."""
    # fmt: off
    entries = (
        "ari_capability" / Reg16(at + 4,
            "mfvc_function_groups" / CONST[0](S("ARI_CAP_MFVC")) * "arbitration by group of functions",
            "acs_function_groups"  / CONST[1](S("ARI_CAP_ACS"))  * "access control by group of functions",
            "next_function"        / CONST[15:8]                 * "number of the next function, 0 for none",
            RSVD[...], S("ARI_CAP", at), base("7.8.7.2"),
            reset=following << 8) * "ARI capability",
        "ari_control" / Reg16(at + 6,
            "mfvc_function_groups_enable" / CONST[0](S("ARI_CTRL_MFVC")) * "arbitration by group of functions",
            "acs_function_groups_enable"  / CONST[1](S("ARI_CTRL_ACS"))  * "access control by group of functions",
            "function_group"              / CONST[6:4]                   * "group that this function belongs to",
            RSVD[...], S("ARI_CTRL", at), base("7.8.7.3")) * "ARI control",
    )
    # fmt: on
    return Capability("ari", 0x000E, at, 8, entries, sources=(S("EXT_CAP_ID_ARI", of="ARI"),))


def dsn(at: int, serial: int) -> Capability:
    """Device serial number, an EUI-64."""
    where = base("7.9.3.2")
    low = "dsn_low" / Reg32(at + 4, "serial" / CONST[31:0], where, reset=serial & 0xFFFFFFFF) * "Serial number, low half"
    high = "dsn_high" / Reg32(at + 8, "serial" / CONST[31:0], where, reset=serial >> 32) * "Serial number, high half"
    return Capability("dsn", 0x0003, at, 12, (low, high), sources=(S("EXT_CAP_ID_DSN", of="DSN"),))


def msix_bar(name: str, size: int, config: ConfigSpace, index: int) -> Bar:
    """The BAR ``index`` of ``size`` bytes that holds the MSI-X table and pending bits which ``config`` tells of.

    Raises ``DescriptionError`` ``msix-place``.
    """
    found = config.msix
    if found is None or {found.table[0], found.pba[0]} != {index}:
        raise contradiction("msix-place", name, f"the configuration space does not place MSI-X in BAR {index}")
    return Bar(name, size, *msix_table(found), doc="MSI-X table and pending bits")


def msix_table(spec: MsixSpec) -> tuple[Construct, ...]:
    """The registers of an MSI-X table and of its pending bits, for a BAR which may hold others as well."""
    n, table, pba, where = spec.vectors, spec.table[1], spec.pba[1], base("7.7.2")
    # fmt: off
    return (
        "msix_address"        / Reg32(Each(table + 0x0, 16, n), "address" / RW[31:2], RSVD[1:0],
            S("MSIX_ENTRY_LOWER_ADDR", table), where)                                          * "Message address",
        "msix_upper_address"  / Reg32(Each(table + 0x4, 16, n), "address" / RW[31:0],
            S("MSIX_ENTRY_UPPER_ADDR", table), where)                                          * "Message address, high half",
        "msix_data"           / Reg32(Each(table + 0x8, 16, n), "data" / RW[31:0],
            S("MSIX_ENTRY_DATA", table), where)                                                * "Message data",
        "msix_vector_control" / Reg32(Each(table + 0xC, 16, n),
            "mask" / RW[0](S("MSIX_ENTRY_CTRL_MASKBIT")) * "may not be sent", RSVD[...],
            S("MSIX_ENTRY_VECTOR_CTRL", table), where, reset=1)                                * "Vector control",
        "msix_pending"        / Reg64(Each(pba, 8, (n + 63) // 64), "pending" / RO[63:0], where) * "Pending vectors",
    )
    # fmt: on
