"""Interrupt mode: one message per wake-up, masks by device and by driver, events, and a storm."""

from __future__ import annotations

import pytest

from drivers.errors import InterruptStorm
from drivers.ethdev import Event
from drivers.nics.vmxnet3.interrupts import STORM
from tests.drivers.nics.vmxnet3.bench import Bench, frame


def test_wait_for_packets(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    assert b.port.intr_wait(0.01) == ([], Event.NONE)
    for i in range(3):
        b.port.rx_intr_enable(0)
        assert b.receive() == []
        a.send(frame(b.port.mac_addr, a.port.mac_addr, 60, i))
        assert b.port.intr_wait(1.0) == ([0], Event.NONE)
        assert b.receive() == [frame(b.port.mac_addr, a.port.mac_addr, 60, i)]
    assert b.port.intr_wait(0.01) == ([], Event.NONE)


def test_one_interrupt_until_enabled_again(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    b.port.rx_intr_enable(0)
    for expected in ([0], [], []):
        a.send(frame(b.port.mac_addr, a.port.mac_addr, 60))
        assert b.port.intr_wait(0.01)[0] == expected
    b.port.rx_intr_enable(0)
    assert b.port.intr_wait(0.01)[0] == [0], "what came while it was masked"
    b.receive()


def test_disable(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    b.port.rx_intr_enable(0)
    b.port.rx_intr_disable(0)
    a.send(frame(b.port.mac_addr, a.port.mac_addr, 60))
    assert b.port.intr_wait(0.01)[0] == []


def test_a_polled_port_has_no_interrupts(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    a.send(frame(b.port.mac_addr, a.port.mac_addr, 60))
    assert len(b.receive()) == 1
    b.port.transport.enable_irqs(3)
    assert b.port.transport.wait_irq(0.01) == []
    assert all(register.read() == 1 for register in b.port.registers.imr[:3])  # type: ignore[attr-defined]


def test_transmitting_interrupts_nobody(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    a.port.intr_wait(0.0)
    a.send(*[frame(b.port.mac_addr, a.port.mac_addr, 60)] * 20)
    assert a.port.intr_wait(0.01) == ([], Event.NONE)


def test_link_interrupts(bench: Bench) -> None:
    b = bench.side(1)
    assert b.port.intr_wait(0.0) == ([], Event.NONE)
    for state in ("down", "up"):
        bench.card.control(["link", state])
        assert b.port.intr_wait(1.0) == ([], Event.LINK)
    assert b.port.intr_wait(0.01) == ([], Event.NONE)


def test_storm(bench: Bench) -> None:
    """A vector that fires on and on with nothing behind it is masked and reported; the port goes on."""
    a, b = bench.side(0), bench.side(1)
    b.port.rx_intr_enable(0)
    fire = b.port.transport._trigger(0)  # type: ignore[attr-defined]
    with pytest.raises(InterruptStorm, match=r"vector 0 \(receive queue 0\) fired 256 times within 1 s") as raised:
        for _ in range(10 * STORM):
            fire()
            b.port.intr_wait(0.001)
    assert "\n" not in str(raised.value)
    a.send(frame(b.port.mac_addr, a.port.mac_addr, 60))
    assert len(b.receive()) == 1


def test_work_is_no_storm(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    for _ in range(2 * STORM):
        b.port.rx_intr_enable(0)
        a.send(frame(b.port.mac_addr, a.port.mac_addr, 60))
        assert b.port.intr_wait(0.1)[0] == [0]
        assert len(b.receive()) == 1
