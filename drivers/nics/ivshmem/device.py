"""``Ivshmem``: the driver of QEMU's inter-VM shared memory, over any transport; peers on a host are the same driver.

It is no port: there are no queues and no frames, so it is no ``EthDev``. What it offers is the memory, and doorbells.

A program on the host joins guests as one more client of their server, by a device of its own process::

    peer = Ivshmem(open_transport("inprocess", find("ivshmem-doorbell"), server="/tmp/ivshmem.sock"), find("ivshmem-doorbell"))
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from drivers.errors import DeviceTimeout, NotSupported
from drivers.registers.ivshmem_plain import IvshmemPlain
from drivers.transports import Transport
from drivers.transports.mapped import whole
from regmodel.bars.ivshmem import NO_POSITION
from regmodel.catalogue import Device
from regmodel.devices.ivshmem import MEMORY_BAR
from regmodel.errors import UsageError
from regmodel.function import Irq
from regmodel.mailboxes.ivshmem import IDS

COMMAND, MEMORY_AND_MASTER = 4, 6
BAR2, ADDRESS = 0x18, ~0xF & 0xFFFF_FFFF
READY = 5.0
"""Seconds that a device of revision 0 may take until it has its memory."""
LOOK = 0.01


class Ivshmem:
    """One device. ``memory`` is all of BAR 2, in place. A context manager: leaving it ends interrupts and lets go.

    Raises ``NotSupported`` where BAR 2 cannot be mapped, ``DeviceTimeout`` when revision 0 gets no memory.
    """

    def __init__(self, transport: Transport, device: Device, *, ready: float = READY) -> None:
        self.transport, self.device = transport, device
        transport.config_write(COMMAND, 2, transport.config_read(COMMAND, 2) | MEMORY_AND_MASTER)
        self.registers = IvshmemPlain(device, transport)
        self.revision = transport.config_read(8, 1)
        self._wait_for_memory(ready)
        view = whole(transport.bar(MEMORY_BAR))
        if view is None:
            raise NotSupported(f"{transport.name}: BAR {MEMORY_BAR} is not mapped whole, and its memory is of no use unmapped")
        self.memory = view
        self.vectors = 0
        self._irq = Irq.MSIX if transport.irq_vectors(Irq.MSIX) else Irq.INTX

    def _wait_for_memory(self, ready: float) -> None:
        """Revision 0 has an ID when it has memory (ivshmem-spec.rst, PCI BARs)."""
        deadline = self.transport.now() + ready
        while self.revision == 0 and self.id is None:
            if self.transport.now() >= deadline:
                raise DeviceTimeout(f"{self.transport.name} gets no memory: is the server of {self.device.name} there?")
            self.transport.sleep(LOOK)

    @property
    def id(self) -> int | None:
        """The own ID, by which peers ring; 0 without a server. None: revision 0 has none yet."""
        position = self.registers.ivposition.read()
        return None if position == NO_POSITION else position

    @property
    def bus_address(self) -> int:
        """Where BAR 2 stands on the bus."""
        low = self.transport.config_read(BAR2, 4) & ADDRESS
        return self.transport.config_read(BAR2 + 4, 4) << 32 | low

    # -- doorbells

    def start(self, vectors: int | None = None) -> None:
        """Be told of doorbells: of the first ``vectors`` vectors, None: all. Raises ``NotSupported`` without interrupts."""
        most = self.transport.irq_vectors(self._irq)
        if not most:
            raise NotSupported(f"{self.device.name} has no interrupts: nobody can ring it")
        self.vectors = most if vectors is None else vectors
        self.transport.enable_irqs(self.vectors, self._irq)
        if self._irq is Irq.INTX:
            self.registers.intrstatus.read()
            self.registers.intrmask.write(1)

    def ring(self, peer: int, vector: int = 0) -> None:
        """Interrupt ``peer``. Nobody can tell whether it is there. Raises ``UsageError``."""
        if not 0 <= peer < IDS or not 0 <= vector < IDS:
            raise UsageError(f"peers and vectors are 0 to {IDS - 1}, not {peer} and {vector}")
        self.registers.doorbell.write(peer=peer, vector=vector)

    def wait(self, timeout: float) -> Sequence[int]:
        """The vectors that were rung since the last call; waits up to ``timeout`` seconds for one.

        By INTx the device does not say which: then it is vector 0.
        """
        rung = self.transport.wait_irq(timeout)
        if rung and self._irq is Irq.INTX and not self.registers.intrstatus.read():
            return []  # somebody else's, on a shared line
        return rung

    def stop(self) -> None:
        """Be told of nothing any more."""
        if self.vectors:
            if self._irq is Irq.INTX:
                self.registers.intrmask.write(0)
            self.transport.disable_irqs()
            self.vectors = 0

    def close(self) -> None:
        """Stop, and close the transport. Harmless the second time."""
        self.stop()
        self.memory = memoryview(b"")
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
