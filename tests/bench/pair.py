"""One guest with two virtual functions under the same driver: ours, and one of QEMU's own ``igb``.

In here: how the two are set up alike. QEMU's PF is driven by the stock ``igb`` of the same guest and gives one VF
(``sriov_numvfs``); the stock ``igbvf``, or testpmd, drives both VFs. Both ports end in a TAP device of the host: the kernel
copies each byte of each frame, and counts. TAP devices live in a network namespace of the benchmark's own
(``enter_namespace``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, RawDevice, VfioUser
from regmodel.errors import RegmodelError

OURS, THEIRS = "tap-ours", "tap-qemu"
ABOUT = "both ports end in a TAP device of the host, without virtio headers; where root runs it, guest and server have priority"
_MARK = "REGMODEL_BENCH_NAMESPACE"


def enter_namespace(module: str) -> None:
    """Start ``python -m module`` anew, with the same arguments, where TAP devices may be made and disturb nobody."""
    if os.environ.get(_MARK) == str(os.getpid()):
        return
    if shutil.which("unshare") is None:
        raise RegmodelError("the benchmark wants a network namespace of its own: install util-linux (unshare)")
    # unshare(1) and the shell both exec, so the process id that is marked stays that of the benchmark
    command = f'ip link set lo up; {_MARK}=$$ exec "$@"'
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    run = [sys.executable, "-m", module, *sys.argv[1:]]
    os.execvp("unshare", ["unshare", "--net", *user, "--", "sh", "-c", command, "sh", *run])


def quiet_network() -> None:
    """No IPv6 in this namespace: the kernel would send frames of its own to the VFs."""
    for scope in ("all", "default"):
        path = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if path.exists():
            path.write_text("1")


def add_tap(name: str) -> str:
    """A TAP device that exists and is up; its name."""
    subprocess.run(["ip", "tuntap", "add", "dev", name, "mode", "tap"], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return name


def prefer(*processes: int) -> None:
    """Run these before everybody else, where that is allowed (root): what else the machine does is not to be measured. The
    scheduler groups tasks by session first (sched(7), autogroup), so both the group and its threads get the priority."""
    for process in processes:
        with suppress(OSError):
            Path(f"/proc/{process}/autogroup").write_text("-20")
            for task in Path(f"/proc/{process}/task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(task.name), -20)


def frames_on(tap: str) -> int:
    """Frames that the host's kernel took from a TAP device."""
    lines = (line.partition(":") for line in Path("/proc/net/dev").read_text().splitlines())  # /sys shows another namespace
    return next(int(figures.split()[1]) for name, _, figures in lines if name.strip() == tap)


class Pair:
    """``with Pair(lab, stack) as pair``: a served VF, a guest with it and with QEMU's, driven by ``igbvf``.

    ``ours`` and ``theirs`` are the names of the interfaces in the guest, or, with ``dpdk``, addresses of the functions, which
    are bound to vfio-pci. ``kits`` and ``modules`` are added to the guest.
    """

    def __init__(self, lab: Lab, *, dpdk: bool = False, modules: Sequence[str] = (), kits: Sequence[str] = ()) -> None:
        self._lab, self._dpdk, self._modules, self._kits = lab, dpdk, tuple(modules), tuple(kits)
        self._stack = ExitStack()
        self.ours, self.theirs = ("0000:01:00.0", "0000:02:10.0") if dpdk else ("eth0", "eth2")
        self.server: ServerProcess
        self.vm: VM

    def __enter__(self) -> Pair:
        with ExitStack() as stack:
            quiet_network()
            for name in (OURS, THEIRS):
                add_tap(name)
                stack.callback(subprocess.run, ["ip", "link", "del", name], check=False)
            self.server = stack.enter_context(ServerProcess(["igbvf"], nets=[f"tap:{OURS}"]))
            devices = [VfioUser(self.server.sockets[0]), RawDevice("igb,netdev=wire")]
            netdev = f"tap,id=wire,ifname={THEIRS},script=no,downscript=no,vnet_hdr=off"
            modules = ["igb", "vfio-pci"] if self._dpdk else ["igbvf", "igb"]
            machine = self._lab.vm(
                devices, [*modules, *self._modules], kits=self._kits, arguments=["-netdev", netdev],
                viommu=self._dpdk, root_port=self._dpdk, cpus=2 if self._dpdk else 1, memory="512M" if self._dpdk else "256M",
                append="iomem=relaxed",  # so that registers may be mapped beside the driver
            )
            self.vm = stack.enter_context(machine)
            self._bring_up()
            prefer(self.server.pid, self.vm.pid)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    def _bring_up(self) -> None:
        self.vm.run("for scope in all default; do sysctl -q -w net.ipv6.conf.$scope.disable_ipv6=1; done; true")
        if self._dpdk:
            from emulators.qemu.dpdk import huge_pages
            from emulators.qemu.vfio import bind

            self.vm.run("ip link set eth0 up && echo 1 > /sys/class/net/eth0/device/sriov_numvfs", check=True)
            bind(self.vm, self.ours, self.theirs)
            huge_pages(self.vm)
            return
        self.vm.run("ip link set eth1 up && echo 1 > /sys/class/net/eth1/device/sriov_numvfs", check=True)
        for name in (self.ours, self.theirs):
            self.vm.run(
                f"for i in $(seq 50); do [ -e /sys/class/net/{name} ] && break; sleep 0.1; done; ip link set {name} up && "
                f"for i in $(seq 100); do [ $(cat /sys/class/net/{name}/carrier) = 1 ] && exit 0; sleep 0.1; done; exit 1",
                check=True,
            )

    def messages(self) -> dict[str, int]:
        """How many vfio-user messages of each command the server has had for our VF."""
        with self.server.control() as client:
            counted: dict[str, int] = client.ask("stats")["vf0"]["messages"]
            return counted
