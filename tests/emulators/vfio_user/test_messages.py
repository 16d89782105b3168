"""What each command answers, against bytes and numbers taken from the specification by hand."""

from __future__ import annotations

import errno
import json
import os
import struct

import pytest

from regmodel.function import Irq, Region, RegionKind, ResetCause

from . import client as c
from .client import Client
from .device import TestDevice


class TestVersion:
    def test_the_reply_is_no_longer_than_the_request_of_qemu(self, loop, server):
        with Client(loop, server.path, negotiate=False) as client:
            request = struct.pack("<HH", 0, 0) + c.QEMU_JSON
            assert len(request) + 16 == 214  # as measured
            reply = client.call(c.VERSION, request)
            assert len(reply.body) <= len(request)
            assert reply.body[:4] == bytes(4) and reply.body[-1:] == b"\0"
            assert json.loads(reply.body[4:-1]) == {
                "capabilities": {
                    "write_multiple": True, "max_msg_fds": 16, "max_data_xfer_size": 1048576, "max_dma_maps": 65535,
                    "pgsizes": 4096,
                }
            }  # fmt: skip

    def test_only_what_was_proposed_is_answered(self, loop, server):
        with Client(loop, server.path, negotiate=False) as client:
            reply = client.call(c.VERSION, struct.pack("<HH", 0, 3) + b'{"capabilities":{"max_msg_fds":1,"twin_socket":{}}}\0')
            assert reply.body[:4] == bytes(4)  # minor 0 is what we speak
            assert json.loads(reply.body[4:-1]) == {"capabilities": {"max_msg_fds": 16}}

    @pytest.mark.parametrize(("text", "answer"), [(b"", b""), (b"{}\0", b"{}\0"), (b"{ }\0", b"{}\0")])
    def test_little_or_no_json(self, loop, server, text, answer):
        with Client(loop, server.path, negotiate=False) as client:
            assert client.call(c.VERSION, bytes(4) + text).body == bytes(4) + answer
            assert client.call(c.GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)).error == 0

    def test_what_does_not_fit_is_left_out(self, loop, server):
        with Client(loop, server.path, negotiate=False) as client:
            text = b'{"capabilities":{"pgsizes":1,"max_dma_maps":1}}\0'
            reply = client.call(c.VERSION, bytes(4) + text)
            assert len(reply.body) <= 4 + len(text)
            assert json.loads(reply.body[4:-1]) == {"capabilities": {"max_dma_maps": 65535}}

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"\0\0\0", struct.pack("<HH", 1, 0), struct.pack("<HH", 999, 0),
            bytes(4) + b"{}", bytes(4) + b"{\0", bytes(4) + b'"\0', bytes(4) + b"[]\0", bytes(4) + b"\xff\xfe\0",
            bytes(4) + b"[" * 4000 + b"\0", bytes(4) + b'{"capabilities":"23"}\0',
            bytes(4) + b'{"capabilities":{"max_msg_fds":"foo"}}\0', bytes(4) + b'{"capabilities":{"max_msg_fds":-1}}\0',
            bytes(4) + b'{"capabilities":{"max_msg_fds":true}}\0', bytes(4) + b'{"capabilities":{"max_data_xfer_size":0}}\0',
            bytes(4) + b'{"capabilities":{"migration":"23"}}\0', bytes(5000),
        ],
    )  # fmt: skip
    def test_what_cannot_be_agreed_on_is_refused_and_ends_the_connection(self, loop, server, body):
        with Client(loop, server.path, negotiate=False) as client:
            assert client.call(c.VERSION, body).error == errno.EINVAL
            assert client.is_closed()
        with Client(loop, server.path) as client:
            assert client.call(c.GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)).error == 0

    def test_nothing_comes_before_it(self, loop, server, dut):
        with Client(loop, server.path, negotiate=False) as client:
            client.send(c.REGION_WRITE, struct.pack("<QIII", 0, 0, 4, 1), flags=c.NO_REPLY)
            assert client.is_closed()
        with Client(loop, server.path, negotiate=False) as client:
            assert client.call(c.GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)).error == errno.EINVAL
            assert client.is_closed()
        assert dut.log == []

    def test_once_is_enough(self, client, dut):
        assert client.call(c.VERSION, bytes(4) + c.QEMU_JSON).error == errno.EINVAL
        assert client.read(0, 0, 4) == bytes(4)
        assert ("reset", ResetCause.BUS) not in dut.log


class TestInfo:
    def test_device(self, client):
        body = client.call(c.GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)).body
        assert struct.unpack("<IIII", body) == (16, 0b11, 9, 5)

    @pytest.mark.parametrize("body", [b"", bytes(15), struct.pack("<IIII", 8, 0, 0, 0)])
    def test_device_short(self, client, body):
        assert client.call(c.GET_INFO, body).error == errno.EINVAL

    def test_irqs(self, client):
        found = [client.call(c.GET_IRQ_INFO, struct.pack("<IIII", 16, 0, i, 0)).body for i in range(5)]
        assert [struct.unpack("<IIII", body) for body in found] == [
            (16, 0b0111, 0, 1), (16, 1, 1, 8), (16, 1, 2, 32), (16, 1, 3, 1), (16, 1, 4, 1)
        ]  # fmt: skip

    @pytest.mark.parametrize("body", [bytes(12), struct.pack("<IIII", 15, 0, 0, 0), struct.pack("<IIII", 16, 0, 5, 0)])
    def test_irqs_bad(self, client, body):
        assert client.call(c.GET_IRQ_INFO, body).error == errno.EINVAL


def region_info(client: Client, index: int, argsz: int = 32):
    reply = client.call(c.GET_REGION_INFO, struct.pack("<IIIIQQ", argsz, 0, index, 0, 0, 0))
    return reply, reply.body and struct.unpack_from("<IIIIQQ", reply.body)


class TestRegionInfo:
    def test_plain_and_absent(self, client):
        assert region_info(client, 0)[1] == (32, 0b11, 0, 0, 0x1000, 0)
        assert region_info(client, 7)[1] == (32, 0b11, 7, 0, 4096, 0)
        assert region_info(client, 8)[1] == (32, 0, 8, 0, 0, 0)
        assert len(region_info(client, 0, argsz=96)[0].body) == 32

    @pytest.mark.parametrize(
        "body", [bytes(8), struct.pack("<IIIIQQ", 8, 0, 1, 0, 0, 0), struct.pack("<IIIIQQ", 32, 0, 9, 0, 0, 0)]
    )
    def test_bad(self, client, body):
        assert client.call(c.GET_REGION_INFO, body).error == errno.EINVAL

    @pytest.fixture
    def dut(self):
        fd = os.memfd_create("bar")
        os.truncate(fd, 0x10000)
        areas = ((0x2000, 0x1000), (0x4000, 0x2000))
        yield TestDevice(more=[
            Region(1, RegionKind.IO, 32),
            Region(2, RegionKind.MEMORY, 0x8000, mappable=areas, fd=fd),
            Region(4, RegionKind.MEMORY, 0x10000, mappable=((0, 0x10000),), fd=fd),
            Region(6, RegionKind.ROM, 0x800, writable=False),
        ])  # fmt: skip
        os.close(fd)

    def test_rom(self, client):
        assert region_info(client, 6)[1] == (32, 0b01, 6, 0, 0x800, 0)

    def test_whole_region_mappable(self, client):
        reply, info = region_info(client, 4)
        assert info == (32, 0b0111, 4, 0, 0x10000, 0)
        (fd,) = reply.fds
        assert os.fstat(fd).st_size == 0x10000
        os.close(fd)

    def test_capabilities_that_do_not_fit_are_announced(self, client):
        reply, info = region_info(client, 2)
        assert info == (80, 0b1111, 2, 32, 0x8000, 0) and len(reply.body) == 32
        os.close(reply.fds[0])

    def test_sparse_areas(self, client):
        reply, info = region_info(client, 2, argsz=80)
        assert info == (80, 0b1111, 2, 32, 0x8000, 0)
        assert reply.body[32:] == struct.pack("<HHIII4Q", 1, 1, 0, 2, 0, 0x2000, 0x1000, 0x4000, 0x2000)
        os.close(reply.fds[0])

    def test_a_client_that_takes_no_descriptors_gets_none(self, loop, server):
        with Client(loop, server.path, json=b'{"capabilities":{"max_msg_fds":0}}\0') as client:
            reply, info = region_info(client, 2)
            assert info == (32, 0b0011, 2, 0, 0x8000, 0) and not reply.fds


class TestRegions:
    def test_wire_bytes(self, client, dut):
        dut.bar[0x10:0x14] = bytes.fromhex("efbeadde")
        client.send_raw(bytes.fromhex("3412 0900 20000000 00000000 00000000  1000000000000000 00000000 04000000"))
        assert client.sock.recv(100) == bytes.fromhex(
            "3412 0900 24000000 01000000 00000000  1000000000000000 00000000 04000000 efbeadde"
        )
        client.send_raw(bytes.fromhex("3512 0a00 22000000 00000000 00000000  2000000000000000 00000000 02000000 cdab"))
        assert client.sock.recv(100) == bytes.fromhex(
            "3512 0a00 20000000 01000000 00000000  2000000000000000 00000000 02000000"
        )
        assert dut.log == [("read", 0, 0x10, 4), ("write", 0, 0x20, 2, 0xABCD)]

    @pytest.mark.parametrize("width", [1, 2, 4, 8])
    def test_one_access_is_one_access(self, client, dut, width):
        data = bytes(range(1, width + 1))
        client.write(0, 0x40, data)
        client.post(0, 0x80, data)
        assert client.read(0, 0x80, width) == data
        value = int.from_bytes(data, "little")
        assert dut.log == [("write", 0, 0x40, width, value), ("write", 0, 0x80, width, value), ("read", 0, 0x80, width)]
        assert client.silent()

    def test_longer_ones_are_made_of_aligned_double_words(self, client, dut):
        client.write(0, 0x3E, bytes(range(10)))
        assert client.read(0, 0x3E, 10) == bytes(range(10))
        assert [entry[2:4] for entry in dut.log] == [(0x3E, 2), (0x40, 4), (0x44, 4)] * 2

    def test_configuration_space_in_one_read(self, client, dut):
        dut.config[:4] = b"\x86\x80\xca\x10"
        assert client.read(7, 0, 4096) == bytes(dut.config)
        client.write(7, 4, b"\x06\x00")
        assert dut.config[4:6] == b"\x06\x00"

    @pytest.mark.parametrize(
        "access",
        [
            (0, 9, 4), (0, 8, 4), (0, 3, 4), (0, 0xFFFFFFFF, 4), (0x1000, 0, 1), (0xFFF, 0, 2), (0, 0, 0x1001), (0, 0, 0),
            (2**64 - 1, 0, 1), (2**64 - 4, 0, 8), (0, 0, 2**20 + 1), (4096, 7, 1), (0, 7, 4097),
        ],
    )  # fmt: skip
    def test_outside(self, client, dut, access):
        assert client.call(c.REGION_READ, struct.pack("<QII", *access)).error == errno.EINVAL
        data = bytes(min(access[2], 2**20))
        assert client.call(c.REGION_WRITE, struct.pack("<QII", *access) + data).error == errno.EINVAL
        client.send(c.REGION_WRITE, struct.pack("<QII", *access) + data, flags=c.NO_REPLY)
        assert dut.log == [] and client.silent()

    @pytest.mark.parametrize("command", [c.REGION_READ, c.REGION_WRITE, c.WRITE_MULTI])
    def test_short(self, client, command):
        for size in range(8):
            assert client.call(command, bytes(size)).error == errno.EINVAL

    @pytest.mark.parametrize(
        ("count", "data"), [(4, b""), (4, b"123"), (4, b"12345"), (4, b"12"), (2, b"1234"), (1, b"12345678")]
    )
    def test_a_write_has_the_data_it_says(self, client, dut, count, data):
        assert client.call(c.REGION_WRITE, struct.pack("<QII", 0, 0, count) + data).error == errno.EINVAL
        client.send(c.REGION_WRITE, struct.pack("<QII", 0, 0, count) + data, flags=c.NO_REPLY)
        assert dut.log == [] and client.silent()

    def test_rom_is_read_whole_and_not_written(self, loop, tmp_path):
        from emulators.dma import BytesMemory
        from emulators.vfio_user.server import Server

        rom = BytesMemory(bytearray(b"\x55\xaa" * 0x200))
        dut = TestDevice(more=[Region(6, RegionKind.ROM, 0x400, writable=False, backing=rom)])
        server = Server(loop, dut, tmp_path / "rom")
        with Client(loop, server.path) as client:
            assert client.read(6, 0, 0x400) == rom.content
            assert client.call(c.REGION_WRITE, struct.pack("<QIII", 0, 6, 4, 1)).error == errno.EINVAL
        server.close()


class TestPosted:
    def test_runs_of_mixed_messages_keep_their_order(self, client, dut):
        batch, expected = b"", []
        for i in range(3000):
            width = (4, 4, 4, 8, 4, 2, 1)[i % 7]
            value, offset = i & 0xFF, (i * 8) % 0x1000
            batch += struct.pack("<HHIIIQII", i, 10, 32 + width, 0x10, 0, offset, 0, width) + value.to_bytes(width, "little")
            expected.append(("write", 0, offset, width, value))
        client.send_raw(batch)
        assert dut.log == expected
        assert client.silent()

    def test_one_that_is_outside_does_not_stop_the_others(self, client, dut, server):
        def write(offset: int) -> bytes:
            return struct.pack("<HHIIIQIII", 1, 10, 36, 0x10, 0, offset, 0, 4, offset & 0xFF)

        client.send_raw(write(0) + write(0xFFD) + write(4) + write(2**63) + write(8))
        assert [entry[2] for entry in dut.log] == [0, 4, 8]
        assert client.silent() and server.connection.refused == 2

    def test_one_that_fails_does_not_stop_the_others(self, client, dut, caplog):
        dut.fail = ValueError("a bug")
        client.post(0, 0, b"1234")
        client.post(0, 0, b"1234")
        assert [r.getMessage().count("a bug") for r in caplog.records if r.levelname == "ERROR"] == [1]
        dut.fail = None
        client.post(0, 4, b"1234")
        assert len(dut.log) == 1 and client.silent()

    def test_counters(self, client, server):
        for _ in range(5):
            client.post(0, 0, b"1234")
        client.read(0, 0, 4)
        counts = server.connection.messages
        assert (counts[c.REGION_WRITE], counts[c.REGION_READ], counts[c.VERSION]) == (5, 1, 1)

    def test_any_command_may_go_without_reply(self, client, dut):
        client.send(c.RESET, flags=c.NO_REPLY)
        client.send(c.GET_INFO, b"", flags=c.NO_REPLY)
        client.send(99, b"", flags=c.NO_REPLY)
        assert dut.log == [("reset", ResetCause.BUS)] and client.silent()


class TestWriteMulti:
    def test_order_and_widths(self, client, dut):
        entries = [(0, 0, 4, 0x11223344), (8, 0, 8, 2**64 - 1), (16, 0, 1, 0xFF), (0x40, 7, 2, 0xBEEF)]
        body = struct.pack("<Q", len(entries)) + b"".join(struct.pack("<QIIQ", *entry) for entry in entries)
        client.send(c.WRITE_MULTI, body, flags=c.NO_REPLY)
        assert dut.log == [("write", 0, 0, 4, 0x11223344), ("write", 0, 8, 8, 2**64 - 1), ("write", 0, 16, 1, 0xFF)]
        assert dut.config[0x40:0x42] == b"\xef\xbe"
        assert client.silent()
        assert client.call(c.WRITE_MULTI, body).body == struct.pack("<Q", 4)

    @pytest.mark.parametrize(
        "body",
        [
            struct.pack("<Q", 1), struct.pack("<Q", 2**64 - 1), struct.pack("<Q", 0) + bytes(24),
            struct.pack("<QQIIQ", 1, 0, 0, 3, 0), struct.pack("<QQIIQ", 1, 0xFFF, 0, 4, 0),
            struct.pack("<QQIIQQIIQ", 2, 0, 0, 4, 0, 0, 5, 4, 0),
        ],
    )  # fmt: skip
    def test_bad(self, client, dut, body):
        assert client.call(c.WRITE_MULTI, body).error == errno.EINVAL
        assert dut.log == []

    def test_only_when_agreed(self, loop, server, dut):
        with Client(loop, server.path, json=b"{}\0") as client:
            assert client.call(c.WRITE_MULTI, struct.pack("<QQIIQ", 1, 0, 0, 4, 0)).error == errno.ENOTSUP


class TestDispatch:
    @pytest.mark.parametrize(
        ("command", "expected"),
        [(0, errno.EINVAL), (19, errno.EINVAL), (999, errno.EINVAL), (0xFFFF, errno.EINVAL)]
        + [(n, errno.ENOTSUP) for n in (6, 11, 12, 14, 16, 17, 18)],
    )
    def test_commands_that_are_not_served(self, client, command, expected):
        assert client.call(command, bytes(64)).error == expected
        assert client.read(0, 0, 4) == bytes(4)

    def test_reset(self, client, dut):
        assert client.call(c.RESET).body == b""
        assert dut.log == [("reset", ResetCause.BUS)]

    @pytest.mark.parametrize("size", [0, 1, 15, 2**20 + 33, 2**31, 2**32 - 1])
    def test_a_size_that_cannot_be_ends_the_connection(self, loop, server, dut, size):
        with Client(loop, server.path) as client:
            assert client.call(c.SET_IRQS, size=size).error == errno.EINVAL
            assert client.is_closed()
        with Client(loop, server.path) as client:
            assert client.read(0, 0, 4) == bytes(4)

    def test_a_reply_to_nothing_is_not_answered(self, client, server):
        client.send(c.SET_IRQS, flags=c.REPLY, ident=0xBAD2)
        client.send(c.DMA_READ, bytes(32), flags=c.REPLY | c.ERROR, ident=0)
        assert client.silent() and server.connection.refused == 2
        assert client.read(0, 0, 4) == bytes(4)

    def test_a_type_that_is_none(self, client):
        client.send(c.GET_INFO, struct.pack("<IIII", 16, 0, 0, 0), flags=2)
        assert client.receive().error == errno.EINVAL

    def test_byte_by_byte(self, client, dut):
        message = struct.pack("<HHIIIQII", 7, 9, 32, 0, 0, 0, 0, 4)
        for byte in message[:-1]:
            client.send_raw(bytes((byte,)))
            assert client.silent()
        client.send_raw(message[-1:])
        assert client.receive().body[16:] == bytes(4)

    def test_the_largest_message(self, client, dut):
        assert client.call(c.REGION_WRITE, struct.pack("<QII", 0, 0, 2**20) + bytes(2**20)).error == errno.EINVAL
        assert client.read(0, 0, 4) == bytes(4)

    def test_a_function_that_fails_is_an_error_reply(self, client, dut, caplog):
        dut.fail = RuntimeError("cannot be")
        for _ in range(3):
            assert client.call(c.REGION_READ, struct.pack("<QII", 0, 0, 4)).error == errno.EIO
        lines = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
        assert len(lines) == 1 and "cannot be" in lines[0] and "\n" not in lines[0]

    def test_refusals_are_logged_once_per_kind(self, client, caplog):
        for offset in range(10):
            client.call(c.REGION_READ, struct.pack("<QII", 0x2000 + offset, 0, 4))
        assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1


def test_irq_numbers_are_those_of_vfio():
    assert [Irq.INTX, Irq.MSI, Irq.MSIX, Irq.ERR, Irq.REQ] == [c.INTX, c.MSI, c.MSIX, c.ERR, c.REQ]
