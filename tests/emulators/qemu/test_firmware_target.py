"""What may follow ``--via firmware``, and the machine that comes of it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from emulators.qemu.firmware import FirmwareMachine, _without_rom
from emulators.qemu.firmware_target import VFIO_USER, Place, place_of
from emulators.qemu.machine import Machine, RawDevice, VfioUser
from firmware.format import Op
from regmodel.catalogue import find
from regmodel.errors import UsageError
from regmodel.function import ResetCause

DEVICE = find("igbvf")


@pytest.mark.parametrize(("rest", "place"), [
    ("vfio-user:/tmp/a.sock", Place(VfioUser("/tmp/a.sock"))),
    ("e1000e", Place(RawDevice("e1000e"))),
    ("pci:virtio-net-pci,mq=on", Place(RawDevice("virtio-net-pci,mq=on"), conventional=True)),
    ("igb/vf0", Place(RawDevice("igb"), 0)),
    ("igb,mac=52-54-00/vf12", Place(RawDevice("igb,mac=52-54-00"), 12)),
])  # fmt: skip
def test_what_is_meant(rest: str, place: Place) -> None:
    with ExitStack() as stack:
        assert place_of(rest, DEVICE, stack) == place


@pytest.mark.parametrize("rest", ["igb/vf", "igb/0", "/vf0", "igb vf0", "-device"])
def test_what_nobody_can_mean(rest: str) -> None:
    with ExitStack() as stack, pytest.raises(UsageError, match=r"write firmware, firmware:vfio-user:SOCKET.* firmware:pci:"):
        place_of(rest, DEVICE, stack)


def test_a_vf_is_enabled_first() -> None:
    program, target = Place(RawDevice("igb"), 2).program()
    assert [v.op for v in program.vectors] == [Op.ENABLE, Op.VFS, Op.ENABLE] and program.vectors[1].number == 3
    assert program.vectors[2].target == target == 1


def test_who_answers_for_whom_is_declared() -> None:
    served = Place(VfioUser("/s")).abilities(DEVICE, live=True)
    own, vf = (Place(RawDevice("igb"), number).abilities(DEVICE, live=number == 0) for number in (None, 0))
    assert served.virtualised == VFIO_USER and own.virtualised.keys() == {"BARS"} and not vf.virtualised
    assert served.resets == {ResetCause.FLR, ResetCause.BUS} and vf.resets == {ResetCause.FLR}
    assert served.interactive and served.memory and served.peer and not (own.interactive or own.memory or own.peer)
    assert vf.interactive and not (vf.interrupts or vf.memory or vf.peer)


def test_devices_of_qemus_own_bring_no_option_rom() -> None:
    devices = (RawDevice("igb"), RawDevice("e1000e,romfile=mine.rom"), VfioUser("/s"))
    words = [_without_rom(placed) for placed in Machine(Path(), Path(), devices).placed()]
    assert words[0].endswith(",romfile=") and words[1].count("romfile") == 1 and "romfile" not in words[2]


def test_guest_memory_is_a_file_that_a_device_server_can_map() -> None:
    machine = FirmwareMachine.__new__(FirmwareMachine)
    machine.machine = Machine(Path(), Path(), (RawDevice("igb"), RawDevice("edu")), root_port=True)
    machine.bios, machine.arguments = "qboot.rom", ("-trace", "x")
    line = machine.command_line(7, 8)
    assert "mem-path=/proc/self/fd/8" in line[line.index("-object") + 1] and "share=on" in line[line.index("-object") + 1]
    assert line[line.index("-kernel") + 1] == "/proc/self/fd/7" and line[line.index("-bios") + 1] == "qboot.rom"
    assert "-no-reboot" in line and line.index("-trace") < line.index("pcie-root-port,id=rp0,chassis=1,slot=1,addr=0x1")
    assert sum(word.endswith(",romfile=") for word in line) == 2
