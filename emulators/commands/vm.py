"""``regmodel vm``: a guest with emulated devices and their stock driver, in one command."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from regmodel.errors import UsageError

command_settings = {"context_settings": {"allow_interspersed_args": False}}


def vm(
    command: Annotated[list[str] | None, typer.Argument(help="what to run in the guest, after --; none: a console")] = None,
    device: Annotated[list[str], typer.Option(help="attach this device; may be repeated (VFs of one card)")] = [],  # noqa: B006
    net: Annotated[list[str], typer.Option(help="uplink of each port, as `regmodel serve --net`")] = [],  # noqa: B006
    ports: Annotated[int, typer.Option(help="Ethernet ports of a card", min=1, max=4)] = 1,
    option: Annotated[list[str], typer.Option(help="a property of the card, NAME=VALUE")] = [],  # noqa: B006
    socket: Annotated[list[Path], typer.Option(help="attach what is served at this socket already")] = [],  # noqa: B006
    driver: Annotated[str | None, typer.Option(help="instead of the stock driver: a module; vfio-pci; - for none")] = None,
    module: Annotated[list[Path], typer.Option(help="your own FILE.ko in place of the stock one of that name")] = [],  # noqa: B006
    kernel: Annotated[str, typer.Option(help="7.2, 6.12, another Debian series, or the path of your bzImage")] = "7.2",
    modules: Annotated[Path | None, typer.Option(help="/lib/modules/VERSION of your kernel")] = None,
    rootfs: Annotated[Path | None, typer.Option(help="run in this root file system, a folder of the host")] = None,
    share: Annotated[Path | None, typer.Option(help="a folder of the host, writable at /mnt/share in the guest")] = None,
    append: Annotated[str, typer.Option(help="more words for the kernel's command line")] = "",
    memory: Annotated[str | None, typer.Option(help="RAM of the guest, as 1G; by default what it needs")] = None,
    cpus: Annotated[int, typer.Option(help="virtual CPUs", min=1)] = 1,
    viommu: Annotated[bool, typer.Option(help="put devices behind an intel-iommu; --driver vfio-pci does")] = False,
    hotplug: Annotated[bool, typer.Option(help="put each device below a root port of its own")] = False,
    kit: Annotated[list[str], typer.Option(help="more programs in the guest: dpdk, iperf3, python, tcpdump")] = [],  # noqa: B006
    timeout: Annotated[float, typer.Option(help="seconds that the command may take")] = 3600.0,
    trace: Annotated[Path | None, typer.Option(help="save the conversation, for `regmodel trace FILE`")] = None,
) -> None:
    """Boot a guest with devices attached and their stock driver loaded, run a command in it, exit with its status.

    In the command BDF, or BDF0, BDF1, ..., stands for the PCI address of a device. What starts `regmodel` or `python` finds
    them there, as they are here. With --driver vfio-pci the devices are bound to it before the command runs.

    \b
    regmodel vm --device igbvf -- ip -s link show eth0
    regmodel vm --device igbvf -- 'ip link set eth0 up; sleep 2; ethtool -S eth0'
    regmodel vm --device igbvf                          # a console; leave with `exit`
    regmodel vm --device igbvf --driver vfio-pci -- regmodel pmd igbvf --via vfio:BDF --mode rxonly --seconds 5
    regmodel vm --device igbvf --module ./igbvf.ko -- ethtool -i eth0
    regmodel vm --device igbvf --kernel ./bzImage --modules ./lib/modules/6.18.0 -- dmesg
    """
    import os
    import shlex
    import sys

    from emulators.commands.serve import card_options
    from emulators.process import ServerProcess
    from emulators.qemu import Lab, VfioUser, python, vfio
    from regmodel.catalogue import find

    _check(device, socket, ports, trace)
    line = None if not command else command[0] if len(command) == 1 else shlex.join(command)
    to_user_space = driver is not None and driver.replace("_", "-") == vfio.MODULE
    if rootfs is None and (to_user_space if line is None else python.wanted(line)):
        kit = [*kit, python.KIT]
    modules_wanted = _modules([find(spec).drivers[0] for spec in device if find(spec).drivers], driver, module)
    with ExitStack() as stack:
        sockets, lab = list(socket), Lab()
        if device:
            server = stack.enter_context(ServerProcess(device, nets=net, ports=ports, options=card_options(option)))
            sockets = [*server.sockets, *sockets]
            if trace is not None:
                stack.enter_context(_recording(server.control_path, trace))
        machine = lab.vm(
            devices=[VfioUser(str(path)) for path in sockets], modules=modules_wanted,
            kernel=_kernel(kernel), modules_dir=modules, memory=memory or "", cpus=cpus,
            viommu=viommu or to_user_space, root_port=hotplug, share=share, rootfs=rootfs, kits=kit, append=append,
        )  # fmt: skip
        line = line and _addressed(line, machine.bdfs)
        with machine as guest:
            if to_user_space:
                vfio.bind(guest, *guest.bdfs)
            if line:
                status = guest.stream(line, _out(sys.stdout.fileno()), timeout)
            else:
                from emulators.qemu.console import interact

                status = interact(guest)
    sys.stdout.flush()
    raise typer.Exit(status if 0 <= status <= 255 else os.EX_SOFTWARE)


vm.command_settings = command_settings  # type: ignore[attr-defined]


def _check(device: list[str], socket: list[Path], ports: int, trace: Path | None) -> None:
    """What can be known to go wrong before anything starts. Raises ``UsageError``."""
    if ports == 3:
        raise UsageError("a card has 1, 2 or 4 ports")
    if trace is not None and not device:
        raise UsageError("--trace needs a --device; what is served elsewhere is followed with `regmodel trace SERVER`")
    if trace is not None and not trace.absolute().parent.is_dir():
        raise UsageError(f"cannot write {trace}: there is no such folder; choose another --trace")
    if not device and not socket:
        raise UsageError("name a --device to attach (see `regmodel list`) or a --socket where one is served")
    for path in socket:
        if not path.is_socket():
            raise UsageError(f"{path}: nothing is served there; start it with `regmodel serve DEVICE --socket {path}`")


def _modules(stock: list[str], driver: str | None, own: list[Path]) -> list[str | Path]:
    """The modules to load: the stock drivers or ``driver`` (``-`` is none), each at most once, and files in their place."""
    replaced = {path.name.split(".ko")[0].replace("-", "_") for path in own}
    named = dict.fromkeys(stock if driver is None else [driver])
    return [*(name for name in named if name != "-" and name.replace("-", "_") not in replaced), *own]


def _addressed(command: str, bdfs: list[str]) -> str:
    """The command with the address of a device for each BDF in it; shell variables of that name are left alone."""

    def address(found: re.Match[str]) -> str:
        number = int(found[1] or 0)
        if number >= len(bdfs):
            raise UsageError(f"{found[0]}: the last of the {len(bdfs)} devices is BDF{len(bdfs) - 1}; attach another --device")
        return bdfs[number]

    return re.sub(r"(?<![\w${])BDF(\d*)(?!\w)", address, command)


def _kernel(text: str) -> str | Path:
    if "/" in text or Path(text).is_file():
        if not Path(text).is_file():
            raise UsageError(f"{text}: no such kernel image; give 7.2, 6.12, another Debian series, or the path of a bzImage")
        return Path(text)
    return text


def _out(fd: int) -> Callable[[bytes], None]:
    import os

    def write(data: bytes) -> None:
        while data:
            data = data[os.write(fd, data) :]

    return write


@contextmanager
def _recording(control: Path, path: Path) -> Iterator[None]:
    """``regmodel trace --save`` beside the guest."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "regmodel.cli", "trace", str(control), "--save", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
