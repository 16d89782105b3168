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

    from regmodel.catalogue import describe
    from regmodel.render import draw, draw_device

    found = describe(device)
    Console(highlight=False).print(draw_device(found) if register is None else draw(found, register))
