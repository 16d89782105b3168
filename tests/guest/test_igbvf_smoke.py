"""The first thing that must work: two guests with stock igbvf on two VFs of one port see each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emulators.qemu import VM
from tests.guest.conftest import Bench
from tests.guest.network import carrier, ping


@pytest.mark.guest
def test_two_guests_ping_each_other(bench: Bench, clean: Callable[[VM], None]) -> None:
    bench.serve(2)
    mailbox = bench.listen("mailbox")
    a, b = bench.guests(bench.machine(0, name="a"), bench.machine(1, name="b"))
    for guest, address in ((a, "192.0.2.1"), (b, "192.0.2.2")):
        # no IPv6: its multicast from one may find the other between RESET, which opens its pool, and RXDCTL.ENABLE
        guest.run(f"sysctl -q -w net.ipv6.conf.all.disable_ipv6=1; ip addr add {address}/24 dev eth0", check=True)
        guest.run("ip link set eth0 up", check=True)
    for guest in (a, b):
        carrier(guest, True)
    ping(a, "192.0.2.2")
    for guest in (a, b):
        clean(guest)
    stats = bench.stats()["card"]["ports"][0]
    assert stats["vfs"]["0"]["mac"] in b.run("ip neigh show 192.0.2.1", check=True).text
    assert stats["pools"]["vf0"]["dropped"] == {} == stats["pools"]["vf1"]["dropped"]
    assert {event["sender"] for event in mailbox} == {"VF", "PF"}
