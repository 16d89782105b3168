"""The frames of the modes: UDP templates as rows of octets, and the answers to ARP and ICMP echo requests.

Nothing in here knows of ports or buffers.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]

HEADERS = 14 + 20 + 8
"""Octets of Ethernet, IPv4 and UDP headers: the shortest frame that a mode makes is no shorter than a wire's, 60."""
SHORTEST, LONGEST = 60, 9000
IPV4, ARP = b"\x08\x00", b"\x08\x06"
ARP_REQUEST, ARP_REPLY = 1, 2  # RFC 826
ECHO_REQUEST, ECHO_REPLY = 8, 0  # RFC 792
ICMP = 1  # RFC 790


def checksum(data: bytes) -> int:
    """The Internet checksum of ``data`` (RFC 1071)."""
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    return ~(total % 0xFFFF or (total and 0xFFFF)) & 0xFFFF


def udp(target: bytes, source: bytes, size: int, flow: int = 0) -> bytes:
    """``size`` octets from 198.18.0.1 to 198.18.1.0 plus ``flow`` (RFC 2544), port 9 (discard); no UDP checksum."""
    payload = bytes(size - HEADERS)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size - 14, 0, 0, 64, 17, 0,
                     bytes((198, 18, 0, 1)), struct.pack(">I", (198 << 24 | 18 << 16 | 1 << 8) + flow))  # fmt: skip
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    return target + source + IPV4 + ip + struct.pack(">4H", 9, 9, 8 + len(payload), 0) + payload


def table(target: bytes, source: bytes, size: int, flows: int) -> Octets:
    """One row of octets for each flow."""
    rows = [np.frombuffer(udp(target, source, size, flow), np.uint8) for flow in range(flows)]
    return np.stack(rows)


def answer(frame: bytes, own: bytes) -> bytes | None:
    """The answer of a station with address ``own`` to an ARP or ICMP echo request for any IPv4 address, else None."""
    if frame[12:14] == ARP:
        return _arp(frame, own)
    if frame[12:14] == IPV4 and len(frame) >= 34 and frame[14] >> 4 == 4 and frame[23] == ICMP:
        return _echo(frame, own)
    return None


def _arp(frame: bytes, own: bytes) -> bytes | None:
    """RFC 826 for Ethernet and IPv4."""
    if len(frame) < 42 or frame[14:22] != b"\0\x01\x08\0\x06\x04\0\x01":
        return None
    asker, sought = frame[22:32], frame[38:42]
    reply = asker[:6] + own + ARP + b"\0\x01\x08\0\x06\x04\0\x02" + own + sought + asker
    return reply.ljust(SHORTEST, b"\0")


def _echo(frame: bytes, own: bytes) -> bytes | None:
    """RFC 792: addresses change places, the type becomes that of a reply, the checksum is made anew."""
    header = 4 * (frame[14] & 0xF)
    total = int.from_bytes(frame[16:18], "big")
    fragment = int.from_bytes(frame[20:22], "big") & 0x3FFF
    message = frame[14 + header : 14 + total]
    if header < 20 or len(message) < 8 or len(frame) < 14 + total or fragment or message[0] != ECHO_REQUEST:
        return None
    message = bytes((ECHO_REPLY, message[1], 0, 0)) + message[4:]
    message = message[:2] + struct.pack(">H", checksum(message)) + message[4:]
    ip = frame[14 : 14 + header]
    ip = ip[:12] + ip[16:20] + ip[12:16] + ip[20:]  # addresses swapped: the header's checksum stays right
    return (frame[6:12] + own + IPV4 + ip + message).ljust(SHORTEST, b"\0")
