"""``regmodel encode``: a register value or a descriptor put together field by field."""

from __future__ import annotations

from typing import Annotated

import typer


def encode(
    device: Annotated[str, typer.Argument(help="a device name, or path/to/file.py:NAME")],
    name: Annotated[str, typer.Argument(help="a register, descriptor, message or structure")],
    fields: Annotated[list[str] | None, typer.Argument(help="field=value: 5, 0x1f, 0b101, or the name of a value")] = None,
    start: Annotated[str | None, typer.Option("--from", help="begin with this value or these bytes")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="the value alone")] = False,
) -> None:
    """Put a register value or the bytes of a descriptor together, field by field.

    \b
    regmodel encode igbvf rxdctl enable=1 pthresh=16
    regmodel encode igbvf tx_data buffer_addr=0x1000 cmd_type_len.dtalen=64 cmd_type_len.eop=1
    """
    from rich.console import Console

    from regmodel.catalogue import describe
    from regmodel.commands.bits import encoded
    from regmodel.patterns import assignments
    from regmodel.render import decode

    found = describe(device)
    value = encoded(found, name, assignments(fields or []), start)
    drawing = decode(found, name, value)
    if quiet:
        print(value.hex() if isinstance(value, bytes) else f"{value:#x}")
        return
    console = Console(highlight=False)
    if isinstance(value, bytes):
        console.print(value.hex(), soft_wrap=True)
    console.print(drawing)
