"""The command line: what works, and the one line that bad input gets."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emulators.fabric.backends.packets import BURST
from emulators.process import ServerProcess


def regmodel(*words: str, status: int = 0, timeout: float = 60) -> str:
    """Run the command; its output where it succeeds, its message where it is expected to fail."""
    command = [sys.executable, "-m", "regmodel.cli", *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    assert result.returncode == status, (result.returncode, result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    return result.stdout if status == 0 else result.stderr


def refusal(*words: str, status: int = 2) -> str:
    """The one line that a refused command prints."""
    lines = regmodel(*words, status=status).strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("regmodel: "), lines
    return lines[0]


def test_list_names_devices_ids_and_numbering() -> None:
    text = regmodel("list", "--ports", "2")
    assert re.search(r"igbvf +8086:10ca .*net_e1000_igb_vf", text)
    assert re.search(r"igbvf-i350 +8086:1520", text)
    assert "port 0 of 2: VF0, VF2" in text and "port 1 of 2: VF1, VF3" in text


@pytest.mark.parametrize("name", ["igbvf", "igbvf-i350"])
def test_show_draws_devices_registers_and_messages(name: str) -> None:
    assert "v2pmailbox" in regmodel("show", name)
    register = regmodel("show", name, "V2PMAILBOX")
    assert "rstd" in register and "E1000_V2PMAILBOX" in register and "0x0c40" in register
    assert "dtalen" in regmodel("show", name, "tx_data")
    assert "hashes" in regmodel("show", name, "set_multicast")
    assert "bus_master" in regmodel("show", name, "command")


@pytest.mark.parametrize(
    ("device", "register", "value", "field", "structure", "size"),
    [
        ("virtio-net", "device_status", "0xf", "driver_ok", "", 0),
        ("virtio-net-legacy", "status", "0x7", "driver_ok", "", 0),
        ("vmxnet3", "imr[24]", "1", "masked", "tx_desc", 16),
        ("avp", "interrupt_status", "2", "migration", "", 0),
        ("ivshmem-doorbell", "doorbell", "0x30001", "vector", "", 0),
    ],
)
def test_other_devices_are_decoded_as_well(
    device: str, register: str, value: str, field: str, structure: str, size: int
) -> None:
    assert device in regmodel("show", device) and field in regmodel("show", device, register)
    assert re.search(rf"{field} +", regmodel("decode", device, register, value))
    if size:
        assert f"{structure}  {size} bytes" in regmodel("decode", device, "--descriptor", structure, "--hex", "00" * size)


TRACED = {
    "virtio-net": (4, 0x14, 1, "device_status"), "vmxnet3": (1, 0x20, 4, "cmd"), "avp": (0, 0x0, 4, "interrupt_mask"),
    "ivshmem-doorbell": (0, 0xC, 4, "doorbell"),
}  # fmt: skip
"""A BAR, an offset, a width, and the register that is there."""


@pytest.mark.parametrize("device", TRACED)
def test_a_trace_of_any_device_names_its_registers(device: str, tmp_path: Path) -> None:
    """Accessed over its socket, and asked afterwards."""
    from drivers.transports.opening import open_transport
    from regmodel.catalogue import find

    bar, at, size, name = TRACED[device]
    with ServerProcess([device], folder=tmp_path) as server:
        transport = open_transport(f"vfio-user:{server.sockets[0]}", find(device))
        transport.config_write(4, 2, 6)  # memory, bus master
        transport.bar(bar).write(at, size, 1)
        transport.close()
        lines = regmodel("trace", str(server.control_path), "--recent")
    assert re.search(rf"\b{name}\b", lines), lines


def test_decode_registers_and_descriptors() -> None:
    assert re.search(r"speed +2 MB1000", regmodel("decode", "igbvf", "STATUS", "0x80083"))
    assert "CONTEXT" in regmodel("decode", "igbvf", "--descriptor", "tx_context", "--hex", "00" * 8 + "00002020" + "00" * 4)


def test_every_command_has_complete_help() -> None:
    top = regmodel("--help")
    for name in ("list", "show", "decode", "serve", "vm", "trace", "ctl"):
        assert re.search(rf"\b{name}\b", top)
        text = regmodel(name, "--help")
        assert "Usage" in text and "Options" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show", "igbfv"], "unknown device 'igbfv'; known: "),
        (["show", "igbvf", "v2pmailbux"], "did you mean v2pmailbox"),
        (["decode", "igbvf", "status", "zwei"], "'zwei' is no pattern of bits; write 0x1f"),
        (["decode", "igbvf", "status", "-1"], "-1"),
        (["decode", "igbvf", "status"], "give a register and its value"),
        (["decode", "igbvf", "status", "0x1ffffffff"], "32"),
        (["decode", "igbvf", "rdt[2]", "0"], "there are rdt[0] to rdt[1]"),
        (["show", "igbvf", "status[0]"], "status is one register"),
        (["decode", "igbvf", "-d", "tx_date", "00"], "has no 'tx_date'; did you mean tx_data"),
        (["decode", "igbvf", "-d", "tx_data", "xyz"], "is not hexadecimal"),
        (["decode", "igbvf", "-d", "tx_data", "00ff"], "16"),
        (["show", "/nowhere/x.py:Y"], "no such file"),
        (["shwo", "igbvf"], "No such command 'shwo'. Did you mean 'show'?"),
        (["list", "--ports", "3"], "1, 2 or 4 ports"),
        (["serve", "igbvf", "--socket", "/etc/passwd"], "it is a file and no socket"),
        (["serve", "igbvf", "--socket", "/tmp/a", "--spin", "-1"], "--spin"),
        (["vm", "--device", "igbvf", "--trace", "/nowhere/t", "--", "true"], "cannot write /nowhere/t"),
        (["serve", "igbvf"], "--socket"),
        (["serve", "igbvf", "igbvf", "--socket", "/tmp/a"], "2 devices but 1 sockets"),
        (["serve", "igbvf", "--socket", "/nowhere/at/all.sock"], "/nowhere/at/all.sock"),
        (["serve", "igbvf", "--socket", "/tmp/" + "x" * 120], "too long"),
        (["serve", "igbvf", "--socket", "/tmp/a", "--net", "tapp:x"], "tapp"),
        (["serve", "igbvf", "--socket", "/tmp/a", "--ports", "3"], "1, 2 or 4 ports"),
        (["serve", "igbvf", "--socket", "/tmp/a", "--option", "vfs"], "NAME=VALUE"),
        (["serve", "igbvf", "--socket", "/tmp/a", "--option", "vfs=9"], "vfs is one of"),
        (["serve", "igbvf", "--socket", "/tmp/a", "--dma-wire", "x"], "qemu-10"),
        (["ctl", "/nowhere.ctl", "link", "up"], "is `regmodel serve` running?"),
        (["trace", "/nowhere.ctl"], "is `regmodel serve` running?"),
        (["vm", "--", "true"], "name a --device"),
        (["vm", "--device", "igbvf", "--kernel", "/nowhere/bzImage", "--", "true"], "no such kernel image"),
        (["vm", "--device", "nic", "--", "true"], "unknown device"),
    ],
)
def test_bad_input_gets_one_line_with_the_remedy(words: list[str], says: str) -> None:
    assert says in refusal(*words)


def test_a_socket_in_use_is_not_taken(tmp_path: Path) -> None:
    with ServerProcess(["igbvf"], folder=tmp_path) as server:
        text = refusal("serve", "igbvf", "--socket", str(server.sockets[0]))
        assert "is in use" in text and "another --socket" in text
        assert server.control().ask("stats")


def test_no_qemu_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nonexistent")
    text = regmodel("vm", "--device", "igbvf", "--", "true", status=1)
    last = text.strip().splitlines()[-1]
    assert last.startswith("regmodel: ") and ("mmdebstrap" in last or "QEMU" in last)


def test_ctl_steers_and_refuses_in_one_line(tmp_path: Path) -> None:
    with ServerProcess(["igbvf", "igbvf"], folder=tmp_path) as server:
        control = str(server.control_path)
        assert regmodel("ctl", control, "vf", "0", "mac", "02:00:00:00:00:77") == ""
        stats = json.loads(regmodel("ctl", "--json", control, "stats"))
        assert stats["card"]["ports"][0]["pools"]["vf0"]["tx"]["frames"] == 0
        for words, says in [
            (["vf", "0", "mac", "02:00"], "02:00"),
            (["vf", "99", "mac", "02:00:00:00:00:01"], "no VF 99"),
            (["vf", "0", "vlan", "5000"], "5000"),
            (["vf", "0", "spoofchk", "maybe"], "maybe"),
            (["link", "sideways"], "sideways"),
            (["dance"], "dance"),
        ]:
            assert says in refusal("ctl", control, *words, status=1)
        assert "this is no control socket" in refusal("ctl", str(server.sockets[1]), "stats", status=1)
        assert "choose another --save" in refusal("trace", control, "--save", "/nowhere/t")
        assert "there are vf0, vf1" in refusal("trace", control, "--recent", "--function", "vf9")
        assert server.alive


def test_two_ports_are_numbered_as_the_guide_does(tmp_path: Path) -> None:
    with ServerProcess(["igbvf"] * 4, ports=2, folder=tmp_path) as server:
        ports = server.control().ask("stats")["card"]["ports"]
        assert {"vf0", "vf2"} <= set(ports[0]["pools"]) and {"vf1", "vf3"} <= set(ports[1]["pools"])


def test_eight_vfs_leave_no_pool_to_the_pf(tmp_path: Path) -> None:
    with ServerProcess(["igbvf"] * 8, options={"vfs": "8"}, folder=tmp_path) as server:
        pools = server.control().ask("stats")["card"]["ports"][0]["pools"]
        assert sorted(pools) == [f"vf{n}" for n in range(8)]
    with ServerProcess(["igbvf"] * 7, folder=tmp_path) as server:
        pools = server.control().ask("stats")["card"]["ports"][0]["pools"]
        assert len(pools) == 8


def test_the_server_ends_well(tmp_path: Path) -> None:
    server = ServerProcess(["igbvf"], folder=tmp_path)
    server.start()
    assert server.stop() == 0
    assert not any(path.is_socket() for path in tmp_path.iterdir())


def test_packets_and_events_are_saved_for_other_tools(tmp_path: Path) -> None:
    packets, events = tmp_path / "packets.pcapng", tmp_path / "events.jsonl"
    net = "gen:rate=500,size=100,flows=3,seed=7,dst=ff:ff:ff:ff:ff:ff"
    with ServerProcess(["igbvf"], nets=[net], folder=tmp_path) as server:
        files = ["--pcapng", str(packets), "--save", str(events)]
        regmodel("trace", str(server.control_path), "--events", "packet", "--count", "200", *files)
    fields = ["-e", "frame.len", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction"]
    seen = subprocess.run(["tshark", "-r", str(packets), "-T", "fields", *fields], capture_output=True, text=True)
    rows = [line.split("\t") for line in seen.stdout.splitlines()]
    assert len(rows) == 200 and {row[0] for row in rows} <= {"96", "100"}, seen.stderr
    assert {(name, int(way, 0)) for _, name, way in rows} == {("uplink", 1), ("pf", 2)}
    decoded = regmodel("trace", str(events))
    arrived, left = decoded.count("packet in"), decoded.count("packet out")
    assert arrived + left == 200 and left <= arrived <= left + BURST  # a burst comes in, then it goes out, wherever it is cut
    assert "is no trace" in refusal("trace", str(packets))


def test_the_wheel_has_all_that_it_needs(tmp_path: Path) -> None:
    """It is made of a copy: pip writes into the sources, where other tests find their commands meanwhile."""
    import zipfile

    source = tmp_path / "source"
    made = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "artifacts", "_build")
    shutil.copytree(Path(__file__).parent.parent, source, ignore=made)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--disable-pip-version-check", "-w", str(tmp_path)]
    subprocess.run([*pip, str(source)], check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("regmodel-*.whl"))).namelist()
    for name in ("regmodel/py.typed", "regmodel/bars/igbvf.py", "emulators/qemu/guest/init.sh", "drivers/__init__.py"):
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]
