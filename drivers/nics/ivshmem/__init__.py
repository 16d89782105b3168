"""Inter-VM shared memory: its driver, and what DPDK (up to 16.07) shares through it.

``Ivshmem`` is the device: memory and doorbells. ``Host`` publishes memory zones, rings and pools into the memory of one;
``attach`` finds them in a guest.
"""

from drivers.nics.ivshmem.device import Ivshmem
from drivers.nics.ivshmem.hugepages import Hugepages
from drivers.nics.ivshmem.mempool import Mempool
from drivers.nics.ivshmem.metadata import Host, Metadata
from drivers.nics.ivshmem.ring import Ring
from drivers.nics.ivshmem.segments import Shared, attach

__all__ = ["Host", "Hugepages", "Ivshmem", "Mempool", "Metadata", "Ring", "Shared", "attach"]
