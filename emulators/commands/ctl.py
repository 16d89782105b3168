"""``regmodel ctl``: steer a running server through its control socket."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def ctl(
    server: Annotated[Path, typer.Argument(help="the control socket, or the vfio-user socket beside it")],
    words: Annotated[list[str], typer.Argument(help="what to do, see below")],
    json_output: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Steer a running server.

    \b
    vf N mac ADDRESS             like `ip link set PF vf N mac ADDRESS`; 00:00:00:00:00:00 takes it back
    vf N vlan ID \\[qos PRIORITY]  port VLAN; 0 takes it back
    vf N spoofchk on|off         drop frames whose source is not the VF's
    vf N trust on|off            let the VF change what the PF has set
    vf N state auto|enable|disable
    link up|down                 the cable of the port
    pf-reset                     the PF resets its port; VFs lose and regain it
    stats                        all counters
    On a card of several ports: `port P` in front, e.g. `port 1 link down`; with several cards, `card C` before that.
    """
    from emulators.control.client import ControlClient

    with ControlClient(server) as client:
        result = client.ask("stats") if words == ["stats"] else client.ask("ctl", words=words)
    if json_output:
        import json

        print(json.dumps(result, indent=1))
    elif result is not None:
        _print(result)


def _print(result: Any, indent: int = 0) -> None:
    """Nested counters, a line each, zeros left out."""
    pad = "  " * indent
    if not isinstance(result, dict):
        print(f"{pad}{result}")
        return
    for key, value in result.items():
        if isinstance(value, dict):
            if _something(value):
                print(f"{pad}{key}")
                _print(value, indent + 1)
        elif value not in (0, None, [], ""):
            print(f"{pad}{key:<24} {value}")


def _something(value: Any) -> bool:
    """Whether a nest of counters holds anything but zeros."""
    return any(_something(v) for v in value.values()) if isinstance(value, dict) else value not in (0, None, [], "")
