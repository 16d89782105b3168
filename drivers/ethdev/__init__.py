"""The face of all NIC drivers, in DPDK's terms (``rte_ethdev``), and what is the same in each of them.

In here: ``EthDev``, which a driver inherits from (``port``), and the values it deals in (``terms``). Not in here: any
hardware. Whatever a device cannot do raises ``NotSupported``, and ``info()`` says so beforehand.

A port goes through ``configure``, one ``rx_queue_setup`` and ``tx_queue_setup`` per queue, ``start``. Then ``rx_burst`` and
``tx_burst`` move packets, which are indices into a ``Mempool``; somebody calls ``watch`` about once a second, or when
``intr_wait`` says so: it sees to link, statistics and the PF. One thread uses a port::

    with driver_for(device)(transport, device) as port:
        pool = Mempool(transport, 2048)
        port.configure()
        port.rx_queue_setup(0, pool)
        port.tx_queue_setup(0, pool)
        port.start()
        packets = np.empty(32, np.intp)
        while True:
            n = port.rx_burst(0, packets)
            sent = port.tx_burst(0, packets[:n])
            pool.free(packets[sent:n])
"""

from drivers.ethdev.port import EthDev
from drivers.ethdev.terms import (
    Descriptors,
    Event,
    Info,
    Link,
    QueueSetup,
    RxOffload,
    RxQueue,
    Settings,
    State,
    Stats,
    TxOffload,
    TxQueue,
)

__all__ = [
    "Descriptors",
    "EthDev",
    "Event",
    "Info",
    "Link",
    "QueueSetup",
    "RxOffload",
    "RxQueue",
    "Settings",
    "State",
    "Stats",
    "TxOffload",
    "TxQueue",
]
