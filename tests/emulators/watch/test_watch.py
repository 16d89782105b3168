"""The live view: what the page shows is what the server holds; looking costs little, and nothing once nobody looks."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from drivers.nics import driver_for
from drivers.pmd.session import Options, Session
from drivers.transports.capabilities import COMMAND, MEMORY_SPACE
from drivers.transports.opening import open_transport
from emulators.process import ServerProcess
from emulators.watch import sources
from emulators.watch.http import WatchServer
from emulators.watch.sources import open_source
from regmodel.catalogue import find
from regmodel.errors import UsageError
from tests.support.browser import violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

T = TypeVar("T")
ROWS = "[...document.querySelectorAll('#registers tr[data-path]')]"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with ServerProcess(["igbvf"]) as server:
        yield server


@pytest.fixture
def watched(server: ServerProcess) -> Iterator[WatchServer]:
    yield from serving(server.control_path)


def serving(path: Path) -> Iterator[WatchServer]:
    with WatchServer(open_source(path), port=0) as page:
        thread = threading.Thread(target=page.serve_forever, daemon=True)
        thread.start()
        yield page
        page.shutdown()


def drive(server: ServerProcess) -> dict[str, Any]:
    """A driver brings the VF up and goes; what the registers hold then."""
    device = find("igbvf")
    with open_transport(f"vfio-user:{server.sockets[0]}", device) as transport, driver_for(device)(transport, device) as port:
        port.configure()
    with server.control() as client:
        found: dict[str, Any] = client.ask("peek", function="vf0")
        return found


def opened(browser: Browser, url: str, width: int = 1280, scheme: Any = "light") -> Page:
    page = browser.new_context(viewport={"width": width, "height": 860}, color_scheme=scheme).new_page()
    page.goto(url)
    page.wait_for_selector("tr[data-path=ctrl] td:nth-child(3):not(:empty)")
    return page


def shown(page: Page) -> dict[str, int]:
    """Register values as a person reads them."""
    cells = page.evaluate(f"{ROWS}.map(r => [r.dataset.path, r.children[2].textContent])")
    return {path: int(value, 16) for path, value in cells if value}


def settled(page: Page, read: Callable[[], T], wanted: T) -> T:
    """What ``read`` finds on the page once that is ``wanted``; after 10 s, what it finds instead.

    An update is on its way for a while, and the server is asked for its coverage once a second only.
    """
    deadline = time.monotonic() + 10
    while (found := read()) != wanted and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    return found


def touched(server: ServerProcess) -> str:
    """How the page begins to say what the server has counted."""
    with server.control() as client:
        counted = client.ask("coverage", function="vf0")
    registers = [found for bar in counted.values() for found in bar.values()]
    return f"{sum(1 for found in registers if found['reads'] or found['writes'])} of {len(registers)} registers touched, "


def test_values_equal_those_of_the_server(server: ServerProcess, watched: WatchServer, browser: Browser) -> None:
    page = opened(browser, watched.url)
    held = drive(server)
    moving = {path for path in held if path.startswith(("frtimer", "eitr"))}
    page.wait_for_selector("#log li:has-text('ctrl')")
    page.wait_for_selector("#messages li:has-text('reset_reply')")
    still = {path: value for path, value in held.items() if path not in moving}
    assert settled(page, lambda: {p: v for p, v in shown(page).items() if p not in moving}, still) == still
    counted = touched(server)
    assert settled(page, lambda: page.inner_text("#coverage")[: len(counted)], counted) == counted
    assert re.search(r"^[1-9]\d* of \d+ registers touched, [1-9]\d* of \d+ fields set$", page.inner_text("#coverage"))
    assert "lu" in page.inner_text("tr[data-path=status] td:nth-child(4)")


def test_rings_in_memory_move(browser: Browser) -> None:
    """What the driver made available is the device's; the page says what the control socket says."""
    device = find("virtio-net")
    with ServerProcess(["virtio-net"]) as server:
        for page_server in serving(server.control_path):
            page = browser.new_page()
            page.goto(page_server.url)
            via = f"vfio-user:{server.sockets[0]}"
            with open_transport(via, device) as transport, driver_for(device)(transport, device) as port:
                Session(port, Options()).start()
                transport.config_read(COMMAND, 2)  # is answered after all that was written
                with server.control() as client:
                    (receive,) = [r for r in client.ask("rings", function="nic0") if r["name"] == "receive 0"]
                assert receive["waiting"] > 0
                place = f"{receive['waiting']} of 256 are the device's, from {receive['head']} on"
                page.wait_for_selector(f"#rings svg[aria-label=\"receive 0: {place}\"]")
                page.wait_for_selector("#rings svg[aria-label^='transmit 0: 0 of 256 ']")
            page.wait_for_selector("#rings .empty")


def test_64_bits_are_shown_exactly(browser: Browser) -> None:
    """A number of JavaScript has 53."""
    device = find("virtio-net")
    index, bar = device.register_bar("queue_desc")
    ones = 0xFFFF_FFFF_FFFF_FFFF
    with ServerProcess(["virtio-net"]) as server, contextmanager(serving)(server.control_path) as page_server:
        page = browser.new_page()
        page.goto(page_server.url)
        with open_transport(f"vfio-user:{server.sockets[0]}", device) as transport:
            transport.config_write(COMMAND, 2, MEMORY_SPACE)
            for at in (0, 4):
                transport.bar(index).write(bar.entries["queue_desc"].offsets[0] + at, 4, ones & 0xFFFF_FFFF)
            with server.control() as client:
                path, value = next((p, v) for p, v in client.ask("peek", function="nic0").items() if p.startswith("queue_desc"))
            assert value == ones
            cell = f"tr[data-path='{path}'] td:nth-child(3)"
            assert settled(page, lambda: page.inner_text(cell), hex(ones)) == hex(ones)


def test_the_log_is_filtered(server: ServerProcess, watched: WatchServer, browser: Browser) -> None:
    page = opened(browser, watched.url)
    drive(server)
    page.wait_for_selector("#log li:has-text(' W v2pmailbox')")
    page.fill("#filter", "W v2pmailbox")
    lines = page.locator("#log li").all_inner_texts()
    assert lines and all(" W v2pmailbox" in line for line in lines)
    page.fill("#find", "rxdctl")
    names = page.evaluate(f"{ROWS}.filter(r => !r.hidden).map(r => r.dataset.path)")
    assert names == ["rxdctl[0]", "rxdctl[1]"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_looks_well(server: ServerProcess, watched: WatchServer, browser: Browser, width: int, scheme: str) -> None:
    page = opened(browser, watched.url, width, scheme)
    drive(server)
    page.wait_for_selector("#messages li:has-text('reset_reply')")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shots = ROOT / "artifacts" / "screenshots"
    shots.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=shots / f"watch-{width}-{scheme}.png")
    assert violations(page) == []


def test_a_trace_shows_what_was_last_seen(server: ServerProcess, browser: Browser, tmp_path: Path) -> None:
    saved = tmp_path / "boot.jsonl"
    command = [str(Path(sys.executable).with_name("regmodel")), "trace", str(server.control_path), "--save", str(saved)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as tracer:
        try:
            until_saved(tracer, saved, "hello")
            held = drive(server)
            with server.control() as client:
                (last,) = client.ask("recent", function="vf0", count=1)
            until_saved(tracer, saved, f'"t":{last[0]},')
        finally:
            tracer.terminate()
    for page_server in serving(saved):
        page = opened(browser, page_server.url)
        seen = shown(page)
        assert {"ctrl", "status", "config.command"} <= seen.keys() and seen.items() <= held.items()
        page.wait_for_selector("#state:text-is('a saved trace')")


def trace_of(room: Path, *events: dict[str, Any]) -> Path:
    """A saved trace of one igbvf."""
    saved = room / "made.jsonl"
    head = {"hello": {"functions": [{"name": "vf0", "device": "igbvf"}]}}
    saved.write_text("".join(json.dumps(line) + "\n" for line in (head, *events)))
    return saved


def test_a_long_trace_is_taken_in(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, even: a browser calls no function with as many arguments."""
    monkeypatch.setattr(sources, "PIECE", 1 << 20)
    about = {"event": "access", "function": "vf0", "bar": 0, "op": "write", "path": "ctrl", "offset": 0, "size": 4}
    saved = trace_of(tmp_path, *({**about, "t": 5 + n, "value": n & 1} for n in range(130_001)))
    with contextmanager(serving)(saved) as page_server:
        page = browser.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(page_server.url)
        page.wait_for_selector("#state:text-is('a saved trace')", timeout=60_000)
        page.wait_for_selector("#log li >> nth=299")
        assert page.locator("#log li").count() == 300
        assert page.inner_text("#log li >> nth=0").split()[:4] == ["0.000130", "vf0", "W", "ctrl"]
        assert wrong == []


def test_many_of_one_kind_push_out_no_other(browser: Browser, tmp_path: Path) -> None:
    about = {"t": 5, "function": "vf0"}
    many = [{**about, "event": "dma", "op": "read", "iova": n, "size": 4} for n in range(4000)]
    first = {**about, "event": "mailbox", "sender": "VF", "words": [1] + 15 * [0]}
    saved = trace_of(tmp_path, first, *many[:2000], {"event": "lost", "count": 5}, *many[2000:])
    for page_server in serving(saved):
        page = browser.new_page()
        page.goto(page_server.url)
        page.wait_for_selector("#state:text-is('a saved trace')")
        page.wait_for_selector("#messages li:has-text('DMA read 0xf9f ')")
        lines = page.locator("#messages li").all_inner_texts()
        assert len(lines) == 302 and all("DMA" in line for line in lines[:300])
        assert lines[300].endswith("5 events lost: this reader is too slow") and "VF->PF reset" in lines[301]
        page.fill("#filter-messages", "vf->pf")
        assert page.locator("#messages li").all_inner_texts() == [lines[301]]
        assert page.locator("#log li").all_inner_texts() == [lines[300]]


def until_saved(tracer: subprocess.Popen[bytes], saved: Path, text: str) -> None:
    """Wait until the tracer has written that."""
    deadline = time.monotonic() + 30
    while not saved.exists() or text not in saved.read_text():
        assert tracer.poll() is None and time.monotonic() < deadline, f"{text} is not saved"
        time.sleep(0.02)


def test_the_end_of_the_server_is_said(server: ServerProcess, watched: WatchServer, browser: Browser) -> None:
    page = opened(browser, watched.url)
    server.stop()
    page.wait_for_selector("#state.ended")
    assert "stopped" in page.inner_text("#state")


def test_only_this_machine_may_look(watched: WatchServer) -> None:
    with urllib.request.urlopen(watched.url) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    request = urllib.request.Request(watched.url, headers={"Host": "evil.example:80"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 403
    assert watched.server_address[0] == "127.0.0.1"


def test_a_port_in_use_and_a_bad_trace_are_one_line(tmp_path: Path, watched: WatchServer) -> None:
    with pytest.raises(UsageError, match="is in use: choose another --port"):
        WatchServer(watched.source, port=watched.server_address[1])
    bad = tmp_path / "bad.jsonl"
    bad.write_text(json.dumps({"hello": {"functions": []}}) + "\n{}\n")
    with pytest.raises(UsageError, match=r"bad.jsonl:2: this is no event"):
        open_source(bad)
    with pytest.raises(UsageError, match="no server answers here"):
        open_source(tmp_path / "none.sock")


def refused(*words: str) -> str:
    """The one line that `regmodel watch` refuses with."""
    command = [sys.executable, "-m", "regmodel.cli", "watch", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and not done.stdout, (done.returncode, done.stdout)
    (line,) = done.stderr.splitlines()
    assert line.startswith("regmodel: ")
    return line


def test_the_command_refuses_in_one_line(server: ServerProcess, watched: WatchServer, tmp_path: Path) -> None:
    port = str(watched.server_address[1])
    said = f"regmodel: port {port} is in use: choose another --port, or 0 for any"
    assert refused(str(server.control_path), "--port", port) == said
    (tmp_path / "noise.jsonl").write_bytes(bytes(range(128, 256)))
    for name, what in (("none.sock", "no server answers here"), ("noise.jsonl", "noise.jsonl")):
        assert what in refused(str(tmp_path / name), "--port", "0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_stopped(server: ServerProcess, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "regmodel.cli", "watch", str(server.control_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[0]
        with urllib.request.urlopen(url) as answer:
            assert answer.status == 200
        process.send_signal(number)
        said, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, ""), said


def test_nothing_is_left_when_the_page_is_closed(server: ServerProcess, watched: WatchServer) -> None:
    """No client of the control socket, so nothing hangs in the card."""
    address = ("127.0.0.1", watched.server_address[1])
    with socket.create_connection(address) as browser, browser.makefile("rb") as answer:
        browser.sendall(b"GET /updates HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
        assert b"event: update\n" in answer
        assert _clients(server) == 3  # two of the page's, and this one
    end = threading.Event()
    for _ in range(50):
        if _clients(server) == 1:
            return
        end.wait(0.1)
    raise AssertionError("the page's connections to the server stay")


def _clients(server: ServerProcess) -> int:
    with server.control():
        listing = subprocess.run(["ss", "-xH"], capture_output=True, text=True, check=True).stdout
    return sum(str(server.control_path) in line for line in listing.splitlines())
