"""Descriptions drawn for the terminal: registers as bit pictures, records to scale, and values decoded.

Everything returned is a rich renderable; ``text`` makes a plain string of one. Importing this imports rich: commands do so
when they draw. Nothing in here computes: what is shown is read off the description.
"""

from __future__ import annotations

from rich.console import Console, RenderableType

from regmodel.render.devices import decode, draw, draw_device, draw_keys
from regmodel.render.registers import decode_register, draw_bar, draw_register
from regmodel.render.schemas import decode_bytes, draw_schema

__all__ = [
    "decode",
    "decode_bytes",
    "decode_register",
    "draw",
    "draw_bar",
    "draw_device",
    "draw_keys",
    "draw_register",
    "draw_schema",
    "text",
]


def text(renderable: RenderableType, width: int = 80, *, color: bool = False) -> str:
    """The drawing as lines of at most ``width`` columns, without trailing blanks; with ``color``, ANSI sequences."""
    console = Console(width=width, force_terminal=color, color_system="standard" if color else None, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
