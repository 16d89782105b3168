"""AVP's request channel: what a guest may ask of the host.

What lives here: layouts of messages, data only. There is one place for a request (``sync_va``), so one is under way at a time:
the guest writes it there, puts the place's address into the queue ``req`` and looks at ``resp`` every 5 ms; after 100 looks it
gives up. The host changes ``result`` and puts the same address into ``resp`` (DPDK avp_ethdev.c ``avp_dev_process_request``).

``result`` is 0 or a negative errno. Every request has the same 36 bytes; what it does not use is 0.
"""

from __future__ import annotations

from construct import Const, Construct, Int8ul, Int16ul, Int32sl, Int32ul, Int64ul, Padding, Struct

from regmodel.bits import Bits, F
from regmodel.catalogue import Mailbox, Message
from regmodel.sources import Reading
from regmodel.structures.avp import S, features, version

REQUEST_SOURCE = Reading("libdpdk-dev", "include/dpdk/rte_avp_common.h", "struct rte_avp_request")
CONFIG_SOURCE = Reading("libdpdk-dev", "include/dpdk/rte_avp_common.h", "struct rte_avp_device_config")
REQUEST_SIZE = 36
PATIENCE = 0.5
"""Seconds until a guest gives up (AVP_MAX_REQUEST_RETRY times AVP_REQUEST_DELAY_USECS)."""
DRIVER_TYPES = {"UNKNOWN": 0, "DPDK": 1, "KERNEL": 2, "QEMU": 3}


def pmd(what: str) -> Reading:
    return Reading("dpdk", "drivers/net/avp/avp_ethdev.c", what)


# fmt: off
CONFIG = Struct(
    "device_id"      / Int64ul                        * "that of the device information",
    "driver_type"    / Bits(Int32ul, "type" / F[31:0](*(S(f"DRIVER_TYPE_{name}", of=name) for name in DRIVER_TYPES),
                            **DRIVER_TYPES))          * "who drives it",
    "driver_version" / version()                      * "of the driver",
    "features"       / features()                     * "what the driver uses",
    "num_tx_queues"  / Int16ul                        * "queues that the guest sends through",
    "num_rx_queues"  / Int16ul                        * "queues that it receives from",
    "if_up"          / Int8ul                         * "1: packets may come at once",
    Padding(3),
)


def _request(number: int, *body: Construct) -> Construct:
    return Struct("req_id" / Const(number, Int32ul)   * "which request", *body,
                  "result" / Int32sl                  * "0 or a negative errno")


CHANGE_MTU = _request(1, "new_mtu" / Int32ul          * "octets of payload", Padding(24))
NETWORK_IF = _request(2, "if_up" / Int8ul             * "1: packets may come, 0: none any more", Padding(27))
DEVICE     = _request(3, "config" / CONFIG            * "what the driver wants")
SHUTDOWN   = _request(4, Padding(28))
# fmt: on


def _pair(name: str, symbol: str, number: int, schema: Construct, doc: str, *sources: Reading) -> tuple[Message, Message]:
    """The request, and the response in the same place."""
    said = (S(symbol), REQUEST_SOURCE, *sources)
    return (
        Message(name, number, "guest", "host", schema, doc, said),
        Message(f"{name}_response", number, "host", "guest", schema, "Outcome", said),
    )


# fmt: off
REQUESTS = (
    *_pair("change_mtu", "REQ_CHANGE_MTU", 1, CHANGE_MTU, "Send longer or shorter packets (DPDK's driver never asks)"),
    *_pair("cfg_network_if", "REQ_CFG_NETWORK_IF", 2, NETWORK_IF, "Start or stop",
           pmd("avp_dev_ctrl_set_link_state")),
    *_pair("cfg_device", "REQ_CFG_DEVICE", 3, DEVICE, "Use so many queues and these features", CONFIG_SOURCE,
           pmd("avp_dev_ctrl_set_config")),
    *_pair("shutdown_device", "REQ_SHUTDOWN_DEVICE", 4, SHUTDOWN, "The driver goes, or is about to be migrated",
           pmd("avp_dev_ctrl_shutdown")),
)
# fmt: on

MAILBOX = Mailbox(
    "requests",
    "From guest to host, one at a time, in shared memory",
    messages=REQUESTS,
    sources=(REQUEST_SOURCE, pmd("avp_dev_process_request")),
)
