"""A VF driven by Python and a VF driven by the stock ``igbvf`` in a guest ping each other through the switch."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from emulators.qemu import VM
from emulators.qemu.vfio import bind
from tests.guest.conftest import Bench
from tests.guest.network import ADDRESSES, ping, up
from tests.guest.stations import MACHINE, GuestStation, HostStation

pytestmark = pytest.mark.guest

OURS = "192.0.2.9"
COUNT = 10


class Parties:
    """The guest with ``igbvf``, and stations on the other VF by the transport ``via``: on the host or in a second guest."""

    def __init__(self, bench: Bench, via: str) -> None:
        bench.serve(2)
        self.stock: VM
        self._bench, self._second = bench, None
        if via == "vfio-user":
            self.stock = bench.guest(0)
        else:
            self.stock, self._second = bench.guests(bench.machine(0), bench.machine(1, **MACHINE))
            bind(self._second, *self._second.bdfs)
        up(self.stock, ADDRESSES[0])

    def station(self, mode: str, *options: str) -> GuestStation | HostStation:
        more = (mode, "--device", self._bench.device, "--address", OURS, "--count", str(COUNT), *options)
        if self._second is None:
            return HostStation(f"vfio-user:{self._bench.server.sockets[1]}", *more)
        return GuestStation(self._second, f"vfio:{self._second.bdfs[0]}", *more)


@pytest.mark.parametrize("via", ["vfio-user", "vfio"])
def test_they_ping_each_other(bench: Bench, device: str, kernel: str, via: str, clean) -> None:
    parties = Parties(bench, via)
    with parties.station("answer") as station:
        ping(parties.stock, OURS, count=COUNT, size=1400)
        said = station.result()
    assert (said["answered"], said["missing"]) == (COUNT, 0)
    bench.add_up("vf0", "vf1")
    with parties.station("ping", "--target", ADDRESSES[0], "--size", "1472") as station:
        said = station.result()
    assert (said["answered"], said["missing"]) == (COUNT, 0), said
    neighbours = parties.stock.run("ip neigh show dev eth0", check=True).text
    assert f"{OURS} lladdr {station.mac.hex(':')}" in neighbours  # the frames did come from that VF
    bench.add_up("vf0")  # VF 1 was reset in between
    clean(parties.stock)


@pytest.mark.only(kernel=["7.2"])
def test_the_stock_driver_pings_testpmd_in_python(bench: Bench, device: str, kernel: str) -> None:
    """``regmodel pmd --mode icmpecho`` on the socket of the other VF, until Ctrl-C."""
    server = bench.serve(2)
    stock = bench.guest(0)
    up(stock, ADDRESSES[0])
    pmd = ["pmd", device, "--via", f"vfio-user:{server.sockets[1]}", "--mode", "icmpecho"]
    with subprocess.Popen([sys.executable, "-m", "regmodel.cli", *pmd], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("RX ")  # it says its rates once a second
            ping(stock, OURS, count=COUNT)
        finally:
            process.send_signal(signal.SIGINT)
            said = process.stdout.read()
    assert process.returncode == 0
    ((received, sent, dropped),) = re.findall(r"(\d+) received, (\d+) sent, (\d+) dropped", said)
    assert int(received) == int(sent) > COUNT and dropped == "0"  # the pings, and ARP as often as the kernel asks
    assert bench.pools()["vf1"]["tx"]["frames"] == int(sent)
