"""How a driver of VMXNET3 takes up its work, step by step; data only.

The order is that of the stock driver, Linux' vmxnet3, whose functions the steps cite. The Python driver
(``drivers.nics.vmxnet3``) does the same.
"""

from __future__ import annotations

from regmodel.handshakes import Handshake, Step
from regmodel.sources import Reading

DRIVER, MEMORY, DEVICE = "driver", "memory", "device"


def drv(what: str) -> Reading:
    return Reading("linux-source", "drivers/net/vmxnet3/vmxnet3_drv.c", what)


PROBE = Handshake(
    "A revision is agreed on",
    "The device shows all that it can be; the driver takes the newest that it knows.",
    (DRIVER, DEVICE),
    (
        Step(DRIVER, DEVICE, "which revisions? one bit each", ("vrrs.revisions",), (drv("vmxnet3_probe_device"),)),
        Step(DRIVER, DEVICE, "this one", ("vrrs.revisions",), (drv("vmxnet3_probe_device"),)),
        Step(DRIVER, DEVICE, "and version 1 of UPT", ("uvrs.versions",), (drv("vmxnet3_probe_device"),)),
        Step(DRIVER, DEVICE, "from revision 7: which capabilities? these", ("ptcr", "dcr"), (drv("vmxnet3_probe_device"),)),
        Step(DRIVER, DEVICE, "the permanent MAC address: command, then its result, twice", ("cmd",),
             (drv("vmxnet3_read_mac_addr"),)),
        Step(DRIVER, DEVICE, "which interrupts, how masked? how many queues at most?", ("cmd",),
             (drv("vmxnet3_alloc_intr_resources"), drv("vmxnet3_probe_device"))),
    ),
)  # fmt: skip

ACTIVATE = Handshake(
    "The device starts",
    "All that registers do not say stands in memory; the device reads it once, when it is activated.",
    (DRIVER, MEMORY, DEVICE),
    (
        Step(DRIVER, MEMORY, "rings, interrupts, filters, in the shared area",
             ("driver_shared", "tx_queue_desc", "rx_queue_desc"),
             (drv("vmxnet3_setup_driver_shared"),)),
        Step(DRIVER, MEMORY, "receive descriptors with the generation of the first turn", ("rx_desc",),
             (drv("vmxnet3_rq_init"),)),
        Step(DRIVER, DEVICE, "where the shared area is", ("dsal", "dsah"), (drv("vmxnet3_activate_dev"),)),
        Step(DRIVER, DEVICE, "command: activate", ("cmd",), (drv("vmxnet3_activate_dev"),)),
        Step(DEVICE, MEMORY, "reads and judges it", ("driver_shared", "tx_queue_desc", "rx_queue_desc"),
             (drv("vmxnet3_activate_dev"),)),
        Step(DRIVER, DEVICE, "result: 0, or it makes no sense", ("cmd",), (drv("vmxnet3_activate_dev"),)),
        Step(DRIVER, DEVICE, "descriptors up to here are yours, both rings", ("rxprod", "rxprod2"),
             (drv("vmxnet3_activate_dev"),)),
        Step(DRIVER, DEVICE, "what to let in", ("cmd",), (drv("vmxnet3_set_mc"),)),
        Step(DRIVER, DEVICE, "interrupts may come", ("imr.masked",), (drv("vmxnet3_enable_all_intrs"),)),
    ),
)  # fmt: skip

RESET = Handshake(
    "The device stops, and is reset",
    "Quiescing ends what activation began; a reset forgets all of it, and the driver begins again.",
    (DRIVER, MEMORY, DEVICE),
    (
        Step(DRIVER, DEVICE, "command: quiesce; no ring is touched any more", ("cmd",), (drv("vmxnet3_quiesce_dev"),)),
        Step(DRIVER, DEVICE, "no interrupts any more", ("imr.masked",), (drv("vmxnet3_disable_all_intrs"),)),
        Step(DRIVER, MEMORY, "buffers are taken back", ("tx_desc", "rx_desc"),
             (drv("vmxnet3_tq_cleanup"), drv("vmxnet3_rq_cleanup"))),
        Step(DRIVER, DEVICE, "command: reset", ("cmd",), (drv("vmxnet3_reset_dev"),)),
        Step(DRIVER, DEVICE, "activated anew (see there)", ("dsal", "dsah", "cmd"), (drv("vmxnet3_reset_work"),)),
    ),
)  # fmt: skip

TRANSMIT = Handshake(
    "A packet is sent",
    "A generation bit, turned over with each turn of a ring, says whose a descriptor is.",
    (DRIVER, MEMORY, DEVICE),
    (
        Step(DRIVER, MEMORY, "headers into the data ring, if they fit", ("tx_data_desc",), (drv("vmxnet3_copy_hdr"),)),
        Step(DRIVER, MEMORY, "descriptors; the generation of the first one last", ("tx_desc",), (drv("vmxnet3_tq_xmit"),)),
        Step(DRIVER, DEVICE, "doorbell, once as many wait as the device has asked for", ("txprod", "tx_queue_desc"),
             (drv("vmxnet3_tq_xmit"),)),
        Step(DEVICE, MEMORY, "completion: the last descriptor of the packet", ("tx_comp_desc",),
             (drv("vmxnet3_tq_tx_complete"),)),
        Step(DEVICE, DRIVER, "interrupt, which masks itself if so agreed", ("imr.masked",), (drv("vmxnet3_msix_tx"),)),
        Step(DRIVER, DEVICE, "done: unmask", ("imr.masked",), (drv("vmxnet3_enable_intr"),)),
    ),
)  # fmt: skip

RECEIVE = Handshake(
    "A packet is received",
    "The first buffer comes from ring 1, further ones from ring 2; the completion names both.",
    (DEVICE, MEMORY, DRIVER),
    (
        Step(DEVICE, MEMORY, "frame into the buffers of the next descriptors", ("rx_desc",), (drv("vmxnet3_rq_rx_complete"),)),
        Step(DEVICE, MEMORY, "a completion for each, first and last marked", ("rx_comp_desc", "rx_comp_desc_ext"),
             (drv("vmxnet3_rq_rx_complete"),)),
        Step(DEVICE, DRIVER, "interrupt", ("imr.masked",), (drv("vmxnet3_msix_rx"),)),
        Step(DRIVER, MEMORY, "new buffers, with the generation of this turn", ("rx_desc",), (drv("vmxnet3_rq_alloc_rx_buf"),)),
        Step(DRIVER, DEVICE, "yours up to here, if the device wants to be told", ("rxprod", "rxprod2", "rx_queue_desc"),
             (drv("vmxnet3_rq_rx_complete"),)),
    ),
)  # fmt: skip

EVENT = Handshake(
    "Something happened",
    "Events share one interrupt; the shared area says which there are, and acknowledging takes them back.",
    (DEVICE, MEMORY, DRIVER),
    (
        Step(DEVICE, MEMORY, "the link, or a queue that has stopped", ("driver_shared",), (drv("vmxnet3_process_events"),)),
        Step(DEVICE, DRIVER, "interrupt of events", ("ecr",), (drv("vmxnet3_msix_event"),)),
        Step(DRIVER, DEVICE, "acknowledge", ("ecr.link", "ecr.tqerr", "ecr.rqerr"), (drv("vmxnet3_ack_events"),)),
        Step(DRIVER, DEVICE, "link: command, then its result", ("cmd",), (drv("vmxnet3_check_link"),)),
        Step(DRIVER, DEVICE, "stopped: command, then status in the queue's descriptor",
             ("cmd", "tx_queue_desc", "rx_queue_desc"),
             (drv("vmxnet3_process_events"),)),
    ),
)  # fmt: skip

HANDSHAKES = (PROBE, ACTIVATE, RESET, TRANSMIT, RECEIVE, EVENT)
