"""One guest with two paravirtual NICs under the same driver: ours, and QEMU's own model of the same device.

In here: how the two are set up alike, whatever the family: which devices they are is said by ``Twins``. Both end in a TAP
device of the host, with virtio headers, so that what a guest leaves undone is done by nobody; TAP devices live in the
benchmark's own network namespace (``pair.enter_namespace``).

A guest with fewer processors than the host has its own ones: a server that is woken by a guest is started by the scheduler
where that runs, and on a busy host takes the core from it, while a core that is as good is held by others.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, RawDevice, VfioUser
from tests.bench.pair import OURS, THEIRS, add_tap, prefer, quiet_network

ABOUT = """both NICs end in a TAP device of the host, with virtio headers; a guest of one processor has a core, all else the \
others; where root runs it, guest and server have priority"""


@dataclass(frozen=True)
class Twins:
    """Our ``device`` with its ``options``, QEMU's (as for ``-device``, without ``netdev``), and the ``module`` of both.

    ``behind_iommu`` is added to QEMU's where the guest has an IOMMU.
    """

    device: str
    theirs: str
    module: str
    options: Mapping[str, str] = field(default_factory=dict)
    behind_iommu: str = ""


class NicPair:
    """``with NicPair(lab, twins) as pair``: a served NIC, a guest with it and with QEMU's.

    ``ours`` and ``theirs`` are interfaces in the guest, or, with ``dpdk``, addresses of functions that are bound to vfio-pci.
    ``arguments`` are more words for QEMU.
    """

    def __init__(
        self, lab: Lab, twins: Twins, *, dpdk: bool = False, modules: Sequence[str] = (), arguments: Sequence[str] = ()
    ) -> None:
        self._lab, self._twins, self._dpdk, self._modules, self._arguments = lab, twins, dpdk, tuple(modules), tuple(arguments)
        self._stack = ExitStack()
        self.ours, self.theirs = ("0000:01:00.0", "0000:02:00.0") if dpdk else ("eth0", "eth1")
        self.taps = (OURS, THEIRS)
        self.server: ServerProcess
        self.vm: VM

    def __enter__(self) -> Self:
        twins, dpdk = self._twins, self._dpdk
        with ExitStack() as stack:
            quiet_network()
            for name in self.taps:
                add_tap(name)
                stack.callback(subprocess.run, ["ip", "link", "del", name], check=False)
            self.server = stack.enter_context(ServerProcess([twins.device], nets=[f"tap:{OURS}"], options=twins.options))
            theirs = f"{twins.theirs},netdev=wire{twins.behind_iommu if dpdk else ''}"
            netdev = f"tap,id=wire,ifname={THEIRS},script=no,downscript=no,vhost=off"
            machine = self._lab.vm(
                [VfioUser(self.server.sockets[0]), RawDevice(theirs)], ["vfio-pci" if dpdk else twins.module, *self._modules],
                kits=["dpdk"] if dpdk else [], arguments=["-netdev", netdev, *self._arguments], viommu=dpdk, root_port=dpdk,
                cpus=2 if dpdk else 1, memory="512M" if dpdk else "256M",
            )  # fmt: skip
            self.vm = stack.enter_context(machine)
            self._bring_up()
            prefer(self.server.pid, self.vm.pid)
            if not dpdk:
                stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
                keep_apart(self.vm.pid, self.server.pid, os.getpid())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    def _bring_up(self) -> None:
        if self._dpdk:
            from emulators.qemu.dpdk import huge_pages
            from emulators.qemu.vfio import bind

            bind(self.vm, self.ours, self.theirs)
            huge_pages(self.vm)
            return
        self.vm.run("for scope in all default; do sysctl -q -w net.ipv6.conf.$scope.disable_ipv6=1; done; true")
        for number, (name, tap) in enumerate(zip((self.ours, self.theirs), self.taps, strict=True)):
            subprocess.run(["ip", "addr", "add", f"{self.host(number)}/24", "dev", tap], check=True)
            self.vm.run(f"ip addr add {self.guest(number)}/24 dev {name}; ip link set {name} up", check=True)

    @staticmethod
    def host(number: int) -> str:
        """The address of the host's end of NIC ``number``."""
        return f"10.9.{number}.1"

    @staticmethod
    def guest(number: int) -> str:
        """The address of the guest's end."""
        return f"10.9.{number}.2"


def keep_apart(guest: int, *others: int) -> None:
    """The virtual CPU of ``guest`` gets a core of its own, all else the rest; nothing is done where there is but one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return
    for process in (guest, *others):
        for task in Path(f"/proc/{process}/task").iterdir():
            with suppress(OSError):
                own = (task / "comm").read_text().startswith("CPU ")
                os.sched_setaffinity(int(task.name), cores[:1] if own else cores[1:])
