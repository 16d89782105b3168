"""The prompt of ``regmodel pmd --interactive``: testpmd's commands, for the one port that there is.

Lines come from standard input, typed or piped, and are looked at between bursts, so that a port forwards while it is asked
things. A line that cannot be done says why, and the session goes on.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from typing import IO

from drivers.pmd import tables
from drivers.pmd.session import Rates, Session
from regmodel.errors import RegmodelError, UsageError

HELP = """show port info|link|stats|xstats     what the port can do, and what it counted
show config fwd                      the mode and its streams
set fwd MODE                         rxonly, txonly, io, macswap, flowgen, icmpecho
start | stop                         forwarding
clear port stats                     count from here
port start|stop|reset                the port itself
port config mtu OCTETS               while the port is stopped
set promisc|allmulti on|off          what is received
mac_addr set ADDRESS                 the port's address
rx_vlan add|rm VID                   the VLAN filter
quit                                 the end, as is the end of the input"""


class Prompt:
    """Reads commands and does them until ``quit``. ``lines`` has no buffer: select(2) does not see what was read ahead."""

    def __init__(self, session: Session, lines: IO[bytes] | None = None, say: Callable[[str], None] = print) -> None:
        self._lines = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) if lines is None else lines  # noqa: SIM115
        self._session, self._say = session, say
        self._forwarding = self._quit = False

    def run(self) -> None:
        """Until ``quit`` or the end of the input."""
        while not self._quit:
            if self._forwarding:
                self._report(self._session.run(idle=self._glance))
            else:
                self._next_line()

    def _glance(self) -> None:
        """A line, if one is there."""
        if select.select((self._lines,), (), (), 0)[0]:
            self._next_line()

    def _next_line(self) -> None:
        if self._lines.isatty():
            sys.stdout.write("pmd> ")
            sys.stdout.flush()
        line = self._lines.readline()
        if not line:
            self._stop()
            self._quit = True
            return
        words = line.decode(errors="replace").split()
        if not words:
            return
        try:
            self._do(words)
        except RegmodelError as error:
            self._say(f"{' '.join(words)}: {error}")

    def _do(self, words: list[str]) -> None:
        port, session = self._session.port, self._session
        match words:
            case ["show", "port", what] if what in tables.SHOWN:
                self._say(tables.SHOWN[what](port))
            case ["show", "config", "fwd"]:
                for stream in session.streams:
                    self._say(f"{session.mode}: queue {stream.queue} to queue {stream.queue}, bursts of {stream.burst}")
            case ["set", "fwd", mode]:
                self._not_forwarding("set fwd")
                session.set_mode(mode)
            case ["start"]:
                session.start()
                self._forwarding = True
            case ["stop"]:
                self._stop()
            case ["clear", "port", "stats"]:
                port.stats_reset()
                port.xstats_reset()
            case ["port", "start"]:
                session.start()
            case ["port", "stop"]:
                self._not_forwarding("port stop")
                session.stop()
            case ["port", "reset"]:
                port.reset()
            case ["port", "config", "mtu", octets]:
                port.mtu_set(_number(octets))
            case ["set", "promisc", ("on" | "off") as state]:
                port.promiscuous_set(state == "on")
            case ["set", "allmulti", ("on" | "off") as state]:
                port.allmulticast_set(state == "on")
            case ["mac_addr", "set", address]:
                port.mac_addr_set(mac(address))
            case ["rx_vlan", ("add" | "rm") as what, vid]:
                port.vlan_filter(_number(vid), what == "add")
            case ["help"]:
                self._say(HELP)
            case ["quit"]:
                self._stop()
                self._quit = True
            case _:
                raise UsageError("no such command; `help` lists them")

    def _not_forwarding(self, what: str) -> None:
        if self._forwarding:
            raise UsageError(f"{what} wants `stop` first")

    def _stop(self) -> None:
        self._session.stopping, self._forwarding = True, False

    def _report(self, rates: Rates) -> None:
        self._say(tables.summary(self._session, rates))


def mac(text: str) -> bytes:
    """Six bytes from ``02:00:00:00:00:01``. Raises ``UsageError``."""
    try:
        address = bytes(int(part, 16) for part in text.split(":"))
    except ValueError:
        address = b""
    if len(address) != 6:
        raise UsageError(f"{text!r} is no MAC address; write it as 02:00:00:00:00:01")
    return address


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(f"{text!r} is no number") from None
