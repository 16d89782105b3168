"""The guest image on real machines: ours behind vfio-user, and whatever QEMU itself emulates. No Linux in sight.

Each run is measured from the start of QEMU to the last result, and none may take 3 s.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from drivers.nics.igbvf import IgbVf
from emulators.process import ServerProcess
from emulators.qemu import Lab, RawDevice, VfioUser
from emulators.qemu.errors import GuestDied, GuestError
from emulators.qemu.firmware import FirmwareMachine, Run
from emulators.qemu.firmware import run as run_table
from emulators.qemu.firmware_target import SETTLE_US, LiveTarget, TableTarget
from emulators.qemu.live import Live
from emulators.qemu.machine import Device
from emulators.qemu.reached import Reached
from firmware import format as f
from firmware.compiled import reset_values
from firmware.format import BarFlag, Kind, Mode, Space, Status
from firmware.vectors import BUS_MASTER, MEMORY_SPACE, Program, at, known_as
from regmodel.catalogue import find
from regmodel.conformance.accesses import TargetGone, rehearse
from regmodel.conformance.accesses import run as carry
from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.places import DECODING
from regmodel.conformance.suite import REGISTER_TESTS, judge
from regmodel.errors import UsageError
from regmodel.function import Irq, ResetCause
from tests.drivers.nics.igbvf.bench import Side
from tests.guest.network import until
from tests.support.elsewhere import unjudged

pytestmark = [pytest.mark.guest, pytest.mark.alone]
LIMIT = 3.0
FLR, ENABLED = ResetCause.FLR, MEMORY_SPACE | BUS_MASTER
GATE = 0x1000_0000
"""The address of a byte of the guest's memory that is 0 unless a test stores into it."""
EDU_DMA = "edu,dma_mask=0xffffffff"


def go(lab: Lab, devices: list[Device], program: Program, **more: object) -> Run:
    """One run, timed."""
    result = run_table(lab, devices, program, **more)  # type: ignore[arg-type]
    print(f"{result.seconds:.2f} s; image: {result.report.boot_us} us to find, {result.report.run_us} us for the table")
    assert result.seconds < LIMIT
    return result


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with ServerProcess(["igbvf", "igbvf"]) as server:
        yield server


# -- our own device, behind QEMU's vfio-user-pci


@pytest.mark.parametrize("name", ["igbvf", "igbvf-i350"])
def test_every_register_of_ours_holds_its_reset_value(lab: Lab, name: str) -> None:
    device = find(name)
    program = Program()
    vf = program.target(known_as(device.identity.vendor, device.identity.device))
    program.flr(vf)
    program.enable(vf, ENABLED)
    paths = reset_values(program, vf, 0, device.bars[0], FLR)
    with ServerProcess([name]) as server:
        result = go(lab, [VfioUser(server.sockets[0])], program)
    assert not result.problem and result.report.done == len(program.vectors) > 40
    # The served card has a PF driver, which does what stock igb does when it comes up: it disables queue 0 by storing 0.
    assert {paths[n]: r.value for n, _, r in result.failed()} == {"rxdctl[0]": 0}


def test_each_access_is_one_access_of_its_width(lab: Lab, server: ServerProcess) -> None:
    program = Program()
    vf = program.target(known_as(0x8086, 0x10CA))
    program.enable(vf, ENABLED)
    window = 0x800  # VMBMEM: memory, any byte of it may be accessed alone
    for width, value in ((8, 0x1122334455667788), (4, 0xAABBCCDD), (2, 0xEEFF), (1, 0x99)):
        program.write(vf, 0, window + 4 * width, width, value)
        program.read(vf, 0, window + 4 * width, width, value)
    go(lab, [VfioUser(server.sockets[0])], program).check()
    with server.control() as client:
        seen = [row[3:] for row in client.ask("recent", function="vf0", count=8)]
    assert [(kind, size) for kind, _, _, size, _ in seen] == [(kind, n) for n in (8, 4, 2, 1) for kind in ("write", "read")]


def test_msix_messages_are_counted_one_by_one(lab: Lab, server: ServerProcess) -> None:
    program = Program()
    vf = program.target(known_as(0x8086, 0x10CA))
    program.enable(vf, ENABLED)
    assert program.irqs(vf, 3) == 1
    early = program.irq_wait(vf, 1, 1, 1000)
    program.write(vf, 0, 0x152C, 4, 0b110)  # EIAC: the message clears its cause, so that the next one is an edge
    program.write(vf, 0, 0x1524, 4, 0b110)  # EIMS
    waits = []
    for cause, message, times in ((0b010, 1, 1), (0b100, 2, 1), (0b100, 2, 2)):
        program.write(vf, 0, 0x1520, 4, cause)  # EICS
        # QEMU makes one of two messages that come before it looks: the next is not asked for before this one is there
        waits.append(program.irq_wait(vf, message, times, 500_000, take=False))
    program.write(vf, 0, 0x1520, 4, 0b001)
    masked = program.irq_wait(vf, 0, 1, 20_000)
    counts = [program.irq_wait(vf, message, 0, 0) for message in (1, 2)]
    result = go(lab, [VfioUser(server.sockets[0])], program)
    assert result[early].status is Status.TIMEOUT and result[early].value == 0
    assert [result[n].value for n in waits] == [1, 1, 2] and all(result[n].ok for n in waits)
    assert result[masked].status is Status.TIMEOUT and result[masked].value == 0
    assert [result[n].value for n in counts] == [1, 2]


def test_a_reset_of_the_bus_reaches_the_device(lab: Lab, server: ServerProcess) -> None:
    program = Program()
    vf = program.target(at("01:00.0"))
    program.enable(vf, ENABLED)
    program.write(vf, 0, 0x800, 4, 0x12345678)
    kept = program.read(vf, 0, 0x800, 4, 0x12345678)
    program.bus_reset(vf)
    off = program.read(vf, Space.CONFIG, 4, 2, 0, 6)
    program.enable(vf, ENABLED)
    gone = program.read(vf, 0, 0x800, 4)
    result = go(lab, [VfioUser(server.sockets[0])], program, root_port=True)
    assert result[kept].ok and result[off].ok and result[gone].ok and result[gone].value != 0x12345678


# -- devices of QEMU's own

# (device, identifiers, sizes of BARs, a register that is known: BAR, offset, width, value, mask)
OWN = [
    ("e1000e", 0x8086, 0x10D3, {0: 0x20000, 1: 0x20000, 2: 0x20, 3: 0x4000}, (0, 0x0008, 4, 0x80083, 0x800BF)),
    ("igb", 0x8086, 0x10C9, {0: 0x20000, 1: 0x20000, 2: 0x20, 3: 0x4000}, (0, 0x0008, 4, 0x80080000, 0xFFF00000)),
    ("virtio-net-pci,disable-legacy=on", 0x1AF4, 0x1041, {1: 0x1000, 4: 0x4000}, (4, 0x0012, 2, 3, 0xFFFF)),
    ("vmxnet3", 0x15AD, 0x07B0, {0: 0x1000, 1: 0x1000, 2: 0x2000}, (1, 0x0000, 4, 1, 0xFFFFFFFF)),
    ("edu", 0x1234, 0x11E8, {0: 0x100000}, (0, 0x0000, 4, 0x010000ED, 0xFFFFFFFF)),
    ("ivshmem-plain,memdev=shared", 0x1AF4, 0x1110, {0: 0x100, 2: 0x100000}, (2, 0x0000, 4, 0, 0xFFFFFFFF)),
]
SHARED = ["-object", "memory-backend-ram,id=shared,size=1M"]


@pytest.mark.parametrize("root_port", [False, True], ids=["on-the-root-bus", "behind-root-ports"])
@pytest.mark.parametrize("bios", [None, "qboot.rom"], ids=["seabios", "qboot"])
def test_qemus_own_devices_are_found_placed_and_read(lab: Lab, bios: str | None, root_port: bool) -> None:
    program = Program()
    known, sizes = {}, {}
    for spec, vendor, device, bars, (bar, offset, width, value, mask) in OWN:
        target = program.target(known_as(vendor, device))
        program.enable(target, DECODING)
        program.read(target, Space.CONFIG, 0, 4, device << 16 | vendor)
        known[spec] = program.read(target, bar, offset, width, value, mask)
        sizes[spec] = {bar: program.size(target, bar) for bar in bars}
    devices = [RawDevice(row[0]) for row in OWN]
    result = go(lab, devices, program, root_port=root_port, bios=bios, arguments=SHARED).check()
    assert result.report.assigned == 1  # igb is a PF, for whose VFs no loader leaves room
    for spec, vendor, device, bars, _ in OWN:
        found = next(one for one in result.functions if (one.vendor, one.device) == (vendor, device))
        assert {i: bar.size for i, bar in found.bars.items()} == bars == {i: result[n].value for i, n in sizes[spec].items()}
    assert _overlaps(result) == []
    assert sum(one.kind is Kind.BRIDGE for one in result.functions) == (len(OWN) if root_port else 0)


def _overlaps(result: Run) -> list[str]:
    """BARs that share an address with another, are not aligned to their size, or lie in RAM."""
    wrong = []
    ranges = [(bar.flags & BarFlag.IO, bar.address, bar.address + bar.size, f"{one} BAR {i}")
              for one in result.functions for i, bar in one.bars.items()]  # fmt: skip
    for number, (io, first, end, name) in enumerate(ranges):
        if first % (end - first) or (not io and first < 0x80000000):
            wrong.append(name)
        wrong += [f"{name} and {other}" for o, a, b, other in ranges[:number] if o == io and a < end and first < b]
    return wrong


MANY = (
    "e1000", "e1000e", "e1000-82545em", "rtl8139", "pcnet", "ne2k_pci", "i82559er", "tulip", "vmxnet3", "virtio-net-pci",
    "nvme,serial=1",
    "megasas", "megasas-gen2", "lsi53c895a", "mptsas1068", "pvscsi", "ich9-ahci", "sdhci-pci", "virtio-scsi-pci",
    "qemu-xhci", "usb-ehci", "intel-hda", "bochs-display", "virtio-rng-pci", "pci-serial-4x", "pvpanic-pci", "edu",
)  # fmt: skip


@pytest.mark.parametrize("bios", [None, "qboot.rom"], ids=["seabios", "qboot"])
def test_a_bus_full_of_devices(lab: Lab, bios: str | None) -> None:
    program = Program()
    for number in range(len(MANY)):
        target = program.target(at(f"00:{number + 1:02x}.0"))
        program.locate(target)
        program.enable(target, DECODING)
        program.read(target, Space.CONFIG, 0, 4)
        for bar in range(6):
            program.size(target, bar)
    result = go(lab, [RawDevice(spec) for spec in MANY], program, bios=bios).check()
    assert _overlaps(result) == [] and len(result.functions) == len(MANY) + 2
    for number, one in enumerate(result.functions[1:-1]):
        sizes = {bar: result[9 * number + 3 + bar].value for bar in range(6)}
        assert one.bdf == (number + 1) << 3 == result[9 * number].value
        assert {bar: size for bar, size in sizes.items() if size} == {i: bar.size for i, bar in one.bars.items()}


def test_what_the_loader_placed_stays_where_it_is(lab: Lab) -> None:
    program = Program()
    result = go(lab, [RawDevice("e1000e"), RawDevice("edu")], program)
    assert result.report.assigned == 0 and result.report.acpi == 1 and _overlaps(result) == []


# PFs behind a switch and behind a root port, a large BAR beside them, and a conventional bus with another behind it
TREE = (
    "pcie-root-port,id=r0,chassis=9", "x3130-upstream,id=u0,bus=r0", "xio3130-downstream,id=d0,bus=u0,chassis=10",
    "xio3130-downstream,id=d1,bus=u0,chassis=11,addr=1", "igb,bus=d0", "ivshmem-plain,memdev=shared,bus=d1",
    "pcie-root-port,id=r1,chassis=12", "igb,bus=r1",
    "pcie-root-port,id=r2,chassis=13", "pcie-pci-bridge,id=b0,bus=r2", "edu,bus=b0,addr=1", "e1000,bus=b0,addr=2",
    "rtl8139,bus=b0,addr=3", "pci-bridge,bus=b0,addr=4,id=b1,chassis_nr=20", "edu,bus=b1,addr=1",
    "pcie-root-port,id=r3,chassis=14", "nvme,serial=1,bus=r3",
)  # fmt: skip


@pytest.mark.parametrize("bios", [None, "qboot.rom"], ids=["seabios", "qboot"])
def test_a_tree_of_bridges_is_numbered_and_its_windows_let_everything_through(lab: Lab, bios: str | None) -> None:
    program, vfs = Program(), []
    for number in (0, 1):
        edu, pf = program.target(known_as(0x1234, 0x11E8, number)), program.target(known_as(0x8086, 0x10C9, number))
        program.enable(edu, DECODING)
        program.read(edu, 0, 0, 4, 0x010000ED)
        program.enable(pf, DECODING)
        program.read(pf, 0, 8, 4, 0x80080000, 0xFFF00000)
        program.vfs(pf, 7, SETTLE_US)
        vfs += [program.vf_of(pf, 0), program.vf_of(pf, 6)]
    for number, vf in enumerate(vfs):
        program.enable(vf, DECODING)
        program.write(vf, 0, 0x2800, 4, 0x1000 * (number + 1))  # RDBAL
    for number, vf in enumerate(vfs):
        program.read(vf, 0, 0x2800, 4, 0x1000 * (number + 1))
    large = program.target(known_as(0x1AF4, 0x1110))
    program.enable(large, DECODING)
    program.write(large, 2, 0xFFFFFF0, 4, 0x12345678)
    program.read(large, 2, 0xFFFFFF0, 4, 0x12345678)
    program.read(large, 2, 0, 4, 0)
    shared = ["-object", "memory-backend-ram,id=shared,size=256M"]
    result = go(lab, [RawDevice(spec) for spec in TREE], program, bios=bios, arguments=shared).check()
    assert _overlaps(result) == [] and len(result.functions) == len(TREE) + 2 + 14
    buses = [one.bdf >> 8 for one in result.functions if one.kind is not Kind.VF]
    assert set(buses) == set(range(10))


def test_the_pf_of_qemus_igb_gets_its_vfs_from_the_image(lab: Lab) -> None:
    program = Program()
    pf = program.target(known_as(0x8086, 0x10C9))
    vfs = [program.vf_of(pf, number) for number in (0, 1, 2)]
    early = program.locate(vfs[0])
    program.enable(pf, ENABLED)
    enabled = program.vfs(pf, 2)
    rows = []
    for number, vf in enumerate(vfs[:2]):
        program.enable(vf, ENABLED)
        program.read(vf, Space.CONFIG, 0, 4, 0xFFFFFFFF)  # the identifiers are the PF's to tell: SR-IOV 1.1, 3.4.1.1
        program.read(vf, 0, 0x0008, 4, 0x00080081, 0x000800C1)  # STATUS
        program.read(vf, 0, 0x1680, 4, 0)  # EITR
        program.write(vf, 0, 0x2800, 4, 0x1000 * (number + 1))  # RDBAL: a VF has its own
        rows.append(program.irqs(vf, 3))
    own = [program.read(vf, 0, 0x2800, 4, 0x1000 * (n + 1)) for n, vf in enumerate(vfs[:2])]
    third = program.read(vfs[2], 0, 0, 4)
    for root_port in (False, True):
        result = go(lab, [RawDevice("igb")], program, root_port=root_port)
        failed = {n: r.status for n, _, r in result.failed()}
        assert failed == {early: Status.NO_DEVICE, third: Status.NO_DEVICE}
        assert result[enabled].ok and [result[n].value for n in rows] == [0, 3] and all(result[n].ok for n in own)
        found = [one for one in result.functions if one.kind is Kind.VF]
        assert [one.device for one in found] == [0x10CA, 0x10CA] and found[1].bdf - found[0].bdf == 2
        assert _overlaps(result) == []


def test_ports_msi_polls_and_delays(lab: Lab) -> None:
    program = Program()
    edu, nic = program.target(known_as(0x1234, 0x11E8)), program.target(known_as(0x8086, 0x10D3))
    program.enable(edu, ENABLED)
    program.enable(nic, DECODING)
    program.write(edu, 0, 4, 4, 0x1234)
    program.read(edu, 0, 4, 4, ~0x1234 & 0xFFFFFFFF)
    program.irqs(edu, 1, Space.MSI)
    program.write(edu, 0, 0x20, 4, 0x80)  # an interrupt when a factorial is done
    program.write(edu, 0, 8, 4, 6)
    poll = program.poll(edu, 0, 0x20, 4, 0, 1, 500_000)
    program.read(edu, 0, 8, 4, 720)
    msi = program.irq_wait(edu, 0, 1, 500_000)
    never = program.poll(edu, 0, 0, 4, 0, 0xFFFFFFFF, 3000)
    program.write(nic, 2, 0, 4, 8)  # IOADDR and IODATA: STATUS through the I/O BAR
    port = program.read(nic, 2, 4, 4, 0x80, 0x80)
    delay = program.delay(30_000)
    result = go(lab, [RawDevice("edu"), RawDevice("e1000e")], program)
    assert {n for n, _, _ in result.failed()} == {never}
    assert result[poll].times >= 1 and result[msi].value == 1 and result[port].ok and result[delay].ok
    assert result[never].status is Status.TIMEOUT and result[never].times > 1 and result[never].value == 0x010000ED
    assert 33_000 < result.report.run_us < 2_000_000


def test_a_function_without_flr_refuses_and_nothing_that_is_not_there_is_touched(lab: Lab) -> None:
    program = Program()
    edu, nobody = program.target(known_as(0x1234, 0x11E8)), program.target(at("00:19.0"))
    program.enable(edu, ENABLED)
    expected = {
        program.flr(edu): Status.REFUSED, program.bus_reset(edu): Status.REFUSED, program.vfs(edu, 1): Status.REFUSED,
        program.irqs(edu, 1): Status.REFUSED, program.irqs(edu, 2, Space.MSI): Status.REFUSED,
        program.irq_wait(edu, 0, 1, 10): Status.REFUSED,
        program.read(edu, 1, 0, 4): Status.REFUSED, program.read(edu, 0, 0x100000, 4): Status.REFUSED,
        program.read(edu, 0, 0xFFFFFFFE, 4): Status.REFUSED, program.read(edu, 0, 0, 3): Status.REFUSED,
        program.read(edu, Space.CONFIG, 2, 4): Status.REFUSED, program.read(edu, Space.CONFIG, 0, 8): Status.REFUSED,
        program.read(nobody, Space.CONFIG, 0, 4): Status.NO_DEVICE, program.read(31, 0, 0, 4): Status.NO_DEVICE,
    }  # fmt: skip
    last = program.read(edu, 0, 0, 4, 0x010000ED)
    result = go(lab, [RawDevice("edu")], program)
    assert {n: r.status for n, _, r in result.failed()} == expected and result[last].ok


def test_a_fault_is_a_result_and_the_run_goes_on(lab: Lab) -> None:
    program = Program()
    here = program.target(at("00:00.0"))
    null = program.read(here, Space.MEMORY, 0x10, 4)
    code = program.write(here, Space.MEMORY, 0x8, 8, 1)
    ram = program.read(here, Space.MEMORY, 0x10000000, 8, 0)
    result = go(lab, [], program)
    assert (result[null].status, result[null].fault, result[null].value) == (Status.FAULT, 14, 0x10)
    assert (result[code].status, result[code].fault, result[code].value) == (Status.FAULT, 14, 8)
    assert result[ram].ok and not result.problem


# -- when things go wrong


def gate(program: Program) -> int:
    """The image waits here until ``befall`` lets it go on."""
    return program.poll(program.target(at("00:00.0")), Space.MEMORY, GATE, 4, 1, 0xFFFFFFFF, 10_000_000)


def befall(machine: FirmwareMachine, waits: int, server: ServerProcess, trouble: signal.Signals) -> None:
    """Kill or stop the server of an image that waits at its ``gate``, and let the image go on once that has happened.

    A server that is killed leaves nothing unread: of that QEMU 11.1.3 would die as well (``error_setv``: assertion).
    """
    until(lambda: machine.report().done == waits)
    os.kill(server.pid, trouble)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
    machine.memory[GATE] = 1


def test_a_device_that_hangs_ends_the_run_with_one_line(lab: Lab, server: ServerProcess) -> None:
    program = Program()
    vf = program.target(known_as(0x8086, 0x10CA))
    program.enable(vf, ENABLED)
    done = [program.read(vf, 0, 8, 4), gate(program)]
    hangs, never = (program.read(vf, 0, 8, 4) for _ in range(2))
    with FirmwareMachine(lab, [VfioUser(server.sockets[0])], program) as machine:
        befall(machine, done[1], server, signal.SIGSTOP)
        try:
            until(lambda: machine.report().done == hangs)
            result = machine.finish(1.0)
        finally:
            os.kill(server.pid, signal.SIGCONT)
    where = f"did not end in 1 s: vector {hangs} is under way, read target 0 BAR0+0x8"
    assert where in result.problem and "\n" not in result.problem
    assert all(result[n].ok for n in done) and {result[n].status for n in (hangs, never)} == {Status.NOT_RUN}
    with pytest.raises(GuestError, match=f"vector {hangs}"):
        result.check()


def test_a_device_that_disappears_is_gone_and_the_run_goes_on(lab: Lab, server: ServerProcess) -> None:
    program = Program()
    vf = program.target(known_as(0x8086, 0x10CA))
    program.enable(vf, ENABLED)
    done = [program.read(vf, 0, 8, 4), gate(program)]
    gone = [program.read(vf, 0, 8, 4), program.read(vf, Space.CONFIG, 0, 4)]
    last = program.read(program.target(at("00:00.0")), Space.CONFIG, 0, 4, 0x29C08086)
    with FirmwareMachine(lab, [VfioUser(server.sockets[0])], program) as machine:
        befall(machine, done[1], server, signal.SIGKILL)
        result = machine.finish(10)
    assert not result.problem and all(result[n].ok for n in (*done, last))
    assert [(result[n].status, result[n].value) for n in gone] == [(Status.GONE, 0xFFFFFFFF)] * 2


def test_what_qemu_refuses_is_one_line(lab: Lab) -> None:
    with pytest.raises(GuestDied, match=r"the image did not start; .*no-such-device") as caught:
        run_table(lab, [RawDevice("no-such-device")], Program())
    assert "\n" not in str(caught.value)


def test_an_image_of_another_loader_says_so(lab: Lab) -> None:
    with FirmwareMachine(lab, [], Program()) as machine:
        pass
    machine.image.place("control", b"\0\0\0\0")
    with machine:
        result = machine.finish(10)
    assert result.report.failure is f.Failure.MAGIC and "magic" in result.problem


# -- requests to an image that runs


def test_one_access_after_the_other_on_a_device_of_ours(lab: Lab, server: ServerProcess) -> None:
    program = Program()
    target = program.target(at("01:00.0"))
    device = VfioUser(server.sockets[0])
    with FirmwareMachine(lab, [device], program, mode=Mode.SERVE, root_port=True) as machine:
        with Reached(Live(machine), target, settle_us=1000) as vf:
            assert vf.config_read(0, 4) == 0x10CA8086
            vf.bar(0).write(0x2800, 4, 0x1234_5000)
            assert vf.bar(0).read(0x2800, 4) == 0x1234_5000 == vf.bar(0).u32[0x2800 // 4]
            vf.bar(0).u32[0x800 // 4] = 0xFEEDFACE
            vf.reset_by(ResetCause.BUS)
            assert vf.bar(0).u32[0x800 // 4] != 0xFEEDFACE
            assert vf.irq_vectors() == 3
            vf.enable_irqs(3)
            assert vf.wait_irq(0) == []
            vf.bar(0).write(0x1524, 4, 0b111)
            vf.bar(0).write(0x1520, 4, 0b101)
            heard: set[int] = set()
            while len(heard) < 2 and (fired := vf.wait_irq(2)):
                heard |= set(fired)
            assert heard == {0, 2}
            for bad in (lambda: vf.bar(0).read(2, 4), lambda: vf.bar(0).read(0x4000, 4), lambda: vf.bar(1)):
                with pytest.raises(UsageError):
                    bad()
        Live(machine).stop()
        assert machine.finish(5).problem == ""


def test_memory_for_dma_is_the_guests_and_ours(lab: Lab) -> None:
    program = Program()
    target = program.target(known_as(0x1234, 0x11E8))
    machine = FirmwareMachine(lab, [RawDevice(EDU_DMA)], program, mode=Mode.SERVE)
    with machine, Reached(Live(machine), target) as edu:
        source, sink = edu.alloc(100), edu.alloc(5000)
        assert (source.iova, sink.iova, source.size, sink.size) == (0x1000_0000, 0x1000_1000, 4096, 8192)
        source.view[:12] = b"from Python!"
        bar = edu.bar(0)
        for iova, buffer, command in ((source.iova, 0x40000, 1), (0x40000, sink.iova, 3)):
            bar.write(0x80, 8, iova)
            bar.write(0x88, 8, buffer)
            bar.write(0x90, 8, 12)
            bar.write(0x98, 8, command)
            while bar.read(0x98, 8) & 1:
                edu.sleep(0.01)
        assert bytes(sink.view[:13]) == b"from Python!\0"
        source.free()
        assert edu.alloc(4096).iova == source.iova
        with pytest.raises(UsageError, match="not allocated"):
            source.free()
        edu.enable_irqs(1, Irq.MSI)
        bar.write(0x60, 4, 1)
        assert edu.wait_irq(1) == [0]


def test_writes_are_posted_in_order_and_what_fails_is_told_by_the_next_request(lab: Lab) -> None:
    program = Program()
    target = program.target(known_as(0x1234, 0x11E8))
    machine = FirmwareMachine(lab, [RawDevice("edu")], program, mode=Mode.SERVE)
    with machine, Reached(Live(machine), target) as edu:
        for number in range(500):  # more than the mailbox holds
            edu.write(0, 4, 4, number)
        assert edu.read(0, 4, 4) == ~499 & 0xFFFFFFFF
        edu.write(5, 0, 4, 0)
        with pytest.raises(UsageError, match="write 0x0 to target 0 BAR5"):
            edu.read(0, 4, 4)
        assert edu.read(0, 4, 4) == ~499 & 0xFFFFFFFF
        edu.write(Space.MEMORY, 0, 8, 1)
        with pytest.raises(GuestError, match="exception 14"):
            edu.settle()


def test_a_request_takes_microseconds(lab: Lab) -> None:
    program = Program()
    target = program.target(known_as(0x8086, 0x10D3))
    machine = FirmwareMachine(lab, [RawDevice("e1000e")], program, mode=Mode.SERVE)
    with machine, Reached(Live(machine), target) as nic:
        times = []
        for _ in range(2000):
            started = time.perf_counter()
            nic.read(0, 8, 4)
            times.append(time.perf_counter() - started)
    times.sort()
    print(f"a register read through the mailbox: median {1e6 * times[1000]:.1f} us, 99 % {1e6 * times[1980]:.0f} us")
    assert times[1000] < 1e-3


def test_a_machine_that_dies_is_gone(lab: Lab) -> None:
    program = Program()
    target = program.target(known_as(0x1234, 0x11E8))
    with FirmwareMachine(lab, [RawDevice("edu")], program, mode=Mode.SERVE) as machine:
        edu = Reached(Live(machine), target)
        assert machine.alive
        machine.stop()
        with pytest.raises(TargetGone, match="QEMU is gone"):
            edu.read(0, 0, 4)


def test_two_drivers_on_two_vfs_of_one_machine_without_an_operating_system(lab: Lab, server: ServerProcess) -> None:
    device = find("igbvf")
    program = Program()
    targets = [program.target(known_as(0x8086, 0x10CA, number)) for number in (0, 1)]
    machine = FirmwareMachine(lab, [VfioUser(path) for path in server.sockets], program, mode=Mode.SERVE)
    with machine, ExitStack() as stack:
        live = Live(machine)
        ports = [IgbVf(Reached(live, target, settle_us=1000), device) for target in targets]
        for port in ports:
            stack.callback(port.close)
        a, b = (Side(port) for port in ports)
        for sender, receiver in ((a, b), (b, a)):
            header = receiver.port.mac_addr + sender.port.mac_addr + b"\x88\xb5"
            packets = [header + bytes([number]) * (46 + number) for number in range(20)]
            assert sender.send(*packets) == 20
            got: list[bytes] = []
            end = time.monotonic() + 10
            while len(got) < 20 and time.monotonic() < end:
                got += receiver.receive()
            assert got == packets


# -- the suite of regmodel.conformance, its register part


def _outcomes(report: Report) -> dict[tuple[str, str], Outcome]:
    return {(row.test, row.register): row.outcome for row in report.rows}


def _table(lab: Lab, rest: str, name: str) -> Report:
    device = find(name)
    with TableTarget(rest, device, lab) as target:
        accesses, _ = rehearse(judge(device, target.abilities, tests=REGISTER_TESTS), lambda access: 0)
        target.prepare(accesses)
        print(f"{len(accesses)} accesses of {name}: {target.seconds:.2f} s")
        assert target.seconds < LIMIT
        return carry(judge(device, target.abilities, tests=REGISTER_TESTS), target)


@pytest.mark.parametrize("name", ["igbvf", "igbvf-i350"])
def test_ours_passes_the_suite_from_a_table_and_asked_one_by_one(lab: Lab, name: str) -> None:
    """Asked one by one it is the whole suite: interrupts, mailbox and rings as well."""
    device = find(name)
    from_table = _table(lab, "", name)
    with LiveTarget("", device, lab) as target:
        started = time.monotonic()
        one_by_one = carry(judge(device, target.abilities), target)
        print(f"live: {time.monotonic() - started:.2f} s")
    table, live = _outcomes(from_table), _outcomes(one_by_one)
    assert Outcome.VIRTUALISED in table.values() and Outcome.VIRTUALISED in live.values()
    assert unjudged(name, [*from_table.rows, *one_by_one.rows]) == [], "answered by QEMU, and judged nowhere else"
    wrong = [row for row in (*from_table.rows, *one_by_one.rows) if row.outcome in (Outcome.FAIL, Outcome.INCOMPLETE)]
    assert [f"{row.test} {row.register}: {row.reason}" for row in wrong] == []
    for outcomes in (table, live):
        assert sum(outcome is Outcome.PASS for outcome in outcomes.values()) > 200
    assert {where for where in table if table[where] != live[where]} == set()
    assert {"irq_causes", "mailbox_messages"} <= {test for (test, _), outcome in live.items() if outcome is Outcome.PASS}


def test_a_vf_of_qemus_igb_is_judged_to_the_end_and_both_ways_say_the_same(lab: Lab) -> None:
    device = find("igbvf")
    table = _outcomes(_table(lab, "igb/vf0", "igbvf"))
    with LiveTarget("igb/vf0", device, lab) as target:
        live = _outcomes(carry(judge(device, target.abilities, tests=REGISTER_TESTS), target))
    for outcomes in (table, live):
        assert Outcome.INCOMPLETE not in outcomes.values() and Outcome.PASS in outcomes.values()
    assert {where for where in table if where in live and table[where] != live[where]} == set()


def test_a_device_that_is_not_there_is_one_line_and_incomplete(lab: Lab) -> None:
    device = find("igbvf")
    with TableTarget("edu/vf0", device, lab) as target:
        accesses, _ = rehearse(judge(device, target.abilities, tests=REGISTER_TESTS), lambda access: 0)
        target.prepare(accesses)
        report = carry(judge(device, target.abilities, tests=REGISTER_TESTS), target)
    assert "no device" in report.stopped and "\n" not in report.stopped and report.status == 3
    with pytest.raises(TargetGone, match="is not there"):
        LiveTarget("edu/vf0", device, lab)
