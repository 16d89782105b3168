"""A program of the tests: a station on the network whose port the Python driver drives, on any transport.

It runs in guests (``python3 station.py``) and on the host alike, needs nothing but this package, and says on standard output
what it does, a line of JSON each: ``{"ready": MAC}`` once its link is up, and what came of it at the end. An error of the
driver's is one line on standard error, and status 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from drivers.ethdev import EthDev
from drivers.mempool import Mempool
from drivers.nics import driver_for
from drivers.transports.opening import open_transport
from drivers.transports.record import Record
from drivers.transports.tee import Finding, Tee
from regmodel.catalogue import find
from regmodel.errors import RegmodelError

BURST = 32
GRACE = 2.0  # seconds by which one of two devices may be late; less than any that the driver waits
ARP, IPV4, ICMP = 0x0806, 0x0800, 1
Answer = Callable[[bytes], bytes | None]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("via")
    parser.add_argument("mode", choices=["echo", "answer", "ping"])
    parser.add_argument("--device", default="igbvf")
    parser.add_argument("--address", default="192.0.2.9", help="our IPv4 address")
    parser.add_argument("--target", default="192.0.2.1", help="whom to ping")
    parser.add_argument("--count", type=int, default=20, help="frames to answer, or pings to send")
    parser.add_argument("--size", type=int, default=56, help="octets of data in a ping")
    parser.add_argument("--seconds", type=float, default=100.0, help="give up after so long")
    parser.add_argument("--interrupts", action="store_true", help="wait for packets by interrupt")
    parser.add_argument("--tour", action="store_true", help="ask the PF for everything first")
    parser.add_argument("--physical", action="store_true", help="vfio: only: the device passes the IOMMU by")
    parser.add_argument("--with", dest="options", action="append", default=[], help="of the driver, as legacy=1 or patience=20")
    parser.add_argument("--room", type=int, default=2048, help="bytes of a packet buffer; 64 more are before it")
    parser.add_argument("--record", help="write what happens to this file")
    parser.add_argument("--against", help="drive a second device in lock-step, by this transport, and tell how they differ")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds by which one of these two may be late")
    parser.add_argument("--against-physical", action="store_true", help="that second one passes the IOMMU by")
    wanted = parser.parse_args()
    try:
        device, judge = find(wanted.device), Judge()
        transport = open_transport(wanted.via, device, **({"physical": True} if wanted.physical else {}))
        said = [option.partition("=") for option in wanted.options]
        more = {name: bool(int(value)) if value in ("0", "1") else float(value) for name, _, value in said}
        if wanted.record:
            transport = Record(transport, device, wanted.record)
        if wanted.against:
            second = open_transport(wanted.against, device, **({"physical": True} if wanted.against_physical else {}))
            transport = Tee(transport, second, device, grace=wanted.grace, accept=judge)
        with transport, driver_for(device)(transport, device, **more) as port:
            Station(port, wanted, judge).run()
    except RegmodelError as error:
        print(f"station: {error}", file=sys.stderr)
        return error.status
    return 0


class Judge:
    """Tells how two devices in lock-step differ, and in which phase; what to make of it is the test's to say."""

    phase = "start"

    def __call__(self, finding: Finding) -> bool:
        say({"phase": self.phase, "at": finding.where, "ours": plain(finding.ours), "theirs": plain(finding.theirs)})
        return True


def plain(value: object) -> str:
    return f"{value:#x}" if isinstance(value, int) else value.hex() if isinstance(value, bytes) else str(value)


class Station:
    """One port that sends and receives frames as bytes."""

    def __init__(self, port: EthDev, wanted: argparse.Namespace, judge: Judge) -> None:
        self.port, self.wanted, self.judge = port, wanted, judge
        self.pool = Mempool(port.transport, 512, wanted.room)
        self._out = np.empty(BURST, np.intp)
        self.received = self.sent = self.woken = 0
        self._heard = hashlib.sha256()
        port.configure()
        port.rx_queue_setup(0, self.pool, 128)
        port.tx_queue_setup(0, self.pool, 128)
        port.start()
        port.link_wait(10)

    def run(self) -> None:
        tour = self.tour() if self.wanted.tour else {}
        self.judge.phase = "traffic"
        idle = self.pool.available
        if self.wanted.interrupts:  # before anybody sends: what comes in before it is waited for is told of later
            self.port.rx_intr_enable(0)
        say({"ready": self.port.mac_addr.hex(":")})
        result = tour | getattr(self, self.wanted.mode)()
        if self.wanted.interrupts and not self.woken:  # all was there whenever it looked
            self.woken += len(self.port.intr_wait(0)[0])
        self._wait_until_sent(idle)
        if self.wanted.tour:
            self.judge.phase = "reset after traffic"
            self.port.reset()
        self.judge.phase = "end"
        stats = self.port.stats()
        self.port.stop()
        say({**result, "received": self.received, "sent": self.sent, "ipackets": stats.ipackets, "opackets": stats.opackets,
             "ibytes": stats.ibytes, "obytes": stats.obytes, "missing": self.pool.count - self.pool.available,
             "woken": self.woken, "sha256": self._heard.hexdigest()})  # fmt: skip

    def _wait_until_sent(self, idle: int) -> None:
        """Until ``idle`` buffers are free again: a device may forget what waits in it when its driver stops.

        QEMU's virtio-net reads a ring on only when its back end has taken a frame, and a reset drops what it holds and what it
        has not read (hw/net/virtio-net.c ``virtio_net_flush_tx``, ``virtio_net_reset``).
        """
        end = self.port.transport.now() + self.wanted.seconds
        while self.pool.available < idle:
            if self.port.transport.now() > end:
                raise RegmodelError(f"{idle - self.pool.available} frames have not left in {self.wanted.seconds:g} s")
            self.port.tx_done_cleanup(0)
            self.port.transport.sleep(0.001)

    # -- frames

    def frames(self) -> Iterator[bytes]:
        """What arrives, until time is up; a look at the port about once a second."""
        transport = self.port.transport
        end = look = transport.now()
        end += self.wanted.seconds
        while (now := transport.now()) < end:
            if now >= look:
                self.port.watch()
                look = now + 1
            if self.wanted.interrupts:
                self.port.rx_intr_enable(0)
            count = self.port.rx_burst(0, self._out)
            contents = [self.pool.content(packet) for packet in self._out[:count].tolist()]
            self.pool.free(self._out[:count])
            self.received += count
            for frame in contents:
                self._heard.update(frame)
                yield frame
            if not count and self.wanted.interrupts:
                self.woken += len(self.port.intr_wait(1.0)[0])
            elif not count:
                transport.sleep(0.002)

    def send(self, frame: bytes) -> None:
        """Waits for a descriptor."""
        packet = np.array([self.pool.put(frame)], np.intp)
        while not self.port.tx_burst(0, packet):
            self.port.transport.sleep(0.001)
        self.sent += 1

    # -- modes

    def tour(self) -> dict[str, Any]:
        """Ask the PF for everything that a VF may ask for, and start over; what came of each."""
        port = self.port
        requests: dict[str, Callable[[], object]] = {
            "multicast list": lambda: port.mc_addr_list_set([bytes.fromhex("01005e000105"), bytes.fromhex("333300000001")]),
            "VLAN": lambda: port.vlan_filter(100),
            "VLAN gone": lambda: port.vlan_filter(100, False),
            "all multicast": lambda: port.allmulticast_set(True),
            "promiscuous": lambda: port.promiscuous_set(True),
            "another address": lambda: port.mac_addr_add(bytes.fromhex("020000000099")),
            "address": lambda: port.mac_addr_set(bytes.fromhex("020000000098")),
            "MTU": lambda: port.mtu_set(9000),
            "statistics": lambda: (port.xstats(), None)[1],
            "reset": lambda: (port.reset(), port.link_wait(10))[0],
        }
        answers = {}
        for name, ask in requests.items():
            self.judge.phase = name
            try:
                answers[name] = ask()
            except RegmodelError as error:
                answers[name] = type(error).__name__
        return {"tour": answers}

    def echo(self) -> dict[str, Any]:
        """Frames to us go back to their sender with the octets behind the EtherType reversed."""
        mine, done = self.port.mac_addr, 0
        for frame in self.frames():
            if frame[:6] == mine:
                self.send(frame[6:12] + mine + frame[12:14] + frame[:13:-1])
                done += 1
                if done == self.wanted.count:
                    break
        return {"echoed": done}

    def answer(self) -> dict[str, Any]:
        """ARP and ICMP echo requests to us are answered."""
        answered = 0
        for frame in self.frames():
            reply = arp_reply(frame, self.port.mac_addr, self.wanted.address) or echo_reply(frame, self.wanted.address)
            if reply is not None:
                self.send(reply)
                answered += reply[12:14] == b"\x08\x00"
                if answered == self.wanted.count:
                    break
        return {"answered": answered}

    def ping(self) -> dict[str, Any]:
        """ARP for the target, then one ICMP echo request after the other; each reply is compared with what was sent."""
        mine, us, them = self.port.mac_addr, dotted(self.wanted.address), dotted(self.wanted.target)
        self.send(arp(1, mine, us, b"\xff" * 6, them))
        peer, expected, good = b"", b"", 0
        for frame in self.frames():
            reply = arp_reply(frame, mine, self.wanted.address)
            if reply is not None:  # the target may ask for us before it answers
                self.send(reply)
            elif not peer and frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x02" and frame[28:32] == them:
                peer = frame[22:28]
            elif frame[12:14] == b"\x08\x00" and frame[26:30] == them and frame[34] == 0:
                if frame[38 : len(expected)] != expected[38:]:
                    return {"answered": good, "differs": frame.hex()}
                good += 1
                expected = b""
            if good == self.wanted.count:
                break
            if peer and not expected:
                data = bytes((i * 7 + good) & 0xFF for i in range(self.wanted.size))
                expected = echo_request(peer, mine, us, them, good + 1, data)
                self.send(expected)
        return {"answered": good}


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def dotted(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


def arp(operation: int, source: bytes, us: bytes, target: bytes, them: bytes) -> bytes:
    """RFC 826; a request has no target yet."""
    known = target if operation == 2 else bytes(6)
    return target + source + struct.pack(">HHHBBH", ARP, 1, IPV4, 6, 4, operation) + source + us + known + them + bytes(18)


def arp_reply(frame: bytes, mine: bytes, address: str) -> bytes | None:
    """What an ARP request for our address is answered with."""
    if frame[12:14] != b"\x08\x06" or frame[20:22] != b"\0\x01" or frame[38:42] != dotted(address):
        return None
    return arp(2, mine, dotted(address), frame[22:28], frame[28:32])


def echo_request(target: bytes, source: bytes, us: bytes, them: bytes, number: int, data: bytes) -> bytes:
    """RFC 791 and 792."""
    message = struct.pack(">BBHHH", 8, 0, 0, 0x5245, number) + data
    message = message[:2] + struct.pack(">H", checksum(message)) + message[4:]
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(message), number, 0x4000, 64, ICMP, 0, us, them)
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    return target + source + struct.pack(">H", IPV4) + header + message


def echo_reply(frame: bytes, address: str) -> bytes | None:
    """What an ICMP echo request to our address is answered with."""
    if frame[12:15] != b"\x08\x00\x45" or frame[23] != ICMP or frame[30:34] != dotted(address) or frame[34] != 8:
        return None
    message = b"\0" + frame[35:36] + b"\0\0" + frame[38 : 14 + int.from_bytes(frame[16:18], "big")]
    message = message[:2] + struct.pack(">H", checksum(message)) + message[4:]
    return frame[6:12] + frame[:6] + frame[12:26] + frame[30:34] + frame[26:30] + message


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


if __name__ == "__main__":
    raise SystemExit(main())
