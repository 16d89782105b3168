"""SET_IRQS: every combination that means something, every one that does not."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from regmodel.function import Irq

from . import client as c
from .client import Client


@pytest.fixture
def events():
    fds = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(3)]
    yield fds
    for fd in fds:
        os.close(fd)


def fired(fd: int) -> int:
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


@pytest.mark.parametrize(("irq", "vector"), [(Irq.INTX, 0), (Irq.MSI, 7), (Irq.MSIX, 31), (Irq.ERR, 0), (Irq.REQ, 0)])
def test_arm_fire_disarm(client, dut, events, irq, vector):
    assert client.set_irqs(c.ARM, irq, vector, 1, events[:1]) == 0
    trigger = dut.triggers[irq, vector]
    trigger()
    trigger()
    assert fired(events[0]) == 2
    assert client.set_irqs(c.DISARM, irq, 0, 0) == 0
    assert dut.triggers[irq, vector] is None
    trigger()  # kept against the rules: it must not write to a number that has been closed
    assert fired(events[0]) == 0


def test_several_vectors_at_once_and_replacing_one(client, dut, events):
    assert client.set_irqs(c.ARM, c.MSIX, 4, 2, events[:2]) == 0
    old = dut.triggers[Irq.MSIX, 5]
    assert client.set_irqs(c.ARM, c.MSIX, 5, 1, events[2:]) == 0
    dut.triggers[Irq.MSIX, 4]()
    dut.triggers[Irq.MSIX, 5]()
    old()
    assert [fired(fd) for fd in events] == [1, 0, 1]


def test_as_qemu_enables_msix(client, dut, events):
    """First the bare "enabled" without descriptors, then a vector when the guest unmasks it."""
    assert client.set_irqs(c.ARM, c.MSIX, 0, 1) == 0
    assert dut.armed() == []
    assert client.set_irqs(c.ARM, c.MSIX, 2, 1, events[:1]) == 0
    assert dut.armed() == [(Irq.MSIX, 2)]
    assert client.set_irqs(c.ARM, c.MSIX, 2, 1) == 0
    assert dut.armed() == []


def test_the_client_may_fire(client, events):
    assert client.set_irqs(c.ARM, c.MSIX, 0, 2, events[:2]) == 0
    assert client.set_irqs(c.FIRE, c.MSIX, 1, 1) == 0
    assert [fired(fd) for fd in events] == [0, 1, 0]
    assert client.set_irqs(0x22, c.MSIX, 0, 3, data=b"\1\0\1") == 0
    assert [fired(fd) for fd in events] == [1, 0, 0]


def test_intx_mask_and_unmask(client, dut, events):
    assert client.set_irqs(c.ARM, c.INTX, 0, 1, events[:1]) == 0
    assert client.set_irqs(c.UNMASK, c.INTX, 0, 1) == 0
    assert dut.log == [("unmask", Irq.INTX)] and dut.armed() == [(Irq.INTX, 0)]
    assert client.set_irqs(c.MASK, c.INTX, 0, 1) == 0
    assert dut.armed() == []
    assert client.set_irqs(c.UNMASK, c.INTX, 0, 1) == 0
    assert dut.armed() == [(Irq.INTX, 0)]
    dut.triggers[Irq.INTX, 0]()
    assert fired(events[0]) == 1


@pytest.mark.parametrize(
    ("flags", "index", "start", "count"),
    [
        (0x20 | 1, 5, 0, 0), (0x20 | 1, 99, 0, 0), (0x08 | 0x10, c.MSIX, 0, 0), (0x08 | 1 | 2, c.MSIX, 0, 0),
        (0x20, c.MSIX, 0, 1), (0x01, c.MSIX, 0, 1), (0x07, c.MSIX, 0, 1), (0x38 | 1, c.MSIX, 0, 1), (0x61, c.MSIX, 0, 1),
        (0x80000021, c.MSIX, 0, 1), (c.FIRE, c.MSIX, 31, 2), (c.FIRE, c.MSIX, 33, 1), (c.FIRE, c.MSIX, 2**32 - 1, 2),
        (c.FIRE, c.MSIX, 0, 2**32 - 1), (c.MASK, c.ERR, 0, 1), (c.MASK, c.REQ, 0, 1), (c.MASK, c.MSIX, 0, 1),
        (c.UNMASK, c.MSI, 0, 1), (c.FIRE, c.ERR, 0, 2), (c.FIRE, c.REQ, 0, 2), (c.MASK, c.INTX, 1, 0), (c.MASK, c.INTX, 0, 0),
        (c.FIRE, c.MSIX, 1, 0), (0x22, c.MSIX, 0, 0), (0x24, c.MSIX, 0, 0),
    ],
)  # fmt: skip
def test_refused(client, dut, flags, index, start, count):
    assert client.set_irqs(flags, index, start, count) == errno.EINVAL
    assert dut.triggers == {}


@pytest.mark.parametrize("argsz", [0, 3, 19])
def test_bad_argsz(client, argsz):
    assert client.call(c.SET_IRQS, struct.pack("<5I", argsz, 0x21, c.MSIX, 0, 0)).error == errno.EINVAL


@pytest.mark.parametrize("size", [0, 8, 19])
def test_short(client, size):
    assert client.call(c.SET_IRQS, bytes(size)).error == errno.EINVAL


@pytest.mark.parametrize("data", [b"", b"\1", b"\1\1\1"])
def test_as_many_booleans_as_vectors(client, data):
    assert client.set_irqs(0x22, c.MSIX, 0, 2, data=data) == errno.EINVAL


@pytest.mark.parametrize(("flags", "count", "given"), [(0x22, 1, 1), (0x21, 1, 1), (0x24, 2, 1), (0x24, 1, 2), (0x24, 3, 2)])
def test_as_many_descriptors_as_vectors(client, dut, events, flags, count, given):
    data = bytes(count) if flags & 2 else b""
    assert client.set_irqs(flags, c.MSIX, 0, count, events[:given], data) == errno.EINVAL
    assert dut.triggers == {}


@pytest.mark.parametrize("action", [0x08, 0x10])
def test_events_for_masking_are_not_served(client, events, action):
    assert client.set_irqs(4 | action, c.INTX, 0, 1, events[:1]) == errno.ENOTSUP


def test_only_eventfds(client, dut, events):
    near, far = os.pipe()
    assert client.set_irqs(c.ARM, c.MSIX, 0, 2, [events[0], far]) == errno.EINVAL
    os.close(near)
    os.close(far)
    assert dut.armed() == []


def test_a_full_counter_does_not_block(client, dut):
    fd = os.eventfd(0, os.EFD_CLOEXEC)  # a blocking one
    assert client.set_irqs(c.ARM, c.MSIX, 0, 1, [fd]) == 0
    os.eventfd_write(fd, 2**64 - 2)
    dut.triggers[Irq.MSIX, 0]()
    os.close(fd)


def test_a_device_without_an_index(loop, tmp_path, events):
    from emulators.vfio_user.server import Server

    from .device import TestDevice

    dut = TestDevice(irqs={Irq.MSIX: 3})
    server = Server(loop, dut, tmp_path / "x")
    with Client(loop, server.path) as client:
        assert client.set_irqs(c.DISARM, c.INTX, 0, 0) == 0  # QEMU does this at each reset
        assert client.set_irqs(c.ARM, c.INTX, 0, 1, events[:1]) == errno.EINVAL
        assert client.call(c.GET_IRQ_INFO, struct.pack("<IIII", 16, 0, 0, 0)).body[12:] == bytes(4)
    server.close()
