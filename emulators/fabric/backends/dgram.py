"""``dgram:local=ADDR,remote=ADDR``: one frame per datagram, as QEMU's ``-netdev dgram`` sends and expects them.

Source: QEMU net/dgram.c, qapi/net.json ``NetdevDgramOptions``. ADDR is a /path (UNIX) or HOST:PORT (UDP). Multicast groups,
QEMU's third form, are refused: what is sent to a group on this host comes back to the sender as well.
"""

from __future__ import annotations

import ipaddress
import socket

from emulators.fabric.backends.options import Options
from emulators.fabric.backends.packets import PacketBackend
from regmodel.errors import UsageError
from regmodel.function import Buffer


class Dgram(PacketBackend):
    """A peer that comes back is found without being told.

    To a path each datagram is sent by name: a UNIX socket that is connected would stay so to the peer that died. A UDP
    socket is connected, which makes sending cheaper and lets the kernel report that nobody is there.
    """

    USAGE = "dgram:local=ADDR,remote=ADDR (ADDR: /path or HOST:PORT)"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        local, remote = options.address("local"), options.address("remote")
        options.finish()
        if local is None or remote is None:
            raise options.error("local= and remote= are both needed")
        if local.family != remote.family or local == remote:
            raise options.error("local and remote have to be two addresses of the same family")
        if not remote.is_path and ipaddress.ip_address(remote.sockaddr[0]).is_multicast:
            raise options.error(f"remote={remote.text} is a multicast group, where each frame would come back to us")
        self.local, self.remote = local, remote
        self._socket: socket.socket | None = None
        self._path = remote.text if remote.is_path else None

    def _start(self) -> int:
        sock = socket.socket(self.local.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self.local.bind(sock, self.options)
            if not self.remote.is_path:
                sock.connect(self.remote.sockaddr)
        except OSError as error:
            sock.close()
            raise self.options.error(f"{self.remote.text}: {error.strerror}") from None
        except UsageError:
            sock.close()
            raise
        self._socket = sock
        self._receive, self._send, self._sendto = sock.recv_into, sock.send, sock.sendto
        return sock.fileno()

    def _stop(self, fd: int) -> None:
        if self._socket is not None:
            self._socket.close()
            self.local.unbind()
            self._socket = None

    def _hush(self) -> None:
        """Whoever sends to a path hears whether that was taken, so nothing may be taken that is not read.

        Linux net/unix/af_unix.c ``unix_dgram_sendmsg``: EPIPE from then on.
        """
        if self._socket is not None and self.local.is_path:
            self._socket.shutdown(socket.SHUT_RD)

    def _read(self, buffer: memoryview) -> int:
        return self._receive(buffer)

    def _write(self, frame: Buffer) -> None:
        if self._path is not None:
            self._sendto(frame, self._path)
        else:
            self._send(frame)
