"""What the live view is fed with, without a browser: values, rows, and what is said of that which is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from drivers.transports.capabilities import COMMAND, MEMORY_SPACE
from drivers.transports.opening import open_transport
from emulators.process import ServerProcess
from emulators.watch import sources
from emulators.watch.sources import COUNTED, LOG, PIECE, Live, Trace, Update, open_source
from regmodel.catalogue import find

PLACES = {name: {path: (i, offset, entry.size) for i, bar in find(name).bars.items() for path, _, offset, entry in bar.placed()}
          for name in ("igbvf", "virtio-net")}  # fmt: skip


def access(op: str, path: str, value: int, device: str = "igbvf", t: int = 9) -> dict[str, Any]:
    bar, offset, size = PLACES[device][path]
    about = {"event": "access", "t": t, "function": "f0", "bar": bar, "op": op}
    return {**about, "path": path, "offset": offset, "size": size, "value": value}


def reset(cause: str) -> dict[str, Any]:
    return {"event": "reset", "t": 9, "function": "f0", "cause": cause}


def updates(room: Path, *events: dict[str, Any], device: str = "igbvf") -> list[Update]:
    """Those of a saved trace of one function."""
    path = room / "t.jsonl"
    head = {"hello": {"functions": [{"name": "f0", "device": device}]}}
    path.write_text("".join(json.dumps(line) + "\n" for line in (head, *events)))
    source = open_source(path)
    assert isinstance(source, Trace)
    return list(source.updates(10, packets=False))


def values(found: list[Update]) -> dict[str, int]:
    """What a page shows in the end."""
    shown: dict[str, int] = {}
    for update in found:
        shown |= update["values"]["f0"]
    return shown


@pytest.mark.parametrize(
    ("device", "events", "shown"),
    [
        ("igbvf", [access("write", "eims", 7), access("write", "eimc", 2)], {"eims": 5, "eimc": 5}),
        ("igbvf", [access("write", "rdt[1]", 5), reset("flr")], {"rdt[1]": 0}),
        ("igbvf", [access("write", "rdt[1]", 5), reset("flr"), access("write", "rdt[1]", 3)], {"rdt[1]": 3}),
        ("igbvf", [access("write", "rdt[1]", 5), reset("of tomorrow")], {"rdt[1]": 5}),
        ("igbvf", [access("read", "v2pmailbox", 0x30)], {"v2pmailbox": 0}),  # a read clears both bits
        (
            "virtio-net",
            [access("write", p, v, "virtio-net") for p, v in
             (("queue_select", 0), ("queue_size", 64), ("queue_select", 1), ("queue_size", 32), ("queue_select", 0))],
            {"queue_select": 0, "queue_size": 64},
        ),
    ],
)  # fmt: skip
def test_a_trace_shows_what_the_registers_hold(
    device: str, events: list[dict[str, Any]], shown: dict[str, int], tmp_path: Path
) -> None:
    """Aliases, resets, reads with side effects and banks of registers change others than the one that was accessed last."""
    assert values(updates(tmp_path, *events, device=device)) == shown


def test_values_are_told_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PIECE", 1)
    found = updates(
        tmp_path, access("write", "eims", 7), access("write", "rdt[1]", 4), access("write", "eimc", 2), reset("bus")
    )
    assert [update["values"]["f0"] for update in found] == [
        {"eims": 7}, {"rdt[1]": 4}, {"eims": 5, "eimc": 5}, {"eims": 0, "eimc": 0, "rdt[1]": 0},
    ]  # fmt: skip


def test_a_long_trace_comes_in_pieces(tmp_path: Path) -> None:
    found = updates(tmp_path, *(access("write", "rdt[1]", n % 8, t=n) for n in range(2 * PIECE + 5)))
    assert [len(update["log"]) for update in found] == [PIECE, PIECE, 5]
    assert [row["t"] for update in found for row in update["log"]] == list(range(2 * PIECE + 5))
    (counted,) = [update["coverage"]["f0"] for update in found if "coverage" in update]
    assert counted["rdt[1]"][1] == 2 * PIECE + 5
    (none,) = updates(tmp_path)
    assert none["log"] == none["messages"] == [] and none["coverage"] == {"f0": {}}


def test_what_a_trace_lost_is_a_row(tmp_path: Path) -> None:
    events = [{"event": "lost", "count": 2}, access("write", "eims", 7, t=3), {"event": "lost", "count": 5}, {"event": "newer"}]
    (found,) = updates(tmp_path, *events)
    said = [(row["t"], row["kind"], row["text"]) for row in found["messages"]]
    assert said == [(3, "lost", f"{count} events lost: this reader is too slow") for count in (2, 5)]
    assert [row["kind"] for row in found["log"]] == ["lost", "access", "lost"]


def test_accesses_that_are_left_out_are_counted() -> None:
    device = find("igbvf")
    index, bar = device.register_bar("rdt")
    at = bar.entries["rdt"].offsets[0]
    with ServerProcess(["igbvf"]) as server, open_transport(f"vfio-user:{server.sockets[0]}", device) as transport:
        transport.config_write(COMMAND, 2, MEMORY_SPACE)
        registers = transport.bar(index)
        registers.read(at, 4)  # is answered after what was written
        looks = Live(server.control_path).updates(100, packets=False)
        next(looks)
        for many, left in (
            (LOG, ""),
            (LOG + 7, "7 accesses not shown"),
            (COUNTED + 9, f"{COUNTED - LOG} or more accesses not shown"),
        ):
            for _ in range(many):
                registers.read(at, 4)
            log = next(looks)["log"]
            assert sum(row["kind"] == "access" for row in log) == LOG
            assert [row["text"] for row in log if row["kind"] == "lost"] == ([left] if left else [])
            assert not left or log[0]["kind"] == "lost"
        looks.close()


def test_events_that_a_server_dropped_are_counted_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources._Heard, "take", lambda _: [{"event": "lost", "count": 12}])
    with ServerProcess(["igbvf"]) as server, server.control() as client:
        looks = Live(server.control_path).updates(10, packets=False)
        before = client.ask("hello")["now"]
        (row,) = next(looks)["messages"]
        after = client.ask("hello")["now"]
        looks.close()
    assert (row["kind"], row["text"]) == ("lost", "12 events lost: this reader is too slow")
    assert before <= row["t"] <= after
