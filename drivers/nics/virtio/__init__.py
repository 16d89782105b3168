"""The driver of virtio network devices: legacy, transitional and modern, with split and packed virtqueues.

In here: ``VirtioNet`` (``device``) and what it is made of: the ``interface`` over PCI, ``split`` and ``packed`` virtqueues
behind one face (``virtqueue``), the ``receive``, ``transmit`` and ``control`` queues on them, packet ``header`` and
``interrupts``. Registers come from the description (``drivers.registers``), descriptors and commands from
``regmodel.rings.virtio`` and ``regmodel.structures.virtio_net``; no number of the interface is written down a second time.

Read beside it: Virtual I/O Device (VIRTIO) Version 1.3; Linux drivers/net/virtio_net.c and drivers/virtio; DPDK
drivers/net/virtio. Where this driver does what neither of the two does, it says why.
"""

from drivers.nics.virtio.device import VirtioNet

__all__ = ["VirtioNet"]
