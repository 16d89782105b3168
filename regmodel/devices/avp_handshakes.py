"""How the driver of an AVP port takes up its work, asks, sends and receives, and is migrated, step by step; data only.

Each follows DPDK's driver, whose functions the steps cite; the Python driver (``drivers.nics.avp``) does the same. There are no
doorbells: where a step says that the host finds something, it looks from time to time.
"""

from __future__ import annotations

from regmodel.bars.avp import pmd
from regmodel.handshakes import Handshake, Step

DRIVER, HOST = "driver", "host"

PROBE = Handshake(
    "Probe",
    "The driver makes sure of what it has found, and translates the host's addresses.",
    (DRIVER, HOST),
    (
        Step(DRIVER, HOST, "is a migration under way?", ("migration_status",), (pmd("avp_dev_migration_pending"),)),
        Step(DRIVER, HOST, "magic numbers and versions", ("memmap", "device_info"), (pmd("avp_dev_check_regions"),)),
        Step(DRIVER, HOST, "let interrupts through", ("interrupt_mask",), (pmd("avp_dev_enable_interrupts"),)),
        Step(DRIVER, HOST, "where the queues are", ("device_info", "memmap"), (pmd("avp_dev_create"),)),
    ),
)

REQUEST = Handshake(
    "A request and its response",
    "One place for both; two queues of one pointer say whose turn it is.",
    (DRIVER, HOST),
    (
        Step(DRIVER, DRIVER, "take out responses that nobody waits for", ("fifo",), (pmd("avp_dev_process_request"),)),
        Step(DRIVER, HOST, "write the request to its place", ("cfg_device",), (pmd("avp_dev_process_request"),)),
        Step(DRIVER, HOST, "its address into req", ("fifo.write",), (pmd("avp_dev_process_request"),)),
        Step(HOST, HOST, "finds it and does it", ("fifo.read",), ()),
        Step(HOST, DRIVER, "write the result to the same place", ("cfg_device_response",), (pmd("avp_dev_process_request"),)),
        Step(HOST, DRIVER, "the same address into resp", ("fifo.write",), (pmd("avp_dev_process_request"),)),
        Step(DRIVER, DRIVER, "look every 5 ms, 100 times", ("fifo",), (pmd("avp_dev_process_request"),)),
    ),
)  # fmt: skip

START = Handshake(
    "Start and stop",
    "Queues and features are agreed on once; then packets are let through.",
    (DRIVER, HOST),
    (
        Step(DRIVER, HOST, "so many queues, these features", ("cfg_device",), (pmd("avp_dev_configure"),)),
        Step(HOST, DRIVER, "0; empty buffers stand in alloc", ("cfg_device_response", "fifo"), (pmd("avp_dev_configure"),)),
        Step(DRIVER, HOST, "up", ("cfg_network_if",), (pmd("avp_dev_start"),)),
        Step(DRIVER, HOST, "down", ("cfg_network_if",), (pmd("avp_dev_stop"),)),
        Step(DRIVER, HOST, "no interrupts any more", ("interrupt_mask",), (pmd("avp_dev_close"),)),
        Step(DRIVER, HOST, "the driver goes", ("shutdown_device",), (pmd("avp_dev_close"),)),
    ),
)

TRANSMIT = Handshake(
    "A packet is sent",
    "Packets are copied into buffers that the host has put there.",
    (DRIVER, HOST),
    (
        Step(HOST, DRIVER, "empty buffers into alloc", ("fifo", "desc"), (pmd("avp_xmit_pkts"),)),
        Step(DRIVER, HOST, "take as many as the packet needs", ("fifo.read",), (pmd("avp_xmit_scattered_pkts"),)),
        Step(DRIVER, HOST, "fill them, chain them", ("desc",), (pmd("avp_dev_copy_to_buffers"),)),
        Step(DRIVER, HOST, "the first one into tx", ("fifo.write",), (pmd("avp_xmit_pkts"),)),
        Step(HOST, HOST, "finds it, switches it, empties the buffers", ("fifo.read",), ()),
    ),
)

RECEIVE = Handshake(
    "A packet is received",
    "The driver copies it out of the host's buffers and filters by MAC address itself.",
    (DRIVER, HOST),
    (
        Step(HOST, DRIVER, "fill buffers, chain them", ("desc",), (pmd("avp_dev_copy_from_buffers"),)),
        Step(HOST, DRIVER, "the first one into rx", ("fifo.write",), (pmd("avp_recv_pkts"),)),
        Step(DRIVER, DRIVER, "for me, for all, or promiscuous?", (), (pmd("_avp_mac_filter"),)),
        Step(DRIVER, HOST, "the first one into free", ("fifo.write",), (pmd("avp_recv_pkts"),)),
    ),
)

MIGRATION = Handshake(
    "Live migration",
    "The device is taken away and comes back, perhaps elsewhere, while the driver stays.",
    (DRIVER, HOST),
    (
        Step(HOST, DRIVER, "detached; interrupt", ("migration_status", "interrupt_status.migration"),
             (pmd("avp_dev_interrupt_handler"),)),
        Step(DRIVER, HOST, "shut down", ("shutdown_device",), (pmd("avp_dev_detach"),)),
        Step(DRIVER, HOST, "queues are not touched any more", ("migration_ack",), (pmd("avp_dev_interrupt_handler"),)),
        Step(HOST, HOST, "moves; what is in shared memory may stand elsewhere now", ("memmap", "device_info"),
             (pmd("avp_dev_attach"),)),
        Step(HOST, DRIVER, "attached; interrupt", ("migration_status", "interrupt_status.migration"),
             (pmd("avp_dev_interrupt_handler"),)),
        Step(DRIVER, HOST, "where the queues are", ("device_info", "memmap"), (pmd("avp_dev_create"),)),
        Step(DRIVER, HOST, "as before; up, if it was", ("cfg_device",), (pmd("avp_dev_attach"),)),
        Step(DRIVER, HOST, "attached, or error", ("migration_ack",), (pmd("avp_dev_interrupt_handler"),)),
    ),
)  # fmt: skip

HANDSHAKES = (PROBE, REQUEST, START, TRANSMIT, RECEIVE, MIGRATION)
