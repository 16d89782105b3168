"""``regmodel pmd`` as a user types it: results on standard output, every refusal one line that says what to do."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from regmodel.catalogue import find
from regmodel.cli import main
from tests.support.trouble import troubled

IN = ["--via", "inprocess"]

REFUSALS = {
    "no device": (["nonesuch", *IN], "unknown device 'nonesuch'"),
    "no transport": (["igbvf", "--via", "foo"], "write one of inprocess"),
    "nothing behind the colon": (["igbvf", "--via", "vfio"], "write it as vfio:BDF"),
    "no address": (["igbvf", "--via", "vfio:nonsense"], "write the address as DOMAIN:BUS:DEVICE.FUNCTION"),
    "no function": (["igbvf", "--via", "vfio:0000:ff:1f.7"], "0000:ff:1f.7"),
    "no socket": (["igbvf", "--via", "vfio-user:/nonesuch.sock"], "start the server"),
    "no recording": (["igbvf", "--via", "replay:/nonesuch"], "No such file"),
    "via missing": (["igbvf"], "Missing option '--via'"),
    "mode": (["igbvf", *IN, "--mode", "foo"], "there are io, macswap, rxonly, txonly, flowgen, icmpecho"),
    "short frames": (["igbvf", *IN, "--size", "10"], "a frame has 60 to 9000 octets"),
    "long frames": (["igbvf", *IN, "--size", "2000"], "raise --mtu"),
    "queues": (["igbvf", *IN, "--queues", "9"], "up to 2 receive queues"),
    "queues of I350": (["igbvf-i350", *IN, "--queues", "2"], "up to 1 receive queues"),
    "descriptors": (["igbvf", *IN, "--descriptors", "33"], "32 to 4096 descriptors"),
    "VLAN": (["igbvf", *IN, "--vlan", "5000"], "a VLAN is 0 to 4095"),
    "MTU": (["igbvf", *IN, "--mtu", "20000"], "68 to 9216"),
    "address": (["igbvf", *IN, "--mac", "ff:ff:ff:ff:ff:ff"], "no address of a station"),
    "peer": (["igbvf", *IN, "--peer", "1:2"], "write it as 02:00:00:00:00:01"),
    "seconds": (["igbvf", *IN, "--seconds", "-1"], "--seconds"),
    "show": (["igbvf", *IN, "--show", "foo"], "info, link, stats, xstats"),
    "net elsewhere": (["igbvf", "--via", "vfio-user:/x", "--net", "tap:x"], "--net is for --via inprocess"),
    "net": (["igbvf", *IN, "--net", "foo"], "no such back end"),
    "no capture": (["igbvf", *IN, "--pcap-in", "/nonesuch"], "No such file"),
    "capture nowhere": (["igbvf", *IN, "--pcap-out", "/nonesuch/x"], "No such file"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, expected = REFUSALS[case]
    with pytest.raises(SystemExit) as exit:
        main(["pmd", *words])
    out, err = capsys.readouterr()
    assert exit.value.code in (1, 2)
    assert out == "" and err.count("\n") == 1 and err.startswith("regmodel: ") and expected in err, err


def test_a_run_says_what_was_moved(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    words = ["--net", f"pcap:out={out}", "--mode", "txonly", "--count", "96", "--show", "info", "--show", "stats"]
    with pytest.raises(SystemExit) as exit:
        main(["pmd", "igbvf", *IN, *words])
    said = capsys.readouterr().out
    assert exit.value.code in (0, None)
    assert "0 received, 96 sent, 0 dropped" in said
    assert "device                 igbvf (Intel 82576 Virtual Function)" in said
    assert "link                   up, 1000 Mbit/s" in said
    assert "opackets               96" in said


def test_show_alone_moves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["pmd", "igbvf-i350", *IN, "--show", "link"])
    assert capsys.readouterr().out.splitlines() == ["link                   up, 1000 Mbit/s, full duplex, 1 changes"]


def test_a_recorded_session_is_replayed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recording = tmp_path / "session"
    words = ["--mode", "txonly", "--count", "64", "--quiet", "--show", "stats"]
    said = []
    for via in (["--via", "inprocess", "--record", str(recording)], ["--via", f"replay:{recording}"]):
        with pytest.raises(SystemExit) as exit:
            main(["pmd", "igbvf", *via, *words])
        captured = capsys.readouterr()
        assert exit.value.code in (0, None), captured.err
        said.append([line for line in captured.out.splitlines() if line.startswith(("forwarded", "opackets", "obytes"))])
    assert said[0] == said[1] and "64 sent" in said[0][0]


def test_a_server_that_dies_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    tail = find("igbvf").register_bar("tdt")[1].entries["tdt"].offsets[0]  # each burst moves it
    with troubled(["igbvf"], signal.SIGKILL, "write", 100, offset=tail) as server, pytest.raises(SystemExit) as exit:
        main(["pmd", "igbvf", "--via", f"vfio-user:{server.sockets[0]}", "--mode", "txonly", "--seconds", "20", "--quiet"])
    err = capsys.readouterr().err
    assert exit.value.code == 1
    assert err.count("\n") == 1 and "start it again" in err
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers, "Ctrl-C is as it was"
