"""BARs 0 and 1 of VMware's VMXNET3: doorbells and interrupt masks in the one, everything slow in the other.

What lives here: offsets, fields, access, commands and their sources; data only. All registers are 32 bits wide and stand 8
bytes apart. Most of what a driver tells this device is not in a register but in shared memory (``structures.vmxnet3``):
registers place it, and ``cmd`` says when to look at it.

Names are those of the header files, without their prefix. From revision 7 on a device may offer the *large BAR*: BAR 0 of
16 MiB with a second set of doorbells at 0x1000 and above, which take the place of the first.
"""

from __future__ import annotations

from enum import IntEnum

from construct import Construct

from regmodel.access import RC, RO, RSVD, RW, W1C, Access
from regmodel.bits import Field
from regmodel.registers import UNDOCUMENTED, Bar, Command32, Doorbell32, Each, Pair32, Partial, Policy, Reg32
from regmodel.sources import Reading, symbols

LINUX = "drivers/net/vmxnet3"
DEFS = f"{LINUX}/vmxnet3_defs.h"
S = symbols("linux-source", DEFS, "VMXNET3_")
LATER = Reading("linux", DEFS, "as of Linux 6.17, revisions 8 and 9")
QEMU = Reading("qemu", "hw/net/vmxnet3.c", "vmxnet3_io_bar0_read, vmxnet3_io_bar1_read and their writes")
PROBE = Reading("linux-source", f"{LINUX}/vmxnet3_drv.c", "vmxnet3_probe_device")

SIZE = 0x1000
LARGE_SIZE = 4096 * 4096
REVISIONS = 9


class Command(IntEnum):
    """What may be written to ``cmd``: its number, the oldest revision that has it, and what it does.

    SET commands make the device read shared memory; GET commands leave a result in ``cmd``.
    Source: vmxnet3_defs.h, the enumeration from VMXNET3_CMD_FIRST_SET on, of Linux 6.1 (revisions to 7) and 6.17 (9).
    """

    revision: int
    doc: str

    def __new__(cls, number: int, revision: int, doc: str) -> Command:
        command = int.__new__(cls, number)
        command._value_, command.revision, command.doc = number, revision, doc
        return command

    # fmt: off
    ACTIVATE_DEV         = 0xCAFE0000, 1, "start, as DriverShared says; result: 0, or 1 when it makes no sense"
    QUIESCE_DEV          = 0xCAFE0001, 1, "stop all queues and interrupts"
    RESET_DEV            = 0xCAFE0002, 1, "forget all but the selected revisions and the MAC address"
    UPDATE_RX_MODE       = 0xCAFE0003, 1, "rxFilterConf.rxMode has changed"
    UPDATE_MAC_FILTERS   = 0xCAFE0004, 1, "rxFilterConf.mfTable has changed"
    UPDATE_VLAN_FILTERS  = 0xCAFE0005, 1, "rxFilterConf.vfTable has changed"
    UPDATE_RSSIDT        = 0xCAFE0006, 1, "the RSS configuration has changed"
    UPDATE_IML           = 0xCAFE0007, 1, "interrupt moderation levels have changed"
    UPDATE_PMCFG         = 0xCAFE0008, 1, "the wake-up configuration has changed"
    UPDATE_FEATURE       = 0xCAFE0009, 1, "misc.uptFeatures has changed"
    LOAD_PLUGIN          = 0xCAFE000B, 1, "load a pass-through plugin"
    SET_COALESCE         = 0xCAFE000E, 3, "coalesce as CoalesceScheme says, which cmdInfo places"
    REGISTER_MEMREGS     = 0xCAFE000F, 3, "memory that will hold buffers: MemRegs, which cmdInfo places"
    SET_RSS_FIELDS       = 0xCAFE0010, 4, "hash what cmdInfo says"
    SET_RING_BUFFER_SIZE = 0xCAFE0013, 7, "receive buffers are as large as cmdInfo says"
    GET_QUEUE_STATUS     = 0xF00D0000, 1, "write each queue's status to its descriptor"
    GET_STATS            = 0xF00D0001, 1, "write each queue's statistics to its descriptor"
    GET_LINK             = 0xF00D0002, 1, "bit 0: up; bits 31:16: Mbit/s (revision 9: Gbit/s below 10000)"
    GET_PERM_MAC_LO      = 0xF00D0003, 1, "first four bytes of the permanent MAC address"
    GET_PERM_MAC_HI      = 0xF00D0004, 1, "its last two bytes"
    GET_DID_LO           = 0xF00D0005, 1, "PCI device identifier"
    GET_DID_HI           = 0xF00D0006, 1, "revision of the device"
    GET_DEV_EXTRA_INFO   = 0xF00D0007, 1, "nothing"
    GET_CONF_INTR        = 0xF00D0008, 1, "bits 1:0: kind of interrupts, bits 3:2: how they are masked"
    GET_ADAPTIVE_RING_INFO = 0xF00D0009, 1, "bit 0: the rings' sizes are the driver's to choose"
    GET_TXDATA_DESC_SIZE = 0xF00D000A, 3, "bytes of an entry of the transmit data ring: most (9: of the receive one in 31:16)"
    GET_COALESCE         = 0xF00D000B, 3, "write the CoalesceScheme to where cmdInfo says"
    GET_RSS_FIELDS       = 0xF00D000C, 4, "what is hashed"
    GET_MAX_QUEUES_CONF  = 0xF00D000F, 6, "bits 7:0: transmit queues, bits 15:8: receive queues, at most"
    GET_MAX_CAPABILITIES = 0xF00D0011, 7, "capabilities that the device could have"
    GET_DCR0_REG         = 0xF00D0012, 7, "capabilities that are enabled"
    GET_TSRING_DESC_SIZE = 0xF00D0013, 9, "bytes of an entry of timestamp rings: transmit in 15:0, receive in 31:16; 0: none"
    GET_DISABLED_OFFLOADS = 0xF00D0014, 9, "offloads that the host forbids: bit 0 TSO, bit 1 LRO"
    # fmt: on


OLDEST_CITED = (Command.GET_TSRING_DESC_SIZE, Command.GET_DISABLED_OFFLOADS, Command.GET_ADAPTIVE_RING_INFO)
"""Commands that the cited header of Linux 6.1 does not name."""


def _command() -> Field:
    cited = tuple(S(f"CMD_{c.name}", of=c.name) for c in Command if c not in OLDEST_CITED)
    return "command" / RW[31:0](*cited, LATER, **{c.name: int(c) for c in Command}) * "see regmodel.bars.vmxnet3.Command"


# fmt: off
def _capabilities(access: Access) -> tuple[Field, ...]:
    return (
        "udp_rss"                       / access[0]  * "RSS by UDP ports",
        "esp_rss_ipv4"                  / access[1]  * "RSS by ESP SPI over IPv4",
        "geneve_checksum_offload"       / access[2]  * "inner checksums of Geneve",
        "geneve_tso"                    / access[3]  * "segmentation inside of Geneve",
        "vxlan_checksum_offload"        / access[4]  * "inner checksums of VXLAN",
        "vxlan_tso"                     / access[5]  * "segmentation inside of VXLAN",
        "geneve_outer_checksum_offload" / access[6]  * "outer checksums of Geneve",
        "vxlan_outer_checksum_offload"  / access[7]  * "outer checksums of VXLAN",
        "pkt_steering_ipv4"             / access[8]  * "steering by IPv4",
        "esp_rss_ipv6"                  / access[9]  * "RSS by ESP SPI over IPv6",
        "esp_over_udp_rss"              / access[10] * "RSS by ESP SPI over UDP",
        "inner_rss"                     / access[11] * "RSS by inner headers",
        "inner_esp_rss"                 / access[12] * "RSS by inner ESP SPI",
        "crc32_hash_func"               / access[13] * "RSS by CRC32",
        "oam_filter"                    / access[14] * "OAM frames apart",
        "esp_qs"                        / access[15] * "queue selection by ESP",
        "large_bar"                     / access[16] * "the second set of doorbells",
        "ooorx_comp"                    / access[17] * "receive completions out of order",
        "error"                         / RO[31] * "the other bits mean nothing",
    )


def pt_bar(vectors: int, tx: int, rx: int, *, large: bool) -> Bar:
    """BAR 0, that a pass-through device would give to the guest: masks of ``vectors``, doorbells of the queues."""
    entries: list[Construct] = [
        "imr" / Reg32(Each(0x000, 8, vectors), "masked" / RW.volatile[0] * "may not be sent; set by auto masking, too",
            RSVD[...], S("REG_IMR"), QEMU, reset=1)                                              * "Interrupt Mask, by vector",
    ]
    for prefix, at, what, why in (
        ("", (0x600, 0x800, 0xA00), "", ""), ("lb_", (0x1000, 0x1400, 0x1800), "LB_", "large BAR: "),
    )[: 1 + large]:
        entries += [
            f"{prefix}txprod"  / Doorbell32(Each(at[0], 8, tx), "index" / RW[11:0] * "descriptor that will be filled next",
                RSVD[...], S(f"REG_{what}TXPROD"))  * f"{why}Transmit Producer, by queue",
            f"{prefix}rxprod"  / Doorbell32(Each(at[1], 8, rx), "index" / RW[11:0] * "descriptor that will be filled next",
                RSVD[...], S(f"REG_{what}RXPROD"))  * f"{why}Receive Producer of ring 1, by queue",
            f"{prefix}rxprod2" / Doorbell32(Each(at[2], 8, rx), "index" / RW[11:0] * "descriptor that will be filled next",
                RSVD[...], S(f"REG_{what}RXPROD2")) * f"{why}Receive Producer of ring 2, by queue",
        ]
    return Bar("bar0", LARGE_SIZE if large else SIZE, *entries, policy=POLICY, doc="interrupt masks and doorbells")


POLICY = Policy(partial=Partial.IGNORE, unaligned=Partial.IGNORE)

BAR1 = Bar("bar1", SIZE,
    "vrrs" / Command32(0x00,
        "revisions" / RW[8:0] * "reads the revisions on offer, bit 0 is revision 1; a write selects one",
        RSVD[...], S("REG_VRRS"), LATER, PROBE, reset=(1 << REVISIONS) - 1)       * "Revision Report and Selection",
    "uvrs" / Command32(0x08, "versions" / RW[0] * "the same for UPT, of which there is one version",
        RSVD[...], S("REG_UVRS"), PROBE, reset=1)                                 * "UPT Version Report and Selection",
    *Pair32("dsal", 0x10, "dsah", 0x18, RW, S("REG_DSAL"), QEMU,                  doc="Driver Shared Address"),
    "cmd"  / Command32(0x20, _command(), S("REG_CMD"))                            * "Command, and its result",
    "macl" / Reg32(0x28, "mac" / RW.volatile[31:0] * "takes effect with mach", S("REG_MACL"), QEMU)
                                                                                  * "MAC Address, first four bytes",
    "mach" / Reg32(0x30, "mac" / RW.volatile[15:0], RSVD[...], S("REG_MACH"), QEMU)
                                                                                  * "MAC Address, last two bytes",
    "icr"  / Reg32(0x38, "cause" / RC[0] * "INTx is ours; reading lets go of it", RSVD[...], S("REG_ICR"), QEMU)
                                                                                  * "Interrupt Cause",
    "ecr"  / Reg32(0x40,
        "rqerr" / W1C[0](S("ECR_RQERR")) * "a receive queue has stopped",
        "tqerr" / W1C[1](S("ECR_TQERR")) * "a transmit queue has stopped",
        "link"  / W1C[2](S("ECR_LINK"))  * "the link has changed",
        "dic"   / W1C[3](S("ECR_DIC"))   * "the device behind the interface has changed",
        "debug" / W1C[4](S("ECR_DEBUG")) * "for debugging",
        RSVD[...], S("REG_ECR"),
        Reading("dpdk", "drivers/net/vmxnet3/vmxnet3_ethdev.c", "vmxnet3_process_events")) * "Event Cause",
    "dcr"  / Command32(0x48, *_capabilities(RW), RSVD[...], S("REG_DCR"), PROBE)
                                                      * "Device Capabilities: reads what there is, a write enables",
    "dcr_more" / Reg32(Each(0x50, 8, 7), RSVD[...], LATER, status=UNDOCUMENTED,
        why="the header reserves the room; no driver uses it")                    * "Device Capabilities, further",
    "ptcr" / Reg32(0x88, *_capabilities(RO), RSVD[...], S("REG_PTCR"), PROBE)     * "Capabilities in pass-through",
    "ptcr_more" / Reg32(Each(0x90, 8, 5), RSVD[...], LATER, status=UNDOCUMENTED,
        why="the header reserves the room; no driver uses it")                    * "Capabilities in pass-through, further",
    policy=POLICY, doc="configuration")
# fmt: on

BAR0 = pt_bar(25, 8, 16, large=False)
BAR0_LARGE = pt_bar(65, 32, 32, large=True)
