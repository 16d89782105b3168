"""The station at the far end of the cable, the same for both sides: it answers pings to any address, tagged or not.

A datagram is a frame, as QEMU's ``-netdev dgram`` and the back end ``dgram:`` exchange them (QEMU net/dgram.c).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path
from types import TracebackType

MAC = bytes.fromhex("02005e100002")
ETHERTYPE_VLAN, ETHERTYPE_IPV4 = 0x8100, 0x0800
ICMP, ECHO_REQUEST = 1, 8


def answer(frame: bytes) -> bytes | None:
    """The reply to an ICMP echo request (RFC 792) that is addressed to us; None to everything else."""
    if frame[:6] != MAC or len(frame) < 34:
        return None
    tagged = struct.unpack_from(">H", frame, 12)[0] == ETHERTYPE_VLAN
    start = 18 if tagged else 14
    if struct.unpack_from(">H", frame, start - 2)[0] != ETHERTYPE_IPV4:
        return None
    packet = bytearray(frame[start:])
    header = 4 * (packet[0] & 0xF)
    if packet[9] != ICMP or len(packet) < header + 8 or packet[header] != ECHO_REQUEST:
        return None
    packet[12:16], packet[16:20] = packet[16:20], packet[12:16]
    packet[header] = 0
    checksum = struct.unpack_from(">H", packet, header + 2)[0] + (ECHO_REQUEST << 8)
    struct.pack_into(">H", packet, header + 2, (checksum & 0xFFFF) + (checksum >> 16))
    return frame[6:12] + MAC + frame[12:start] + bytes(packet)


class Peer:
    """Answers at the UNIX datagram socket ``folder/peer`` whoever is at ``folder/nic``, until the ``with`` block ends."""

    def __init__(self, folder: Path) -> None:
        self.here, self.there = folder / "peer", folder / "nic"

    def __enter__(self) -> Peer:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.here))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def _serve(self) -> None:
        while frame := self._socket.recv(65536):
            reply = answer(frame)
            if reply is not None:
                with contextlib.suppress(OSError):  # the other side may just have ended
                    self._socket.sendto(reply, str(self.there))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.here))
        self._thread.join(5)
        self._socket.close()
        self.here.unlink()
