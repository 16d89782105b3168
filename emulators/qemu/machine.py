"""What a guest's machine consists of, and the QEMU command line that makes it.

May not enter: processes and sockets (``vm``). Everything here is a pure function of its arguments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emulators.qemu.errors import LabError

# PCI slots of the root complex that are the lab's own, so that the devices under test start at 00:01.0.
_SERIAL_SLOT, _SHARE_SLOT, _ROOTFS_SLOT = 0x1E, 0x1D, 0x1C
_FIRST_SLOT, _LAST_SLOT = 0x01, 0x1B

KERNEL_ARGUMENTS = (
    "console=ttyS0",
    "loglevel=7",  # the console file then has the kernel's log even when nobody in the guest answers; no time measured for it
    "panic=-1",  # with -no-reboot a panic ends QEMU instead of the patience of the caller
    "oops=panic",
    "no_timer_check",  # else the kernel counts ticks in a delay loop, which a busy host makes it panic over under TCG
    "tsc=reliable",  # else Linux 7.2 compares clocks between processors as they come up, which may hang (watchdog_check_skew)
    "cryptomgr.notests",  # 0.6 s of self-tests under TCG
    "initcall_blacklist=init_encrypted",  # 0.15 s of key generation for a facility that no guest uses
    "mitigations=off",  # the guest is not an attack surface, and TCG pays for every retpoline
    "net.ifnames=0",
)


@dataclass(frozen=True)
class VfioUser:
    """A device served on a vfio-user socket. ``options`` are further properties of ``vfio-user-pci``."""

    socket: str | Path
    id: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)

    def properties(self) -> dict[str, object]:
        """The device as QMP's ``device_add`` takes it."""
        named = {} if self.id is None else {"id": self.id}
        return {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(self.socket)}, **named, **self.options}


@dataclass(frozen=True)
class RawDevice:
    """A device of QEMU's own, as ``-device`` spells it: ``igb,netdev=n0``. ``id``, ``bus`` and ``addr`` may be in it."""

    spec: str

    def properties(self) -> dict[str, object]:
        driver, *words = self.spec.split(",")
        pairs = [word.partition("=") for word in words]
        return {"driver": driver, **{key: value for key, _, value in pairs}}


Device = VfioUser | RawDevice


@dataclass(frozen=True)
class Placed:
    """A device and where it sits: ``bdf`` is its address in the guest where the lab chose it (domain 0000 left out)."""

    id: str
    properties: Mapping[str, object]
    bdf: str | None
    json: bool  # whether -device takes it as JSON; QEMU's own spelling has no types, JSON insists on them

    def argument(self) -> str:
        """What follows ``-device``."""
        if self.json:
            return json.dumps(self.properties)
        rest = [f"{key}={value}" if value != "" else key for key, value in self.properties.items() if key != "driver"]
        return ",".join([str(self.properties["driver"]), *rest])


@dataclass(frozen=True)
class Machine:
    """Everything about a guest but the sockets that lead to it. ``memory`` as QEMU spells sizes (``256M``).

    ``root_port``: each device is behind one, or behind a bridge to a conventional bus if it is to be ``conventional``.
    ``parcel`` is a tar archive that is unpacked in the guest once it runs.
    """

    kernel: Path
    initramfs: Path
    devices: tuple[Device, ...] = ()
    memory: str = "256M"
    cpus: int = 1
    viommu: bool = False
    root_port: bool = False
    conventional: bool = False
    share: Path | None = None
    rootfs: Path | None = None
    parcel: Path | None = None
    append: str = ""
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+[KMGkmg]?", self.memory):
            raise LabError(f"memory {self.memory!r} is not a size: write it as 256M or 1G")
        if self.cpus < 1:
            raise LabError(f"a guest with {self.cpus} processors cannot run: ask for at least 1")
        if len(self.devices) > _LAST_SLOT - _FIRST_SLOT + 1:
            raise LabError(f"{len(self.devices)} devices are more than the machine's {_LAST_SLOT} slots")

    def placed(self) -> list[Placed]:
        """The devices with ids and addresses: ``dev0``, ``dev1``, ... in slots 1, 2, ..., or behind ``rp0``, ``rp1``, ..."""
        result = []
        for number, device in enumerate(self.devices):
            properties = dict(device.properties())
            name = str(properties.setdefault("id", f"dev{number}"))
            bdf = None
            if "bus" not in properties and "addr" not in properties:
                if self.root_port:
                    properties["bus"], bdf = f"rp{number}", f"{number + 1:02x}:00.0"
                else:
                    properties["addr"], bdf = f"{_FIRST_SLOT + number:x}.0", f"00:{_FIRST_SLOT + number:02x}.0"
            result.append(Placed(name, properties, bdf, isinstance(device, VfioUser)))
        return result

    def port(self, number: int) -> str:
        """What device ``number`` is behind, as ``-device`` takes it."""
        return pci_bridge(number) if self.conventional else root_port(number)


def command_line(
    machine: Machine, accelerator: str, console: int, agent: int, stream: int, terminal: int, qmp: int
) -> list[str]:
    """QEMU's arguments. ``console`` is the number of an open file, the others of connected sockets; it inherits all."""
    line = [
        "-M", f"q35,memory-backend=ram{',kernel-irqchip=split' if machine.viommu else ''}",
        "-accel", "kvm" if accelerator == "kvm" else "tcg,thread=multi", "-cpu", "host" if accelerator == "kvm" else "max",
        "-smp", str(machine.cpus), "-m", machine.memory,
        "-object", f"memory-backend-memfd,id=ram,size={machine.memory},share=on",
        "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
        "-kernel", str(machine.kernel), "-initrd", str(machine.initramfs), "-append", kernel_arguments(machine),
        "-chardev", f"file,id=console,path=/dev/fd/{console}", "-serial", "chardev:console",
        "-chardev", f"socket,id=qmp,fd={qmp}", "-mon", "chardev=qmp,mode=control",
    ]
    if machine.viommu:  # before the devices whose DMA it translates
        line += ["-device", "intel-iommu,intremap=on,caching-mode=on"]
    line += ["-device", f"virtio-serial-pci,id=serial,addr={_SERIAL_SLOT:#x}"]
    for name, fd in (("agent", agent), ("stream", stream)):
        line += ["-chardev", f"socket,id={name},fd={fd}",
                 "-device", f"virtserialport,bus=serial.0,chardev={name},name=lab.{name}"]
    line += ["-chardev", f"socket,id=terminal,fd={terminal}", "-device", "virtconsole,bus=serial.0,chardev=terminal"]
    if machine.share is not None:
        line += _folder("share", machine.share, _SHARE_SLOT, readonly="off")
    if machine.rootfs is not None:
        line += _folder("rootfs", machine.rootfs, _ROOTFS_SLOT, readonly="on")
    line += machine.arguments
    if machine.root_port:
        for number in range(max(1, len(machine.devices))):
            line += ["-device", machine.port(number)]
    for device in machine.placed():
        line += ["-device", device.argument()]
    return line


def _folder(tag: str, folder: Path, slot: int, readonly: str) -> list[str]:
    return ["-fsdev", f"local,id={tag},path={folder},security_model=none,readonly={readonly}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag},addr={slot:#x}"]


def root_port(number: int) -> str:
    """A root port ``rpN``, whose one slot can be plugged while the guest runs."""
    return f"pcie-root-port,id=rp{number},chassis={number + 1},slot={number + 1},addr={_FIRST_SLOT + number:#x}"


def pci_bridge(number: int) -> str:
    """A conventional bridge ``rpN`` in its place: what is behind it has no PCI Express capability."""
    return f"pci-bridge,id=rp{number},chassis_nr={number + 1},shpc=off,addr={_FIRST_SLOT + number:#x}"


def kernel_arguments(machine: Machine) -> str:
    """The kernel's command line; what the user appends comes last, and so wins."""
    iommu = ("intel_iommu=on",) if machine.viommu else ()
    return " ".join((*KERNEL_ARGUMENTS, *iommu, machine.append)).strip()


def names(devices: Sequence[Device]) -> str:
    """The devices in a few words, for messages."""
    return ", ".join(str(device.properties()["driver"]) for device in devices) or "no device"
