"""What a user does to a VMXNET3 under the stock driver: one tour in two halves, with any revision, behind an IOMMU or not.

In here: steps that begin and end with both ends of a ``vmxnet3.Pair`` up, at an MTU of 1500. What ``ethtool`` shows is
compared with what the model says of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from emulators.qemu import VM
from regmodel.bars.vmxnet3 import Command
from tests.guest.conftest import Bench
from tests.guest.network import carrier, no_ping, ping, send_file, until, up
from tests.guest.vmxnet3 import COMPLETIONS, RING, A, B, Dump, Pair, dump, shown, table

Clean = Callable[[VM], None]
PRIVATE = 20 << 20
"""Bytes that one NIC may cost the server."""


@contextmanager
def met(bench: Bench, version: int, clean: Clean) -> Iterator[Pair]:
    """Two that ping each other, and stay on what they have agreed on; they cost the server little, and nobody complains."""
    server = bench.serve(2, options={"revision": str(version)})
    memory = server.private_bytes()
    pair = Pair(bench)
    agreed(pair, version)
    ping(pair.near, B, count=5)
    yield pair
    agreed(pair, version)
    assert server.private_bytes() < memory + 2 * PRIVATE
    clean(pair.near)


def agreed(pair: Pair, version: int) -> None:
    """What driver and device have agreed on is of this revision, and nothing of a later one."""
    status = pair.status()
    assert status["revision"] == version and status["active"] and status["auto_mask"]
    assert [queue["data"] for queue in status["receive"]] == [128 if version >= 3 else 0] * 2
    assert bool(status["capabilities"]) == (version >= 7)
    given = pair.commands()
    asked = {number for number, _ in given}
    assert all(Command(number).revision <= version for number in asked), given
    assert (Command.GET_MAX_QUEUES_CONF in asked) == (version >= 6)
    assert ((Command.GET_TSRING_DESC_SIZE, 0) in given) == (version >= 9), "there are no timestamp rings"
    assert not any(answer for number, answer in given if number == Command.ACTIVATE_DEV)


def tour(pair: Pair, version: int) -> None:
    """All of it."""
    settings(pair, version)
    travels(pair)


def settings(pair: Pair, version: int) -> None:
    """What ``ethtool`` shows and sets: channels, registers, rings, offloads."""
    channels(pair)
    registers(pair)
    rings(pair, version)
    features(pair)
    pair.add_up()


def travels(pair: Pair) -> None:
    """MTU, VLANs, the link, down and up, and a driver that goes and comes again."""
    jumbo(pair)
    vlans(pair)
    link(pair)
    down_and_up(pair)
    pair.reload()
    pair.meets()
    pair.add_up()


def channels(pair: Pair) -> None:
    """As many as processors; the RSS table is the model's."""
    vm, model = pair.near, pair.status()
    assert shown(vm, "-l", "Current hardware settings:")["Combined"] == "2"
    assert (len(model["transmit"]), len(model["receive"])) == (2, 2)
    seen = table(vm)
    assert seen == model["rss"]["table"][: len(seen)] and set(seen) == {0, 1}
    vm.run("ethtool -X eth0 weight 0 1", check=True)
    assert set(table(vm)) == set(pair.status()["rss"]["table"]) == {1}
    ping(vm, B, count=2)
    vm.run("ethtool -X eth0 equal 2", check=True)
    assert pair.status()["rss"]["table"] == model["rss"]["table"]


def registers(pair: Pair) -> None:
    """``ethtool -d``: every register is the model's, and so is where the driver stands in every ring that a device knows of,
    soon after it was told of what the device has done.

    The data ring of a transmit queue is none: descriptors point into it.
    """
    for _ in range(20):
        with suppress(AssertionError):
            same_registers(*at_one_moment(pair))
            return
    same_registers(*at_one_moment(pair))


def same_registers(seen: Dump, peeked: dict[str, int], status: dict[str, Any], waiting: dict[str, int]) -> None:
    """A dump is what the model says."""
    assert seen.registers == peeked
    for number, (mine, theirs) in enumerate(zip(seen.transmit, status["transmit"], strict=True)):
        same_ring(mine, "", theirs["rings"][0], waiting[f"transmit {number}"], receives=False)
        same_completions(mine, theirs["rings"][1])
        assert (mine["stopped"], mine["data entries"]) == (0, theirs["size"])
    for number, (mine, theirs) in enumerate(zip(seen.receive, status["receive"], strict=True)):
        for which, ring in enumerate(theirs["rings"][:2], 1):
            same_ring(mine, "second " * (which - 1), ring, waiting[f"receive {number}, ring {which}"], receives=True)
        same_completions(mine, theirs["rings"][2])
        assert mine["data high"] << 32 | mine["data low"] == theirs["data_ring"]
        assert (mine["data entries"], mine["data size"]) == (theirs["sizes"][0], theirs["data"])


def at_one_moment(pair: Pair) -> tuple[Dump, dict[str, int], dict[str, Any], dict[str, int]]:
    """The dump; the same registers of the model, what it says of itself, and descriptors that wait in rings, meanwhile."""

    def model(names: list[str]) -> tuple[dict[str, int], dict[str, Any], dict[str, int]]:
        with pair.bench.server.control() as client:
            peeked = client.ask("peek", function="nic0", paths=names)
            rings = client.ask("rings", function="nic0")
        return peeked, pair.status(), {ring["name"]: ring["waiting"] for ring in rings}

    names = list(dump(pair.near).registers)
    for _ in range(20):
        before = model(names)
        seen = dump(pair.near)
        if model(names) == before:
            return seen, *before
    raise AssertionError("nic0 never rests")


def same_ring(mine: dict[str, int], which: str, theirs: dict[str, int], waiting: int, *, receives: bool) -> None:
    """A ring of commands: the driver has seen what the device has done, and fills ahead of it.

    Of a receive ring it knows which descriptor was the last (vmxnet3_drv.c ``vmxnet3_rq_rx_complete``), of the other the next.
    """
    low, high, size, fill, done, gen = (mine[f"{which}{name}"] for name in RING)
    following, used = theirs["next"], bool(theirs["next"]) or not theirs["gen"]
    seen = (following - 1) % size if receives and used else following
    assert (high << 32 | low, size, done) == (theirs["address"], theirs["size"], seen), (mine, theirs)
    assert (fill - following) % size == waiting
    assert gen == theirs["gen"] ^ (fill < following), "it flips where the driver goes on from the start"


def same_completions(mine: dict[str, int], theirs: dict[str, int]) -> None:
    low, high, *rest = (mine[name] for name in COMPLETIONS)
    assert (high << 32 | low, *rest) == tuple(theirs[name] for name in ("address", "size", "next", "gen"))


def jumbo(pair: Pair) -> None:
    pair.both("ip link set {} mtu 9000")
    pair.carriers(True)
    for size in (8972, 4000, 1473):
        ping(pair.near, B, count=2, size=size)
    pair.files()
    pair.both("ip link set {} mtu 1500")
    pair.carriers(True)
    ping(pair.near, B, count=2, size=1472)


def vlans(pair: Pair) -> None:
    """Five that both have joined, one that only one has; tags inserted and stripped by the device."""
    for vm, interface, last in ((pair.near, "eth0", 1), (pair.far, "eth1", 2)):
        vm.run(
            f"for v in $(seq 100 {103 + last}); do ip link add link {interface} name v$v type vlan id $v && "
            f"ip addr add 10.0.$v.{last}/24 dev v$v && ip link set v$v up || exit 1; done",
            check=True,
        )
    assert pair.status()["vlans"] == [0, *range(100, 105)]
    for vlan in (100, 104):
        ping(pair.near, f"10.0.{vlan}.2", count=2, size=1472)
    send_file(pair.near, pair.far, "10.0.100.2", 1 << 17)
    pair.near.run("ip addr add 10.0.105.1/24 dev v104", check=True)
    no_ping(pair.near, "10.0.105.2")
    for vm, last in ((pair.near, 1), (pair.far, 2)):
        vm.run(f"for v in $(seq 100 {103 + last}); do ip link del v$v || exit 1; done", check=True)
    assert pair.status()["vlans"] == [0]


def rings(pair: Pair, version: int) -> None:
    """Smallest, largest and usual ones; since revision 3 with a data ring whose entries may be larger."""
    vm = pair.near
    for rx, second, tx, data in ((32, 32, 32, 0), (4096, 2048, 4096, 256), (1024, 512, 512, 128)):
        mini = f"rx-mini {data}" if version >= 3 else ""
        vm.run(f"ethtool -G eth0 rx {rx} rx-jumbo {second} tx {tx} {mini}", check=True)
        carrier(vm, True)
        now = shown(vm, "-g", "Current hardware settings:")
        assert [now[name] for name in ("RX", "RX Jumbo", "TX")] == [str(rx), str(second), str(tx)]
        model = pair.status()
        assert [ring["size"] for ring in model["transmit"]] == [tx] * 2
        assert [ring["sizes"] for ring in model["receive"]] == [[rx, second]] * 2
        assert [ring["data"] for ring in model["receive"]] == [data if version >= 3 else 0] * 2
        ping(vm, B, count=2)
        send_file(vm, pair.far, B, 1 << 17)


def features(pair: Pair) -> None:
    """``ethtool -K``: what is switched off is so in the device, and TCP goes on."""
    vm = pair.near
    for option, name in (("lro", "lro"), ("rxvlan", "rxvlan"), ("rx", "rxcsum")):
        assert name in pair.status()["features"]
        vm.run(f"ethtool -K eth0 {option} off", check=True)
        assert name not in pair.status()["features"]
    shows = shown(vm, "-k")
    assert [shows[name] for name in ("rx-checksumming", "large-receive-offload", "rx-vlan-offload")] == ["off"] * 3
    send_file(pair.far, vm, A, 1 << 17)
    vm.run("ethtool -K eth0 tso off tx off", check=True)
    send_file(vm, pair.far, B, 1 << 17)
    vm.run("ethtool -K eth0 rx on lro on rxvlan on tx on tso on", check=True)
    assert {"rxcsum", "lro", "rxvlan"} <= set(pair.status()["features"])


def link(pair: Pair) -> None:
    pair.bench.ctl("link", "down")
    pair.carriers(False)
    pair.bench.ctl("link", "up")
    pair.carriers(True)
    ping(pair.near, B, count=2)


def down_and_up(pair: Pair) -> None:
    """The device rests while the interface is down."""
    for _ in range(2):
        pair.near.run("ip link set eth0 down", check=True)
        until(lambda: not pair.status()["active"])
        up(pair.near, A)
        ping(pair.near, B, count=2)
