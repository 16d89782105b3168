"""The options of a ``--net`` specification: ``name:key=value,key=value``, and the errors for what is wrong with them.

In here: text to values. What the values mean is in the file of each back end.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regmodel.errors import UsageError


class Options:
    """The options of one specification. Each getter raises ``UsageError``; ``finish`` complains of those nobody asked for."""

    def __init__(self, spec: str, usage: str) -> None:
        self.spec, self.usage = spec, usage
        self.values: dict[str, str] = {}
        for item in spec.partition(":")[2].split(","):
            key, _, value = item.partition("=")
            if key in self.values:
                raise self.error(f"{key}= is there twice")
            if item:
                self.values[key] = value
        self.left = set(self.values)

    def error(self, why: str) -> UsageError:
        return UsageError(f"--net {self.spec}: {why}; write it as {self.usage}")

    def text(self, key: str) -> str | None:
        self.left.discard(key)
        value = self.values.get(key)
        if value == "":
            raise self.error(f"{key}= has no value")
        return value

    def word(self) -> str:
        """The whole of it, for a back end that has one nameless option."""
        self.left.clear()
        return self.spec.partition(":")[2]

    def number(self, key: str, default: int, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``."""
        text = self.text(key)
        if text is None:
            return default
        if not text.isdecimal() or not low <= int(text) <= high:
            raise self.error(f"{key}={text} is not a number from {low} to {high}")
        return int(text)

    def seconds(self, key: str) -> int:
        """A duration, written in seconds, in nanoseconds; 0 when it is not given."""
        text = self.text(key)
        try:
            value = 0.0 if text is None else float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < 1e6:
            raise self.error(f"{key}={text} is not a number of seconds")
        return int(value * 1e9)

    def choice(self, key: str, values: Mapping[str, Any], default: str) -> Any:
        text = self.text(key) or default
        if text not in values:
            raise self.error(f"{key}={text} is none of {', '.join(values)}")
        return values[text]

    def address(self, key: str) -> Address | None:
        text = self.text(key)
        return None if text is None else Address.parse(text, self)

    def finish(self) -> None:
        """Call it last."""
        if self.left:
            raise self.error(f"unknown option {', '.join(sorted(self.left))}")


@dataclass(frozen=True)
class Address:
    """A socket address: a UNIX path, or an internet host and port."""

    text: str
    family: socket.AddressFamily
    sockaddr: str | tuple[Any, ...]

    @classmethod
    def parse(cls, text: str, options: Options) -> Address:
        """``/path`` (anything with a slash), ``host:port`` or ``[v6]:port``. Names are resolved here, once."""
        if "/" in text:
            if len(text.encode()) > 107:
                raise options.error(f"the path {text} is longer than the 107 bytes that a UNIX socket address has")
            return cls(text, socket.AF_UNIX, text)
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise options.error(f"the address {text} is neither a /path nor HOST:PORT")
        try:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
        except OSError as error:
            raise options.error(f"the host {host} is not known ({error.strerror})") from None
        family, _, _, _, sockaddr = found[0]
        return cls(text, family, sockaddr)

    @property
    def is_path(self) -> bool:
        return self.family == socket.AF_UNIX

    def bind(self, sock: socket.socket, options: Options) -> None:
        """Bind ``sock``; a path that nobody serves any more is taken over."""
        try:
            if self.is_path and Path(self.text).is_socket():
                self._take_over(sock.type, options)
            sock.bind(self.sockaddr)
        except OSError as error:
            raise options.error(f"cannot bind {self.text} ({error.strerror})") from None

    def _take_over(self, kind: int, options: Options) -> None:
        with socket.socket(self.family, kind) as probe:
            try:
                probe.connect(self.sockaddr)
            except ConnectionRefusedError:
                Path(self.text).unlink()
            except OSError as error:
                raise options.error(f"{self.text} is in use by something else ({error.strerror})") from None
            else:
                raise options.error(f"{self.text} is in use by another process: stop it or name another path")

    def unbind(self) -> None:
        """Remove the path that ``bind`` made."""
        if self.is_path:
            Path(self.text).unlink(missing_ok=True)
