"""What a judge must know of VMXNET3 beyond its registers; data only.

Its registers do little by themselves: what sets the device going is a command, and a structure in memory that says how. For
the tests of rings there is one queue of each kind, at revision 1, and interrupts are off unless a test asks for them.
"""

from __future__ import annotations

from construct import Struct

from regmodel.bars.vmxnet3 import DEFS, LINUX, QEMU, Command
from regmodel.conduct import Block, Conduct, Effect, Generations, Touched
from regmodel.function import ResetCause
from regmodel.rings.vmxnet3 import RX_COMP, RX_DESC, TX_COMP, TX_DESC, TX_PACKET_MOST
from regmodel.sources import Reading
from regmodel.structures.vmxnet3 import DRIVER_SHARED, MAGIC, RX_QUEUE_DESC, TX_QUEUE_DESC

CHOSEN = Reading("linux-source", f"{LINUX}/vmxnet3_drv.c", "vmxnet3_probe_device, which reads DCR after it has written VRRS")

ACTIVATED = Reading("linux-source", f"{LINUX}/vmxnet3_drv.c", "vmxnet3_setup_driver_shared, vmxnet3_activate_dev")
LAYOUT = Reading("linux-source", DEFS, "struct Vmxnet3_DriverShared, Vmxnet3_TxQueueConf, Vmxnet3_RxQueueConf")

ENTRIES, UNUSED, SIZE = 64, 32, 16
"""Entries of the rings that are used, and of the second receive ring, which is not; bytes of an entry of any."""
QUEUES = Struct("tx" / TX_QUEUE_DESC, "rx" / RX_QUEUE_DESC)

MEMORY = {
    "shared": Block(DRIVER_SHARED, {
        "magic": MAGIC, "size": DRIVER_SHARED.sizeof(),
        "devRead.misc.driverInfo.gos.gosBits": 2, "devRead.misc.driverInfo.gos.gosType": 1,
        "devRead.misc.driverInfo.vmxnet3RevSpt": 1, "devRead.misc.driverInfo.uptVerSpt": 1,
        "devRead.misc.mtu": 1500, "devRead.misc.maxNumRxSG": 2,
        "devRead.misc.numTxQueues": 1, "devRead.misc.numRxQueues": 1,
        "devRead.misc.queueDescPA": "queues", "devRead.misc.queueDescLen": QUEUES.sizeof(),
        "devRead.intrConf.numIntrs": 2, "devRead.intrConf.intrCtrl.disable_all": 1,
        "devRead.rxFilterConf.rxMode.bcast": 1,
    }),
    "queues": Block(QUEUES, {
        "tx.conf.txRingBasePA": "tx", "tx.conf.txRingSize": ENTRIES,
        "tx.conf.compRingBasePA": "tx_completions", "tx.conf.compRingSize": ENTRIES,
        "rx.conf.rxRingBasePA.0": "rx", "rx.conf.rxRingSize.0": ENTRIES,
        "rx.conf.rxRingBasePA.1": "rx_second", "rx.conf.rxRingSize.1": UNUSED,
        "rx.conf.compRingBasePA": "rx_completions", "rx.conf.compRingSize": ENTRIES + UNUSED,
    }),
    "tx": Block(size=ENTRIES * SIZE),
    "tx_completions": Block(size=ENTRIES * SIZE),
    "rx": Block(size=ENTRIES * SIZE),
    "rx_second": Block(size=UNUSED * SIZE),
    "rx_completions": Block(size=(ENTRIES + UNUSED) * SIZE),
}  # fmt: skip

SPEAKS = {("shared", "devRead.intrConf.intrCtrl.disable_all"): 0}

TRAFFIC = (
    Generations(
        ring="tx", entries=ENTRIES, given="tx", back="tx_completions", format=TX_DESC, written=TX_COMP, memory=MEMORY,
        root="shared", registers=("dsal", "dsah"), command="cmd", setup={"vrrs": 1, "uvrs": 1},
        start=Command.ACTIVATE_DEV, stop=(Command.QUIESCE_DEV, Command.RESET_DEV), count=Command.GET_STATS,
        counter=("queues", "tx.stats.bcastPktsTxOK"), octets=("queues", "tx.stats.bcastBytesTxOK"),
        address="addr", length="buffer.len", generation="buffer.gen", last=("offload.eop", "offload.cq"),
        index="index.txdIdx", told="status.gen", most=TX_PACKET_MOST,
        vector=("queues", "tx.conf.intrIdx"), speaks=SPEAKS, mask="imr", sources=(ACTIVATED, LAYOUT),
    ),
    Generations(
        ring="rx", entries=ENTRIES, given="rx", back="rx_completions", format=RX_DESC, written=RX_COMP, memory=MEMORY,
        root="shared", registers=("dsal", "dsah"), command="cmd", setup={"vrrs": 1, "uvrs": 1},
        start=Command.ACTIVATE_DEV, stop=(Command.QUIESCE_DEV, Command.RESET_DEV), count=Command.GET_STATS,
        counter=("queues", "rx.stats.bcastPktsRxOK"), octets=("queues", "rx.stats.bcastBytesRxOK"),
        dropped=("queues", "rx.stats.pktsRxOutOfBuf"), address="addr", length="buffer.len", generation="buffer.gen",
        kind="buffer.btype", index="index.rxdIdx", told="what.gen", got="data.len", end="index.eop",
        inward=True, room=1024,
        vector=("queues", "rx.conf.intrIdx"), speaks=SPEAKS, mask="imr", sources=(ACTIVATED, LAYOUT),
    ),
)  # fmt: skip

CONDUCT = Conduct(
    effects=(
        Effect("vrrs.revisions", "the revision that is chosen decides on capabilities", changes=("dcr", "ptcr"),
               sources=(CHOSEN,)),
    ),
    touched=tuple(
        Touched(name, "the host gives the device its address", (ResetCause.POWER_ON, ResetCause.BUS), sources=(QEMU,))
        for name in ("macl", "mach")
    ),
    quiet=(
        # a vector that is sent masks itself, and there are causes only while the device is active
        "imr", "icr", "ecr",
    ),
    traffic=TRAFFIC,
)  # fmt: skip
