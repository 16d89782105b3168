"""What virtio-net says in memory: the header before each packet, the commands of the control queue, the feature bits.

What lives here: layouts and names, data only. All numbers are little-endian; lengths are in octets.

A command is a chain on the control queue: class and number and their arguments, which the device reads, then one octet for
the answer, which the device writes. Its ``number`` here is the first two octets read as one number. Of the commands whose
length is not fixed, RSS_CONFIG and HASH_CONFIG are shown as long as drivers make them (the device's largest table and key,
``RSS_TABLE`` and ``RSS_KEY``), and MAC_TABLE_SET by its first count.
"""

from __future__ import annotations

from collections.abc import Mapping

from construct import Array, Bytes, Construct, Int8ul, Int16ul, Int32ul, Int64ul, Struct

from regmodel.access import RSVD
from regmodel.bits import Bits, F, Field
from regmodel.catalogue import Mailbox, Message
from regmodel.sources import Document, Reading, Source, symbols

UAPI = "include/uapi/linux"
N = symbols("linux-source", f"{UAPI}/virtio_net.h", "VIRTIO_NET_")
VF = symbols("linux-source", f"{UAPI}/virtio_config.h", "VIRTIO_F_")
RF = symbols("linux-source", f"{UAPI}/virtio_ring.h", "VIRTIO_RING_F_")
RSS_TABLE, RSS_KEY = 128, 40
"""Entries of the indirection table and octets of the key, at most (QEMU: VIRTIO_NET_RSS_MAX_TABLE_LEN, _MAX_KEY_SIZE)."""


def V(section: str) -> Document:
    return Document("Virtual I/O Device (VIRTIO) Version 1.2", section)


def U(what: str) -> Reading:
    return Reading("linux-source", f"{UAPI}/virtio_net.h", what)


THIRD = Document("Virtual I/O Device (VIRTIO) Version 1.3", "5.1.3 and 6")
LATER = Reading("linux-source 6.12", f"{UAPI}/virtio_net.h", "VIRTIO_NET_F_GUEST_USO4, GUEST_USO6, HOST_USO")
LATER_CONFIG = Reading("linux-source 6.12", f"{UAPI}/virtio_config.h", "VIRTIO_F_NOTIFICATION_DATA")


def bit(symbol: str) -> Source:
    """The number of a feature bit of virtio-net."""
    return N(f"F_{symbol}", bit=True)


# fmt: off
FEATURES = Bits(Int64ul,
    "csum"                / F[0](bit("CSUM"))                   * "the device takes packets without checksum",
    "guest_csum"          / F[1](bit("GUEST_CSUM"))             * "the driver takes packets without checksum",
    "ctrl_guest_offloads" / F[2](bit("CTRL_GUEST_OFFLOADS"))    * "what the driver takes may change later",
    "mtu"                 / F[3](bit("MTU"))                    * "the device says the largest MTU",
    "mac"                 / F[5](bit("MAC"))                    * "the device has a MAC address",
    "gso"                 / F[6](bit("GSO"))                    * "legacy: the device takes any segmentation",
    "guest_tso4"          / F[7](bit("GUEST_TSO4"))             * "the driver takes TSO of IPv4",
    "guest_tso6"          / F[8](bit("GUEST_TSO6"))             * "the driver takes TSO of IPv6",
    "guest_ecn"           / F[9](bit("GUEST_ECN"))              * "the driver takes TSO with ECN",
    "guest_ufo"           / F[10](bit("GUEST_UFO"))             * "the driver takes UDP fragmentation",
    "host_tso4"           / F[11](bit("HOST_TSO4"))             * "the device takes TSO of IPv4",
    "host_tso6"           / F[12](bit("HOST_TSO6"))             * "the device takes TSO of IPv6",
    "host_ecn"            / F[13](bit("HOST_ECN"))              * "the device takes TSO with ECN",
    "host_ufo"            / F[14](bit("HOST_UFO"))              * "the device takes UDP fragmentation",
    "mrg_rxbuf"           / F[15](bit("MRG_RXBUF"))             * "the device merges receive buffers",
    "status"              / F[16](bit("STATUS"))                * "net_status is valid",
    "ctrl_vq"             / F[17](bit("CTRL_VQ"))               * "there is a control queue",
    "ctrl_rx"             / F[18](bit("CTRL_RX"))               * "receive modes and the MAC table",
    "ctrl_vlan"           / F[19](bit("CTRL_VLAN"))             * "the VLAN filter",
    "ctrl_rx_extra"       / F[20](bit("CTRL_RX_EXTRA"))         * "more receive modes",
    "guest_announce"      / F[21](bit("GUEST_ANNOUNCE"))        * "the driver announces itself when asked",
    "mq"                  / F[22](bit("MQ"))                    * "several queue pairs",
    "ctrl_mac_addr"       / F[23](bit("CTRL_MAC_ADDR"))         * "the MAC address is set by a command",
    "notify_on_empty"     / F[24](VF("NOTIFY_ON_EMPTY", bit=True)) * "legacy: an interrupt when the queue runs empty",
    "any_layout"          / F[27](VF("ANY_LAYOUT", bit=True))   * "legacy: any cut of header and data into buffers",
    "indirect_desc"       / F[28](RF("INDIRECT_DESC", bit=True)) * "descriptors may stand in tables",
    "event_idx"           / F[29](RF("EVENT_IDX", bit=True))    * "each side names the index that it waits for",
    "version_1"           / F[32](VF("VERSION_1", bit=True))    * "not a legacy driver, not a legacy device",
    "access_platform"     / F[33](VF("ACCESS_PLATFORM", bit=True)) * "addresses go through the platform's IOMMU",
    "ring_packed"         / F[34](VF("RING_PACKED", bit=True))  * "packed virtqueues",
    "in_order"            / F[35](VF("IN_ORDER", bit=True))     * "buffers are used in the order in which they came",
    "order_platform"      / F[36](VF("ORDER_PLATFORM", bit=True)) * "memory is ordered as a device of the platform needs it",
    "sr_iov"              / F[37](VF("SR_IOV", bit=True))       * "the device has virtual functions",
    "notification_data"   / F[38](LATER_CONFIG, V("6"))         * "notifications say how far the driver is",
    "notif_config_data"   / F[39](THIRD)                        * "what to write to a doorbell is in the common configuration",
    "ring_reset"          / F[40](VF("RING_RESET", bit=True))   * "a queue may be reset alone",
    "admin_vq"            / F[41](THIRD)                        * "there are administration queues",
    "device_stats"        / F[50](THIRD)                        * "the device tells statistics by a command",
    "vq_notf_coal"        / F[52](THIRD)                        * "interrupts may be coalesced by queue",
    "notf_coal"           / F[53](bit("NOTF_COAL"))             * "interrupts may be coalesced",
    "guest_uso4"          / F[54](LATER, V("5.1.3"))            * "the driver takes UDP segmentation over IPv4",
    "guest_uso6"          / F[55](LATER, V("5.1.3"))            * "the driver takes UDP segmentation over IPv6",
    "host_uso"            / F[56](LATER, V("5.1.3"))            * "the device takes UDP segmentation",
    "hash_report"         / F[57](bit("HASH_REPORT"))           * "the header tells the hash",
    "guest_hdrlen"        / F[59](THIRD)                        * "hdr_len of the driver's packets is exact",
    "rss"                 / F[60](bit("RSS"))                   * "the hash chooses the queue",
    "rsc_ext"             / F[61](bit("RSC_EXT"))               * "the header tells of coalesced segments",
    "standby"             / F[62](bit("STANDBY"))               * "stands in for another device of this MAC address",
    "speed_duplex"        / F[63](bit("SPEED_DUPLEX"))          * "speed and duplex are valid",
    RSVD[...])

HDR = Struct(
    "flags"       / Bits(Int8ul,
        "needs_csum" / F[0](N("HDR_F_NEEDS_CSUM"))              * "store a checksum at csum_start + csum_offset",
        "data_valid" / F[1](N("HDR_F_DATA_VALID"))              * "the checksum was verified",
        "rsc_info"   / F[2](N("HDR_F_RSC_INFO"))                * "csum_start and csum_offset tell of coalescing",
        RSVD[...])                                              * "flags",
    "gso_type"    / Bits(Int8ul,
        "type" / F[6:0](N("HDR_GSO_NONE", of="NONE"), N("HDR_GSO_TCPV4", of="TCPV4"), N("HDR_GSO_UDP", of="UDP"),
                        N("HDR_GSO_TCPV6", of="TCPV6"), V("5.1.6"), NONE=0, TCPV4=1, UDP=3, TCPV6=4, UDP_L4=5)
                                                                * "how to cut it into segments",
        "ecn"  / F[7](N("HDR_GSO_ECN"))                         * "the first segment has CWR set") * "segmentation",
    "hdr_len"     / Int16ul                                     * "octets of Ethernet, IP and TCP or UDP headers: a hint",
    "gso_size"    / Int16ul                                     * "octets of payload of a segment",
    "csum_start"  / Int16ul                                     * "octets of the packet before those that are summed",
    "csum_offset" / Int16ul                                     * "where the sum is stored, behind csum_start",
)
HDR_V1 = Struct(*HDR.subcons, "num_buffers" / Int16ul           * "buffers that the packet takes (received packets)")
HDR_V1_HASH = Struct(*HDR_V1.subcons,
    "hash_value"  / Int32ul                                     * "the hash",
    "hash_report" / Bits(Int16ul,
        "type" / F[15:0](*(N(f"HASH_REPORT_{s}", of=s.upper()) for s in (
            "NONE", "IPv4", "TCPv4", "UDPv4", "IPv6", "TCPv6", "UDPv6", "IPv6_EX", "TCPv6_EX", "UDPv6_EX")),
            NONE=0, IPV4=1, TCPV4=2, UDPV4=3, IPV6=4, TCPV6=5, UDPV6=6, IPV6_EX=7, TCPV6_EX=8, UDPV6_EX=9)
                                                                * "what was hashed") * "kind of hash",
    "padding"     / Int16ul                                     * "0",
)

CONFIG = Struct(
    "mac"                  / Bytes(6)   * "MAC address",
    "status"               / Bits(Int16ul,
        "link_up"          / F[0](N("S_LINK_UP"))  * "the link is up",
        "announce"         / F[1](N("S_ANNOUNCE")) * "the driver should announce itself", RSVD[...])
                                        * "link status",
    "max_virtqueue_pairs"  / Int16ul    * "queue pairs at most",
    "mtu"                  / Int16ul    * "largest MTU",
    "speed"                / Int32ul    * "Mbit/s",
    "duplex"               / Int8ul     * "0 half, 1 full",
    "rss_max_key_size"     / Int8ul     * "octets of the RSS key",
    "rss_max_indirection_table_length" / Int16ul * "entries of the RSS table",
    "supported_hash_types" / Int32ul    * "what can be hashed",
)

OK, ERR = 0, 1
ACK = Struct("ack" / Bits(Int8ul, "ack" / F[7:0](N("OK", of="OK"), N("ERR", of="ERR"), OK=0, ERR=1)) * "the answer")
RSS_HDR = Struct(
    "hash_types"             / Int32ul * "what is hashed, as in supported_hash_types",
    "indirection_table_mask" / Int16ul * "entries less one, a power of two less one",
    "unclassified_queue"     / Int16ul * "receive queue (pair) of packets without hash",
)
RSS_TRAILER = Struct(
    "max_tx_vq"       / Int16ul        * "transmit queues that the driver uses",
    "hash_key_length" / Int8ul         * "octets of the key, which follows",
)
MAC_TABLE = Struct("entries" / Int32ul * "addresses, which follow")
COAL = Struct("max_packets" / Int32ul * "packets", "max_usecs" / Int32ul * "microseconds")
# fmt: on

CLASSES = {"RX": 0, "MAC": 1, "VLAN": 2, "ANNOUNCE": 3, "MQ": 4, "GUEST_OFFLOADS": 5, "NOTF_COAL": 6}


def _class() -> Field:
    return "class" / F[7:0](*(N(f"CTRL_{name}", of=name) for name in CLASSES), **CLASSES)


def _command(klass: str, command: str, number: int, *members: Construct, doc: str, section: str) -> Message:
    """``members`` are the arguments."""
    # fmt: off
    header = "header" / Struct(
        "class" / Bits(Int8ul, _class())                                                             * "class",
        "cmd"   / Bits(Int8ul, "cmd" / F[7:0](N(f"CTRL_{klass}_{command}", of=command), **{command: number})) * "command",
    ) * "which command"
    # fmt: on
    sources = (U(f"VIRTIO_NET_CTRL_{klass}_{command}"), V(section))
    name = f"{klass}_{command}".lower()
    return Message(name, CLASSES[klass] | number << 8, "driver", "device", Struct(header, *members), doc, sources)


ON = "on" / Int8ul * "0 or 1"
VID = "vid" / Int16ul * "VLAN identifier"

# fmt: off
MESSAGES = (
    _command("RX", "PROMISC",  0, ON, doc="Receive all packets", section="5.1.6.5.1"),
    _command("RX", "ALLMULTI", 1, ON, doc="Receive all multicast packets", section="5.1.6.5.1"),
    _command("RX", "ALLUNI",   2, ON, doc="Receive all unicast packets", section="5.1.6.5.1"),
    _command("RX", "NOMULTI",  3, ON, doc="Receive no multicast packets", section="5.1.6.5.1"),
    _command("RX", "NOUNI",    4, ON, doc="Receive no unicast packets", section="5.1.6.5.1"),
    _command("RX", "NOBCAST",  5, ON, doc="Receive no broadcast packets", section="5.1.6.5.1"),
    _command("MAC", "TABLE_SET", 0, *MAC_TABLE.subcons,
             doc="Receive these unicast addresses; a second table of multicast ones follows", section="5.1.6.5.2"),
    _command("MAC", "ADDR_SET", 1, "mac" / Bytes(6) * "address", doc="Be this address", section="5.1.6.5.2"),
    _command("VLAN", "ADD", 0, VID, doc="Receive this VLAN", section="5.1.6.5.3"),
    _command("VLAN", "DEL", 1, VID, doc="Receive this VLAN no longer", section="5.1.6.5.3"),
    _command("ANNOUNCE", "ACK", 0, doc="The announcement was seen", section="5.1.6.5.4"),
    _command("MQ", "VQ_PAIRS_SET", 0, "virtqueue_pairs" / Int16ul * "how many", doc="Use so many queue pairs",
             section="5.1.6.5.6"),
    _command("MQ", "RSS_CONFIG", 1, *RSS_HDR.subcons,
             "indirection_table" / Array(RSS_TABLE, Int16ul) * "receive queue (pair) by hash", *RSS_TRAILER.subcons,
             "hash_key_data" / Bytes(RSS_KEY) * "key", doc="Let the hash choose the queue", section="5.1.6.5.7"),
    _command("MQ", "HASH_CONFIG", 2, "hash_types" / Int32ul * "what is hashed", "reserved" / Array(4, Int16ul) * "0",
             "hash_key_length" / Int8ul * "octets of the key", "hash_key_data" / Bytes(RSS_KEY) * "key",
             doc="Report the hash", section="5.1.6.5.6"),
    _command("GUEST_OFFLOADS", "SET", 0, "offloads" / Int64ul * "as in the features", doc="What the driver takes from now on",
             section="5.1.6.5.8"),
    _command("NOTF_COAL", "TX_SET", 0, *COAL.subcons, doc="Coalesce transmit interrupts", section="5.1.6.5.9"),
    _command("NOTF_COAL", "RX_SET", 1, *COAL.subcons, doc="Coalesce receive interrupts", section="5.1.6.5.9"),
)
# fmt: on

CONTROL = Mailbox(
    "control",
    "The control queue: a command of the driver, and one octet of answer",
    words=(8 + 2 * RSS_TABLE + 3 + RSS_KEY + 2 + 3) // 4,
    messages=MESSAGES,
    sources=(Reading("linux-source", f"{UAPI}/virtio_net.h", "struct virtio_net_ctrl_hdr"), V("5.1.6.5")),
)

STRUCTURES: Mapping[str, Construct] = {
    "features":           FEATURES    * "feature bits, of the device type and of the transport",
    "config":             CONFIG      * "device configuration",
    "hdr":                HDR         * "before each packet, legacy",
    "hdr_v1":             HDR_V1      * "before each packet, modern or with mergeable buffers",
    "hdr_v1_hash":        HDR_V1_HASH * "before each packet, with hash report",
    "ctrl_ack":           ACK         * "the device's answer to a control command",
    "ctrl_mac":           MAC_TABLE   * "head of a list of addresses",
    "rss_config_hdr":     RSS_HDR     * "head of an RSS configuration; the indirection table follows",
    "rss_config_trailer": RSS_TRAILER * "end of it; the key follows",
    "ctrl_coal":          COAL        * "interrupt moderation",
}

BTF: Mapping[str, str] = {
    "config": "virtio_net:virtio_net_config",
    "hdr": "virtio_net:virtio_net_hdr",
    "hdr_v1": "virtio_net:virtio_net_hdr_v1",
    "hdr_v1_hash": "virtio_net:virtio_net_hdr_v1_hash",
    "ctrl_mac": "virtio_net:virtio_net_ctrl_mac",
    "rss_config_hdr": "virtio_net:virtio_net_rss_config_hdr",
    "rss_config_trailer": "virtio_net:virtio_net_rss_config_trailer",
    "ctrl_coal": "virtio_net:virtio_net_ctrl_coal",
}
"""The kernel types that these structures must agree with, by their name in ``STRUCTURES``."""
