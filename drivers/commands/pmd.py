"""``regmodel pmd``: drive a NIC from Python, as testpmd does from DPDK."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regmodel.errors import UsageError

if TYPE_CHECKING:
    from drivers.pmd.session import Rates
    from drivers.transports import Transport
    from regmodel.catalogue import Device


def pmd(
    device: Annotated[str, typer.Argument(help="what it is: a name of `regmodel list`, or file.py:NAME")],
    via: Annotated[str, typer.Option(help="how to reach it: inprocess, vfio-user:SOCKET, vfio:BDF, replay:FILE, tee:A,B")],
    mode: Annotated[str, typer.Option(help="io, macswap, rxonly, txonly, flowgen or icmpecho")] = "io",
    seconds: Annotated[float | None, typer.Option(help="stop after that long; default: until Ctrl-C", min=0)] = None,
    count: Annotated[int | None, typer.Option(help="stop when so many packets were moved", min=1)] = None,
    burst: Annotated[int, typer.Option(help="packets per burst", min=1, max=512)] = 32,
    size: Annotated[int, typer.Option(help="octets of a frame that txonly and flowgen make, without FCS")] = 64,
    flows: Annotated[int, typer.Option(help="flows that flowgen makes", min=1, max=65536)] = 1024,
    peer: Annotated[str, typer.Option(help="MAC address that txonly and flowgen send to")] = "02:00:00:00:00:00",
    queues: Annotated[int, typer.Option(help="queue pairs", min=1)] = 1,
    descriptors: Annotated[int | None, typer.Option(help="of each ring; default: 512 or what there can be", min=8)] = None,
    mtu: Annotated[int, typer.Option(help="largest packet, without Ethernet header and FCS")] = 1500,
    mac: Annotated[str | None, typer.Option(help="use this MAC address instead of the device's own")] = None,
    vlan: Annotated[list[int], typer.Option(help="receive this VLAN; may be repeated")] = [],  # noqa: B006
    promiscuous: Annotated[bool, typer.Option("--promiscuous", help="receive packets to all addresses")] = False,
    allmulticast: Annotated[bool, typer.Option("--allmulticast", help="receive packets to all multicast addresses")] = False,
    interrupts: Annotated[bool, typer.Option("--interrupts", help="sleep until packets interrupt, instead of polling")] = False,
    show: Annotated[list[str], typer.Option(help="info, link, stats or xstats, after the run; may be repeated")] = [],  # noqa: B006
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="a prompt with testpmd's commands")] = False,
    pcap_in: Annotated[Path | None, typer.Option(help="txonly sends the frames of this capture, over and over")] = None,
    pcap_out: Annotated[Path | None, typer.Option(help="what is received goes into this capture, a pcap file")] = None,
    net: Annotated[str | None, typer.Option(help="inprocess only: the uplink, as `regmodel serve --net`")] = None,
    record: Annotated[Path | None, typer.Option(help="record the session, for --via replay:FILE")] = None,
    link: Annotated[float, typer.Option(help="seconds to wait for the link", min=0)] = 5.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no rates while it runs")] = False,
) -> None:
    """Drive a NIC with the Python driver and forward packets, on any transport.

    \b
    regmodel pmd igbvf --via inprocess --net gen:rate=max --mode rxonly --seconds 2
    regmodel serve igbvf --socket /tmp/vf0.sock --net tap:tap0 &
    regmodel pmd igbvf --via vfio-user:/tmp/vf0.sock --mode icmpecho
    regmodel vm --device igbvf --driver vfio-pci -- regmodel pmd igbvf --via vfio:BDF --mode txonly --seconds 2

    Without --mode, --seconds or --count it forwards until Ctrl-C; with --show alone it shows the port and leaves.
    """
    from contextlib import ExitStack

    from drivers.nics import driver_for
    from drivers.pmd import tables
    from drivers.pmd.captures import Capture, load
    from drivers.pmd.frames import LONGEST, SHORTEST
    from drivers.pmd.prompt import Prompt
    from drivers.pmd.prompt import mac as address
    from drivers.pmd.session import Options, Session
    from regmodel.catalogue import find

    if not SHORTEST <= size <= LONGEST:
        raise UsageError(f"--size {size}: a frame has {SHORTEST} to {LONGEST} octets")
    unknown = [what for what in show if what not in tables.SHOWN]
    if unknown:
        raise UsageError(f"--show {unknown[0]}: there are {', '.join(tables.SHOWN)}")
    if size > mtu + 14:
        raise UsageError(f"--size {size}: an MTU of {mtu} allows frames of {mtu + 14} octets; raise --mtu")
    options = Options(
        mode=mode, burst=burst, queues=queues, descriptors=descriptors, size=size, flows=flows, mtu=mtu,
        peer=address(peer), interrupts=interrupts, promiscuous=promiscuous, allmulticast=allmulticast,
        mac=None if mac is None else address(mac), vlans=tuple(vlan),
    )  # fmt: skip
    found = find(device)
    if pcap_in is not None:
        options.loops = load(pcap_in, mtu + 14)
    with _open(found, via, net, record) as transport, driver_for(found)(transport, found) as port, ExitStack() as stack:
        observer = stack.enter_context(Capture(pcap_out)).observe if pcap_out is not None else None
        session = Session(port, options, tell=_tell, observer=observer)
        stack.callback(session.close)
        if interactive:
            Prompt(session).run()
        else:
            session.start()
            if not port.link_get(link).up:
                _tell(f"{transport.name}: the link is down; going on")
            if not show or seconds is not None or count is not None:
                session.stop_on_interrupt()
                rates = session.run(seconds=seconds, packets=count, report=None if quiet else _say_rates)
                _say(tables.summary(session, rates))
        for what in show:
            _say(tables.SHOWN[what](port))


def _open(device: Device, via: str, net: str | None, record: Path | None) -> Transport:
    """What ``--via`` names, recorded where that is asked for."""
    from drivers.transports.opening import open_transport

    if net is not None and via != "inprocess":
        raise UsageError("--net is for --via inprocess; elsewhere the uplink belongs to whoever serves the device")
    transport = open_transport(via, device, **({} if net is None else {"net": net}))
    if record is None:
        return transport
    from drivers.transports.record import Record

    try:
        return Record(transport, device, record)
    except BaseException:
        transport.close()
        raise


def _say(text: str) -> None:
    print(text, flush=True)


def _say_rates(row: Rates) -> None:
    from drivers.pmd import tables

    _say(tables.rates(row))


def _tell(line: str) -> None:
    """What happens meanwhile, beside the results."""
    print(f"regmodel: {line}", file=sys.stderr, flush=True)
