"""What an ivshmem server says to its clients, on a Unix socket: numbers, some of which bring a file descriptor.

What lives here: layout and meaning of the messages, limits, names of what may be wrong; data only. Every message is one
number of eight bytes, little-endian and signed; what it means follows from its place, its value and whether a descriptor
came with it. Clients say nothing, ever.

Messages are numbered as the specification numbers them: 1 to 5 in this order on connect, 6 at any time later.
"""

from __future__ import annotations

from enum import StrEnum

from construct import Construct, Int64sl, Struct

from regmodel.bars.ivshmem import QEMU_FILE, SPEC
from regmodel.catalogue import Mailbox, Message
from regmodel.sources import Document, Reading

PROTOCOL = Document(SPEC, "The ivshmem Client-Server Protocol")
PEERS = Document(SPEC, "The ivshmem Client-Client Protocol")
CLIENT = Reading("qemu", QEMU_FILE, "ivshmem_recv_setup, process_msg")
SERVER = Reading("qemu", "contrib/ivshmem-server/ivshmem-server.c", "ivshmem_server_handle_new_conn")

VERSION = 0
IDS = 1 << 16
"""As many as the doorbell register has room for."""
MEMORY = -1
VECTORS = 2048
"""Most of one client: what MSI-X has."""

SIZE = 8


def _number(doc: str) -> Construct:
    return Struct("number" / Int64sl * doc)


MESSAGE = _number("see the messages of mailbox server")

# fmt: off
MESSAGES = (
    Message("server_version",    1, "server", "client", _number("0"), "version of the protocol; no descriptor",
            (PROTOCOL, CLIENT, SERVER)),
    Message("server_id",         2, "server", "client", _number("0 to 65535"), "the client's own ID; no descriptor",
            (PROTOCOL, CLIENT, SERVER)),
    Message("server_memory",     3, "server", "client", _number("-1"), "with the descriptor of the shared memory",
            (PROTOCOL, CLIENT, SERVER)),
    Message("server_connect",    4, "server", "client", _number("ID of another client"),
            "once per vector, in order, each with an eventfd: a write of 1 to it interrupts that client", (PROTOCOL, PEERS)),
    Message("server_setup",      5, "server", "client", _number("the client's own ID"),
            "once per vector, in order, each with an eventfd: it becomes readable when somebody interrupts the client",
            (PROTOCOL, PEERS)),
    Message("server_disconnect", 6, "server", "client", _number("ID of another client"),
            "without descriptor: that client is gone", (PROTOCOL, CLIENT)),
)
# fmt: on

MAILBOX = Mailbox(
    "server",
    "what the ivshmem server says to a device, on a Unix socket",
    messages=MESSAGES,
    sources=(PROTOCOL, PEERS),
)


class Lie(StrEnum):
    """What may be wrong with a server: the diagnostic of a client which notices. After the first four there is no device;
    the others are said once and the message is dropped.
    """

    VERSION = "server-version"  # not 0, or with a descriptor
    ID = "server-id"  # not 0 to 65535, or with a descriptor
    MEMORY = "server-memory"  # none, twice, or of a size that no BAR can have
    CLOSED = "server-closed"  # hung up before all was said
    NUMBER = "server-number"  # below -1 or above 65535
    PEER = "server-peer"  # a disconnect of somebody who is not connected, or of the client itself
    VECTORS = "server-vectors"  # more descriptors for one peer than the device has vectors
    DESCRIPTOR = "server-descriptor"  # no eventfd, or several with one message
    CROWD = "server-crowd"  # more descriptors than this process can hold
    GONE = "server-gone"  # hung up later: peers go on without it
