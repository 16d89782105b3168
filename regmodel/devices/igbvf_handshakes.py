"""How the driver of a VF of 82576 or I350 takes up its work, step by step; data only.

Each follows the stock driver, Linux' igbvf, whose functions the steps cite; the Python driver (``drivers.nics.igbvf``) does the
same. What the PF does is that of stock igb.
"""

from __future__ import annotations

from regmodel.bars.igbvf import INTEL
from regmodel.handshakes import Handshake, Step
from regmodel.sources import Reading

DRIVER, VF, PF = "driver", "VF", "PF"


def vf(what: str) -> Reading:
    return Reading("linux-source", f"{INTEL}/igbvf/vf.c", what)


def mbx(what: str) -> Reading:
    return Reading("linux-source", f"{INTEL}/igbvf/mbx.c", what)


def netdev(what: str) -> Reading:
    return Reading("linux-source", f"{INTEL}/igbvf/netdev.c", what)


def pf(what: str) -> Reading:
    return Reading("linux-source", f"{INTEL}/igb/igb_main.c", what)


MESSAGE = Handshake(
    "A message and its answer",
    "The sixteen words of memory belong to one side at a time; three bits on each side say what happened to them.",
    (DRIVER, VF, PF),
    (
        Step(DRIVER, VF, "take the memory, until vfu reads 1", ("v2pmailbox.vfu",), (mbx("e1000_obtain_mbx_lock_vf"),)),
        Step(DRIVER, VF, "forget what is left of former messages", ("v2pmailbox.pfsts", "v2pmailbox.pfack"),
             (mbx("e1000_write_mbx_vf"),)),
        Step(DRIVER, VF, "write the message", ("vmbmem",), (mbx("e1000_write_mbx_vf"),)),
        Step(DRIVER, VF, "request; this gives the memory back", ("v2pmailbox.req",), (mbx("e1000_write_mbx_vf"),)),
        Step(VF, PF, "interrupt", (), (pf("igb_msg_task"),)),
        Step(PF, VF, "has read the message", ("v2pmailbox.pfack",), (pf("igb_rcv_msg_from_vf"),)),
        Step(DRIVER, VF, "poll for it, 2000 times 500 us", ("v2pmailbox.pfack",), (mbx("e1000_poll_for_ack"),)),
        Step(PF, VF, "write the answer: the first word with ack or nack", ("vmbmem", "v2pmailbox.pfsts"),
             (pf("igb_rcv_msg_from_vf"),)),
        Step(DRIVER, VF, "poll for it", ("v2pmailbox.pfsts",), (mbx("e1000_poll_for_msg"),)),
        Step(DRIVER, VF, "read the answer", ("vmbmem",), (mbx("e1000_read_mbx_vf"),)),
        Step(DRIVER, VF, "acknowledge", ("v2pmailbox.ack",), (mbx("e1000_read_mbx_vf"),)),
    ),
)  # fmt: skip

RESET = Handshake(
    "Reset",
    "Queues stop; the PF forgets the filters of the VF and tells it its address.",
    (DRIVER, VF, PF),
    (
        Step(DRIVER, VF, "reset", ("ctrl.rst",), (vf("e1000_reset_hw_vf"),)),
        Step(VF, PF, "the VF was reset", (), (pf("igb_vf_reset_event"),)),
        Step(DRIVER, VF, "wait until the PF is there", ("v2pmailbox.rsti", "v2pmailbox.rstd"), (vf("e1000_reset_hw_vf"),)),
        Step(DRIVER, PF, "message: I was reset", ("reset",), (vf("e1000_reset_hw_vf"),)),
        Step(PF, DRIVER, "answer: your address, or nack: choose one", ("reset_reply",), (pf("igb_vf_reset_msg"),)),
        Step(DRIVER, PF, "message: this is my address", ("set_mac_addr",), (vf("e1000_rar_set_vf"),)),
        Step(PF, DRIVER, "granted or refused", ("set_mac_addr_reply",), (pf("igb_rcv_msg_from_vf"),)),
    ),
)  # fmt: skip

RECEIVE = Handshake(
    "A receive queue starts",
    "Set it up while it is off, enable it, then hand over descriptors.",
    (DRIVER, VF),
    (
        Step(DRIVER, VF, "off, and wait 10 ms for what is under way", ("rxdctl.enable",), (netdev("igbvf_configure_rx"),)),
        Step(DRIVER, VF, "where the ring is, and its bytes", ("rdbal", "rdbah", "rdlen"), (netdev("igbvf_configure_rx"),)),
        Step(DRIVER, VF, "sizes of buffers, format of descriptors", ("srrctl",), (netdev("igbvf_setup_srrctl"),)),
        Step(DRIVER, VF, "head and tail to 0", ("rdh", "rdt"), (netdev("igbvf_configure_rx"),)),
        Step(DRIVER, VF, "its vector", ("ivar0",), (netdev("igbvf_assign_vector"),)),
        Step(DRIVER, VF, "on", ("rxdctl.enable",), (netdev("igbvf_configure_rx"),)),
        Step(DRIVER, VF, "descriptors up to here are yours", ("rdt", "rx_read"), (netdev("igbvf_alloc_rx_buffers"),)),
        Step(VF, DRIVER, "a packet: descriptor written back, interrupt", ("rx_writeback", "eicr"),
             (netdev("igbvf_clean_rx_irq"),)),
    ),
)  # fmt: skip

TRANSMIT = Handshake(
    "A transmit queue starts, and sends",
    "A ring that is empty: head and tail are equal.",
    (DRIVER, VF),
    (
        Step(DRIVER, VF, "off, and wait 10 ms", ("txdctl.enable",), (netdev("igbvf_configure_tx"),)),
        Step(DRIVER, VF, "where the ring is, and its bytes", ("tdlen", "tdbal", "tdbah"), (netdev("igbvf_configure_tx"),)),
        Step(DRIVER, VF, "head and tail to 0", ("tdh", "tdt"), (netdev("igbvf_configure_tx"),)),
        Step(DRIVER, VF, "on", ("txdctl.enable",), (netdev("igbvf_configure_tx"),)),
        Step(DRIVER, VF, "a packet: descriptors, then the tail", ("tx_context", "tx_data", "tdt"),
             (netdev("igbvf_tx_queue_adv"),)),
        Step(VF, DRIVER, "done: dd in the last descriptor, interrupt", ("tx_writeback", "eicr"),
             (netdev("igbvf_clean_tx_irq"),)),
    ),
)  # fmt: skip

HANDSHAKES = (RESET, MESSAGE, RECEIVE, TRANSMIT)
