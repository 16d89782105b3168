"""``dgram:local=ADDR,remote=ADDR``: one frame per datagram, as QEMU's ``-netdev dgram`` sends and expects them.

Source: QEMU net/dgram.c, qapi/net.json ``NetdevDgramOptions``. ADDR is a /path (UNIX) or HOST:PORT (UDP); ``remote`` may be
a multicast group, which is then joined.
"""

from __future__ import annotations

import ipaddress
import socket
import struct

from emulators.fabric.backends.options import Options
from emulators.fabric.backends.packets import PacketBackend
from regmodel.function import Buffer


class Dgram(PacketBackend):
    """Sends to ``remote`` by its name each time, so a peer that comes back is found without being told."""

    USAGE = "dgram:local=ADDR,remote=ADDR (ADDR: /path or HOST:PORT)"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        local, remote = options.address("local"), options.address("remote")
        options.finish()
        if local is None or remote is None:
            raise options.error("local= and remote= are both needed")
        if local.family != remote.family or local == remote:
            raise options.error("local and remote have to be two addresses of the same family")
        self.local, self.remote = local, remote
        self._socket: socket.socket | None = None

    def _start(self) -> int:
        sock = socket.socket(self.local.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if self.local.family == socket.AF_INET and ipaddress.ip_address(self.remote.sockaddr[0]).is_multicast:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                group = socket.inet_aton(self.remote.sockaddr[0]) + struct.pack("=I", socket.INADDR_ANY)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            self.local.bind(sock, self.options)
        except BaseException:
            sock.close()
            raise
        self._socket, self._remote = sock, self.remote.sockaddr
        self._receive, self._sendto = sock.recv_into, sock.sendto
        return sock.fileno()

    def _stop(self, fd: int) -> None:
        if self._socket is not None:
            self._socket.close()
            self.local.unbind()
            self._socket = None

    def _read(self, buffer: memoryview) -> int:
        return self._receive(buffer)

    def _write(self, frame: Buffer) -> None:
        self._sendto(frame, self._remote)
