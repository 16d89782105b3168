"""Descriptors in a trace: a driver sends packets to another one; tshark, with an exported dissector, shows what the rings held.

Every family and ring format in this process; and once all the way, from a server's socket by the command line.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from drivers.nics.igbvf import IgbVf
from drivers.transports.vfio_user import open as open_vfio_user
from emulators.control.decoder import Decoder
from emulators.control.events import Descriptors
from emulators.control.protocol import event as line_of
from emulators.model import Ringed
from emulators.process import ServerProcess
from regmodel.catalogue import Device, find
from regmodel.cli import main
from regmodel.devices.igbvf import IGBVF
from regmodel.export.capture import pcapng
from regmodel.export.wireshark import wireshark
from regmodel.layout import layout
from regmodel.traces import Trace, load
from tests.drivers.nics.avp.bench import Bench as AvpBench
from tests.drivers.nics.igbvf.bench import Bench as IgbBench
from tests.drivers.nics.igbvf.bench import Side, frame
from tests.drivers.nics.virtio.bench import VirtioBench
from tests.drivers.nics.vmxnet3.bench import Bench as VmxBench
from tests.support.inputs import missing

SIZES = [60, 61, 300, 1514]
SENDER, RECEIVER = "a", "b"
Event = dict[str, Any]


class Row(NamedTuple):
    """What tshark says of one descriptor: who, which way, where, and one of its fields."""

    function: str
    op: int
    ring: str
    index: int
    name: str
    value: int


class Told(NamedTuple):
    """Where the length of a packet stands in what a family's rings hold, and octets that are counted besides."""

    name: str
    field: str
    ring: str
    besides: int = 0


FAMILIES: dict[str, tuple[Callable[[], Any], Told, Told]] = {
    "igbvf": (
        lambda: IgbBench(),
        Told("tx_data", "cmd_type_len.dtalen", "tx[0]"),
        Told("rx_writeback", "length", "rx[0]"),
    ),
    "vmxnet3": (
        lambda: VmxBench(),
        Told("tx_desc", "buffer.len", "transmit 0"),
        Told("rx_comp_desc", "data.len", "receive 0, completions"),
    ),
    "split": (
        lambda: VirtioBench("split"),
        Told("split_desc", "len", "transmit 0", 12),
        Told("used_elem", "len", "receive 0", 12),
    ),
    "packed": (
        lambda: VirtioBench("packed"),
        Told("packed_desc", "len", "transmit 0", 12),
        Told("packed_desc", "len", "receive 0", 12),
    ),
    "legacy": (
        lambda: VirtioBench("legacy"),
        Told("split_desc", "len", "transmit 0", 12),
        Told("used_elem", "len", "receive 0", 12),
    ),
    "avp": (
        lambda: AvpBench(),
        Told("desc", "pkt_len", "tx 0"),
        Told("desc", "pkt_len", "rx 0"),
    ),
}  # fmt: skip
"""A bench of two ports; what the sender's device fetches, and what the receiver's writes back."""


def shown(trace: Trace, device: Device, fields: list[str], room: Path) -> list[Row]:
    """The packets of an exported trace, by tshark. ``fields`` are paths of which each packet has at most one."""
    if shutil.which("tshark") is None:
        missing("tshark", "install the Debian package tshark")
    (name, capture), *_ = pcapng(device, trace, tuple(trace.functions)).items()
    (file, script), *_ = wireshark(device, None).items()
    (room / name).write_bytes(capture)
    (room / file).write_text(script)
    prefix = f"regmodel.{device.name.replace('-', '_')}."
    columns = [f"regmodel.{c}" for c in ("function", "op", "ring", "index", "name")] + [prefix + f.lower() for f in fields]
    words = ["-X", f"lua_script:{room / file}", "-r", str(room / name), "-Y", "regmodel.ring", "-T", "fields"]
    words += [word for column in columns for word in ("-e", column)]
    done = subprocess.run(["tshark", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Lua" not in done.stderr, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    values = ([int(v, 0) for v in row[5:] if v] for row in rows)
    return [Row(r[0], int(r[1]), r[2], int(r[3]), r[4], next(iter(v), -1)) for r, v in zip(rows, values, strict=True)]


@pytest.fixture(scope="module", params=FAMILIES)
def run(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any, list[Event]]]:
    """A family's bench after packets of ``SIZES``, twice round, and all that was told of its descriptors."""
    bench = FAMILIES[request.param][0]()
    events: list[Event] = []
    hosts = [function.host for function in bench.alone.functions]
    a, b = bench.side(0), bench.side(1)
    packets = [frame(b.port.mac_addr, a.port.mac_addr, size, i) for i, size in enumerate(SIZES)]
    a.send(*packets)
    assert b.receive() == packets  # before anybody looks
    for name, host in zip((SENDER, RECEIVER), hosts, strict=False):
        host.on_descriptor = Descriptors(name, bench.alone.loop, lambda *told: events.append(json.loads(line_of(*told))))
    for _ in range(2):
        a.send(*packets)
        assert b.receive() == packets
    for host in hosts:
        host.on_descriptor = None
    seen = len(events)
    a.send(*packets)
    assert b.receive() == packets and len(events) == seen  # nor afterwards
    yield request.param, bench, events
    bench.alone.close()


def device_of(family: str) -> Device:
    return find({"split": "virtio-net", "packed": "virtio-net", "legacy": "virtio-net-legacy"}.get(family, family))


def test_tshark_shows_the_packets_in_the_rings(run: tuple[str, Any, list[Event]], tmp_path: Path) -> None:
    """Each once, where the sender's device fetched it and where the receiver's wrote back."""
    family, _, events = run
    _, sent, received = FAMILIES[family]
    device = device_of(family)
    trace = Trace({"functions": [{"name": n, "device": device.name} for n in (SENDER, RECEIVER)]}, events)
    fields = [f"{told.name}.{told.field}" for told in dict.fromkeys((sent, received))]
    rows = shown(trace, device, list(dict.fromkeys(fields)), tmp_path)
    assert len(rows) == len(events)
    fetched = [r for r in rows if r[:3] == (SENDER, 0, sent.ring) and r.name == sent.name]
    written = [r for r in rows if r[:3] == (RECEIVER, 1, received.ring) and r.name == received.name]
    order = SIZES[::-1] if family == "packed" else SIZES  # where the first of several is written last
    assert [r.value - received.besides for r in written] == 2 * order
    assert [r.value - sent.besides for r in fetched if r.value > sent.besides] == 2 * SIZES
    places = [r.index for r in written]
    assert sorted(places) == list(range(min(places), min(places) + len(places))), "places follow one another"


def test_what_is_told_is_whole_and_named_as_the_description_has_it(run: tuple[str, Any, list[Event]]) -> None:
    family, bench, events = run
    device = device_of(family)
    known = {d.name for ring in device.rings for d in (*ring.formats, *ring.device_writes)}
    rings = {ring.name for f in bench.alone.functions if isinstance(f.model, Ringed) for ring in f.model.rings()}
    assert {e["op"] for e in events if e["function"] == SENDER} >= ({"fetch"} if family == "avp" else {"fetch", "write-back"})
    for event in events:
        assert event["name"] in known
        assert len(bytes.fromhex(event["data"])) == layout(device.schema(event["name"])).size
        assert not rings or event["ring"].removesuffix(", completions").removesuffix(", indirect") in {
            *rings, *(name.partition(",")[0] for name in rings)
        }, event["ring"]  # fmt: skip


def test_a_line_of_text_has_its_fields(run: tuple[str, Any, list[Event]]) -> None:
    family, _, events = run
    _, sent, _ = FAMILIES[family]
    decoder = Decoder({SENDER: device_of(family), RECEIVER: device_of(family)})
    lines = [decoder.text(e) for e in events if e["op"] == "fetch" and e["name"] == sent.name and e["function"] == SENDER]
    wanted = f"{sent.field}={1514 + sent.besides:#x}"
    assert sum(f" {sent.ring} #" in line and wanted in line for line in lines) == 2, lines


def test_what_a_description_cannot_read_is_told_as_it_is() -> None:
    """A driver may write anything into a ring; a newer server may have more kinds of events."""
    decoder, garbage = Decoder({"nic0": find("avp")}), "ee" * find("avp").schemas["change_mtu"].sizeof()
    event = {"t": 0, "event": "descriptor", "function": "nic0", "ring": "req", "index": 1, "op": "read", "name": "change_mtu"}
    assert decoder.text({**event, "data": garbage}).endswith(f"req #1 read change_mtu  {garbage}")
    assert decoder.text({"t": 0, "event": "thunder", "function": "nic0"}).endswith("thunder: an event of a newer server")


def test_from_a_server_to_tshark_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Descriptors are in a trace that is saved without a word about them."""
    path, count = tmp_path / "t.jsonl", 80
    with ServerProcess(["igbvf", "igbvf"], folder=tmp_path) as server:
        command = threading.Thread(target=lambda: said.append(ended("trace", str(server.control_path), "--save", str(path))))
        said: list[int] = []
        transports = [open_vfio_user(str(socket), IGBVF) for socket in server.sockets]
        sides = [Side(IgbVf(transport, IGBVF)) for transport in transports]
        to, own = sides[1].port.mac_addr, sides[0].port.mac_addr
        with server.control() as control:
            command.start()
            while not (path.exists() and path.read_text().count("\n")):
                assert command.is_alive()
            got: list[bytes] = []
            for i in range(count // 8):
                sides[0].send(*(frame(to, own, 60 + i, n) for n in range(8)))
                while len(got) < 8 * (i + 1):
                    got += sides[1].receive()
            control.ask("stats")
        for side, transport in zip(sides, transports, strict=True):
            side.port.close()
            transport.close()
    command.join(20)
    assert said == [0]
    capsys.readouterr()
    trace = load(path)
    events = [e for e in trace.events if e["event"] == "descriptor"]
    assert not [e for e in trace.events if e["event"] == "lost"]
    rows = shown(trace, IGBVF, ["tx_data.cmd_type_len.dtalen", "rx_writeback.length"], tmp_path)
    assert len(rows) == len(events)
    expected = [60 + i for i in range(count // 8) for _ in range(8)]
    assert [r.value for r in rows if r.function == "vf0" and r.name == "tx_data"] == expected
    assert [r.value for r in rows if r.function == "vf1" and r.name == "rx_writeback"] == expected


def ended(*words: str) -> int:
    """The status with which a command ended."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return int(end.value.code or 0)
