"""AVP under DPDK's driver (``net_avp``) in testpmd, the only stock client that there is: through ``vfio-pci`` behind an
intel-iommu, where its one interrupt is an MSI-X message, and through ``uio_pci_generic``, where it is INTx.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from emulators.process import ServerProcess
from emulators.qemu import VM, VfioUser
from emulators.qemu.dpdk import Testpmd, huge_pages
from emulators.qemu.vfio import bind
from regmodel.structures.avp import MAX_PACKET
from tests.emulators.nics.avp.station import flow
from tests.guest.avp import LOOP, SECONDS, WAYS, Guest, guest, ran
from tests.guest.conftest import Bench
from tests.guest.network import ping, until, up
from tests.guest.pmd import END, MACHINE, Cable, Numbered, address, frame, heard, port, stats, streams, txonly

pytestmark = pytest.mark.guest

DEVICE = "avp"
WITHOUT_MSIX = f"{Path(__file__).with_name('avp_without_msix.py')}:DEVICE"
STRANGER = bytes.fromhex("020000000077")
SLOT = f"/sys/bus/pci/devices/{port(0)}"


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    made = Cable(tmp_path, "wire")
    yield made
    made.close()


@pytest.mark.parametrize("way", WAYS)
def test_forwarding(bench: Bench, cable: Cable, way: str, clean: Any) -> None:
    """txonly, rxonly, io, macswap; stop and start; chained packets; promiscuity; migration under the driver, within the server
    and from one to another; eight queues, and tags.
    """
    g = guest(bench, cable, way)
    with g.testpmd() as pmd:
        mac = address(pmd)
        assert "net_avp" in pmd("show port info 0") and mac == bytes.fromhex(g.bench.ctl("nic", "0", "status")["mac"])
        assert "VLAN offload" in pmd("show port info 0")
        _txonly(g, pmd)
        _rxonly(g, pmd, mac)
        for mode, target in (("io", STRANGER), ("macswap", mac)):
            ran(pmd, mode)
            sent = [frame(target, mark=i, size=60 + i) for i in range(50)]
            back = g.exchange(*sent)
            assert sorted(back) == sorted(_swapped(f) if mode == "macswap" else f for f in sent), mode
            pmd("stop")
        _promiscuous(g, pmd, mac)
        _stop_and_start(g, pmd, mac)
        _chained(g, pmd, mac)
        _migrated(g, pmd, mac)
        (_handed_over_at_rest if g.uio else _handed_over)(g, pmd, mac)
        assert "cannot" in pmd("mac_addr set 0 02:00:00:00:00:01").lower() or address(pmd) == mac, "the address stays"
    with g.testpmd(queues=8) as pmd:
        _eight_queues(g, pmd, address(pmd))
        _tags(g, pmd, address(pmd))
    assert not g.status()["configured"] and g.status()["errors"] == []
    assert g.bench.stats()["nic0"]["device errors"] == {}
    clean(g.vm)


def _swapped(f: bytes) -> bytes:
    return f[6:12] + f[:6] + f[12:]


def _txonly(g: Guest, pmd: Testpmd) -> None:
    got, by_queue = txonly(pmd, g.cable, 300, g.bench.server)
    sent = sum(by_queue.values())
    assert {len(f) for f in got} == {64}
    assert g.bench.pools()["nic0"]["tx"]["frames"] == sent
    assert stats(pmd)["TX-packets"] == sent and stats(pmd)["TX-bytes"] == 64 * sent


def _rxonly(g: Guest, pmd: Testpmd, mac: bytes) -> None:
    ran(pmd, "rxonly")
    sizes = [60 + 13 * i % 1455 for i in range(400)]
    for at in range(0, len(sizes), 50):
        g.cable.send(*(frame(mac, size=size) for size in sizes[at : at + 50]))
    until(lambda: stats(pmd)["RX-packets"] == len(sizes), SECONDS)
    assert stats(pmd)["RX-bytes"] == sum(sizes)
    pmd("stop")


def _promiscuous(g: Guest, pmd: Testpmd, mac: bytes) -> None:
    """testpmd starts promiscuous; DPDK's driver filters by itself. Frames come back in order, the last one always."""
    sent = [frame(STRANGER, mark=1), frame(mac, mark=2)]
    for on, back in (("off", sent[1:]), ("on", sent)):
        pmd(f"set promisc 0 {on}")
        ran(pmd, "macswap")
        g.cable.send(*sent)
        assert g.cable.receive(len(back)) == [_swapped(f) for f in back]
        pmd("stop")


def _stop_and_start(g: Guest, pmd: Testpmd, mac: bytes) -> None:
    for _ in range(2):
        pmd("port stop 0")
        assert not g.status()["up"]
        pmd("port start 0")
        assert g.status()["up"]
        ran(pmd, "macswap")
        assert len(g.exchange(*(frame(mac, mark=i) for i in range(10)))) == 10
        pmd("stop")


def _chained(g: Guest, pmd: Testpmd, mac: bytes) -> None:
    ran(pmd, "macswap")
    sent = [frame(mac, size=size, mark=size) for size in (2048, 2049, 4097, 9000, MAX_PACKET)]
    assert sorted(g.exchange(*sent)) == sorted(map(_swapped, sent))
    pmd("stop")
    pmd("set txpkts 2000,1000,500,2000,1500")
    assert {len(f) for f in txonly(pmd, g.cable, 20, g.bench.server)[0]} == {7000}
    pmd("set txpkts 64")


def _migrated(g: Guest, pmd: Testpmd, mac: bytes) -> None:
    """In the same process; the driver's interrupt is what it takes."""
    ran(pmd, "macswap")
    before = g.status()["generation"]
    g.bench.ctl("nic", "0", "migrate")
    until(lambda: (s := g.status())["migration"]["ack"] == "ATTACHED" and s["generation"] == before + 1, SECONDS)
    assert len(g.exchange(*(frame(mac, mark=i) for i in range(20)))) == 20
    assert "Attaching port 0 to AVP device" in pmd("stop")


def _handed_over(g: Guest, pmd: Testpmd, mac: bytes) -> None:
    """To another process, and to a third, with frames under way in all places: in sockets, in both queues of the guest, held
    for it. Each that a process has taken from the cable comes to the driver once, each that the driver has sent comes back
    once, in order. The others are those that testpmd could not send while it was detached, and gave up.
    """
    ran(pmd, "macswap")
    before = g.status()["generation"]
    with Numbered(g.cable, mac) as stream:
        for generation in (1, 2):
            stream.more(300)
            stream.crowd()
            g.taken_over()
            now = before + generation
            until(lambda n=now: (s := g.status())["generation"] == n and s["migration"]["ack"] == "ATTACHED", SECONDS)
            assert g.status()["up"] and g.status()["errors"] == []
        stream.more(300)
        stream.enough()
        until(lambda: stats(pmd)["RX-packets"] == stream.taken, SECONDS)
        given_up = int(re.findall(r"TX-dropped: (\d+)", pmd("stop"))[0])
        counted = stats(pmd)
        until(lambda: len(stream.back) == counted["TX-packets"], SECONDS)
    assert counted["RX-packets"] == stream.taken and stream.back == sorted(set(stream.back))
    assert stream.taken - len(stream.back) == given_up - counted["TX-errors"], "testpmd counts what the driver refused, too"


def _handed_over_at_rest(g: Guest, pmd: Testpmd, mac: bytes) -> None:
    """To another process, without packets under way: after an INTx QEMU makes each access to BAR 2 a message, and does little
    else as long as testpmd polls.
    """
    before = g.status()["generation"]
    g.taken_over()
    until(lambda: (s := g.status())["generation"] == before + 1 and s["migration"]["ack"] == "ATTACHED", SECONDS)
    assert g.status()["up"] and g.status()["errors"] == []
    ran(pmd, "macswap")
    assert len(g.exchange(*(frame(mac, mark=i) for i in range(20)))) == 20
    pmd("stop")


def _eight_queues(g: Guest, pmd: Testpmd, mac: bytes) -> None:
    ran(pmd, "rxonly")
    flows = [flow(i, to=mac) for i in range(256)]
    for at in range(0, 256, 32):
        g.cable.send(*flows[at : at + 32])
    until(lambda: stats(pmd)["RX-packets"] == 256)
    assert {queue for _, queue in streams(pmd("stop"), "RX")} == set(range(8))
    assert {queue for _, queue in txonly(pmd, g.cable, 300, g.bench.server)[1]} == set(range(8))


def _tags(g: Guest, pmd: Testpmd, mac: bytes) -> None:
    """Put in by the host, and taken out."""
    pmd("port stop 0")
    for command in ("port config 0 rx_offload vlan_strip on", "port config 0 tx_offload vlan_insert on", "tx_vlan set 0 5"):
        pmd(command)
    pmd("port start 0")
    assert g.status()["features"] == ["vlan_offload"]
    assert {f[12:16] for f in txonly(pmd, g.cable, 50, g.bench.server)[0]} == {b"\x81\x00\x00\x05"}
    pmd("set verbose 1")
    ran(pmd, "rxonly")
    said = heard(pmd, g.cable, frame(mac, tci=0x6064, mark=1), frame(mac, mark=2), end=frame(mac, size=END))
    assert [re.findall(r"VLAN tci=0x([0-9a-f]+)", line) for line in said] == [["6064"], []], said
    assert all("length=64" in line for line in said), "the tag is out of the frame"
    pmd("stop")


def test_two_guests_joined_by_the_switch(bench: Bench, clean: Any) -> None:
    bench.serve(2)
    a, b = bench.guests(*(bench.machine(number, name=name, **MACHINE) for number, name in ((0, "a"), (1, "b"))))
    for vm in (a, b):
        bind(vm, port(0))
        huge_pages(vm)
    with Testpmd(b, [port(0)], args=["--port-topology=loop"]) as receiver:
        target = address(receiver)
        receiver("set fwd rxonly")
        receiver("start")
        with Testpmd(a, [port(0)], args=["--port-topology=loop", f"--eth-peer=0,{target.hex(':')}"]) as sender:
            ran(sender, "txonly")
            until(lambda: bench.pools()["nic0"]["tx"]["frames"] > 1000 and _taken(bench.pools()["nic1"]) > 100)
            sent = sum(streams(sender("stop"), "TX").values())
            until(lambda: bench.pools()["nic0"]["tx"]["frames"] == sent)
            until(lambda: stats(receiver)["RX-packets"] == _taken(bench.pools()["nic1"]))
        receiver("stop")
    clean(a)
    clean(b)


def _taken(pool: dict[str, Any]) -> int:
    """What a guest had buffers for."""
    frames: int = pool["rx"]["frames"] - pool["dropped"].get("no_buffers", 0)
    return frames


def test_joined_with_a_vf_and_with_virtio(bench: Bench, clean: Any) -> None:
    """Three kinds of ports: testpmd on two AVP ports answers what stock ``igbvf`` and ``virtio_net`` of another guest ask.

    The uplinks of two cards are one cable, so frames go through the switch of each.
    """
    kinds = ("igbvf", "virtio-net")
    with ExitStack() as stack:
        servers = [stack.enter_context(ServerProcess(["avp", kind], nets=[f"patch:{kind}"] * 2)) for kind in kinds]
        avps, others = ([VfioUser(str(server.sockets[side])) for server in servers] for side in (0, 1))
        answers = bench.lab.vm(avps, name="answers", **MACHINE)
        asks = bench.lab.vm(others, ["igbvf", "virtio_net"], name="asks")
        a, b = stack.enter_context(bench.lab.together(answers, asks))
        ports = [port(number) for number in range(2)]
        bind(a, *ports)
        huge_pages(a)
        with Testpmd(a, ports, args=LOOP) as pmd:
            pmd("set fwd icmpecho")
            pmd("start")
            for number in range(2):
                up(b, f"198.51.{number}.1", f"eth{number}")
                ping(b, f"198.51.{number}.9", count=5)
                ping(b, f"198.51.{number}.9", count=2, size=1472)
                answered = b.run(f"ip neigh show 198.51.{number}.9", check=True).text
                assert any(address(pmd, n).hex(":") in answered for n in range(2)), answered
            pmd("stop")
        clean(a)
        clean(b)


def test_hot_plug(bench: Bench, tmp_path: Path, cable: Cable, clean: Any) -> None:
    """Inserted into a running guest and a running testpmd, and taken out: by QMP both ways where there is no MSI-X; else the
    guest takes it out, and finds it again. (QEMU aborts when it unplugs what has MSI-X, which ``test_hotplug`` proves.)
    """
    second = Cable(tmp_path, "second")
    bench.device = WITHOUT_MSIX
    without = VfioUser(str(bench.serve(nets=[second.net]).sockets[0]))
    bench.device = DEVICE
    with_msix = VfioUser(str(bench.serve(nets=[cable.net]).sockets[0]))
    # an empty slot gets 2 MiB of addresses from the firmware unless the port asks for more, and BAR 2 has 16
    vm = bench.guest(**MACHINE, arguments=["-global", "pcie-root-port.pref64-reserve=32M"])
    huge_pages(vm)
    with _testpmd_alone(vm, "--vfio-intr=legacy") as pmd:  # EAL takes MSI-X for granted otherwise, as VFIO lists it always
        for name in ("first", "again"):
            vm.plug(without, name, "rp0")
            _used(vm, pmd, second)
            vm.unplug(name)
            assert vm.run(f"[ -e {SLOT} ]").status, "the guest has let it go"
    second.close()
    with _testpmd_alone(vm) as pmd:
        vm.plug(with_msix, "late", "rp0")
        for _ in range(2):
            _used(vm, pmd, cable)
            vm.run(f"echo 1 > {SLOT}/remove", check=True)
            vm.run("echo 1 > /sys/bus/pci/rescan", check=True)
        until(lambda: vm.run(f"[ -e {SLOT} ]").status == 0, SECONDS)
    clean(vm)


@contextmanager
def _testpmd_alone(vm: VM, *eal: str) -> Iterator[Testpmd]:
    """One that waits for its first port of PCI."""
    with Testpmd(vm, [], eal=["--vdev=net_null0", *eal], args=[]) as pmd:
        _first_come_interrupts(vm)
        yield pmd


def _used(vm: VM, pmd: Testpmd, cable: Cable) -> None:
    """A device that has just come: attached, used, detached."""
    until(lambda: vm.run(f"[ -e {SLOT} ]").status == 0, SECONDS)
    bind(vm, port(0))
    assert "is attached" in pmd(f"port attach {port(0)}")
    number = int(re.findall(r"port (\d+)", pmd("show port summary all") + "port 1")[-1])
    pmd(f"set portlist {number}")
    pmd(f"port start {number}")
    mac = address(pmd, number)
    pmd("set fwd macswap")
    pmd("start")
    cable.send(*(frame(mac, mark=i) for i in range(10)))
    assert len(cable.receive(10, seconds=30)) == 10
    pmd("stop")
    pmd(f"port stop {number}")
    pmd(f"port close {number}")
    pmd(f"device detach {port(0)}")


def _first_come_interrupts(vm: VM) -> None:
    """Whatever wakes EAL's thread of interrupts, it runs at once, on the processor of the thread that woke it: real-time, for
    a high priority alone (``renice``) lets the waking thread go on for as long as fairness says.

    net_avp never unregisters its callback (avp_ethdev.c ``avp_dev_close``), and the bus closes the descriptor soon after it has
    woken that thread (pci_vfio.c ``pci_vfio_unmap_resource_primary``): if the thread comes late, it finds a closed descriptor
    among its sources and aborts testpmd (eal_interrupts.c ``eal_intr_thread_main``). A slow machine is late.
    """
    thread = vm.run("grep -l dpdk-intr /proc/[0-9]*/task/*/comm | cut -d/ -f5", check=True).text.split()
    assert len(thread) == 1, thread
    vm.run(f"taskset -p 1 {thread[0]} && chrt --fifo --pid 1 {thread[0]}", check=True)


@pytest.mark.parametrize("version", ["1.3.0", "2.0.0"])
def test_a_host_that_is_too_new_is_refused(bench: Bench, version: str) -> None:
    bench.serve(1, options={"version": version})
    vm = bench.guest(0, **MACHINE)
    bind(vm, port(0))
    huge_pages(vm)
    with Testpmd(vm, [port(0)], eal=["--vdev=net_null0"]) as pmd:
        assert "Invalid device info magic 0x20131975 or version" in pmd.banner
        assert "net_avp" not in pmd("show port summary all")
