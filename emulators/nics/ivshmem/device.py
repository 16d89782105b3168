"""The model of one inter-VM shared memory device: four registers, and doorbells that go to the peers' eventfds directly.

In here: what registers do, when the device interrupts its guest, state. Who the peers are is the client's business
(``client``); the memory is nobody's (``memory``).

Sources: ``regmodel.bars.ivshmem``; QEMU hw/misc/ivshmem-pci.c ``ivshmem_io_write``, ``ivshmem_vector_notify``,
``ivshmem_reset``; for revision 0 hw/misc/ivshmem.c of QEMU 2.5 ``ivshmem_update_irq``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emulators.host import Host
from emulators.nics.ivshmem.client import Client
from emulators.nics.ivshmem.memory import MemoryBank, MemoryObject
from emulators.pci.shared import SharedMemory
from regmodel.bank import Bank, Cause, Path
from regmodel.bars.ivshmem import NO_POSITION
from regmodel.catalogue import Device
from regmodel.devices.ivshmem import MEMORY_BAR
from regmodel.errors import StateError, UsageError
from regmodel.function import ResetCause

if TYPE_CHECKING:
    from emulators.nics.ivshmem.card import IvshmemSlot

VERSION = 1


class Ivshmem:
    """One device in ``slot``, with ``slot.memory`` and, where it is to have peers, ``slot.client``.

    ``rung`` counts doorbells that reached somebody, ``lost`` those that did not, ``interrupts`` those that came.
    """

    stays = "shared memory, ID and peers stay with its process; stop its guest and start the server anew"

    def __init__(self, device: Device, host: Host, slot: IvshmemSlot) -> None:
        self._host, self._slot, self._client = host, slot, slot.client
        self._messages = device.msix_vectors > 0
        memory: MemoryObject = slot.memory
        self._registers = Bank(device.bars[0], now=host.clock.now)
        self._memory = MemoryBank(device.bars[MEMORY_BAR], memory, now=host.clock.now)
        self.banks: Mapping[int, Bank] = {0: self._registers, MEMORY_BAR: self._memory}
        self.shared: Mapping[int, SharedMemory] = {MEMORY_BAR: memory}
        self.rung = self.lost = self.interrupts = 0
        self._mask, self._status = self._registers["intrmask"], self._registers["intrstatus"]
        self._registers.on_write("doorbell", self._doorbell)
        self._line = device.identity.revision == 0 and not self._messages
        if self._line:
            self._registers.on_write("intrmask", self._changed)
            self._registers.on_write("intrstatus", self._changed)
            self._registers.on_read("intrstatus", self._changed)
        if device.identity.revision == 0 and self._client is not None:
            self._position(NO_POSITION)
            host.defer(self._ready)
        else:
            self._ready()

    def _ready(self) -> bool:
        """Tell the guest its ID: memory and peers may be used. Revision 0 does so some time after power-on."""
        self._position(self._client.id if self._client is not None else 0)
        return False

    def _position(self, ident: int) -> None:
        self._registers["ivposition"].value = ident

    # -- doorbells

    def _doorbell(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """Ignored where there is nobody, and the guest is not told; whoever watches the device is."""
        peer, vector = new >> 16, new & 0xFFFF
        if self._ring(peer, vector):
            self.rung += 1
        else:
            self.lost += 1
            self._host.remark("doorbell-unheard", peer=peer, vector=vector)

    def _ring(self, peer: int, vector: int) -> bool:
        client = self._client
        if client is None or client.ring(peer, vector):
            return client is not None
        self._slot.hear()  # it may have come a moment ago
        return client.ring(peer, vector)

    def interrupt(self, vector: int) -> None:
        """A peer has rung ``vector`` of ours."""
        self.interrupts += 1
        if self._messages:
            if self._host.messages():  # else the guest does not want to know (msix_enabled)
                self._host.irq(vector)
        elif self._line:
            self._status.value = 1
            self._drive()

    def _changed(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self._drive()

    def _drive(self) -> None:
        self._host.line(bool(self._status.value & self._mask.value))

    # -- resets, state, what a user may ask

    def reset(self, cause: ResetCause) -> None:
        """Registers, and INTx; ID, peers and memory stay."""
        self._registers.reset(cause)
        if self._line:
            self._drive()

    def control(self, words: Sequence[str]) -> object:
        """``status`` and ``ring PEER VECTOR``, as a guest would. Raises ``UsageError``."""
        if list(words) == ["status"]:
            return self.stats()
        if len(words) == 3 and words[0] == "ring" and words[1].isdecimal() and words[2].isdecimal():
            if not self._ring(int(words[1]), int(words[2])):
                raise UsageError(f"there is no peer {words[1]} with a vector {words[2]}; `status` lists all")
            return None
        raise UsageError(f"{' '.join(words)!r}: write status, or ring PEER VECTOR")

    def stats(self) -> Mapping[str, Any]:
        """The own ID, the vectors of all peers, and counters; JSON-able."""
        found: dict[str, Any] = {"rung": self.rung, "lost": self.lost, "interrupts": self.interrupts}
        client: Client | None = self._client
        if client is not None:
            found |= {"id": client.id, "vectors": len(client.own), "server": client.alive,
                      "peers": {str(ident): len(fds) for ident, fds in sorted(client.peers.items())}}  # fmt: skip
        return found

    def save(self) -> dict[str, object]:
        """Registers. The memory is not the device's, and an ID is the server's to give."""
        return {"version": VERSION, "registers": self._registers.save(), "memory": self._memory.save()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take on a saved state; the ID stays the own one. Raises ``StateError`` and changes nothing for another's."""
        if state.get("version") != VERSION or not all(isinstance(state.get(k), Mapping) for k in ("registers", "memory")):
            raise StateError(f"the saved state is of version {state.get('version')!r}, not {VERSION}, of ivshmem, or damaged")
        self._memory.load(state["memory"])
        position = self._registers["ivposition"].value
        self._registers.load(state["registers"])
        self._position(position)
        if self._line:
            self._drive()
