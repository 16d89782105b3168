"""QEMU's command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.qemu.errors import LabError
from emulators.qemu.machine import Machine, RawDevice, VfioUser, command_line, kernel_arguments


def _line(accelerator: str = "tcg", **settings: object) -> list[str]:
    machine = Machine(kernel=Path("/k"), initramfs=Path("/i"), **settings)  # type: ignore[arg-type]
    return command_line(machine, accelerator, 9, 10, 11, 12, 13)


def _values(line: list[str], option: str) -> Iterator[str]:
    return (line[index + 1] for index, word in enumerate(line) if word == option)


def test_guest_memory_can_always_be_mapped_by_a_device_server() -> None:
    line = _line(memory="1G")
    assert "memory-backend-memfd,id=ram,size=1G,share=on" in _values(line, "-object")
    assert any("memory-backend=ram" in value for value in _values(line, "-M"))
    assert list(_values(line, "-m")) == ["1G"]


def test_a_panic_ends_qemu() -> None:
    assert "-no-reboot" in _line() and "panic=-1" in " ".join(_values(_line(), "-append"))


def test_a_served_device_is_given_as_json() -> None:
    devices = [VfioUser("/run/a.sock"), VfioUser("/run/b.sock", options={"x-msg-timeout": 100})]
    found = [json.loads(value) for value in _values(_line(devices=tuple(devices)), "-device") if value.startswith("{")]
    assert found[0] == {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": "/run/a.sock"},
                        "id": "dev0", "addr": "1.0"}
    assert found[1]["x-msg-timeout"] == 100 and found[1]["addr"] == "2.0"


def test_a_device_of_qemus_own_is_given_as_written() -> None:
    line = _line(devices=(RawDevice("igb,netdev=n0,id=pf"), RawDevice("e1000e")))
    assert list(_values(line, "-device"))[-2:] == ["igb,netdev=n0,id=pf,addr=1.0", "e1000e,id=dev1,addr=2.0"]


def test_root_ports_carry_one_device_each() -> None:
    machine = Machine(Path("/k"), Path("/i"), devices=(VfioUser("/a"), RawDevice("igb")), root_port=True)
    assert [(device.properties["bus"], device.bdf) for device in machine.placed()] == [("rp0", "01:00.0"), ("rp1", "02:00.0")]
    values = list(_values(command_line(machine, "tcg", 9, 10, 11, 12, 13), "-device"))
    ports = [value for value in values if value.startswith("pcie-root-port")]
    assert len(ports) == 2 and values.index(ports[1]) < len(values) - 2  # a port is made before what sits in it


def test_a_conventional_bus_is_behind_a_bridge_in_the_place_of_the_port() -> None:
    machine = Machine(Path("/k"), Path("/i"), devices=(RawDevice("virtio-net-pci"),), root_port=True, conventional=True)
    (placed,) = machine.placed()
    assert (placed.properties["bus"], placed.bdf) == ("rp0", "01:00.0")
    values = list(_values(command_line(machine, "tcg", 9, 10, 11, 12, 13), "-device"))
    assert values[-2].startswith("pci-bridge,id=rp0,") and not [value for value in values if "pcie-root-port" in value]


def test_a_device_that_says_where_it_sits_stays_there() -> None:
    placed = Machine(Path("/k"), Path("/i"), devices=(RawDevice("igb,bus=rp,addr=0"),)).placed()
    assert placed[0].argument() == "igb,bus=rp,addr=0,id=dev0" and placed[0].bdf is None


def test_the_iommu_is_there_before_the_devices_it_translates_for() -> None:
    line = _line(devices=(VfioUser("/a"),), viommu=True)
    devices = list(_values(line, "-device"))
    assert devices[0] == "intel-iommu,intremap=on,caching-mode=on"
    assert any("kernel-irqchip=split" in value for value in _values(line, "-M"))
    assert "intel_iommu=on" in " ".join(_values(line, "-append"))
    assert "intel-iommu" not in " ".join(_line())


@pytest.mark.parametrize(("accelerator", "cpu"), [("tcg", "max"), ("kvm", "host")])
def test_accelerators(accelerator: str, cpu: str) -> None:
    line = _line(accelerator)
    assert next(_values(line, "-accel")).startswith(accelerator) and list(_values(line, "-cpu")) == [cpu]


def test_folders_of_the_host() -> None:
    line = " ".join(_line(share=Path("/s"), rootfs=Path("/r")))
    assert "path=/s,security_model=none,readonly=off" in line and "path=/r,security_model=none,readonly=on" in line


def test_what_the_user_appends_comes_last() -> None:
    assert kernel_arguments(Machine(Path("/k"), Path("/i"), append="loglevel=8 pci=nomsi")).endswith(" loglevel=8 pci=nomsi")


@pytest.mark.parametrize("settings", [
    {"memory": "lots"}, {"memory": "256MB"}, {"cpus": 0}, {"devices": (VfioUser("/a"),) * 28},
])
def test_impossible_machines_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(LabError):
        _line(**settings)
