"""virtio-net under the stock ``virtio_net`` in what it may be asked to be: features that nobody has by default, and those that
are taken away; every queue at work; segments that nobody cuts; filters of addresses and groups; a vhost-user peer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from emulators.fabric.frames import mac_bytes
from emulators.process import ServerProcess
from emulators.qemu import VM, VfioUser
from tests.emulators.fabric.testpmd import HostTestpmd
from tests.guest.conftest import Bench
from tests.guest.network import MSS, OWN_PORTS, flow_to_each, flows, mac, ping, received, send_file, until, up
from tests.guest.pmd import Cable, frame
from tests.guest.test_virtio import MODULES, RSS, A, B, Pair, at_one_moment
from tests.guest.virtio import apart, features, nic, quiet, serve

pytestmark = pytest.mark.guest

Clean = Callable[[VM], None]
FILE = 1 << 20
SEGMENTS = FILE // MSS
"""What a file makes at the least where nobody leaves the cutting to the device; fewer frames are longer than a segment."""
GROUPS = ("01:00:5e:01:02:03", "01:00:5e:01:02:04")
STRANGER = "02:00:00:00:00:77"


def has(pair: Pair, name: str, there: bool = True) -> None:
    """Driver and model agree that a feature is used, or that it is not."""
    model = nic(pair.bench)
    assert (name in model["features"]) == there, model["features"]
    assert len(features(pair.near)) == len(model["features"])


def speed(pair: Pair) -> None:
    said = pair.near.run("ethtool eth0", check=True).text
    assert "Speed: 10000Mb/s" in said and "Duplex: Full" in said


def mtu(pair: Pair) -> None:
    has(pair, "mtu")
    assert pair.near.run("cat /sys/class/net/eth0/mtu", check=True).text == "1400"
    assert pair.near.run("ip link set eth0 mtu 1500").status != 0, "the device said how long a frame may be"
    ping(pair.near, B, size=1372)


def small(pair: Pair) -> None:
    """The rings are of the size that the device has, by what it says and by what ``ethtool`` does."""
    assert {queue["size"] for queue in nic(pair.bench)["queues"].values()} == {64}
    assert re.findall(r"(?:RX|TX):\s+(\d+)", pair.near.run("ethtool -g eth0", check=True).text) == ["64"] * 4


def announce(pair: Pair) -> None:
    """The driver acknowledges over the control queue, and its stack tells the neighbours."""
    has(pair, "guest_announce")
    heard = nic(pair.bench, "nic1")["queues"]["0"]["frames"]
    commands = nic(pair.bench)["queues"]["2"]["commands"]
    pair.bench.ctl("nic", "0", "announce")
    until(lambda: nic(pair.bench)["queues"]["2"]["commands"] > commands)
    until(lambda: nic(pair.bench, "nic1")["queues"]["0"]["frames"] > heard)


def offloads(pair: Pair) -> None:
    """What the driver takes is up to ``ethtool`` at any time, and the device heeds it."""
    has(pair, "ctrl_guest_offloads")
    assert {"guest_tso4", "guest_tso6"} <= set(nic(pair.bench)["offloads"])
    for on in (False, True):
        pair.near.run(f"ethtool -K eth0 rx-gro-hw {'on' if on else 'off'}", check=True)
        assert ("guest_tso4" in nic(pair.bench)["offloads"]) == on
        before = nic(pair.bench)["queues"]["0"]["frames"]
        send_file(pair.far, pair.near, A, FILE, port=5001)
        taken = nic(pair.bench)["queues"]["0"]["frames"] - before
        assert (taken < SEGMENTS) == on, taken


def no_filters(pair: Pair) -> None:
    """The driver is refused nothing: it never asks, and all VLANs come."""
    has(pair, "ctrl_rx", False)
    has(pair, "ctrl_vlan", False)
    for end, name, number in ((pair.near, "eth0", 1), (pair.far, "eth1", 2)):
        end.run(f"ip link add link {name} name v7 type vlan id 7 && ip addr add 198.51.7.{number}/24 dev v7", check=True)
        end.run("ip link set v7 up", check=True)
    ping(pair.near, "198.51.7.2", count=2)


SHAPES: dict[str, tuple[str, dict[str, str], Callable[[Pair], None]]] = {
    "in-order": ("split", {"in_order": "on"}, lambda pair: has(pair, "in_order")),
    "in-order-packed": ("packed", {"in_order": "on"}, lambda pair: has(pair, "in_order")),
    "notification-data": ("split", {"notification_data": "on"}, lambda pair: has(pair, "notification_data")),
    "notification-data-packed": ("packed", {"notification_data": "on"}, lambda pair: has(pair, "notification_data")),
    "order-platform": ("packed", {"order_platform": "on"}, lambda pair: has(pair, "order_platform")),
    "mtu": ("split", {"mtu": "1400"}, mtu),
    "speed": ("split", {"speed": "10000", "duplex": "full"}, speed),
    "small-queues": ("packed", {"queue_size": "64"}, small),
    "small-queues-legacy": ("legacy", {"queue_size": "64"}, small),
    "announce": ("split", {}, announce),
    "offloads": ("packed", {}, offloads),
    "no-filters": ("split", {"ctrl_rx": "off", "ctrl_rx_extra": "off", "ctrl_vlan": "off"}, no_filters),
    "short-header": ("legacy", {"mrg_rxbuf": "off"}, lambda pair: has(pair, "mrg_rxbuf", False)),
    "no-merging": ("split", {"mrg_rxbuf": "off"}, lambda pair: has(pair, "mrg_rxbuf", False)),
    "no-events": ("split", {"event_idx": "off", "indirect_desc": "off"}, lambda pair: has(pair, "event_idx", False)),
}
"""Front, options of the device, and what is special about it."""


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape(bench: Bench, shape: str, clean: Clean) -> None:
    front, options, special = SHAPES[shape]
    pair = Pair(bench, front, options=options)
    ping(pair.near, B, count=3)
    pair.files()
    special(pair)
    ping(pair.near, B)
    assert bench.stats()["nic0"]["device errors"] == {}
    clean(pair.near)


@pytest.mark.alone  # four processors on a host that may have two
@pytest.mark.only(front=["packed", "transitional-split", "legacy"])
def test_every_queue_is_at_work(bench: Bench, front: str, clean: Clean) -> None:
    """Four processors, four queue pairs: what each sends leaves by its own, and flows come in by all, as the table has it."""
    pair = Pair(bench, front, "4", options={} if front == "legacy" else RSS, cpus=4)
    assert "Combined:\t4" in pair.near.run("ethtool -l eth0", check=True).text.partition("Current")[2]
    flows(pair.near, pair.far, 32, cpus=4)
    rss = nic(bench)["rss"]
    assert (rss is None) == (front == "legacy")
    if rss is not None:
        assert hashing(pair) == (rss["table"], rss["key"]) and set(rss["table"]) == set(range(4))
        pair.far.run("ethtool -K eth1 tso off", check=True)
        flow_to_each(pair.near, rss["key"], rss["table"], partial(came_in, pair), iter(OWN_PORTS))
    ours, theirs, link = at_one_moment(pair)
    moved = {number: queue["frames"] for number, queue in ours.items() if "frames" in queue}
    assert set(moved) == {str(n) for n in range(8)} and all(moved.values()), moved
    assert link["rx_packets"] == sum(moved[str(2 * n)] for n in range(4))
    assert link["tx_packets"] == sum(moved[str(2 * n + 1)] for n in range(4))
    assert [theirs[f"tx{n}_kicks"] for n in range(4)] == [ours[str(2 * n + 1)]["doorbells"] for n in range(4)]
    if rss is not None:
        pair.near.run("ethtool -X eth0 weight 0 1 0 3", check=True)
        assert hashing(pair)[0] == nic(bench)["rss"]["table"] and set(nic(bench)["rss"]["table"]) == {1, 3}
    assert bench.stats()["nic0"]["device errors"] == {}
    clean(pair.near)


def came_in(pair: Pair) -> list[int]:
    """What came in so far, by receive queue."""
    queues = nic(pair.bench)["queues"]
    return [queues[str(2 * number)]["frames"] for number in range(pair.pairs)]


def hashing(pair: Pair) -> tuple[list[int], str]:
    """The table and the key of ``ethtool -x``."""
    text = pair.near.run("ethtool -x eth0", check=True).text
    table = [int(entry) for line in re.findall(r"^ +\d+: (.*)$", text, re.M) for entry in line.split()]
    return table, "".join(re.findall(r"RSS hash key:\n([0-9a-f:]+)", text)).replace(":", "")


@pytest.mark.only(front=["split", "packed", "legacy"])
def test_segments_that_nobody_cuts(bench: Bench, front: str, clean: Clean) -> None:
    """With TSO a file is a few large frames on its way out of one driver and into the other; without, 1448 octets each."""
    pair = Pair(bench, front)
    frames = []
    for on in ("on", "off"):
        pair.near.run(f"ethtool -K eth0 tso {on}", check=True)
        before = [nic(bench)["queues"]["1"]["frames"], nic(bench, "nic1")["queues"]["0"]["frames"]]
        send_file(pair.near, pair.far, B, FILE)
        after = [nic(bench)["queues"]["1"]["frames"], nic(bench, "nic1")["queues"]["0"]["frames"]]
        frames.append([b - a for a, b in zip(before, after, strict=True)])
    whole, cut = frames
    assert all(count < SEGMENTS for count in whole) and all(count >= SEGMENTS for count in cut), frames
    clean(pair.near)


def test_addresses_and_groups(bench: Bench, tmp_path: Path, clean: Clean) -> None:
    """What the stock driver has asked for comes, what it has not does not, and all of it does when it listens to all."""
    cable = Cable(tmp_path, "wire")
    serve(bench, "split", count=1, nets=[cable.net])
    vm = bench.guest(0, modules=[*MODULES, "macvlan"])
    quiet(vm)
    up(vm, A)
    own = mac_bytes(mac(vm))

    def come(*targets: bytes) -> list[bool]:
        """Which of these addresses frames come by. A longer one for the NIC comes behind each: when it is there, so is that."""
        found = []
        for target in targets:
            frames, octets = received(vm)
            cable.send(frame(target), frame(own, size=1400))
            until(partial(lambda octets: received(vm)[1] - octets >= 1400 - 14, octets))
            found.append(received(vm)[0] - frames == 2)
        return found

    one, other = map(mac_bytes, GROUPS)
    stranger = mac_bytes(STRANGER)
    assert come(own, stranger, one, other, b"\xff" * 6) == [True, False, False, False, True]
    vm.run(f"ip maddr add {GROUPS[0]} dev eth0", check=True)
    assert come(own, stranger, one, other) == [True, False, True, False]
    vm.run(f"ip link add link eth0 name second address {STRANGER} type macvlan && ip link set second up", check=True)
    assert come(own, stranger, one, other) == [True, True, True, False]
    vm.run(f"ip link del second; ip maddr del {GROUPS[0]} dev eth0; ip link set eth0 allmulticast on", check=True)
    assert come(own, stranger, one, other) == [True, False, True, True]
    vm.run("ip link set eth0 allmulticast off promisc on", check=True)
    assert come(own, stranger, one, other) == [True, True, True, True]
    vm.run("ip link set eth0 promisc off", check=True)
    assert come(own, stranger, one, other) == [True, False, False, False]
    cable.close()
    clean(vm)


def test_a_vhost_user_peer_between(bench: Bench, tmp_path: Path, clean: Clean) -> None:
    """Two NICs whose wires end in DPDK's ``net_vhost``, which forwards between them: checksums and segments pass undone."""
    paths = [str(tmp_path / name) for name in "ab"]
    vdevs = [f"net_vhost{n},iface={path}" for n, path in enumerate(paths)]
    with HostTestpmd(tmp_path, vdevs, "--auto-start") as pmd, ExitStack() as ends:
        until(lambda: pmd.prompts or "Press enter" in pmd.text, 30)
        servers = [
            ends.enter_context(ServerProcess(["virtio-net"], nets=[f"vhost-user:connect={path}"], options={"mac": address}))
            for path, address in zip(paths, ("02:00:00:00:00:0a", "02:00:00:00:00:0b"), strict=True)
        ]
        vm = ends.enter_context(bench.lab.vm([VfioUser(str(s.sockets[0])) for s in servers], MODULES))
        quiet(vm)
        far = apart(vm)
        up(vm, A)
        up(far, B, "eth1")
        ping(vm, B, count=5)
        send_file(vm, far, B, FILE)
        send_file(far, vm, A, FILE, port=5001)
        with servers[0].control() as client:
            port = client.ask("stats")["card"]["ports"][0]["uplink"]
        assert port["tx"]["octets"] > FILE and port["rx"]["octets"] > FILE
        clean(vm)
