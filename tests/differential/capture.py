"""Runs stock igbvf through its phases, on our VF and on QEMU's own, and keeps what it did to each.

In here: two sides (which differ in how the VF comes to be and how its PF is steered), the phases (which do not), and the
record. QEMU's trace is the witness on both sides (``trace``): nothing of ours, and nothing in the guest, observes.

Their PF is stock igb in the same guest, on the same processor: it answers a message in an interrupt between two reads of
igbvf's poll loop. Ours answers in the server.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, RawDevice, VfioUser
from regmodel.devices.igbvf import IGBVF
from tests.differential.canonical import Canonical
from tests.differential.peer import MAC as PEER_MAC
from tests.differential.peer import Peer
from tests.differential.trace import EVENTS, Access, Function, accesses

ADDRESS = "02:00:5e:10:00:01"
GUEST, PEER = "192.0.2.1/24", "192.0.2.2"
VLAN_GUEST, VLAN_PEER = "198.51.100.1/24", "198.51.100.2"
STACKED = ("8021q", "macvlan")
VFS = 7
SETTLE = 0.6  # seconds after each phase: the watchdog that a mailbox interrupt starts runs one jiffy later
UNDER_WAY = 3.0  # seconds in which a run of the watchdog that has begun ends, if the driver is not taken down meanwhile


@dataclass
class Capture:
    """One side: accesses by phase, and configuration space (4096 bytes) as the guest reads it while the driver is loaded."""

    phases: dict[str, list[Access]] = field(default_factory=dict)
    config: bytes = b""
    statistics: dict[str, int] = field(default_factory=dict)


class Side:
    """A guest with a VF behind a root port. ``interface`` and ``bdf`` are the VF's."""

    interface: str
    bdf: str

    def __init__(self, vm: VM, trace: Path) -> None:
        self.vm, self.trace = vm, trace

    def give_address(self, address: str) -> None:
        """As ``ip link set PF vf 0 mac``."""
        raise NotImplementedError

    def link(self, up: bool) -> None:
        """The cable of the port."""
        raise NotImplementedError

    def reset_pf(self) -> None:
        """The PF's driver resets the port, and goes on."""
        raise NotImplementedError

    def function(self) -> Function:
        """Where the VF is, from the kernel's own table of its BARs."""
        start, end, _ = self.vm.run(f"head -1 /sys/bus/pci/devices/0000:{self.bdf}/resource", check=True).text.split()
        return Function(self.bdf, int(start, 16), int(end, 16) - int(start, 16) + 1)


class Theirs(Side):
    """QEMU's igb: the PF is eth0 and stock igb's, all VFs are enabled, and only VF 0 is for igbvf."""

    interface, bdf = "eth1", "01:10.0"

    def give_address(self, address: str) -> None:
        self.vm.run(f"ip link set eth0 vf 0 mac {address}", check=True)

    def link(self, up: bool) -> None:
        self.vm.qmp("set_link", name="n0", up=up)

    def reset_pf(self) -> None:
        self.vm.run("ethtool -r eth0", check=True)


class Ours(Side):
    """The VF that is described here, served in a process of its own."""

    interface, bdf = "eth0", "01:00.0"
    server: ServerProcess

    def give_address(self, address: str) -> None:
        self._ctl("vf", "0", "mac", address)

    def link(self, up: bool) -> None:
        self._ctl("link", "up" if up else "down")

    def reset_pf(self) -> None:
        self._ctl("pf-reset")

    def _ctl(self, *words: str) -> None:
        with self.server.control() as client:
            client.ask("ctl", words=list(words))


@contextmanager
def theirs(lab: Lab, kernel: str) -> Iterator[Theirs]:
    """QEMU's VF, enabled by stock igb, not yet bound to a driver."""
    with _folder() as folder, ExitStack() as stack:
        stack.enter_context(Peer(folder))
        ends = f"local.type=unix,local.path={folder}/nic,remote.type=unix,remote.path={folder}/peer"
        vm = stack.enter_context(lab.vm(
            [RawDevice("igb,netdev=n0")], ["igb", "igbvf", *STACKED], load=["igb", *STACKED], kernel=kernel, root_port=True,
            name="theirs", arguments=["-netdev", f"dgram,id=n0,{ends}", "-D", str(folder / "trace")],
        ))  # fmt: skip
        # VFs before the PF is opened: its queues are then those behind the VFs' and leave nothing in theirs
        enable = f"cd /sys/class/net/eth0/device && echo 0 > sriov_drivers_autoprobe && echo {VFS} > sriov_numvfs"
        vm.run(f"{enable} && echo igbvf > virtfn0/driver_override && ip link set eth0 up", check=True)
        vm.run(f"dev=eth0; {_carrier(True)}", check=True)
        yield Theirs(vm, folder / "trace")


@contextmanager
def ours(lab: Lab, kernel: str, device: str = "igbvf") -> Iterator[Ours]:
    """Our VF, whose PF has given it no address, as stock igb does when it enables VFs (igb_main.c ``igb_vf_configure``)."""
    with _folder() as folder, ExitStack() as stack:
        stack.enter_context(Peer(folder))
        nets = [f"dgram:local={folder}/nic,remote={folder}/peer"]
        server = stack.enter_context(ServerProcess([device], nets=nets, options={"mac": "none"}))
        vm = stack.enter_context(lab.vm(
            [VfioUser(str(server.sockets[0]))], ["igbvf", *STACKED], load=STACKED, kernel=kernel, root_port=True, name="ours",
            arguments=["-D", str(folder / "trace")],
        ))  # fmt: skip
        side = Ours(vm, folder / "trace")
        side.server = server
        yield side


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="regmodel-differential-") as name:
        yield Path(name)


# -- the phases

Step = str | Callable[[Side], object]


@dataclass(frozen=True)
class Phase:
    """What the guest (a shell command, with ``$dev`` for the interface) or the host does; ``wait`` seconds to go with it.

    While the PF resets, what the watchdog sees depends on the moment at which it looks, and so does whether a message of the
    PF waits: that phase has no ``watch``.
    """

    name: str
    steps: tuple[Step, ...]
    wait: float = SETTLE
    traffic: bool = False
    watch: str = "link watch"  # with which phases its runs of the watchdog are compared


def _carrier(up: bool, *, seconds: int = 10, must: bool = True) -> str:
    """Wait for the carrier; unless it ``must`` come, go on without it."""
    poll = f"for i in $(seq {10 * seconds}); do [ $(cat /sys/class/net/$dev/carrier) = {int(up)} ] && exit 0; sleep 0.1; done"
    return f"{poll}; exit {int(must)}"


def _ping(address: str, size: int = 56) -> str:
    """Five are answered, one command each, as in ``tests.guest.network.ping``."""
    return f"for i in 1 2 3 4 5; do ping -n -q -c 1 -W 20 -s {size} {address} || exit 1; sleep 0.2; done"


_MAC_TEXT = PEER_MAC.hex(":")
_LOST = "/sys/class/net/$dev/carrier_down_count"

PHASES = (
    Phase("probe without address", ("modprobe igbvf",)),
    Phase("remove without address", ("rmmod igbvf",)),
    Phase("probe", (lambda side: side.give_address(ADDRESS), "modprobe igbvf")),
    Phase("open", ("ip link set $dev up", _carrier(True))),
    Phase("link watch", (), wait=7.0),
    Phase("register dump", ("ethtool -d $dev",)),
    Phase("statistics", ("ethtool -S $dev",)),
    Phase("self test", ("ethtool -t $dev",)),
    Phase("traffic", (f"ip addr add {GUEST} dev $dev; ip neigh replace {PEER} lladdr {_MAC_TEXT} dev $dev", _ping(PEER)),
          traffic=True),
    Phase("statistics after traffic", ("ethtool -S $dev",)),
    Phase("change MTU", ("ip link set $dev mtu 9000", _carrier(True))),
    Phase("jumbo traffic", (_ping(PEER, 6000),), traffic=True),
    Phase("change MTU back", ("ip link set $dev mtu 1500", _carrier(True))),
    Phase("add VLAN", (f"ip link add link $dev name v5 type vlan id 5 && ip addr add {VLAN_GUEST} dev v5 && "
                       f"ip link set v5 up && ip neigh replace {VLAN_PEER} lladdr {_MAC_TEXT} dev v5",)),
    Phase("VLAN traffic", (_ping(VLAN_PEER),), traffic=True),
    Phase("remove VLAN", ("ip link del v5",)),
    Phase("multicast", ("ip maddr add 01:00:5e:01:02:03 dev $dev && ip maddr add 33:33:ff:00:12:34 dev $dev && "
                        "ip maddr del 01:00:5e:01:02:03 dev $dev",)),
    Phase("promiscuous", ("ip link set $dev promisc on && ip link set $dev promisc off",)),
    Phase("add unicast filter", ("ip link add link $dev name m0 address 02:00:5e:10:00:77 type macvlan && ip link set m0 up",)),
    Phase("remove unicast filter", ("ip link del m0",)),
    Phase("change address", ("ip link set $dev address 02:00:5e:10:00:99; true",)),
    Phase("change rings", ("ethtool -G $dev rx 512 tx 512", _carrier(True))),
    Phase("coalesce", ("ethtool -C $dev rx-usecs 100",)),
    Phase("link down", (lambda side: side.link(False), _carrier(False, seconds=5, must=False)), wait=5.0, watch="link down"),
    Phase("link up", (lambda side: side.link(True), _carrier(True)), wait=5.0, watch="link up"),
    Phase("PF reset", (f"cat {_LOST} > /tmp/lost", lambda side: side.reset_pf(),
                       f"for i in $(seq 100); do [ $(cat {_LOST}) -gt $(cat /tmp/lost) ] && exit 0; sleep 0.1; done; exit 1",
                       _carrier(True, seconds=30)), wait=3.0, watch=""),
    Phase("close", ("ip link set $dev down",)),
    Phase("reopen", ("ip link set $dev up", _carrier(True))),
    Phase("close again", ("ip link set $dev down",)),
    Phase("remove", ("rmmod igbvf",)),
)  # fmt: skip


class Trace:
    """The accesses to ``function`` since the last look, none left out."""

    def __init__(self, path: Path, function: Function) -> None:
        self._path, self._function = path, function
        self._at = path.stat().st_size

    def since(self) -> list[Access]:
        with self._path.open() as text:
            text.seek(self._at)
            found = list(accesses(text, self._function))
            self._at = text.tell()
        return found

    def cut(self, form: Canonical) -> list[Access]:
        """As ``since``, and the rest of a run of the watchdog that is under way: a cut through it would leave two pieces that
        no other run has.
        """
        found, until = self.since(), time.monotonic() + UNDER_WAY
        while form.under_way(found) and time.monotonic() < until:
            time.sleep(0.02)
            found += self.since()
        return found


def run(side: Side, phases: Sequence[Phase] = PHASES) -> Capture:
    """Take ``side`` through ``phases``."""
    vm, capture, form = side.vm, Capture(), Canonical(IGBVF)
    vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1", check=True)
    trace = Trace(side.trace, side.function())
    for event in EVENTS:
        vm.qmp("trace-event-set-state", name=event, enable=True)
    for phase in phases:
        for step in phase.steps:
            if isinstance(step, str):
                said = vm.run(f"dev={side.interface}; {step}", check=True).text
            else:
                step(side)
        vm.run(f"sleep {phase.wait}", check=True)  # of the guest's time
        capture.phases[phase.name] = trace.cut(form)
        if phase.name == "statistics after traffic":
            capture.statistics = _statistics(said)
        if phase.name == "link watch":
            capture.config = vm.get(f"/sys/bus/pci/devices/0000:{side.bdf}/config")
            trace.cut(form)  # these reads are ours
    return capture


def _statistics(said: str) -> dict[str, int]:
    lines = said.splitlines()
    return {name.strip(): int(value) for name, _, value in (line.partition(":") for line in lines) if value.strip()}
