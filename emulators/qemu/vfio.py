"""Devices for drivers in a guest's user space: bound to vfio-pci behind the emulated IOMMU, and the VFs of a card of QEMU's.

May not enter: the driver. The guest needs the module ``vfio-pci`` and ``viommu=True``: no Debian kernel has VFIO without an
IOMMU. A function is then reached through the group of its own that it is in: a device in a slot of the root bus or behind a
root port is alone in one, and so is each VF of QEMU's ``igb``.
"""

from __future__ import annotations

from emulators.qemu.errors import GuestError
from emulators.qemu.vm import VM

MODULE = "vfio-pci"


def bind(vm: VM, *bdfs: str, driver: str = MODULE) -> None:
    """Give PCI functions (``0000:01:00.0``) to a driver by name, whichever has them now. Raises ``GuestError``.

    One that has just been inserted is in sysfs before it is offered to drivers (Linux drivers/pci/bus.c
    ``pci_bus_add_device``): that is waited for.
    """
    for bdf in bdfs:
        device = f"/sys/bus/pci/devices/{bdf}"
        taken = f"case $(readlink {device}/driver) in */{driver}) exit 0 ; esac"
        done = vm.run(f"[ ! -e {device}/driver ] || echo {bdf} > {device}/driver/unbind; "
                      f"echo {driver} > {device}/driver_override && echo {bdf} > /sys/bus/pci/drivers_probe; "
                      f"[ -e {device} ] && [ -e /sys/bus/pci/drivers/{driver} ] || exit 1; "
                      f"for i in $(seq 100); do {taken}; sleep 0.1; done; exit 1")
        if done.status:
            needs = " and has an IOMMU (viommu=True, --viommu)" if driver == MODULE else ""
            raise GuestError(f"{driver} does not take {bdf}: see that {vm.name} has that device, has loaded that module{needs}")


def virtual_functions(vm: VM, interface: str, count: int = 1) -> list[str]:
    """Have the PF behind a network interface make VFs (``sriov_numvfs``); their addresses. The interface comes up for it.

    igb resets itself for that, and when its link is back it tells every VF (igb_main.c ``igb_ping_all_vfs``). So this waits for
    the link to come, and to come back: at most 10 s each, as there may be no cable.
    """
    net = f"/sys/class/net/{interface}"
    device, until = f"{net}/device", "for i in $(seq 100); do [ {} ] && break; sleep 0.1; done"
    up, again = until.format(f"$(cat {net}/carrier) = 1"), until.format(f"$(cat {net}/carrier_up_count) -gt $n")
    vm.run(f"ip link set {interface} up && {up} && n=$(cat {net}/carrier_up_count) && "
           f"echo {count} > {device}/sriov_numvfs && {again}", check=True)
    return [vm.run(f"basename $(readlink {device}/virtfn{number})", check=True).text for number in range(count)]
