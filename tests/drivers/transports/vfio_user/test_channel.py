"""The conversation: replies that are late, cut up, wrong or none, and commands of the server in the middle of ours."""

from __future__ import annotations

import errno
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import FrameType

import pytest

from drivers.errors import DeviceGone, DeviceTimeout, DriverError, NotSupported, UnsupportedReply
from drivers.transports.vfio_user import channel as channel_module
from drivers.transports.vfio_user.stream import MAX_MESSAGE, MAX_UNSENT
from regmodel.errors import UsageError

from .conftest import Attach, impatient
from .scripted import (
    CONFIG_SIZE,
    DMA_READ,
    DMA_WRITE,
    ERROR,
    HEADER,
    NO_REPLY,
    REGION_READ,
    REGION_WRITE,
    RESET,
    Peer,
    Request,
    content,
    message,
    until,
)

READ_BODY = struct.Struct("<QII")


def answer(request: Request) -> bytes:
    """The right reply to a read."""
    return message(request.ident, REGION_READ, request.body + content(request.body))


# -- what goes over the wire


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_read_is_one_message(attach: Attach, width: int) -> None:
    client, server = attach()
    bar = client.bar(0)
    before = len(server.requests)
    words = {1: bar.u8, 2: bar.u16, 4: bar.u32, 8: bar.u64}[width]
    assert words[0x18 // width] == 0x18
    assert bar.read(0x20, width) == 0x20
    assert [(r.command, r.flags, r.body) for r in server.requests[before:]] == [
        (REGION_READ, 0, READ_BODY.pack(at, 0, width)) for at in (0x18, 0x20)
    ]


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_write_to_memory_is_one_posted_message(attach: Attach, width: int) -> None:
    client, server = attach()
    bar = client.bar(0)
    before = len(server.requests)
    value = 0x1122334455667788 & (1 << 8 * width) - 1
    {1: bar.u8, 2: bar.u16, 4: bar.u32, 8: bar.u64}[width][0x18 // width] = value
    bar.write(0x20, width, value)
    bar.u8[0]  # the read comes behind them
    assert [(r.command, r.flags, r.body) for r in server.requests[before:-1]] == [
        (REGION_WRITE, NO_REPLY, READ_BODY.pack(at, 0, width) + value.to_bytes(width, "little")) for at in (0x18, 0x20)
    ]


def test_a_write_to_io_space_or_configuration_space_is_waited_for(attach: Attach) -> None:
    """Bit 0 of a BAR register says I/O space."""

    def read(peer: Peer, request: Request) -> None:
        at, region, count = READ_BODY.unpack(request.body)
        value = 1 if (at, region) == (0x10, 7) else 0
        peer.reply(request, request.body + value.to_bytes(count, "little"))

    client, server = attach({REGION_READ: read})
    client.bar(0).u32[1] = 5
    client.config_write(4, 2, 6)
    assert [(r.flags, r.body) for r in server.requests if r.command == REGION_WRITE] == [
        (0, READ_BODY.pack(4, 0, 4) + b"\5\0\0\0"),
        (0, READ_BODY.pack(4, 7, 2) + b"\6\0"),
    ]


def test_ids_wrap_around(attach: Attach) -> None:
    client, server = attach()
    client._channel._ident = 0xFFFE
    assert [client.bar(0).u32[1] for _ in range(4)] == [4] * 4
    assert [r.ident for r in server.requests[-4:]] == [0, 1, 2, 3]


# -- replies that are not as they should be


def refused(request: Request, code: int) -> bytes:
    return HEADER.pack(request.ident, request.command, 16, 1 | ERROR, code)


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (errno.EINVAL, NotSupported, "Invalid argument"),
        (errno.ENOTSUP, NotSupported, "not supported"),
        (errno.EIO, DriverError, "Input/output error"),
        (0, DriverError, "no reason given"),
    ],
)
def test_an_error_reply_is_told_and_the_conversation_goes_on(
    attach: Attach, code: int, kind: type[Exception], says: str
) -> None:
    client, server = attach()
    bar = client.bar(0)
    server.handlers[REGION_READ] = lambda peer, request: peer.send(refused(request, code))
    with pytest.raises(DriverError, match=f"refuses .*read of 4 bytes at 0x10 of BAR 0: .*{says}") as caught:
        bar.u32[4]
    assert caught.type is kind
    server.handlers.clear()
    assert bar.u32[4] == 0x10


WRONG: dict[str, tuple[Callable[[Request], bytes], str]] = {
    "id": (lambda r: message(r.ident + 1, REGION_READ, r.body + content(r.body)), "a reply to nothing that was asked"),
    "command": (lambda r: message(r.ident, RESET, r.body + content(r.body)), "DEVICE_RESET as the reply to REGION_READ"),
    "no command": (lambda r: message(r.ident, 99, r.body + content(r.body)), "command 99 as the reply to REGION_READ"),
    "offset": (lambda r: message(r.ident, REGION_READ, READ_BODY.pack(0x14, 0, 4) + bytes(4)), "an answer to another access"),
    "region": (lambda r: message(r.ident, REGION_READ, READ_BODY.pack(0x10, 1, 4) + bytes(4)), "an answer to another access"),
    "count": (lambda r: message(r.ident, REGION_READ, READ_BODY.pack(0x10, 0, 2) + bytes(4)), "an answer to another access"),
    "short data": (lambda r: message(r.ident, REGION_READ, r.body + bytes(3)), "with 3 bytes"),
    "no data": (lambda r: message(r.ident, REGION_READ, r.body), "with 0 bytes"),
    "long data": (lambda r: message(r.ident, REGION_READ, r.body + bytes(5)), "with 5 bytes"),
    "header only": (lambda r: message(r.ident, REGION_READ), "with -16 bytes"),
    "size too small": (lambda r: message(r.ident, REGION_READ, bytes(20), size=15), "says it has 15 bytes"),
    "size too large": (lambda r: message(r.ident, REGION_READ, bytes(20), size=MAX_MESSAGE + 1), "says it has"),
    "type": (lambda r: message(r.ident, REGION_READ, r.body + content(r.body), flags=5), "a message of type 5"),
    "twice": (lambda r: answer(r) + answer(r), "a reply to nothing that was asked"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_reply_ends_the_conversation(attach: Attach, wrong: str) -> None:
    reply, says = WRONG[wrong]
    client, server = attach()
    bar = client.bar(0)
    server.handlers[REGION_READ] = lambda peer, request: peer.send(reply(request))
    with pytest.raises(UnsupportedReply, match=says) as caught:
        bar.u32[4]
        bar.u32[4]  # what came twice shows at the next
    assert str(caught.value).startswith(client.name) and "\n" not in str(caught.value)
    with pytest.raises(DeviceGone, match=f"the connection was closed, because.*{says}"):
        bar.u32[4]
    with pytest.raises(DeviceGone, match="the connection was closed"):
        bar.u32[4] = 1
    with pytest.raises(DeviceGone, match="the connection was closed"):
        client.alloc(4096)


def test_a_wrong_reply_to_a_write(attach: Attach) -> None:
    client, server = attach()
    server.handlers[REGION_WRITE] = lambda peer, request: peer.reply(request, READ_BODY.pack(0, 7, 2))
    with pytest.raises(UnsupportedReply, match="another access than the write of 2 bytes at 0x4 of configuration"):
        client.config_write(4, 2, 6)


def test_a_reply_in_pieces(attach: Attach) -> None:
    def read(peer: Peer, request: Request) -> None:
        for byte in answer(request):
            peer.send(bytes([byte]))
            time.sleep(0.0005)

    client, server = attach()
    server.handlers[REGION_READ] = read
    assert [client.config_read(0, 4), client.config_read(4, 1)] == [0, 0]
    server.handlers.clear()
    assert client.bar(0).u32[4] == 0x10


@pytest.mark.parametrize("sent", [0, 1, 15, 16, 17, 35])
def test_a_server_that_closes_in_the_middle_of_a_reply(attach: Attach, sent: int) -> None:
    def read(peer: Peer, request: Request) -> None:
        peer.send(answer(request)[:sent])
        peer.sock.close()

    client, server = attach()
    bar = client.bar(0)
    server.handlers[REGION_READ] = read
    with pytest.raises(DeviceGone, match=r"the server has hung up.*start it again, and open the device anew"):
        bar.u32[4]
    for attempt in (lambda: bar.u32[4], lambda: client.sleep(0), lambda: client.wait_irq(0), client.reset):
        with pytest.raises(DeviceGone, match="the server has hung up"):
            attempt()


# -- deadlines


def test_an_answer_is_waited_for_as_long_as_was_said(attach: Attach) -> None:
    client, _ = attach(timeout=7.5)
    assert client._channel.timeout == 7.5
    for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        assert struct.unpack("ll", client._channel._sock.getsockopt(socket.SOL_SOCKET, limit, 16)) == (7, 500_000)


def test_no_answer_and_a_late_one(attach: Attach) -> None:
    """After a deadline the conversation goes on; the reply that comes too late is nobody's.

    The deadline is the one that is set at that time: no test takes as long as the one from before.
    """
    waiting: list[Request] = []
    client, server = attach(timeout=3600.0)
    bar = client.bar(0)
    server.handlers[REGION_READ] = lambda peer, request: waiting.append(request)
    not_answered = r"the read of 4 bytes at 0x10 of BAR 0 .*within 0.05 s"
    for way in (lambda: bar.u32[4], lambda: bar.u32[4]):  # the hot way, and the other, while an answer is outstanding
        start = time.monotonic()
        with impatient(client, 0.05), pytest.raises(DeviceTimeout, match=not_answered):
            way()
        assert time.monotonic() - start > 0.04

    def read(peer: Peer, request: Request) -> None:
        for late in waiting:
            peer.send(answer(late))
        waiting.clear()
        peer.send(answer(request))

    server.handlers[REGION_READ] = read
    assert [bar.u32[5], bar.u32[6], bar.u32[7]] == [20, 24, 28]
    assert not client._channel._late


def test_no_answer_to_half_a_reply(attach: Attach) -> None:
    client, server = attach()
    bar = client.bar(0)
    server.handlers[REGION_READ] = lambda peer, request: peer.send(answer(request)[:20])
    with impatient(client, 0.05):
        with pytest.raises(DeviceTimeout):
            bar.u32[4]
        client.close()


def test_a_server_that_talks_and_never_answers(attach: Attach) -> None:
    """Commands of its own do not move our deadline: it goes on with them until that has passed."""
    stop = threading.Event()

    def read(peer: Peer, request: Request) -> None:
        while not stop.is_set():
            peer.ask(DMA_READ, struct.pack("<QQ", 0, 4))

    client, server = attach()
    bar = client.bar(0)
    server.handlers[REGION_READ] = read
    with impatient(client, 0.1), pytest.raises(DeviceTimeout):
        bar.u32[4]
    server.handlers.clear()
    stop.set()
    client.sleep(0.01)


def test_a_server_that_has_left_too_much_without_an_answer(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "MAX_LATE", 2)
    client, server = attach()
    bar = client.bar(0)
    server.handlers[REGION_READ] = lambda peer, request: None
    for _ in range(3):
        with impatient(client, 0.01), pytest.raises(DeviceTimeout):
            bar.u32[4]
    with pytest.raises(DeviceGone, match="has left 2 commands without an answer"):
        bar.u32[4]


def test_a_server_that_takes_nothing(attach: Attach) -> None:
    """Posted writes fill the socket; then there is a deadline, and afterwards all arrive, in order, once."""
    go = threading.Event()

    def hold(peer: Peer, request: Request) -> None:
        peer.reply(request)
        assert go.wait(10)

    client, server = attach({RESET: hold})
    bar = client.bar(0)
    client._channel.call(channel_module.Command.DEVICE_RESET, b"", "DEVICE_RESET")
    before = len(server.requests)
    written = 0
    not_taken = r"the write of 4 bytes at 0x8 of BAR 0 is not taken within 0.1 s"
    with impatient(client, 0.1), pytest.raises(DeviceTimeout, match=not_taken):
        while written < 100_000:
            bar.u32[2] = written
            written += 1
    go.set()
    bar.u32[2] = written + 1
    assert bar.u32[4] == 0x10
    values = [struct.unpack_from("<I", r.body, 16)[0] for r in server.requests[before:] if r.command == REGION_WRITE]
    assert values == list(range(written + 2))


def test_a_signal_in_the_middle_of_a_read(attach: Attach) -> None:
    """What the handler of a signal raises goes to the caller; the reply that comes afterwards is not taken for another."""

    class Stop(Exception):
        pass

    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()
        raise Stop

    client, server = attach()
    bar = client.bar(0)
    reader = threading.get_ident()

    def read(peer: Peer, request: Request) -> None:
        time.sleep(0.02)  # most likely it sleeps in the kernel by now
        signal.pthread_kill(reader, signal.SIGUSR1)
        assert stopped.wait(10)
        server.handlers.clear()
        peer.send(answer(request))

    server.handlers[REGION_READ] = read
    old = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(Stop):
            bar.u32[4]
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert [bar.u32[5], bar.u32[6]] == [20, 24]


# -- commands of the server


def test_dma_in_the_middle_of_a_read(attach: Attach) -> None:
    client, server = attach()
    one, other = client.alloc(4096), client.alloc(8192)  # side by side
    one.view[-4:], other.view[:4] = b"abcd", b"efgh"
    bar = client.bar(0)
    heard: list[bytes] = []

    def read(peer: Peer, request: Request) -> None:
        where = struct.pack("<QQ", other.iova - 4, 8)
        heard.append(peer.ask(DMA_READ, where).body)
        heard.append(peer.ask(DMA_WRITE, where + b"ABCDEFGH").body)
        peer.send(answer(request))

    server.handlers[REGION_READ] = read
    assert bar.u32[4] == 0x10
    where = struct.pack("<QQ", other.iova - 4, 8)
    assert heard == [where + b"abcdefgh", where]
    assert bytes(one.view[-4:]) + bytes(other.view[:4]) == b"ABCDEFGH"
    assert client._channel.asked == 2


@pytest.mark.parametrize("size", [4096, 65536, 1 << 20])
def test_long_dma_around_a_reply(attach: Attach, size: int) -> None:
    """More than a socket holds, both ways, and the reply in the same stream."""
    client, server = attach()
    buffer = client.alloc(size)
    bar = client.bar(0)
    data = bytes(range(256)) * (size // 256)

    def read(peer: Peer, request: Request) -> None:
        where = struct.pack("<QQ", buffer.iova, size)
        peer.ask(DMA_WRITE, where + data)
        assert peer.ask(DMA_READ, where).body == where + data
        peer.send(message(1, DMA_WRITE, where + data[::-1], flags=NO_REPLY) + answer(request))

    server.handlers[REGION_READ] = read
    assert bar.u32[4] == 0x10
    assert buffer.view == data[::-1]


def test_a_reply_before_the_server_has_taken_our_answer(attach: Attach) -> None:
    """Our second read waits behind a long answer, another long answer behind the read; the server replies in between."""
    client, server = attach()
    buffer = client.alloc(1 << 20)
    bar = client.bar(0)
    ask = message(1, DMA_READ, struct.pack("<QQ", buffer.iova, 1 << 20), flags=0)

    def read(peer: Peer, request: Request) -> None:
        peer.send(ask + answer(request))
        until(lambda: client._channel._ident == request.ident + 1)  # the client has begun with its next read
        peer.send(ask)
        until(lambda: client._channel.asked == 2)
        assert peer.receive().command == DMA_READ
        peer.send(answer(peer.receive()))
        until(lambda: client._channel._ident == request.ident + 2)  # it has the reply, and cannot have sent its second answer
        assert peer.receive().command == DMA_READ
        server.handlers.clear()

    server.handlers[REGION_READ] = read
    assert [bar.u32[at] for at in range(1, 9)] == list(range(4, 36, 4))


@pytest.mark.parametrize(
    ("command", "body", "code"),
    [
        (DMA_READ, struct.pack("<QQ", 0x0FFF_FFFC, 8), errno.EFAULT),  # below the first buffer
        (DMA_READ, struct.pack("<QQ", 0x1000_0FFC, 8), errno.EFAULT),  # half of it behind the last
        (DMA_READ, struct.pack("<QQ", 0x1000_1000, 1), errno.EFAULT),
        (DMA_READ, struct.pack("<QQ", (1 << 64) - 4, 8), errno.EFAULT),
        (DMA_READ, struct.pack("<QQ", 0x1000_0000, (1 << 20) + 1), errno.EINVAL),
        (DMA_READ, struct.pack("<QQ", 0x1000_0000, 1 << 63), errno.EINVAL),
        (DMA_READ, b"", errno.EINVAL),
        (DMA_READ, struct.pack("<QQ", 0x1000_0000, 4) + b"more", errno.EINVAL),
        (DMA_WRITE, struct.pack("<QQ", 0x1000_0FFC, 8) + bytes(8), errno.EFAULT),
        (DMA_WRITE, struct.pack("<QQ", 0x1000_0000, 8) + bytes(7), errno.EINVAL),
        (DMA_WRITE, struct.pack("<QQ", 0x1000_0000, 8) + bytes(9), errno.EINVAL),
        (REGION_READ, struct.pack("<QII", 0, 0, 4), errno.ENOTSUP),
        (77, b"", errno.ENOTSUP),
    ],
)
def test_what_the_server_may_not_ask(attach: Attach, command: int, body: bytes, code: int) -> None:
    client, server = attach()
    buffer = client.alloc(4096)
    assert buffer.iova == 0x1000_0000
    buffer.view[:] = b"x" * 4096
    bar = client.bar(0)
    heard: list[Request] = []

    def read(peer: Peer, request: Request) -> None:
        heard.append(peer.ask(command, body))
        peer.send(answer(request))

    server.handlers[REGION_READ] = read
    assert bar.u32[4] == 0x10
    assert [(r.flags, r.errno, r.body) for r in heard] == [(1 | ERROR, code, b"")]
    assert buffer.view == b"x" * 4096


def test_a_server_that_asks_and_takes_no_answers(attach: Attach) -> None:
    """What we have to say to it is bounded, and so is the wait."""
    client, server = attach()
    buffer = client.alloc(1 << 20)
    bar = client.bar(0)

    asked, hold = threading.Event(), threading.Event()

    def stuck(peer: Peer, request: Request) -> None:
        peer.send(message(1, DMA_READ, struct.pack("<QQ", buffer.iova, 1 << 20), flags=0) * 50)
        asked.set()
        hold.wait(10)
        peer.sock.close()

    server.handlers[REGION_WRITE] = stuck
    bar.u32[0] = 1  # nobody answers that, so that the client is at what it is asked in its next read only
    assert asked.wait(10)
    with impatient(client, 0.3), pytest.raises(DeviceTimeout):
        bar.u32[4]
    assert MAX_UNSENT < client._channel._stream.unsent < MAX_UNSENT + MAX_MESSAGE
    hold.set()


def test_descriptors_that_nobody_asked_for(attach: Attach) -> None:
    """They are closed (``attach`` looks for leaks): with a reply, with a command, with something long."""
    client, server = attach()
    buffer = client.alloc(65536)
    bar = client.bar(0)

    def read(peer: Peer, request: Request) -> None:
        where = struct.pack("<QQ", buffer.iova, 65536)
        peer.send(message(1, DMA_WRITE, where + bytes(65536), flags=NO_REPLY), [0, 1])
        peer.send(message(2, DMA_READ, where, flags=NO_REPLY), [0])
        peer.send(answer(request), [0, 1, 2])

    server.handlers[REGION_READ] = read
    assert [bar.u32[4], bar.u32[4]] == [0x10, 0x10]
    server.handlers[RESET] = lambda peer, request: peer.reply(request, b"", [0, 1])
    client.reset()


def test_descriptors_with_half_a_reply_and_nonsense_behind_it(attach: Attach) -> None:
    def reset(peer: Peer, request: Request) -> None:
        reply = message(request.ident, RESET, bytes(20))
        peer.send(reply[:8], [0, 1])
        peer.send(reply[8:] + bytes(16))

    client, server = attach()
    server.handlers[RESET] = reset
    with pytest.raises(UnsupportedReply, match="says it has 0 bytes"):
        client.reset()


def test_more_descriptors_than_we_said(attach: Attach) -> None:
    client, server = attach()
    server.handlers[RESET] = lambda peer, request: peer.reply(request, b"", [0] * 17)
    with pytest.raises(UnsupportedReply, match="more than 16 descriptors"):
        client.reset()


def test_time_does_not_stop_for_the_server(attach: Attach) -> None:
    """While we sleep or wait for interrupts, it is answered.

    It asks in the middle of our pause, unless it is off the processor for as long, and our pause is no longer than we said,
    unless we are: one pause of which both is true is enough.
    """
    client, server = attach()
    buffer = client.alloc(4096)
    heard: list[Request] = []
    answered = threading.Event()

    def write(peer: Peer, request: Request) -> None:  # a posted one: the client is at our side of the answer already
        time.sleep(0.02)
        heard.append(peer.ask(DMA_WRITE, struct.pack("<QQ", buffer.iova, 4) + b"ping"))
        answered.set()

    def meanwhile(pause: Callable[[], object]) -> bool:
        """Whether the server was answered during ``pause``, and that was no longer than it should be."""
        answered.clear()
        bar.u32[0] = 1
        start = time.monotonic()
        pause()
        took = time.monotonic() - start
        in_time = answered.is_set() and took < 2
        assert took > 0.09
        while not answered.is_set():
            client.sleep(0.01)
        assert bytes(buffer.view[:4]) == b"ping"
        buffer.view[:4] = bytes(4)
        return in_time

    bar = client.bar(0)
    server.handlers[REGION_WRITE] = write
    for pause in (lambda: client.sleep(0.1), lambda: client.wait_irq(0.1)):
        assert any(meanwhile(pause) for _ in range(20))
    assert {r.flags for r in heard} == {1}
    server.handlers.clear()


def test_after_close(attach: Attach) -> None:
    client, _ = attach()
    bar = client.bar(0)
    client.close()
    for attempt in (lambda: bar.u32[0], lambda: bar.write(0, 4, 0), lambda: client.config_read(0, 2), client.reset):
        with pytest.raises(UsageError, match=f"{client.name}.* is closed"):
            attempt()


def test_close_does_not_wait_for_ever(attach: Attach) -> None:
    """What is asked first is waited for, and nothing more is asked."""
    client, server = attach()
    for _ in range(20):
        client.alloc(4096)
    client.enable_irqs(3)
    server.handlers = {command: lambda peer, request: None for command in range(1, 20)}
    before = len(server.requests)
    with impatient(client, 0.1):
        client.close()
    until(lambda: len(server.requests) > before)
    assert server.commands()[before:] == [REGION_READ]


def test_configuration_space_has_its_end(attach: Attach) -> None:
    client, _ = attach()
    with pytest.raises(UsageError, match="configuration space has 0x100 bytes"):
        client.config_read(CONFIG_SIZE, 4)
