"""The transport to a real function, or one that a virtual machine has: Linux VFIO, type-1 container and group.

``binding`` finds the group and says what is missing, ``container`` opens it and maps memory, ``transport`` is the function,
``interrupts`` its vectors, ``system`` the kernel beneath. What the kernel offers besides (iommufd, no-IOMMU) is refused in
one line.
"""

from __future__ import annotations

import platform

from drivers.errors import NotSupported
from drivers.transports.linux_vfio.binding import find
from drivers.transports.linux_vfio.system import System
from drivers.transports.linux_vfio.transport import LinuxVfio
from regmodel.catalogue import Device

__all__ = ["LinuxVfio", "System", "open"]


def open(
    rest: str, device: Device, *, system: System | None = None, mapped: bool = True, physical: bool = False
) -> LinuxVfio:
    """``vfio:BDF``. ``mapped=False`` reaches all registers by system calls, which is slow and sees more. ``physical`` is for a
    function whose DMA passes the IOMMU by (a virtio device of QEMU's without ACCESS_PLATFORM): its memory is taken from what
    the kernel was told to leave alone, so that both ways lead to the same place.

    Raises ``UsageError``, ``NoSuchFunction``, ``NotViable``, ``PermissionDenied``, ``NotSupported``.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        raise NotSupported("vfio: needs x86-64: elsewhere stores to memory and to registers may pass each other")
    system = system or System()
    return LinuxVfio(find(rest, device, system), system, mapped=mapped, physical=physical)
