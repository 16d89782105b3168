"""What a judge must know of the virtual functions of 82576 and I350 beyond their registers; data only.

How they are put to work, with queues, messages and interrupts, is in ``igbvf_work``.

Sources beside those of ``regmodel.bars.igbvf``: the stock drivers on both sides, which rely on each of these.
"""

from __future__ import annotations

from dataclasses import replace

from regmodel.bars.igbvf import INTEL
from regmodel.conduct import Conduct, Effect, Held, Touched
from regmodel.devices.igbvf_work import TALK, interrupts, receive, transmit
from regmodel.function import ResetCause
from regmodel.sources import Reading

IGBVF_RESET = Reading("linux-source", f"{INTEL}/igbvf/vf.c", "e1000_reset_hw_vf, which waits 10 ms")
PF_MAILBOX = Reading("linux-source", f"{INTEL}/igb/igb_main.c", "igb_rcv_msg_from_vf, which answers in the same memory")
PF_SETUP = Reading("linux-source", f"{INTEL}/igb/igb_main.c", "igb_setup_rctl")
RESET_SECONDS = 0.01
ANSWER = ("vmbmem", "v2pmailbox")

CONDUCT = Conduct(
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


def conduct(queues: int) -> Conduct:
    """That of a VF with ``queues`` queue pairs, and how it is put to work."""
    return replace(CONDUCT, interrupts=interrupts(queues), talk=TALK, traffic=(transmit(), receive()))
