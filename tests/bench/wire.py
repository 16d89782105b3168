"""A sender on the host's end of a TAP device: the same frame over and over, as fast as one thread can.

    python -m tests.bench.wire INTERFACE MAC SIZE

It runs until killed. It is a program of its own so that it has an interpreter, and a core, of its own.
"""

from __future__ import annotations

import socket
import sys
import time

from emulators.fabric.frames import mac_bytes

SOURCE = bytes.fromhex("020000000098")
_IP_UDP = "4500{:04x}00004000401100000a0000010a00000200090009{:04x}0000"


def frame(target: bytes, size: int) -> bytes:
    """A UDP packet without UDP checksum, ``size`` octets without FCS; the IPv4 checksum is right."""
    packet = bytearray(bytes.fromhex(_IP_UDP.format(size - 14, size - 34)).ljust(size - 14, b"\0"))
    total = sum(int.from_bytes(packet[at : at + 2], "big") for at in range(0, 20, 2))
    packet[10:12] = (0xFFFF - (total % 0xFFFF or 0xFFFF)).to_bytes(2, "big")
    return target + SOURCE + b"\x08\x00" + packet


def main(interface: str, target: str, size: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        data, send = frame(mac_bytes(target), int(size)), sock.send
        while True:
            try:
                for _ in range(64):
                    send(data)
            except OSError:  # the device's queue is full
                time.sleep(0.0001)


if __name__ == "__main__":
    main(*sys.argv[1:])
