"""What a judge must know of the virtual functions of 82576 and I350 beyond their registers; data only.

Sources beside those of ``regmodel.bars.igbvf``: the stock drivers on both sides, which rely on each of these.
"""

from __future__ import annotations

from regmodel.bars.igbvf import DS, INTEL
from regmodel.conduct import Conduct, Effect, Exchange, Held, Interrupts, Talk, Touched, Traffic
from regmodel.function import ResetCause
from regmodel.sources import Reading

IGBVF_RESET = Reading("linux-source", f"{INTEL}/igbvf/vf.c", "e1000_reset_hw_vf, which waits 10 ms")
PF_MAILBOX = Reading("linux-source", f"{INTEL}/igb/igb_main.c", "igb_rcv_msg_from_vf, which answers in the same memory")
PF_SETUP = Reading("linux-source", f"{INTEL}/igb/igb_main.c", "igb_setup_rctl")
RESET_SECONDS = 0.01
ANSWER = ("vmbmem", "v2pmailbox")

INTERRUPTS = Interrupts(
    field="msix", cause="eicr", set_cause="eics", mask="eims", mask_clear="eimc", auto_clear="eiac", auto_mask="eiam",
    throttle="eitr", interval="interval", unit=1e-6,
    sources=(DS("7.3.4"), Reading("linux-source", f"{INTEL}/igbvf/netdev.c", "igbvf_intr_msix_tx, which relies on EICS")),
)  # fmt: skip

GRANTED, REFUSED = {"ack": 1, "nack": 0, "cts": 1}, {"ack": 0, "nack": 1, "cts": 1}
GOOD_MAC, GROUP_MAC = bytes.fromhex("02005e100001"), bytes.fromhex("01005e000001")


def _pf(function: str) -> tuple[Reading, ...]:
    return (Reading("linux-source", f"{INTEL}/igb/igb_main.c", function),)


TALK = Talk(
    mailbox="mailbox", own="vfu", others="pfu", request="req", acknowledge="ack", arrived="pfsts", taken="pfack",
    in_reset="rsti", was_reset="rstd", route=("ivar_misc.int_alloc", "ivar_misc.int_alloc_val"),
    # whether it is granted depends on whether the host gave the VF an address: ack or nack, but it is an answer
    opening=Exchange("reset", "reset", {}, {}, _pf("igb_vf_reset_msg")),
    unheard=Exchange("set_lpe", "set_lpe", {"max_frame_size": 1522}, GRANTED, _pf("igb_rcv_msg_from_vf, CTS")),
    exchanges=(
        Exchange("set_lpe", "set_lpe", {"max_frame_size": 1522}, GRANTED, _pf("igb_set_vf_rlpml")),
        Exchange("set_mac_addr", "set_mac_addr", {"filter": 0, "mac": GOOD_MAC}, GRANTED, _pf("igb_set_vf_mac_addr")),
        Exchange("set_mac_addr, group address", "set_mac_addr", {"filter": 0, "mac": GROUP_MAC}, REFUSED,
                 _pf("igb_set_vf_mac_addr, is_valid_ether_addr")),
        Exchange("set_multicast", "set_multicast", {"count": 2, "hashes": [0x123, 0x456] + 28 * [0]}, GRANTED,
                 _pf("igb_set_vf_multicasts")),
        Exchange("set_multicast, none", "set_multicast", {"count": 0, "hashes": 30 * [0]}, GRANTED,
                 _pf("igb_set_vf_multicasts")),
        Exchange("set_vlan, add", "set_vlan", {"add": 1, "vlan": {"vid": 42}}, GRANTED, _pf("igb_set_vf_vlan_msg")),
        Exchange("set_promisc, multicast", "set_promisc", {"multicast": 1}, GRANTED, _pf("igb_set_vf_promisc")),
        Exchange("set_promisc, unicast", "set_promisc", {"unicast": 1}, REFUSED, _pf("igb_set_vf_promisc")),
    ),
    unknown=0x0055,
)  # fmt: skip

TRAFFIC = (
    Traffic(
        ring="tx", enable="txdctl.enable", setup={},
        format="tx_data", written="tx_writeback",
        constant={"cmd_type_len.dtyp": 3, "cmd_type_len.ifcs": 1, "cmd_type_len.rs": 1, "cmd_type_len.dext": 1},
        address="buffer_addr", length="cmd_type_len.dtalen", whole="olinfo_status.paylen", last="cmd_type_len.eop",
        done="status.dd", counter="vfgptc", route=("ivar0.int_alloc_tx0", "ivar0.int_alloc_val_tx0"),
        sources=(Reading("linux-source", f"{INTEL}/igbvf/netdev.c", "igbvf_configure_tx, igbvf_tx_queue_adv"),),
    ),
    Traffic(
        ring="rx", enable="rxdctl.enable", setup={"srrctl.bsizepacket": 1, "srrctl.desctype": 1},
        format="rx_read", written="rx_writeback", constant={}, address="pkt_addr",
        done="status_error.dd", got="length", counter="vfgprc", inward=True,
        route=("ivar0.int_alloc_rx0", "ivar0.int_alloc_val_rx0"),
        sources=(Reading("linux-source", f"{INTEL}/igbvf/netdev.c", "igbvf_configure_rx, igbvf_setup_srrctl"),),
    ),
)  # fmt: skip

CONDUCT = Conduct(
    traffic=TRAFFIC,
    talk=TALK,
    interrupts=INTERRUPTS,
    effects=(
        Effect("ctrl.rst", "resets the VF", ResetCause.SOFTWARE, seconds=RESET_SECONDS, sources=(IGBVF_RESET,)),
        Effect("ctrl_dup.rst", "resets the VF", ResetCause.SOFTWARE, seconds=RESET_SECONDS, sources=(IGBVF_RESET,)),
        Effect("v2pmailbox.req", "the PF reads the memory and answers in it", changes=ANSWER, sources=(PF_MAILBOX,)),
        Effect("v2pmailbox.ack", "the PF may say something", changes=ANSWER, sources=(PF_MAILBOX,)),
    ),
    held=(
        Held("rxdctl.enable", "the queue would run, on whatever memory RDBA names"),
        Held("txdctl.enable", "the queue would run, on whatever memory TDBA names"),
    ),
    touched=(
        Touched("rxdctl[0]", "the PF's driver zeroes queue 0 of the port, which is that of its first VF",
                (ResetCause.POWER_ON, ResetCause.BUS), sources=(PF_SETUP,)),
    ),
    quiet=(
        # the interrupt block moves when a cause occurs: none does while queues are off and nobody sends messages
        "eicr", "eims", "pbacl", "eitr.ll_counter",
        # queues move when they are enabled
        "rdh", "tdh", "rqdpc",
        # statistics count packets
        "vfgprc", "vfgptc", "vfgorc", "vfgotc", "vfmprc", "vfgprlbc", "vfgptlbc", "vfgorlbc", "vfgotlbc",
        # nothing sets these: there is no packet buffer that wraps
        "pbrwac", "pbtwac",
    ),
    free_running=(
        "frtimer", "eitr.moderation_counter",
        # which of the two sides owns the memory is settled between them, whatever one writes
        "v2pmailbox.vfu", "v2pmailbox.pfu",
    ),
)  # fmt: skip
