"""How a client of an ivshmem server comes to its peers, and how a guest finds what DPDK's library shares; data only."""

from __future__ import annotations

from regmodel.bars.ivshmem import OLD, QEMU, REGISTERS
from regmodel.handshakes import Handshake, Step
from regmodel.mailboxes.ivshmem import CLIENT, PEERS, PROTOCOL, SERVER
from regmodel.structures.ivshmem import READER, RING_SOURCE, WRITER

HOST, GUEST, DEVICE, SERVED, OTHER = "host", "guest", "device", "server", "other clients"

CONNECT = Handshake(
    "A device connects to its server",
    "The server speaks, in a fixed order; the device is there when the memory is.",
    (DEVICE, SERVED, OTHER),
    (
        Step(SERVED, DEVICE, "version", ("server_version",), (PROTOCOL, CLIENT)),
        Step(SERVED, DEVICE, "your ID", ("server_id", "ivposition"), (PROTOCOL, CLIENT)),
        Step(SERVED, DEVICE, "the memory", ("server_memory", "shm"), (PROTOCOL, CLIENT)),
        Step(SERVED, OTHER, "somebody is new: his ID and eventfds", ("server_connect",), (SERVER,)),
        Step(SERVED, DEVICE, "each other client: its ID and eventfds", ("server_connect",), (PROTOCOL, SERVER)),
        Step(SERVED, DEVICE, "your own eventfds", ("server_setup",), (PROTOCOL, SERVER)),
        Step(SERVED, OTHER, "when the device hangs up: it is gone", ("server_disconnect",), (PROTOCOL, SERVER)),
    ),
)

RING = Handshake(
    "A doorbell",
    "Between two devices nobody stands but the kernel: a counter of one is the interrupt of the other.",
    (GUEST, DEVICE, OTHER),
    (
        Step(GUEST, DEVICE, "who and which vector", ("doorbell.peer", "doorbell.vector"), (REGISTERS, QEMU)),
        Step(DEVICE, OTHER, "1 into the eventfd of that vector", (), (PEERS, QEMU)),
        Step(OTHER, OTHER, "MSI-X, or INTx in revision 0", ("intrstatus.peer", "intrmask.peer"), (REGISTERS, OLD)),
    ),
)

SHARE = Handshake(
    "DPDK shares rings and pools",
    "The guest does nothing for it: whatever device has the magic number is mapped when EAL starts.",
    (HOST, GUEST),
    (
        Step(HOST, HOST, "memory zones into the metadata, hugepages into BAR 2", ("metadata", "metadata_entry"), (WRITER,)),
        Step(HOST, GUEST, "the device", ("shm",), (WRITER,)),
        Step(GUEST, GUEST, "look for the magic number in the last pages", ("metadata",), (READER,)),
        Step(GUEST, GUEST, "map segments at the addresses that they have in the host", ("memzone",), (READER,)),
        Step(GUEST, GUEST, "memory zones named RG_ are rings", ("rte_ring",), (READER,)),
        Step(HOST, GUEST, "pointers through a ring, in either direction", ("rte_ring", "rte_mempool"), (RING_SOURCE,)),
    ),
)

HANDSHAKES = (CONNECT, RING, SHARE)
