"""``PciFunction``: one PCI function, as a front end drives it, around the model of a device.

It executes the described configuration space (the bank does sizing, read-only and write-1-to-clear bits) and acts on what
software writes there: decode enables, bus master, interrupt routing, power state, function level reset. Register accesses
of a BAR go straight to the model's bank; what a disabled or sleeping function answers is decided when it is disabled or
put to sleep, not at each access.

Sources: PCI Express Base Specification 5.0, §2.3.1 (an access that nobody decodes is an Unsupported Request, which software
sees as all ones), §5.3.1 (power states), §6.6.2 (FLR), §7.5 (registers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from emulators.dma import BytesMemory, DmaMap
from emulators.host import Host
from emulators.loop import Loop
from emulators.model import Movable, Sharing, Slot, Wired
from emulators.pci.intx import Intx
from emulators.pci.msi import Msi
from emulators.pci.msix import Msix
from emulators.pci.regions import config_read, config_write, regions_of
from regmodel.bank import Bank, Cause, Path
from regmodel.capabilities import msix_bar
from regmodel.catalogue import Device
from regmodel.errors import StateError, UsageError
from regmodel.function import CONFIG_REGION, ROM_REGION, Irq, Memory, Region, RegionKind, ResetCause, Trigger
from regmodel.pci import ConfigSpace

D0, D3HOT = 0, 3
_REGIONS = 9  # VFIO numbers them to VGA, which no function here has
_FLR = {"pcie_device_control": "initiate_flr", "af_control": "initiate_flr"}
"""Registers with a bit that resets the function: PCI Express (§7.5.3.4) and Advanced Features (ECN, for the others)."""


class PciFunction:
    """A ``regmodel.function.Function``: ``device`` in ``slot``, working in ``loop``. ``rom`` is the image of the expansion ROM.

    ``host`` is what its model was given, ``model`` the model, ``config`` the bank of configuration space, ``banks`` those
    behind the BARs (the MSI-X table included). ``inherited`` are descriptors of BARs' shared memory that a former process
    handed over, by BAR. ``on_irq(irq, vector, sent)``, set by ``observe_irqs``, is told each interrupt.
    """

    def __init__(
        self, device: Device, loop: Loop, slot: Slot, *, name: str = "", rom: bytes = b"",
        inherited: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(device.config, ConfigSpace):
            raise UsageError(f"{device.name} has no PCI configuration space (regmodel.pci.ConfigSpace): it is no PCI device")
        self.device, self.name, self.space = device, name or f"{device.name} {slot.name}", device.config
        if len(rom) > self.space.rom_size:
            raise UsageError(f"{self.name}: a ROM of {len(rom)} bytes does not fit the ROM BAR of {self.space.rom_size} bytes")
        self.config = Bank(self.space, now=loop.now)
        self.dma = DmaMap()
        self.host = Host(self.name, loop, self.dma, slot.packets, self._signal, self._line, self._messages, inherited)
        self.model = slot.build(self.host)
        self.banks = dict(self.model.banks)
        self._build_interrupts(loop)
        self._shared = self.model.shared if isinstance(self.model, Sharing) else {}
        self._rom = BytesMemory(bytearray(rom.ljust(self.space.rom_size, b"\xff")))
        try:
            self._regions = regions_of(device, self.space, self.banks, self._shared, self._rom)
        except BaseException:
            self.close()
            raise
        self._command = self.config["command"]
        self._reads: list[Callable[[int, int], int]] = []
        self._writes: list[Callable[[int, int, int], None]] = []
        self._listen()
        self._apply()
        if isinstance(self.model, Wired):
            self.model.wire(self)

    def _build_interrupts(self, loop: Loop) -> None:
        self.intx = Intx(self.config) if self.space.pin else None
        self.msi = Msi(self.config, self.space.msi_vectors) if self.space.msi_vectors else None
        self.msix = None
        spec = self.space.msix
        if spec is not None:
            index = spec.table[0]
            if index not in self.banks:
                size = next(bar.size for bar in self.space.bar_specs if bar.index == index)
                described = self.device.bars.get(index) or msix_bar("msix", size, self.space, index)
                self.banks[index] = Bank(described, now=loop.now)
            self.msix = Msix(self.config, self.banks[index], spec.vectors)

    def _listen(self) -> None:
        """Hooks of configuration space, and complaints of all banks."""
        entries = self.config.bar.entries
        for name in ("command", "msix_message_control", "msi_message_control"):
            if name in entries:
                self.config.on_write(name, self._changed)
        for name in _FLR.keys() & entries.keys():
            self.config.on_write(name, self._flr_written)
        if "pm_control_status" in entries:
            self.config.on_write("pm_control_status", self._power_written)
        for bank in self.banks.values():
            if bank.notice is None:
                bank.notice = self._noticed

    # -- regmodel.function.Function: what there is

    def regions(self) -> Sequence[Region]:
        """All regions with a size, in order of their index."""
        return self._regions

    def irqs(self) -> Mapping[Irq, int]:
        """How many vectors each interrupt index has. ERR is offered by PCI Express functions and never signalled."""
        counts = {
            Irq.INTX: 1 if self.intx else 0,
            Irq.MSI: self.msi.vectors if self.msi else 0,
            Irq.MSIX: self.msix.vectors if self.msix else 0,
            Irq.ERR: 1 if self.space.capability("pcie") else 0,
        }
        return {irq: count for irq, count in counts.items() if count}

    # -- accesses

    def config_read(self, offset: int, size: int) -> bytes:
        """``size`` bytes of configuration space; what no register claims reads 0."""
        return config_read(self.config, offset, size)

    def config_write(self, offset: int, data: bytes) -> None:
        """Store into configuration space, in naturally aligned accesses of at most a double word."""
        config_write(self.config, offset, data)

    def region_read(self, index: int, offset: int, size: int) -> int:
        """One access of 1, 2, 4 or 8 bytes; all ones where nothing decodes it."""
        return self._reads[index](offset, size)

    def region_write(self, index: int, offset: int, size: int, value: int) -> None:
        """One access of 1, 2, 4 or 8 bytes; dropped where nothing decodes it."""
        self._writes[index](offset, size, value)

    # -- interrupts and DMA

    def set_irqs(self, irq: Irq, start: int, triggers: Sequence[Trigger | None]) -> None:
        """From vector ``start``, deliver through ``triggers``; None disarms. Raises ``UsageError`` beyond ``irqs()``."""
        if not triggers:
            return
        if start < 0 or start + len(triggers) > self.irqs().get(irq, 0):
            raise UsageError(f"{self.name} has no {irq.name} vectors {start} to {start + len(triggers) - 1}")
        if irq is Irq.INTX and self.intx:
            self.intx.arm(triggers[0])
        elif irq is Irq.MSI and self.msi:
            self.msi.arm(start, triggers)
        elif irq is Irq.MSIX and self.msix:
            self.msix.arm(start, triggers)
        self._apply()

    def unmask_irq(self, irq: Irq) -> None:
        """The peer took the last INTx and listens again. Nothing for other interrupts, whose masks are registers."""
        if irq is Irq.INTX and self.intx:
            self.intx.unmask()

    def observe_irqs(self, observer: Callable[[Irq, int, bool], None] | None) -> None:
        """Tell ``observer(irq, vector, sent)`` of each interrupt: sent, or kept pending. None ends it, and its cost."""
        for irq, source in ((Irq.INTX, self.intx), (Irq.MSI, self.msi), (Irq.MSIX, self.msix)):
            if source is not None:
                source.observe(None if observer is None else _bound(observer, irq))

    def dma_map(self, iova: int, size: int, memory: Memory, *, read: bool, write: bool) -> None:
        """Make ``memory`` reachable at ``iova``. Raises ``DmaMapError``."""
        self.dma.map(iova, size, memory, read=read, write=write)

    def dma_unmap(self, iova: int, size: int) -> None:
        """Take back exactly one former map. Raises ``DmaMapError``."""
        self.dma.unmap(iova, size)

    # -- reset, power, state

    @property
    def power_state(self) -> int:
        """0 to 3 for D0 to D3hot; D0 without the capability."""
        return self.config["pm_control_status"].get("power_state") if "pm_control_status" in self.config.bar.entries else D0

    def reset(self, cause: ResetCause) -> None:
        """Reset configuration space, then interrupts, then the model. Maps and armed vectors are the peer's and stay."""
        self.config.reset(cause)
        if self.msi:
            self.msi.reset(cause)
        if self.msix:
            self.msix.reset(cause)
        self._apply()
        self.model.reset(cause)

    def save(self) -> dict[str, object]:
        """A JSON-able image of configuration space, interrupts and model."""
        return {"version": 1, "device": self.device.name, **{key: part.save() for key, part in self._parts().items()}}

    def save_to_move(self) -> dict[str, object]:
        """The same where the memory that guests map is handed over itself (``shared_memory``)."""
        movable = self.model if isinstance(self.model, Movable) else None
        images = {key: part.save() for key, part in self._parts().items() if movable is None or key != "model"}
        return {
            "version": 1, "device": self.device.name, **images,
            **({} if movable is None else {"model": movable.save_all_but_memory()}),
        }  # fmt: skip

    def shared_memory(self) -> Mapping[int, int]:
        """Descriptors of memory that guests map, by BAR; they stay the function's."""
        return {index: memory.fd for index, memory in self._shared.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take on a saved image. Raises ``StateError`` and changes nothing when it is of another device, or damaged."""
        if state.get("version") != 1 or state.get("device") != self.device.name:
            raise StateError(f"the saved state is of {state.get('device')!r}, not of {self.device.name!r} (version 1)")
        parts = self._parts()
        missing = [key for key in parts if not isinstance(state.get(key), Mapping)]
        if missing:
            raise StateError(f"the saved state of {self.device.name} is damaged: it lacks {', '.join(missing)}")
        former = {key: part.save() for key, part in parts.items()}
        try:
            for key, part in parts.items():
                part.load(state[key])
        except StateError:
            for key, part in parts.items():
                part.load(former[key])
            raise
        finally:
            self._apply()

    def _parts(self) -> dict[str, Any]:
        """All that holds state, in the order in which it is loaded."""
        own = {f"bar{i}": bank for i, bank in self.banks.items() if i not in self.model.banks}
        parts = {"config": self.config, **own, "model": self.model, "intx": self.intx, "msi": self.msi, "msix": self.msix}
        return {key: part for key, part in parts.items() if part is not None}

    def close(self) -> None:
        """Give back the descriptors of shared memory; the function is of no use any more."""
        for memory in self._shared.values():
            memory.close()

    # -- what configuration writes do

    def _changed(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        if old != new:
            self._apply()

    def _flr_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        field = self.config[path].fields.get(_FLR[path])
        if field is not None and field.access.writable and field.of(new):
            self.reset(ResetCause.FLR)

    def _power_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """Software may go down to any state there is, and up to D0 only; other writes complete and do nothing (§7.5.2.2)."""
        cell, capabilities = self.config["pm_control_status"], self.config["pm_capabilities"]
        state = cell.fields["power_state"]
        before, after = state.of(old), state.of(new)
        exists = after in (D0, D3HOT) or bool(capabilities.get(f"d{after}_support"))
        if not exists or (D0 < after < before):
            cell.set(power_state=before)
        elif before == D3HOT and after == D0 and not cell.get("no_soft_reset"):
            self.reset(ResetCause.FLR)
        elif before != after:
            self._apply()

    def _apply(self) -> None:
        """Let what configuration space says now take effect."""
        awake = self.power_state == D0
        get = self._command.get
        talks = awake and bool(get("bus_master"))
        self.dma.enabled = talks
        messages = [m for m in (self.msix, self.msi) if m is not None]
        for m in messages:
            m.gate(talks)
        if self.intx:
            self.intx.gate(awake and not get("interrupt_disable") and not any(m.enabled for m in messages))
        decodes = {RegionKind.MEMORY: awake and bool(get("memory_space")), RegionKind.IO: awake and bool(get("io_space"))}
        self._reads = [partial(self._aborted_read, index) for index in range(_REGIONS)]
        self._writes = [partial(self._aborted_write, index) for index in range(_REGIONS)]
        for region in self._regions:
            if decodes.get(region.kind) and region.index in self.banks:
                self._reads[region.index] = self.banks[region.index].read
                self._writes[region.index] = self.banks[region.index].write
        self._reads[CONFIG_REGION], self._writes[CONFIG_REGION] = self.config.read, self.config.write
        if self.space.rom_size and awake:
            self._reads[ROM_REGION] = self._rom_read

    def _rom_read(self, offset: int, size: int) -> int:
        """Whoever reads the region wants the ROM decoded, whatever its enable bit says, as VFIO does (pci_map_rom)."""
        return int.from_bytes(self._rom.read(offset, size), "little")

    def _aborted_read(self, index: int, offset: int, size: int) -> int:
        self.host.diagnose("undecoded-read", region=index, offset=offset, size=size)
        return (1 << 8 * size) - 1

    def _aborted_write(self, index: int, offset: int, size: int, value: int) -> None:
        self.host.diagnose("undecoded-write", region=index, offset=offset, size=size, value=value)

    # -- what the model does

    def _signal(self, vector: int) -> None:
        source = self.msi if self.msi and (self.msix is None or (self.msi.enabled and not self.msix.enabled)) else self.msix
        try:
            if source is None or vector < 0:
                raise IndexError(vector)
            source.signal(vector)
        except IndexError:
            self.host.diagnose("no-such-vector", vector=vector)

    def _messages(self) -> bool:
        return bool((self.msix and self.msix.enabled) or (self.msi and self.msi.enabled))

    def _line(self, asserted: bool) -> None:
        if self.intx:
            self.intx.drive(asserted)

    def _noticed(self, kind: str, path: str, value: int) -> None:
        self.host.remark(kind, register=path, value=value)


def _bound(observer: Callable[[Irq, int, bool], None], irq: Irq) -> Callable[[int, bool], None]:
    return lambda vector, sent: observer(irq, vector, sent)
