"""Sketch: xenvirt: virtio rings in granted pages, which both sides find through XenStore.

Shows keys and values in place of registers, and the pages that they point to.
"""

from construct import Array, Bytes, Int8ul, Int16ul, Int32sl, Int32ul, Struct

from regmodel.access import RSVD
from regmodel.bits import Bits, F
from regmodel.catalogue import Description
from regmodel.keys import DECIMAL, DECIMALS, HEX, MAC, Key, Keys
from regmodel.sources import Reading, Symbol

FRONT, BACK = "drivers/net/xenvirt", "examples/vhost_xen"


def S(name: str) -> Symbol:
    return Symbol("dpdk v17.08", f"{FRONT}/rte_xen_lib.h", name)


def R(what: str, file: str) -> Reading:
    return Reading("dpdk v17.08", file, what)


POOL = R("grant_gntalloc_mbuf_pool", f"{FRONT}/rte_xen_lib.c")
ADDRESS = R("update_mac_address", f"{FRONT}/rte_eth_xenvirt.c")
# fmt: off
KEYS = Keys("/local/domain/{domid}/control/dpdk",
    "mempool_gref"  / Key("{pool}_mempool_gref", DECIMALS, S("MEMPOOL_XENSTORE_STR"))    * "grants of a pool's grant pages",
    "mempool_va"    / Key("{pool}_mempool_va", HEX, S("MEMPOOL_VA_XENSTORE_STR"), POOL)  * "guest address of a pool",
    "rx_vring_gref" / Key("{port}_rx_vring_gref", DECIMALS, S("RXVRING_XENSTORE_STR"))   * "grants of a ring's grant pages",
    "tx_vring_gref" / Key("{port}_tx_vring_gref", DECIMALS, S("TXVRING_XENSTORE_STR"))   * "the same for transmit",
    "ether_addr"    / Key("{port}_ether_addr", MAC, ADDRESS)                             * "MAC address of the port",
    "vring_flag"    / Key("{port}_vring_flag", DECIMAL, S("VRING_FLAG_STR"))             * "grant of the page that says alive",
    "event_type"    / Key("event_type_start_{port}", DECIMAL, S("EVENT_TYPE_START_STR")) * "1: the port was started",
    doc="The guest writes, domain 0 watches.")

GrantPage = Array(512, Struct(
    "gref" / Int32sl * "0 or less ends the list: the code, against the guide's -1",
    "pfn"  / Int32ul * "guest page frame number"))
FlagPage = Struct("alive" / Bits(Int8ul, "map_flag" / F[7:0](MAPPED=0xA5)) * "cleared by Xen when the guest unmaps it",
    "rest" / Bytes(4095))
NetHeader = Struct(
    "flags" / Bits(Int8ul, "needs_csum" / F[0], "data_valid" / F[1], RSVD[...]),
    "gso_type" / Bits(Int8ul, "type" / F[6:0](NONE=0, TCPV4=1, UDP=3, TCPV6=4), "ecn" / F[7]),
    "hdr_len" / Int16ul, "gso_size" / Int16ul, "csum_start" / Int16ul, "csum_offset" / Int16ul)
# fmt: on

DESCRIPTION = Description(
    name="xenvirt",
    title="xenvirt: virtio in granted pages",
    doc="A fragment: what XenStore says, and the pages behind it.",
    keys=(KEYS,),
    structures={"grant page": GrantPage, "flag page": FlagPage, "packet header": NetHeader},
    sources=(R("parse_gntnode", f"{BACK}/xenstore_parse.c"), R("gntalloc_vring_create", f"{FRONT}/rte_eth_xenvirt.c")),
)
