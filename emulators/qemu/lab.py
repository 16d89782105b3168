"""The lab: guests with the devices under test, from nothing but a Debian mirror.

This is the face of the package; the work is done in the rooms beside it. ::

    from emulators.qemu import Lab, VfioUser

    with Lab().vm(devices=[VfioUser("/tmp/vf0.sock")], modules=["igbvf"]) as vm:
        print(vm.run("ip -br link").text)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from emulators.qemu import accel, binary, failure, initramfs, kernels, modules, python, userspace
from emulators.qemu.cache import Cache, say
from emulators.qemu.errors import LabError
from emulators.qemu.machine import Device, Machine
from emulators.qemu.vm import VM, Together

_PROBE_BOOT = 8  # seconds; with a KVM that is worth having, user space is there after one
_FOR_SHARE = ("9p",)
_FOR_ROOTFS = (*_FOR_SHARE, "overlay")


class Lab:
    """Where guests come from. One lab per run: its guests share the failure folder and the choice of accelerator.

    With a guest's failure goes what the servers know that this process has begun: what serves a guest is to outlive it.
    """

    def __init__(self, cache: Cache | None = None, failures: Path | None = None) -> None:
        self.cache = cache or Cache()
        self.keeper = failure.Keeper(failures)
        self.on_failure("servers", _save_servers)
        self._started = 0

    @cached_property
    def qemu(self) -> binary.Qemu:
        """The QEMU in use."""
        return binary.find(self.cache)

    @cached_property
    def accelerator(self) -> accel.Accelerator:
        """KVM or TCG, and why; said once, on stderr."""
        kernel = kernels.get(self.cache)
        chosen = accel.choose(self.cache, f"{self.qemu} {kernel}", self._probe)
        say(f"guests run under {chosen}")
        return chosen

    def vm(
        self,
        devices: Sequence[Device] = (),
        modules: Sequence[str | Path] = (),
        *,
        load: Sequence[str] | None = None,
        kernel: str | Path = kernels.DEFAULT,
        modules_dir: Path | None = None,
        memory: str = "",
        cpus: int = 1,
        viommu: bool = False,
        root_port: bool = False,
        share: Path | None = None,
        rootfs: Path | None = None,
        kits: Sequence[str] = (),
        append: str = "",
        arguments: Sequence[str] = (),
        name: str = "",
    ) -> VM:
        """A guest, not started yet: use it in a ``with`` statement.

        ``modules``: kernel modules in the guest; a path (``./igbvf.ko``) replaces the kernel's own of that name. They are
        loaded at boot in this order, or only those in ``load``. ``kernel``: "7.2", "6.12", another Debian series or a path,
        its modules in ``modules_dir``. ``viommu``: devices sit behind an ``intel-iommu``. ``root_port``: each device sits
        behind a root port of its own, which can be hot-plugged. ``share``: a host folder, writable at ``/mnt/share``.
        ``rootfs``: a host folder in which commands run; what they write to it is forgotten. ``kits``: more programs ("dpdk",
        "iperf3", "tcpdump", "selftests", and "python", an interpreter with this package as it is now); ``memory`` is by
        default what they need. ``append`` goes to the kernel's command line, ``arguments`` to QEMU's.
        """
        for folder in (share, rootfs):
            if folder is not None and not Path(folder).is_dir():
                raise LabError(f"{folder} is not a folder of this machine")
        found = kernels.get(self.cache, kernel, Path(modules_dir) if modules_dir else None)
        stock, own = _sorted_modules(modules)
        extra = _FOR_ROOTFS if rootfs is not None else _FOR_SHARE if share is not None else ()
        archive = initramfs.build(self.cache, found, (*stock, *extra), own, tuple(kits))
        spec = Machine(
            kernel=found.image, initramfs=archive, devices=tuple(devices), memory=memory or userspace.memory(kits), cpus=cpus,
            viommu=viommu, root_port=root_port, share=_absolute(share), rootfs=_absolute(rootfs),
            parcel=python.parcel(self.cache) if python.KIT in kits else None, append=append, arguments=tuple(arguments),
        )
        return self._machine(spec, self.accelerator.name, tuple(load) if load is not None else _names(modules), name)

    def together(self, *machines: VM) -> Together:
        """Several guests as one context manager; they boot at the same time."""
        return Together(machines)

    def on_failure(self, label: str, hook: failure.Hook) -> None:
        """Let ``hook(folder)`` add files when a failure of any guest is kept; it replaces an earlier hook of that label."""
        self.keeper.hooks[label] = hook

    def _machine(self, spec: Machine, accelerator: str, load: tuple[str, ...], name: str) -> VM:
        self._started += 1
        return VM(name or f"vm{self._started}", self.qemu, accelerator, spec, load, self.keeper)

    def _probe(self) -> str:
        """Boot and load a guest under KVM; "" where it ran well."""
        from emulators.qemu.errors import GuestError, GuestTimeout

        kernel = kernels.get(self.cache)
        vm = self._machine(Machine(kernel.image, initramfs.build(self.cache, kernel)), "kvm", (), "kvm-probe")
        try:
            vm.start()
            for _ in range(_PROBE_BOOT):  # one that stops in its tracks is known as soon as QEMU says so
                try:
                    vm.agent.ready(1)
                    break
                except GuestTimeout:
                    if vm.qmp("query-status")["status"] != "running":
                        return "QEMU reports an internal error"
            else:
                return f"it does not reach user space in {_PROBE_BOOT} s"
            return "" if vm.run(accel.PROBE, 20).text == "alive" else "it computed nonsense"
        except GuestError as error:
            return str(error)
        finally:
            vm.kill()
            vm.stop()


def _save_servers(folder: Path) -> None:
    """Of each server a folder of its own: ``server0``, ``server1``, ..."""
    from emulators.process import begun

    for number, server in enumerate(begun()):
        label = f"server{number}"
        (folder / label).mkdir()
        failure.guarded(server.save_evidence, folder / label, label)


def _sorted_modules(wanted: Sequence[str | Path]) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """The kernel's modules by name, and the user's own by path."""
    own = [Path(item) for item in wanted if isinstance(item, Path) or "/" in item or ".ko" in item]
    return tuple(str(item) for item in wanted if Path(item) not in own), tuple(own)


def _names(wanted: Sequence[str | Path]) -> tuple[str, ...]:
    return tuple(modules.canonical(str(item)) for item in wanted)


def _absolute(folder: Path | None) -> Path | None:
    return Path(folder).resolve() if folder is not None else None
