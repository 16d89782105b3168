"""``regmodel list``: what is described, under which ids, and what it was proven with."""

from __future__ import annotations

from typing import Annotated

import typer


def list_devices(
    ports: Annotated[int, typer.Option(help="how VFs are numbered on a card of this many ports", min=1, max=4)] = 1,
) -> None:
    """List the devices: names, PCI ids, BARs, vectors, rings, mailboxes and the stock drivers that prove them."""
    from rich.console import Console
    from rich.table import Table

    from regmodel.catalogue import devices

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("device", "ids", "what it is", "BARs", "MSI-X", "drivers"):
        table.add_column(column, no_wrap=column in ("device", "ids"))
    found = devices()
    for name, device in found.items():
        bars = ", ".join(f"{i}: {bar.size >> 10} KiB" for i, bar in device.bars.items())
        vectors = str(device.msix_vectors or "-")
        table.add_row(name, str(device.identity), device.title, bars, vectors, ", ".join(device.drivers) or "-")
    console = Console(highlight=False)
    console.print(table)
    per_port = {port: [n for n in range(8) if n % ports == port] for port in range(ports)}
    numbering = "; ".join(f"port {port}: VF{', VF'.join(map(str, numbers))}, ..." for port, numbers in per_port.items())
    console.print(f"\nVFs of a card of {ports} port{'s' if ports > 1 else ''} are numbered across its ports: {numbering}")
    console.print("`regmodel show DEVICE` draws one; `regmodel vm --device DEVICE` boots a guest with it.")
