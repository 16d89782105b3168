"""What a port says of itself, for a terminal: abilities, link, counters, rates. Text only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from enum import Flag

from drivers.ethdev import EthDev
from drivers.pmd.session import Rates, Session

Pairs = Iterable[tuple[str, object]]


def info(port: EthDev) -> str:
    """``show port info``."""
    i = port.info()
    rows: list[tuple[str, object]] = [
        ("device", f"{i.device} ({port.device.title})"),
        ("via", port.transport.name),
        ("driver", i.driver),
        ("MAC address", port.mac_addr.hex(":")),
        ("state", port.state.value),
        ("MTU", f"{port.settings.mtu} ({i.min_mtu} to {i.max_mtu})"),
        ("receive queues", f"{port.settings.rx_queues} of {i.max_rx_queues}"),
        ("transmit queues", f"{port.settings.tx_queues} of {i.max_tx_queues}"),
        ("receive descriptors", f"{i.rx_descriptors.least} to {i.rx_descriptors.most} in {i.rx_descriptors.align}"),
        ("transmit descriptors", f"{i.tx_descriptors.least} to {i.tx_descriptors.most} in {i.tx_descriptors.align}"),
        ("receive offloads", _flags(i.rx_offloads)),
        ("transmit offloads", _flags(i.tx_offloads)),
        ("unicast addresses", i.max_mac_addrs),
        ("multicast addresses", i.max_mc_addrs),
        ("receive interrupts", "yes" if i.rx_interrupts else "no"),
        ("promiscuous", _on(port.settings.promiscuous)),
        ("all-multicast", _on(port.settings.allmulticast)),
        ("VLANs", ", ".join(map(str, sorted(port.settings.vlans))) or "none"),
        ("link", _link(port)),
    ]
    return _lines(rows)


def link(port: EthDev) -> str:
    """``show port link``."""
    return _lines([("link", _link(port))])


def stats(port: EthDev) -> str:
    """``show port stats``."""
    return _lines(asdict(port.stats()).items())


def xstats(port: EthDev) -> str:
    """``show port xstats``."""
    return _lines(port.xstats().items())


SHOWN = {"info": info, "link": link, "stats": stats, "xstats": xstats}
"""What ``show port`` knows."""


def rates(row: Rates) -> str:
    """One line a second."""
    ipackets, ibits, opackets, obits = row.per_second
    return f"RX {_si(ipackets)}pps {_si(ibits)}bit/s   TX {_si(opackets)}pps {_si(obits)}bit/s"


def summary(session: Session, row: Rates) -> str:
    """What came of a run: packets as forwarded, and as the port counts them."""
    received, sent, dropped = (sum(getattr(s, way) for s in session.streams) for way in ("received", "sent", "dropped"))
    moved = row.after - row.before
    lines = [
        ("mode", f"{session.mode} for {row.seconds:.2f} s"),
        ("forwarded", f"{received} received, {sent} sent, {dropped} dropped for want of descriptors"),
        ("port", f"{moved.ipackets} packets in, {moved.opackets} out, {moved.imissed} missed, {moved.ierrors} in error"),
        ("mean", rates(row)),
    ]
    return _lines(lines)


def _flags(value: Flag) -> str:
    return ", ".join((flag.name or "?").lower() for flag in type(value) if flag in value and flag.value) or "none"


def _on(value: bool) -> str:
    return "on" if value else "off"


def _link(port: EthDev) -> str:
    found = port.link_get()
    state = f"up, {found.speed} Mbit/s, {'full' if found.full_duplex else 'half'} duplex" if found.up else "down"
    return f"{state}, {found.changes} changes"


def _lines(pairs: Pairs) -> str:
    return "\n".join(f"{name:<22} {value}" for name, value in pairs)


def _si(value: float) -> str:
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {letter}"
    return f"{value:.0f} "
