"""The Linux VFIO transport against a kernel of our own making: refusals with their remedy, odd answers, what is let go of."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import DeviceGone, DriverError, NoSuchFunction, NotSupported, NotViable, PermissionDenied
from drivers.transports import linux_vfio
from drivers.transports.capabilities import BUS_MASTER, COMMAND, MEMORY_SPACE
from drivers.transports.iova import START
from drivers.transports.linux_vfio import LinuxVfio, binding
from drivers.transports.linux_vfio.system import System
from drivers.transports.opening import open_transport
from regmodel.devices.igbvf import IGBVF
from regmodel.errors import RegmodelError, UsageError
from regmodel.function import Irq
from regmodel.structures import vfio
from regmodel.structures.vfio import DeviceFlags, Ioctl, RegionFlags
from tests.drivers.transports.vfio_kernel import ADDRESS, BAR_SIZE, CONFIG_SIZE, GROUP, RW, SPACING, Kernel, busy


def descriptors() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    made = Kernel(tmp_path)
    before = descriptors()
    yield made
    assert descriptors() <= before, "descriptors are left open"  # what others left may have been collected meanwhile
    made.close()


def opened(kernel: Kernel, text: str = ADDRESS, **options: Any) -> LinuxVfio:
    return linux_vfio.open(text, IGBVF, system=kernel.system, **options)


@pytest.fixture
def transport(kernel: Kernel) -> Iterator[LinuxVfio]:
    with opened(kernel) as transport:
        yield transport


# -- what cannot be opened


def denied(kernel: Kernel, name: str, error: type[OSError], code: int) -> None:
    """Opening one file under ``/dev/vfio`` fails."""
    system, original = kernel.system, kernel.system.open

    def open_(path: Path) -> int:
        if path.name == name:
            raise error(code, os.strerror(code))
        return original(path)

    object.__setattr__(system, "open", open_)


Breakage = Callable[[Kernel], object]
REFUSALS: dict[str, tuple[Breakage, type[RegmodelError], str]] = {
    "absent": (lambda k: k.place.rename(k.place.with_name("0000:00:03.0")), NoSuchFunction, "`ls /sys/bus/pci/devices`"),
    "another device": (
        lambda k: (k.place / "device").write_text("0x1520\n"), UsageError, "is 8086:1520, and igbvf is 8086:10ca"),
    "no IOMMU": (lambda k: (k.place / "iommu_group").unlink(), NotViable, "boot Linux with intel_iommu=on"),
    "no driver": (
        lambda k: k.bind(k.place, ""), NotViable,
        f"bound to no driver, not to vfio-pci; as root: modprobe vfio-pci; echo vfio-pci > "
        f"/sys/bus/pci/devices/{ADDRESS}/driver_override; echo {ADDRESS} > /sys/bus/pci/drivers_probe"),
    "stock driver": (
        lambda k: k.bind(k.place, "igbvf"), NotViable,
        f"bound to igbvf, not to vfio-pci; as root: modprobe vfio-pci; echo {ADDRESS} > /sys/bus/pci/drivers/igbvf/unbind; "),
    "no-IOMMU group": (
        lambda k: (k.place / "iommu_group/name").write_text("vfio-noiommu\n"), NotSupported, "no-IOMMU mode"),
    "no-IOMMU file": (
        lambda k: k.file_of(GROUP).rename(k.file_of(f"noiommu-{GROUP}")), NotSupported, "no-IOMMU mode"),
    "iommufd": (
        lambda k: (k.file_of(GROUP).unlink(), (k.place / "vfio-dev").mkdir()), NotSupported, "CONFIG_VFIO_GROUP"),
    "no file": (lambda k: k.file_of(GROUP).unlink(), NotViable, "modprobe vfio-pci vfio_iommu_type1"),
    "group denied": (lambda k: denied(k, GROUP, PermissionError, errno.EACCES), PermissionDenied, "`sudo chown $USER "),
    "container denied": (lambda k: denied(k, "vfio", PermissionError, errno.EPERM), PermissionDenied, "run as root"),
    "container absent": (lambda k: k.file_of("vfio").unlink(), NotViable, "modprobe vfio-pci"),
    "group in use": (lambda k: denied(k, GROUP, OSError, errno.EBUSY), NotViable, "is open elsewhere: `lsof "),
    "group odd": (lambda k: denied(k, GROUP, OSError, errno.EIO), DriverError, "cannot be opened: Input/output error"),
    "not viable": (
        lambda k: (setattr(k, "viable", False), k.add("0000:00:02.1", "igb"), k.add("0000:00:02.2", "pcieport")), NotViable,
        f"IOMMU group {GROUP} of {ADDRESS} is not viable: bind 0000:00:02.1 (igb) of the same group to vfio-pci"),
    "version": (lambda k: setattr(k, "version", 1), NotSupported, "version 1 of VFIO"),
    "no type 1": (lambda k: setattr(k, "kinds", {vfio.NOIOMMU_IOMMU}), NotSupported, "modprobe vfio_iommu_type1"),
    "container busy": (lambda k: k.fails.update(busy()), NotViable, "`lsof"),
    "unsafe interrupts": (
        lambda k: k.fails.update({Ioctl.SET_IOMMU: errno.EPERM}), PermissionDenied, "allow_unsafe_interrupts"),
    "device busy": (lambda k: k.fails.update({Ioctl.GROUP_GET_DEVICE_FD: errno.EBUSY}), NotViable, "in use"),
    "not PCI": (lambda k: setattr(k, "flags", DeviceFlags.RESET), NotSupported, "no PCI function"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_opened_says_what_to_do(kernel: Kernel, name: str) -> None:
    break_it, kind, says = REFUSALS[name]
    break_it(kernel)
    with pytest.raises(kind, match=re.escape(says)) as caught:
        opened(kernel)
    assert type(caught.value) is kind and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "eth0", "0000:00:02", "00:2.0", "0000:00:02.8", "0000:00:22.0", "0000:00:02.0 x"])
def test_addresses_that_are_none(kernel: Kernel, text: str) -> None:
    with pytest.raises(UsageError, match=r"as in vfio:0000:00:02\.0"):
        opened(kernel, text)


@pytest.mark.parametrize("text", [ADDRESS, "00:02.0", " 0000:00:02.0 "])
def test_addresses(kernel: Kernel, text: str) -> None:
    with opened(kernel, text) as transport:
        assert transport.name == f"vfio:{ADDRESS}"


def test_drivers_of_one_vendor_are_vfio_too(kernel: Kernel) -> None:
    kernel.bind(kernel.place, "mlx5_vfio_pci")
    opened(kernel).close()
    assert not binding.is_vfio("vfio-platform")


def test_stores_must_not_pass_each_other(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(NotSupported, match="x86-64"):
        opened(kernel)


def test_without_vfio_at_all() -> None:
    """Of this machine, whatever it is: a line of ours and no other error."""
    with pytest.raises(NoSuchFunction, match=r"ffff:ff:1f\.7"):
        open_transport("vfio:ffff:ff:1f.7", IGBVF)
    assert System().text(Path("/no/such/file")) == ""


# -- registers


def test_a_bar_that_is_mapped_whole(kernel: Kernel, transport: LinuxVfio) -> None:
    bar = transport.bar(0)
    assert isinstance(bar.u32, memoryview)  # nothing stands between
    bar.u32[2] = 0x12345678
    assert os.pread(kernel.file, 4, 8) == b"\x78\x56\x34\x12"
    assert bar.read(8, 4) == 0x12345678
    assert (bar.size, len(bar.u64)) == (BAR_SIZE, BAR_SIZE // 8)


def test_a_bar_that_is_mapped_in_parts(kernel: Kernel, transport: LinuxVfio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages 1 and 3 are; all reads and writes at once are right, and only the others are system calls."""
    calls: list[int] = []
    pread, pwrite = os.pread, os.pwrite
    monkeypatch.setattr(os, "pread", lambda fd, n, at: (calls.append(at), pread(fd, n, at))[1])
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: (calls.append(at), pwrite(fd, data, at))[1])
    bar = transport.bar(3)
    calls.clear()
    for page in range(4):
        for width, words in ((1, bar.u8), (2, bar.u16), (4, bar.u32), (8, bar.u64)):
            at = page * 0x1000 + 0x10 * width
            words[at // width] = 0x5A + page
            bar.write(at + width, width, 0x3C)
            assert (bar.read(at, width), words[at // width + 1]) == (0x5A + page, 0x3C)
            assert pread(kernel.file, width, 3 * SPACING + at) == (0x5A + page).to_bytes(width, "little")
    assert {(at - 3 * SPACING) // 0x1000 for at in calls} == {0, 2}
    assert len(calls) == 2 * 4 * 4


def test_a_bar_of_ports_is_not_mapped(kernel: Kernel, transport: LinuxVfio) -> None:
    bar = transport.bar(4)
    bar.u16[1] = 0xBEEF
    assert os.pread(kernel.file, 4, 4 * SPACING) == b"\0\0\xef\xbe"
    for bad in (lambda: bar.u16[16], lambda: bar.u32[-1], lambda: bar.u32.__setitem__(8, 0)):
        with pytest.raises(IndexError):
            bad()
    with pytest.raises(ValueError, match="unsigned"):
        bar.u8[0] = 256


def test_nothing_is_mapped_if_so_wished(kernel: Kernel) -> None:
    with opened(kernel, mapped=False) as transport:
        transport.bar(0).u32[0] = 5
        transport.config_write(COMMAND, 2, 0)  # no page can go away
        assert transport.bar(0).u32[0] == 5


def test_decoding_of_mapped_bars_stays_on(kernel: Kernel, transport: LinuxVfio) -> None:
    transport.config_write(COMMAND, 2, 0)
    with pytest.raises(UsageError, match="switch on memory decoding"):
        transport.bar(0)
    transport.config_write(COMMAND, 2, MEMORY_SPACE)
    transport.bar(0)
    with pytest.raises(UsageError, match="mapped=False"):
        transport.config_write(COMMAND, 2, BUS_MASTER)
    assert transport.config_read(COMMAND, 2) == MEMORY_SPACE


def test_a_function_that_does_not_decode_reads_ones(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(kernel, mapped=False) as transport:
        bar = transport.bar(0)
        fail(monkeypatch, errno.EIO)
        assert (bar.u32[0], bar.read(8, 2)) == (0xFFFFFFFF, 0xFFFF)
        bar.u32[0] = 0


def test_a_function_that_is_gone(kernel: Kernel, transport: LinuxVfio, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, errno.ENODEV)
    with pytest.raises(DeviceGone, match="unplugged or unbound"):
        transport.config_read(0, 4)
    with pytest.raises(DeviceGone, match="unplugged or unbound"):
        transport.config_write(COMMAND, 2, MEMORY_SPACE)
    monkeypatch.undo()
    monkeypatch.setattr(os, "pread", lambda fd, n, at: b"\0")
    with pytest.raises(DeviceGone, match="1 of 4 bytes"):
        transport.config_read(0, 4)
    monkeypatch.undo()


def fail(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def failing(*_: object) -> Any:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pread", failing)
    monkeypatch.setattr(os, "pwrite", failing)


def test_config_space_has_the_size_that_vfio_says(kernel: Kernel) -> None:
    kernel.regions[7] = (RW, 256, [])
    with opened(kernel) as transport, pytest.raises(UsageError, match="0x100 bytes"):
        transport.config_read(256, 4)
    assert CONFIG_SIZE == 4096


# -- memory


def test_memory_is_mapped_at_the_addresses_of_all_transports(kernel: Kernel, transport: LinuxVfio) -> None:
    first, second = transport.alloc(1), transport.alloc(0x2001)
    assert {iova: size for iova, (_, size) in kernel.mapped.items()} == {START: 0x1000, START + 0x1000: 0x3000}
    first.free()
    assert set(kernel.mapped) == {second.iova}


def test_only_addresses_that_the_iommu_translates(kernel: Kernel) -> None:
    kernel.ranges = [(0, START - 1), (START + 0x10000, START + 0x1FFFF)]
    kernel.page_sizes = 0x10000
    with opened(kernel) as transport:
        buffer = transport.alloc(1)
        assert (buffer.iova, buffer.size) == (START + 0x10000, 0x10000)
        with pytest.raises(NotSupported, match="no IOVA range"):
            transport.alloc(1)


def test_an_iommu_that_does_not_say(kernel: Kernel) -> None:
    kernel.ranges = None
    with opened(kernel) as transport:
        assert transport.alloc(1).iova == START


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (errno.ENOMEM, PermissionDenied, r"4096 bytes of DMA memory cannot be locked.*RLIMIT_MEMLOCK.*`ulimit -l`"),
        (errno.ENOSPC, NotSupported, "dma_entry_limit"),
        (errno.EINVAL, DriverError, "cannot be mapped: Invalid argument"),
    ],
)
def test_memory_that_cannot_be_mapped(
    kernel: Kernel, transport: LinuxVfio, code: int, kind: type[DriverError], says: str
) -> None:
    kernel.fails[Ioctl.IOMMU_MAP_DMA] = code
    with pytest.raises(kind, match=says):
        transport.alloc(1)
    kernel.fails.clear()
    assert transport.alloc(1).iova == START  # its address was given back


def test_views_may_outlive_their_buffer(transport: LinuxVfio) -> None:
    """They are of no use, but touching them ends nothing."""
    buffer = transport.alloc(1)
    kept = buffer.view[:16]
    buffer.free()
    kept[0] = 1


# -- interrupts


def test_vectors(kernel: Kernel, transport: LinuxVfio) -> None:
    transport.enable_irqs(3)
    for vector in (2, 0, 2):
        kernel.fire(Irq.MSIX, vector)
    assert list(transport.wait_irq(1)) == [0, 2]
    assert list(transport.wait_irq(0)) == []
    transport.disable_irqs()
    assert not kernel.armed
    assert list(transport.wait_irq(0)) == []


def test_vectors_that_the_kernel_refuses(kernel: Kernel, transport: LinuxVfio) -> None:
    kernel.fails[Ioctl.DEVICE_SET_IRQS] = errno.ENOSPC
    with pytest.raises(DriverError, match="2 MSIX vectors cannot be enabled: No space left"):
        transport.enable_irqs(2)
    kernel.fails.clear()
    transport.enable_irqs(2)


def test_vectors_of_a_device_that_is_gone(kernel: Kernel) -> None:
    kernel.vectors[Irq.INTX] = 1
    transport = opened(kernel)
    transport.enable_irqs(1, Irq.INTX)
    kernel.fails[Ioctl.DEVICE_SET_IRQS] = errno.ENODEV
    with pytest.raises(DeviceGone, match="unplugged or unbound"):
        transport.wait_irq(0)
    with pytest.raises(DeviceGone, match="unplugged or unbound"):
        transport.close()
    for fd in kernel.armed.pop(Irq.INTX):
        os.close(fd)  # which that kernel would have done
    assert not kernel.mapped


def test_an_index_that_does_not_exist_has_no_vectors(kernel: Kernel) -> None:
    kernel.fails[Ioctl.DEVICE_GET_IRQ_INFO] = errno.EINVAL
    with opened(kernel) as transport:
        assert transport.irq_vectors() == 0


# -- reset and the end


def test_the_bus_master_is_off_before_the_reset(kernel: Kernel, transport: LinuxVfio) -> None:
    """Linux restores the command register as it finds it."""
    transport.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
    transport.reset()
    assert transport.config_read(COMMAND, 2) == MEMORY_SPACE
    assert kernel.calls[-1] is Ioctl.DEVICE_RESET


def test_a_function_without_reset(kernel: Kernel) -> None:
    kernel.flags = DeviceFlags.PCI
    with opened(kernel) as transport, pytest.raises(NotSupported, match="cannot be reset alone"):
        transport.reset()


def test_a_reset_that_fails(kernel: Kernel, transport: LinuxVfio) -> None:
    kernel.fails[Ioctl.DEVICE_RESET] = errno.EAGAIN
    with pytest.raises(DriverError, match="the reset fails"):
        transport.reset()


def test_close_leaves_nothing(kernel: Kernel) -> None:
    transport = opened(kernel)
    transport.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
    words, buffer = transport.bar(0).u32, transport.alloc(1)
    transport.enable_irqs(2)
    transport.close()
    assert (kernel.mapped, kernel.armed) == ({}, {})
    assert os.pread(kernel.file, 2, 7 * SPACING + COMMAND) == bytes((MEMORY_SPACE, 0))
    with pytest.raises(ValueError, match="released"):  # and not a fault of the processor
        words[0]
    with pytest.raises(UsageError):
        buffer.free()


def test_close_gets_to_its_end_when_the_device_is_gone(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = opened(kernel)
    transport.alloc(1)
    fail(monkeypatch, errno.ENODEV)
    with pytest.raises(DeviceGone):
        transport.close()
    monkeypatch.undo()
    assert not kernel.mapped
    transport.close()


def test_a_reply_that_grows_without_end(kernel: Kernel) -> None:
    kernel.regions[0] = (RW | RegionFlags.MMAP | RegionFlags.CAPS, BAR_SIZE, [(0, 0x1000)] * 70000)
    with pytest.raises(NotSupported, match="more bytes than this transport understands"):
        opened(kernel)
