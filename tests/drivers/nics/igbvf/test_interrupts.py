"""Interrupt mode: one message per wake-up, masks, moderation, the mailbox's vector, and a storm."""

from __future__ import annotations

from itertools import pairwise

import pytest

from drivers.errors import InterruptStorm
from drivers.ethdev import Event
from drivers.mempool import Mempool
from drivers.nics.igbvf.interrupts import STORM
from regmodel.errors import UsageError
from tests.drivers.nics.igbvf.bench import Bench, Side, frame


def test_wait_for_packets(either: Bench) -> None:
    a, b = either.side(0), either.side(1)
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
    assert bench.bank(1)["eims"].value == 0 == bench.bank(1)["ivar0"].value


def test_moderation(bench: Bench) -> None:
    """EITR: the second message of a vector comes when the interval is over, and not sooner."""
    a = bench.side(0)
    b = Side(bench.open(1, interval=2000))
    times = []
    for _ in range(3):
        b.port.rx_intr_enable(0)
        a.send(frame(b.port.mac_addr, a.port.mac_addr, 60))
        assert b.port.intr_wait(1.0)[0] == [0]
        times.append(b.port.transport.now())
        b.receive()
    assert all(0.002 <= later - sooner < 0.0025 for sooner, later in pairwise(times))
    with pytest.raises(UsageError, match="0 to 8191 us"):
        bench.open(1, interval=8192)


def test_link_and_resets_of_the_pf_interrupt(bench: Bench) -> None:
    b = bench.side(1)
    assert b.port.intr_wait(0.0) == ([], Event.NONE)
    for state in ("down", "up"):
        bench.card.control(["link", state])
        assert b.port.intr_wait(1.0) == ([], Event.LINK)
    bench.card.control(["pf-reset"])
    found = b.port.intr_wait(1.0)[1]
    assert found & Event.RESET and b.port.reset_needed
    b.port.reset()
    b.port.rx_intr_enable(0)
    a = bench.side(0)
    a.send(frame(b.port.mac_addr, a.port.mac_addr, 60))
    assert b.port.intr_wait(1.0)[0] == [0]


def test_questions_to_the_pf_are_no_storm(bench: Bench) -> None:
    """A mailbox that answers interrupts, too; whoever waits then finds nothing to do, and that is no storm."""
    b = bench.side(1)
    b.port.intr_wait(0.0)
    for i in range(2 * STORM):
        b.port.vlan_filter(1 + i % 10, bool(i & 1))
        b.port.intr_wait(0.0)


def test_two_queues_have_a_vector_each(bench: Bench) -> None:
    port = bench.open(0)
    pool = Mempool(port.transport, 256)
    port.configure(2, 1)
    for queue in range(2):
        port.rx_queue_setup(queue, pool, 64)
    port.tx_queue_setup(0, pool, 64)
    port.start()
    for queue in range(2):
        port.rx_intr_enable(queue)
    interrupts = bench.model(0).interrupts
    interrupts.cause(interrupts.receive[1])
    assert port.intr_wait(0.1)[0] == [1]
    interrupts.cause(interrupts.receive[0] | interrupts.mailbox)
    assert port.intr_wait(0.1)[0] == [0]


@pytest.mark.parametrize("source", ["queue", "mailbox"])
def test_storm(bench: Bench, source: str) -> None:
    """A vector that fires on and on with nothing behind it is masked and reported; the port goes on."""
    a, b = bench.side(0), bench.side(1)
    b.port.rx_intr_enable(0)
    interrupts = bench.model(1).interrupts
    bit = interrupts.receive[0] if source == "queue" else interrupts.mailbox
    wakes = 0
    with pytest.raises(InterruptStorm, match="receive queue 0" if source == "queue" else "the mailbox") as raised:
        for _ in range(10 * STORM):
            interrupts.cause(bit)
            b.port.intr_wait(0.001)
            wakes += 1
            if source == "queue":
                b.port.rx_intr_enable(0)
    assert wakes <= STORM + 1 and "\n" not in str(raised.value)
    assert not bench.bank(1)["eims"].value & bit, "it is masked"
    a.send(frame(b.port.mac_addr, a.port.mac_addr, 60))
    assert len(b.receive()) == 1


def test_work_is_no_storm(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    for _ in range(2 * STORM):
        b.port.rx_intr_enable(0)
        a.send(frame(b.port.mac_addr, a.port.mac_addr, 60))
        assert b.port.intr_wait(0.1)[0] == [0]
        assert len(b.receive()) == 1


def test_an_idle_wake_now_and_then_is_no_storm(bench: Bench) -> None:
    b = bench.side(1)
    b.port.rx_intr_enable(0)
    interrupts = bench.model(1).interrupts
    for _ in range(2 * STORM):
        interrupts.cause(interrupts.receive[0])
        b.port.intr_wait(0.0)
        b.port.transport.sleep(0.01)
        b.port.rx_intr_enable(0)
    assert b.port.xstats()["interrupts_rx_q0"] == 2 * STORM
