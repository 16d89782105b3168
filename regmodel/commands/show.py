"""``regmodel show``: draws a device, one of its registers, or one of its descriptors or messages."""

from __future__ import annotations

from typing import Annotated

import typer


def show(
    device: Annotated[str, typer.Argument(help="a device name, or path/to/file.py:NAME")],
    register: Annotated[str | None, typer.Argument(help="a register, descriptor or message; none: the whole device")] = None,
) -> None:
    """Draw a device, or one register with its fields, access, resets and sources, or one descriptor or message."""
    from rich.console import Console

    from regmodel.catalogue import find
    from regmodel.render import draw_device, draw_register, draw_schema

    found = find(device)
    console = Console(highlight=False)
    if register is None:
        console.print(draw_device(found))
        return
    name = register.partition("[")[0].lower()
    if name in found.config.entries:
        console.print(draw_register(found.config, name))
    elif name in found.schemas:
        console.print(draw_schema(name, found.schema(name)))
    else:
        console.print(draw_register(found.register_bar(name)[1], name))
