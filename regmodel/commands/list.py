"""``regmodel list``: what is described, under which ids, and what drives it."""

from __future__ import annotations

from typing import Annotated

import typer

from regmodel.errors import UsageError

VFS_PER_PORT = 7
"""As the stock PF drivers of the described cards enable them beside the PF's own pool (Linux ``igb_probe_vfs``)."""


def list_devices(
    ports: Annotated[int, typer.Option(help="how VFs are numbered on a card of this many ports", min=1, max=4)] = 1,
) -> None:
    """List the devices: their names, PCI ids, and the stock drivers that they are proven with."""
    from rich.console import Console
    from rich.table import Table

    from regmodel.catalogue import devices

    if ports == 3:
        raise UsageError("a card has 1, 2 or 4 ports")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("device", "ids", "what it is", "driven by"):
        table.add_column(column, no_wrap=column != "what it is")
    for name, device in devices().items():
        table.add_row(name, str(device.identity), device.title, ", ".join(device.drivers) or "-")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print()
    for port in range(ports):
        numbers = ", ".join(f"VF{n}" for n in range(port, VFS_PER_PORT * ports, ports))
        console.print(f"VFs of port {port} of {ports}: {numbers}")
    console.print("`regmodel show DEVICE` draws one; `regmodel vm --device DEVICE` boots a guest with it.")
