"""Capture files: frames to send (pcap, pcapng) and frames that were received (pcap, ns). The formats are scapy's business."""

from __future__ import annotations

import time
from pathlib import Path

from drivers.mempool import Indices, Mempool
from regmodel.errors import RegmodelError, UsageError

ETHERNET = 1
"""LINKTYPE_ETHERNET."""


def load(path: Path, longest: int) -> list[bytes]:
    """The frames of a capture file. Raises ``UsageError`` for one that holds none, or one longer than ``longest`` octets."""
    from scapy.error import Scapy_Exception
    from scapy.utils import RawPcapReader

    try:
        with RawPcapReader(str(path)) as reader:
            if getattr(reader, "linktype", ETHERNET) != ETHERNET:
                raise UsageError(f"--pcap-in {path}: it holds no Ethernet frames; capture on an Ethernet interface")
            found = [bytes(data) for data, _ in reader]
    except OSError as error:
        raise UsageError(f"--pcap-in {path}: {error.strerror or error}") from None
    except (Scapy_Exception, EOFError) as error:
        raise UsageError(f"--pcap-in {path}: this is no capture file ({error})") from None
    found = [frame.ljust(60, b"\0") for frame in found if len(frame) >= 14]
    if not found:
        raise UsageError(f"--pcap-in {path}: there is no frame in it")
    too_long = max(map(len, found))
    if too_long > longest:
        raise UsageError(f"--pcap-in {path}: it has a frame of {too_long} octets; the port sends up to {longest} (see --mtu)")
    return found


class Capture:
    """``with Capture(path) as capture``: ``capture.observe`` writes each received packet with the time of its burst.

    Raises ``UsageError`` when the file cannot be written; ``RegmodelError`` when the disk fills up.
    """

    def __init__(self, path: Path) -> None:
        from scapy.utils import RawPcapWriter

        self.path, self.count = path, 0
        try:
            path.open("wb").close()
            self._writer = RawPcapWriter(str(path), linktype=ETHERNET, nano=True)
            self._writer.write_header(None)
        except OSError as error:
            raise UsageError(f"--pcap-out {path}: {error.strerror or error}") from None

    def observe(self, pool: Mempool, packets: Indices) -> None:
        """A burst was received."""
        seconds, ns = divmod(time.time_ns(), 1_000_000_000)
        try:
            for packet in packets.tolist():
                self._writer.write_packet(pool.content(packet), sec=seconds, usec=ns)
                self.count += 1
        except OSError as error:
            raise RegmodelError(f"--pcap-out {self.path}: {error.strerror or error} after {self.count} packets") from None

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
