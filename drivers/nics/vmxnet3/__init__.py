"""The driver of VMware's VMXNET3, as VMware, QEMU and regmodel show it to a guest.

In here: ``VmxNet3`` (``device``) and what it is made of: the ``handshake``, what is ``shared`` in memory (each structure an
``area``), ``receive`` queues with their ``buffers``, ``transmit`` queues, ``interrupts`` and ``statistics``. Registers come
from the description (``drivers.registers``), rings and structures from ``regmodel.rings.vmxnet3`` and
``regmodel.structures.vmxnet3``; no number of the interface is written down a second time.

Read beside it: Linux drivers/net/vmxnet3 (``vmxnet3_defs.h``, ``upt1_defs.h``, ``vmxnet3_drv.c``), which is what VMware
publishes of the interface; DPDK drivers/net/vmxnet3 (``vmxnet3_ethdev.c``, ``vmxnet3_rxtx.c``); QEMU hw/net/vmxnet3.c. Where
this driver does what neither of the first two does, it says why.
"""

from drivers.nics.vmxnet3.device import VmxNet3

__all__ = ["VmxNet3"]
