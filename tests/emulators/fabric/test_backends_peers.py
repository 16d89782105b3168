"""The back ends against programs that others wrote: QEMU's net clients, the kernel's network stack, tshark and tcpdump."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from emulators.fabric.backends import parse
from emulators.fabric.frames import BROADCAST_ADDRESS, SHORTEST
from emulators.fabric.switch import Switch
from emulators.fabric.uplink import Backend
from emulators.loop import Loop
from regmodel.errors import UsageError
from tests.support.inputs import missing

from .wires import NearEnd, numbered, plugged, turn_until

Plugged = tuple[Backend, NearEnd]


@pytest.fixture
def net_admin() -> None:
    """What makes TAP devices and network namespaces."""
    if "net_admin" not in subprocess.run(["setpriv", "--dump"], capture_output=True, text=True).stdout:
        missing("CAP_NET_ADMIN", "run as root")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


# -- QEMU: its hub connects one of its net clients to another; we are the far end of both


@contextmanager
def qemu_hub(folder: Path, *netdevs: str) -> Iterator[subprocess.Popen[bytes]]:
    """A QEMU without a machine, with a hub between ``netdevs`` (whose ids are n0, n1, ...)."""
    from emulators.qemu import Lab

    qemu = Lab().qemu
    arguments = ["-M", "none", "-nodefaults", "-display", "none"]
    for index, netdev in enumerate(netdevs):
        arguments += ["-netdev", netdev, "-netdev", f"hubport,id=h{index},hubid=0,netdev=n{index}"]
        arguments += ["-object", f"filter-dump,id=f{index},netdev=n{index},file={folder}/n{index}.pcap"]
    errors = (folder / "stderr").open("w+b")
    process = subprocess.Popen([*qemu.command, *arguments], env=qemu.environ(), stdin=subprocess.DEVNULL, stderr=errors)
    try:
        yield process
        assert process.poll() is None, (folder / "stderr").read_text()
    finally:
        process.terminate()
        process.wait(10)
        errors.close()


PROBES = numbered(1000, 61)


def exchange(loop: Loop, one: Plugged, two: Plugged, frames: list[bytes]) -> None:
    """Frames from one to two and back, in small bursts: QEMU drops what a full socket does not take.

    A stream is connected before QEMU has accepted it, and till then its hub drops: so probes go first.
    """
    for (backend, _), (_, near) in ((one, two), (two, one)):
        probe(loop, backend, near)
        near.frames.clear()
        for start in range(0, len(frames), 8):
            chunk = frames[start : start + 8]
            end = start + len(chunk)
            assert backend.send(chunk) == len(chunk)
            turn_until(loop, lambda near=near, end=end: len(near.frames) >= end)
        assert near.frames == frames


def probe(loop: Loop, backend: Backend, near: NearEnd) -> None:
    """Until the last probe that was sent has come: then none is under way. One follows the other when it is late, and never
    waits: a QEMU that does not run yet leaves them in its socket.
    """
    sent, due = list[bytes](), 0.0

    def come() -> bool:
        nonlocal due
        if sent and sent[-1] in near.frames:
            return True
        counters = backend.counters()
        if time.monotonic() >= due and not counters.get("queued", counters.get("queued_octets")):
            sent.append(PROBES[len(sent)])
            backend.send(sent[-1:])
            due = time.monotonic() + 0.2
        return False

    turn_until(loop, come, seconds=60)


@pytest.mark.guest
@pytest.mark.parametrize("family", ["unix", "inet"])
def test_qemu_dgram_and_stream_as_peers(loop: Loop, tmp_path: Path, family: str) -> None:
    if family == "unix":
        ours, its, listen = f"{tmp_path}/ours", f"{tmp_path}/its", f"{tmp_path}/stream"
        ends = f"local.type=unix,local.path={its},remote.type=unix,remote.path={ours}"
        address = f"addr.type=unix,addr.path={listen}"
    else:
        ports = free_ports(3)
        ours, its, listen = (f"127.0.0.1:{port}" for port in ports)
        ends = f"local.type=inet,local.host=127.0.0.1,local.port={ports[1]}"
        ends += f",remote.type=inet,remote.host=127.0.0.1,remote.port={ports[0]}"
        address = f"addr.type=inet,addr.host=127.0.0.1,addr.port={ports[2]}"
    netdevs = f"dgram,id=n0,{ends}", f"stream,id=n1,server=on,{address}"
    frames = [*numbered(100), *numbered(4, 1514), *numbered(4, 9018)]
    with plugged(f"dgram:local={ours},remote={its}", loop) as dgram, plugged(f"stream:connect={listen}", loop) as stream:
        for _ in range(2):  # the second time it is another QEMU, and nobody told us
            with qemu_hub(tmp_path, *netdevs):
                turn_until(loop, lambda: stream[1].carrier[-1], seconds=30)
                exchange(loop, dgram, stream, frames)
            turn_until(loop, lambda: not stream[1].carrier[-1])
    with plugged(f"pcap:in={tmp_path}/n0.pcap", loop) as (dump, seen):  # what QEMU saw pass, in a file that it wrote
        turn_until(loop, lambda: dump.counters()["finished"])
    assert [frame for frame in seen.frames if frame not in PROBES] == [*frames, *frames]


@pytest.mark.guest
def test_qemu_stream_client_connects_to_us(loop: Loop, tmp_path: Path) -> None:
    one, two = f"{tmp_path}/one", f"{tmp_path}/two"
    with plugged(f"stream:listen={one}", loop) as first, plugged(f"stream:listen={two}", loop) as second:
        clients = [f"stream,id=n{n},server=off,addr.type=unix,addr.path={path}" for n, path in enumerate((one, two))]
        with qemu_hub(tmp_path, *clients):
            turn_until(loop, lambda: first[1].carrier[-1] and second[1].carrier[-1], seconds=30)
            exchange(loop, first, second, [*numbered(64), *numbered(2, 60000)])
        turn_until(loop, lambda: not first[1].carrier[-1])


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


# -- the kernel behind a TAP device


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"fabric{os.getpid()}"
    run("ip", "netns", "add", name)
    yield name
    run("ip", "netns", "del", name)


@pytest.mark.usefixtures("net_admin")
def test_the_kernel_answers_a_pool_through_a_tap(loop: Loop, namespace: str) -> None:
    from scapy.layers.inet import ICMP, IP
    from scapy.layers.l2 import ARP, Ether

    tap, mac = f"tap{os.getpid()}", "02:00:00:00:00:01"
    switch, endpoint = Switch("port0"), NearEnd()
    pool = switch.add_pool("vf0")
    pool.endpoint = type("Endpoint", (), {"deliver": lambda self, f, loopback: endpoint.receive(f) or len(f)})()
    pool.macs |= {bytes.fromhex(mac.replace(":", ""))}
    pool.accept_broadcast = pool.accept_untagged = pool.transmit_enable = pool.receive_enable = True
    switch.replication = switch.loopback = True

    def ask(question: bytes, kind: type) -> Any:
        """Transmit until there is an answer, as a guest would: the interface needs a moment to be up."""
        endpoint.frames.clear()
        for _ in range(20):
            pool.transmit([memoryview(question)])
            end = loop.now() + 100_000_000
            turn_until(loop, lambda end=end: loop.now() > end or any(kind in Ether(f) for f in endpoint.frames))
            answers = [Ether(f)[kind] for f in endpoint.frames if kind in Ether(f) and Ether(f).dst == mac]
            if answers:
                return answers[0]
        raise AssertionError(f"no answer; {switch.counters()}")

    switch.attach(parse(f"tap:{tap}"), loop)
    pool.transmit([numbered(1)[0][:6] + pool_source(mac) + bytes(48)])
    assert switch.uplink.backend is not None
    assert switch.uplink.backend.counters()["failures"] == 1  # the interface is down
    run("ip", "link", "set", tap, "netns", namespace)
    run("ip", "-n", namespace, "addr", "add", "192.0.2.1/24", "dev", tap)
    run("ip", "-n", namespace, "link", "set", tap, "mtu", "9000", "up")
    arp = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=mac, psrc="192.0.2.2", pdst="192.0.2.1", op=1)
    kernel = ask(bytes(arp), ARP).hwsrc
    pool.max_frame = 9022
    for size in (0, 1400, 8900):
        ping = Ether(src=mac, dst=kernel) / IP(src="192.0.2.2", dst="192.0.2.1") / ICMP(id=7, seq=size) / bytes(size)
        reply = ask(bytes(ping), ICMP)
        data = bytes(max(size, SHORTEST - 14 - 20 - 8))  # the kernel does not pad on a TAP interface, a wire does
        assert (reply.type, reply.id, reply.seq, bytes(reply.payload)) == (0, 7, size, data)
    counts = switch.uplink.backend.counters()
    assert counts["frames_out"] == switch.uplink.tx.frames - 1
    assert counts["frames_in"] == switch.uplink.rx.frames >= 3
    switch.detach()


def pool_source(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", "")) + b"\x88\xb5"


@pytest.mark.usefixtures("net_admin")
def test_a_tap_that_is_deleted_is_opened_again(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    name = f"tapx{os.getpid()}"
    with plugged(f"tap:{name}", loop) as (backend, near):
        run("ip", "link", "set", name, "up")
        run("ip", "link", "del", name)
        turn_until(loop, lambda: Path(f"/sys/class/net/{name}").exists())
        run("ip", "link", "set", name, "up")
        near.frames.clear()
        turn_until(loop, lambda: near.frames)  # the kernel's own neighbour discovery
        assert backend.send(numbered(1)) == 1
        assert backend.counters()["frames_out"] == 1
    assert not Path(f"/sys/class/net/{name}").exists()


@pytest.mark.usefixtures("net_admin")
def test_a_tap_in_use_is_refused(loop: Loop) -> None:
    name = f"tapy{os.getpid()}"
    with plugged(f"tap:{name}", loop), pytest.raises(UsageError, match="another process has it open"):
        parse(f"tap:{name}").open(loop, NearEnd())


def test_a_tap_without_the_capability_says_what_is_needed() -> None:
    program = (
        "from emulators.fabric.backends import parse; from regmodel.errors import UsageError\n"
        "try: parse('tap:tapz').open(None, None)\n"
        "except UsageError as error: print(error)\n"
    )
    limit = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"] if os.geteuid() == 0 else []
    text = run(*limit, sys.executable, "-c", program)
    assert text.startswith("--net tap:tapz: this needs CAP_NET_ADMIN: run as root, or once: ip tuntap add dev tapz")
    assert text.count("\n") == 1


# -- capture files and the programs that read them


@pytest.mark.parametrize("program", ["tshark", "tcpdump"])
@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
def test_captures_are_read_by_others(loop: Loop, tmp_path: Path, program: str, suffix: str) -> None:
    if shutil.which(program) is None:
        missing(program, f"apt install {program}")
    path = tmp_path / f"x.{suffix}"
    begin = time.time()
    with plugged(f"pcap:out={path}", loop) as (out, _), plugged("gen:rate=max,count=100,flows=4,size=200", loop) as (gen, near):
        turn_until(loop, lambda: gen.counters()["generated"] == 100)
        assert out.send(near.frames) == 100
    end = time.time()
    if program == "tshark":
        fields = ("frame.time_epoch", "frame.len", "udp.srcport", "ip.checksum.status")
        words = [word for field in fields for word in ("-e", field)]
        text = run("tshark", "-r", str(path), "-o", "ip.check_checksum:TRUE", "-T", "fields", *words)
        rows = [line.split("\t") for line in text.splitlines()]
        assert [row[1:] for row in rows] == [["200", str(1024 + n % 4), "1"] for n in range(100)]
        times = [float(row[0]) for row in rows]
        assert times == sorted(times)
        assert begin - 0.001 <= times[0] <= times[-1] <= end + 0.001
    else:
        text = run("tcpdump", "-nn", "-r", str(path), "udp and dst port 9")
        lines = [line for line in text.splitlines() if "UDP, length 158" in line]
        assert [int(line.split()[2].rpartition(".")[2]) for line in lines] == [1024 + n % 4 for n in range(100)]


def test_captures_of_others_are_read(loop: Loop, tmp_path: Path) -> None:
    if shutil.which("editcap") is None:
        missing("editcap", "apt install wireshark-common")
    first = tmp_path / "first.pcap"
    with plugged(f"pcap:out={first}", loop) as (out, _):
        out.send(numbered(10))
    for kind in ("pcapng", "nsecpcap", "pcap"):
        other = tmp_path / kind
        run("editcap", "-F", kind, str(first), str(other))
        with plugged(f"pcap:in={other}", loop) as (back, near):
            turn_until(loop, lambda back=back: back.counters()["finished"])
            assert near.frames == numbered(10)
            assert near.frames[0][:6] == BROADCAST_ADDRESS
