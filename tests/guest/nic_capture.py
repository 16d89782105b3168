"""Takes a stock driver through its phases, on our device and on QEMU's own, and keeps what it did to each.

In here: what is the same for every device: two sides, which differ in how the device comes to be, phases, which do not, and
the form in which two runs compare. QEMU's trace is the witness on both sides (``tests.differential.trace``): nothing of ours,
and nothing in the guest, observes. Which phases there are, and what chance orders, is in ``vmxnet3_capture`` and
``virtio_capture``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, RawDevice, VfioUser
from regmodel.bank import Bank
from regmodel.catalogue import Device
from tests.differential.canonical import Step
from tests.differential.compare import Difference, configuration, kinds, sequences
from tests.differential.peer import MAC as PEER_MAC
from tests.differential.peer import Peer
from tests.differential.trace import EVENTS, Access, Function, accesses

ADDRESS, OTHER = "02:00:5e:10:00:01", "02:00:5e:10:00:99"
GUEST, PEER = "192.0.2.1/24", "192.0.2.2"
VLAN_GUEST, VLAN_PEER = "198.51.100.1/24", "198.51.100.2"
STACKED = ("8021q", "macvlan")
SETTLE = 0.3


@dataclass
class Side:
    """A guest with the device, its driver not loaded yet. ``link`` is the cable."""

    vm: VM
    trace: Path
    link: Callable[[bool], object]

    @property
    def bdf(self) -> str:
        return self.vm.bdfs[0]


@dataclass(frozen=True)
class Machine:
    """The guest of both sides: a kernel, the modules that it needs, and whether the device is behind a root port."""

    kernel: str
    modules: tuple[str, ...]
    root_port: bool = True

    def boot(self, lab: Lab, device: RawDevice | VfioUser, arguments: list[str]) -> VM:
        modules, more = [*self.modules, *STACKED], {"root_port": self.root_port, "arguments": arguments}
        return lab.vm([device], modules, load=STACKED, kernel=self.kernel, **more)  # type: ignore[arg-type]


@contextmanager
def theirs(lab: Lab, machine: Machine, device: str) -> Iterator[Side]:
    """``device`` is QEMU's, with its properties."""
    with _folder() as (folder, ends):
        arguments = ["-netdev", f"dgram,id=n0,{ends}", "-D", str(folder / "trace")]
        with machine.boot(lab, RawDevice(f"{device},netdev=n0,mac={ADDRESS},rombar=0"), arguments) as vm:
            yield Side(vm, folder / "trace", lambda up: vm.qmp("set_link", name="n0", up=up))


@contextmanager
def ours(lab: Lab, machine: Machine, device: str, options: dict[str, str]) -> Iterator[Side]:
    """``device`` is the model's name; ``options`` make it as QEMU's is."""
    with _folder() as (folder, _), ExitStack() as stack:
        net = f"dgram:local={folder}/nic,remote={folder}/peer"
        server = stack.enter_context(ServerProcess([device], nets=[net], options={"mac": ADDRESS, **options}))

        def link(up: bool) -> None:
            with server.control() as client:
                client.ask("ctl", words=["link", "up" if up else "down"])

        arguments = ["-D", str(folder / "trace")]
        vm = stack.enter_context(machine.boot(lab, VfioUser(str(server.sockets[0])), arguments))
        yield Side(vm, folder / "trace", link)


@contextmanager
def _folder() -> Iterator[tuple[Path, str]]:
    """With the far end of a cable at ``peer``, and how QEMU is told of its ends."""
    with tempfile.TemporaryDirectory(prefix="regmodel-capture-") as name, Peer(Path(name)):
        yield Path(name), f"local.type=unix,local.path={name}/nic,remote.type=unix,remote.path={name}/peer"


# -- the phases

_MAC_TEXT = PEER_MAC.hex(":")
_CARRIER = "for i in $(seq 100); do [ $(cat /sys/class/net/eth0/carrier) = {} ] && exit 0; sleep 0.1; done; exit 1"
UP, DOWN = _CARRIER.format(1), _CARRIER.format(0)
KNOWN = f"ip neigh replace {PEER} lladdr {_MAC_TEXT} dev eth0"  # the far end answers no ARP
VLAN = (
    f"ip link add link eth0 name v5 type vlan id 5 && ip addr add {VLAN_GUEST} dev v5 && ip link set v5 up && "
    f"ip neigh replace {VLAN_PEER} lladdr {_MAC_TEXT} dev v5"
)


def ping(address: str, size: int = 56) -> str:
    """Three are answered; what is known of the device where they are not. One command each, as in ``network.ping``."""
    told = "cat /tmp/ping; grep eth0 /proc/interrupts; ethtool -S eth0 | grep -v ' 0$'; ethtool -d eth0"
    one = f"ping -n -q -c 1 -W 20 -s {size} {address} > /tmp/ping"
    return f"for i in 1 2 3; do {one} || {{ ({told}) >&2; exit 1; }}; sleep 0.2; done"


@dataclass(frozen=True)
class Phase:
    """What the guest (a shell command) or the host does."""

    name: str
    steps: tuple[str | Callable[[Side], object], ...]


STATISTICS, CONFIGURATION = "statistics after traffic", "settings"
"""Phases whose output is kept, and in which configuration space is read."""


@dataclass
class Capture:
    """One side, by phase: what the driver did in its order, and kinds of what chance orders. ``config`` is configuration space
    as the guest reads it, ``statistics`` those of ``ethtool -S``.
    """

    steps: dict[str, list[Step]] = field(default_factory=dict)
    chance: dict[str, set[str]] = field(default_factory=dict)
    config: bytes = b""
    statistics: str = ""

    def __str__(self) -> str:
        lines: list[str] = []
        for name, steps in self.steps.items():
            lines += [f"== {name}", *map(str, steps), *sorted(f"~ {kind}" for kind in self.chance[name])]
        return "\n".join(lines) + "\n"


class Canonical:
    """Names for what is accessed: BARs lie where the guest's kernel has put them. ``bars`` are those that are compared."""

    def __init__(self, side: Side, device: Device, bars: Sequence[int]) -> None:
        lines = side.vm.run(f"cat /sys/bus/pci/devices/{side.bdf}/resource", check=True).text.splitlines()
        places = {bar: (int(lines[bar].split()[0], 16), int(lines[bar].split()[1], 16) + 1) for bar in bars}
        base, end = min(first for first, _ in places.values()), max(last for _, last in places.values())
        self.function = Function(side.bdf.removeprefix("0000:"), base, end - base)
        self._spans = {bar: (first - base, last - base) for bar, (first, last) in places.items()}
        self._config = {
            cell.offset + byte: f"{cell.path}+{byte}" if byte else str(cell.path)
            for cell in Bank(device.config) for byte in range(cell.size)
        }  # fmt: skip

    def phase(self, found: Iterator[Access]) -> tuple[list[Step], set[str]]:
        """What is in order, each poll loop once, and kinds of what is not."""
        steps: list[Step] = []
        chance: set[str] = set()
        for access in found:
            step = self._step(access)
            kind = self.by_chance(step) if step is not None else None
            if step is None or kind == "":
                continue
            if kind is not None:
                chance.add(kind)
            elif not steps or steps[-1] != step:
                steps.append(step)
        return steps, chance

    def _step(self, access: Access) -> Step | None:
        if access.space == "config":
            name = self._config.get(access.offset, f"config+{access.offset:#x}")
            return Step(access.op, f"config {name}", f"{access.value:#x}")
        for bar, (first, last) in self._spans.items():
            if first <= access.offset < last:
                return self.step(bar, access, access.offset - first)
        return None

    def step(self, bar: int, access: Access, offset: int) -> Step:
        """An access at ``offset`` in a BAR. Addresses of memory that the guest has chosen compare as such."""
        raise NotImplementedError

    def by_chance(self, step: Step) -> str | None:
        """The kind of what chance orders, "" for what is not looked at, None for all else."""
        raise NotImplementedError


def run(side: Side, canonical: Canonical, phases: Sequence[Phase]) -> Capture:
    """Take ``side`` through ``phases``."""
    vm, capture = side.vm, Capture()
    vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1", check=True)
    for event in EVENTS:
        vm.qmp("trace-event-set-state", name=event, enable=True)
    for phase in phases:
        start = side.trace.stat().st_size
        for step in phase.steps:
            done = vm.run(step, check=True).text if isinstance(step, str) else str(step(side))
            if phase.name == STATISTICS:
                capture.statistics = done
        vm.run(f"sleep {SETTLE}", check=True)  # of the guest's time: what the driver does in the background has had its turn
        with side.trace.open() as text:
            text.seek(start)
            capture.steps[phase.name], capture.chance[phase.name] = canonical.phase(accesses(text, canonical.function))
        if phase.name == CONFIGURATION:
            capture.config = vm.get(f"/sys/bus/pci/devices/{side.bdf}/config")
    return capture


def differences(device: Device, mine: Capture, reference: Capture) -> set[Difference]:
    """All that differs, configuration space if it was read."""
    found = {each for name in mine.steps for each in sequences(name, mine.steps[name], reference.steps[name])}
    found |= kinds("any", "chance", [set().union(*mine.chance.values())], [set().union(*reference.chance.values())])
    return found | configuration(device.config, mine.config, reference.config)
