"""``regmodel watch``: a page in the browser that shows a running server, or a saved trace."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer


def watch(
    server: Annotated[Path, typer.Argument(help="a control socket, the vfio-user socket beside it, or a saved trace")],
    port: Annotated[int, typer.Option(help="TCP port on 127.0.0.1; 0: any that is free", min=0, max=65535)] = 8640,
    rate: Annotated[float, typer.Option(help="updates a second", min=0.1, max=50)] = 10.0,
    browser: Annotated[bool, typer.Option(help="open the page in your browser")] = False,
) -> None:
    """Show registers, accesses, rings, messages and coverage of a running server while a driver works, until stopped.

    \b
    regmodel watch /tmp/vf0.sock
    regmodel watch boot.jsonl --port 0
    """
    import signal
    import webbrowser

    from emulators.watch.http import WatchServer
    from emulators.watch.sources import open_source

    with WatchServer(open_source(server), port, rate) as page:
        print(f"{page.url}  (stop with Ctrl-C)", flush=True)
        if browser:
            webbrowser.open(page.url)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)  # whatever the shell that started this in the background did
        with contextlib.suppress(KeyboardInterrupt):
            page.serve_forever()
