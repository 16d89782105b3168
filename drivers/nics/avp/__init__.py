"""The driver of AVP, the Accelerated Virtual Port.

In here: ``Avp`` (``device``) and what it is made of: ``memory`` that the host shares and its tables, ``fifo`` ends, the
``requests`` to the host, and ``queues`` of packets. Registers come from the description (``drivers.registers``), layouts from
``regmodel.structures.avp``, ``regmodel.rings.avp`` and ``regmodel.mailboxes.avp``; no number of the interface is written down a
second time.

Read beside it: DPDK drivers/net/avp/avp_ethdev.c, which is what is public of the interface.
"""

from drivers.nics.avp.device import Avp

__all__ = ["Avp"]
