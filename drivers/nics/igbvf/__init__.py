"""The driver of the virtual functions of Intel's 82576 and I350.

In here: ``IgbVf`` (``device``) and what it is made of: the ``mailbox`` to the PF, the ``receive`` and ``transmit`` queues,
``interrupts`` and ``statistics``. Registers come from the description (``drivers.registers``), descriptors and messages from
``regmodel.rings.igb`` and ``regmodel.mailboxes.igb``; no number of the interface is written down a second time.

Read beside it: Intel 82576EB Gigabit Ethernet Controller Datasheet 2.63 (``DS``); Linux drivers/net/ethernet/intel/igbvf
(``vf.c``, ``mbx.c``, ``netdev.c``); DPDK drivers/net/intel/e1000 (``igb_ethdev.c``, ``igb_rxtx.c``, ``base/e1000_vf.c``). Where
this driver does what neither of the two does, it says why.
"""

from drivers.nics.igbvf.device import IgbVf

__all__ = ["IgbVf"]
