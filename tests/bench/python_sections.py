"""The section of the benchmark about the Python driver: alone, with the model, over the vfio-user socket, in a guest.

In here: who is compared with whom. What a packet costs without a process boundary is measured by ``python_driver``, an access
through the vfio-user client by ``vfio_user_client``; the rates are those of ``regmodel pmd``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from drivers.nics import driver_for
from drivers.pmd.session import Options, Session
from drivers.transports import Transport
from drivers.transports.in_process import open_functions
from drivers.transports.vfio_user import VfioUser
from emulators.process import ServerProcess
from emulators.qemu import Lab
from regmodel.devices.igbvf import IGBVF
from tests.bench import python_driver, vfio_user_client
from tests.bench.pair import Pair
from tests.bench.table import Row, Section, compare

BURST, SIZE = 32, 64
NETS = {"txonly": "sink:", "rxonly": f"gen:rate=max,size={SIZE}"}
"""The uplink by mode: one that reads each octet, one that offers more than any port takes."""
ABOUT = (
    "Bursts of 32 frames of 64 octets, UDP over IPv4. Theirs: a plain loop, one object per descriptor, on bare rings; a bare "
    "vfio-user client; the same pmd in-process, where the model shares its thread; the same pmd on the VF of QEMU's igb in "
    "the same guest, both ports on a TAP device. Not comparable with any of it, being real PCIe in another machine: "
    "ixy.py, 0.14 Mpps at batch 32 (ixy-languages repository, img/batches-3.3.tex)."
)


def python(quick: bool) -> Section:
    """All that the Python driver shows."""
    rows = [*_packets(quick), *_accesses(), *_over_the_socket(quick), *_in_a_guest(quick)]
    return Section("The Python driver", ABOUT, rows)


def _packets(quick: bool) -> list[Row]:
    """Forwarding on bare rings, and from one VF to another; one thread, no process boundary."""
    plain, alone, both = python_driver.measure(15 if quick else 61, 300)
    return [
        compare("driver alone on bare rings", alone, plain, "packets/s", at_least=3),
        compare("driver and model, from VF to VF", both, plain, "packets/s", at_least=0.5),
    ]


def _accesses() -> list[Row]:
    """Through the vfio-user client."""
    figures = vfio_user_client.measure()
    named = (("read", "vfio-user register read"), ("write", "vfio-user posted write, CPU of the client"))
    return [compare(what, *([ns] for ns in figures[name]), "ns", at_most=1.5) for name, what in named]


# -- pmd

@contextmanager
def forwarding(transport: Transport, mode: str) -> Iterator[Session]:
    """``regmodel pmd --mode MODE`` as it is when its port has started and the link is up."""
    with transport, driver_for(IGBVF)(transport, IGBVF) as port:
        session = Session(port, Options(mode=mode, burst=BURST, size=SIZE))
        session.start()
        port.link_wait()
        try:
            yield session
        finally:
            session.close()


def _over_the_socket(quick: bool) -> list[Row]:
    """A server in another process beside a model in this thread."""
    rounds, seconds = (3, 0.5) if quick else (7, 1.0)
    rows = []
    for mode, net in NETS.items():
        rates: list[list[float]] = [[], []]
        with ExitStack() as stack:
            server = stack.enter_context(ServerProcess(["igbvf"], nets=[net]))
            ours = stack.enter_context(forwarding(VfioUser(str(server.sockets[0])), mode))
            (transport,) = open_functions(IGBVF, net=net)
            theirs = stack.enter_context(forwarding(transport, mode))
            for _ in range(rounds):
                for figures, session in zip(rates, (ours, theirs), strict=True):
                    ipackets, _, opackets, _ = session.run(seconds=seconds).per_second
                    figures.append(ipackets if mode == "rxonly" else opackets)
        rows.append(compare(f"pmd {mode}, vfio-user socket", *rates, "packets/s"))
    return rows


def _in_a_guest(quick: bool) -> list[Row]:
    """Through Linux VFIO, behind intel-iommu: our VF, and the one of QEMU's igb. What counts is what the VF says it sent."""
    rounds, seconds = (1, 2) if quick else (3, 4)
    options = f"--mode txonly --size {SIZE} --burst {BURST} --seconds {seconds} -q"
    rates: list[list[float]] = [[], []]
    with Pair(Lab(), dpdk=True, kits=["python"]) as pair:
        for _ in range(rounds):
            for figures, bdf in zip(rates, (pair.ours, pair.theirs), strict=True):
                said = pair.vm.run(f"regmodel pmd igbvf --via vfio:{bdf} {options}", check=True, timeout=120).text
                figures.append(sent_per_second(said))
    return [compare("pmd txonly in a guest, Linux VFIO", *rates, "packets/s")]


def sent_per_second(summary: str) -> float:
    """From what ``regmodel pmd`` says at its end: packets that the port counted as sent, and how long that took."""
    found = re.search(r"^mode +txonly for ([\d.]+) s$.*^port +\d+ packets in, (\d+) out", summary, re.MULTILINE | re.DOTALL)
    if found is None:
        raise AssertionError(f"regmodel pmd did not sum up: {summary}")
    return int(found[2]) / float(found[1])
