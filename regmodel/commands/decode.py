"""``regmodel decode``: what a register value or the bytes of a descriptor or message mean."""

from __future__ import annotations

from typing import Annotated

import typer

from regmodel.errors import UsageError
from regmodel.patterns import number, octets


def decode(
    device: Annotated[str, typer.Argument(help="a device name, or path/to/file.py:NAME")],
    register: Annotated[str | None, typer.Argument(help="a register, e.g. v2pmailbox or rdt[1]")] = None,
    value: Annotated[str | None, typer.Argument(help="its value: 0x..., decimal, 0b..., or '0b1, uint:7=5, 0xff'")] = None,
    descriptor: Annotated[str | None, typer.Option("--descriptor", "-d", help="a descriptor or message, with --hex")] = None,
    data: Annotated[str | None, typer.Option("--hex", help="its bytes as they lie in memory")] = None,
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="a prompt, for encoding too")] = False,
) -> None:
    """Decode a register value into fields, or the bytes of a descriptor or message.

    \b
    regmodel decode igbvf status 0x80
    regmodel decode igbvf --descriptor tx_data 0010c0ff...
    regmodel decode igbvf -i
    """
    from rich.console import Console

    from regmodel.catalogue import describe
    from regmodel.render import decode as decoded

    found = describe(device)
    console = Console(highlight=False)
    if interactive:
        from regmodel.commands.bits import Prompt

        Prompt(found, console).run()
        return
    if descriptor is not None:
        text = data if data is not None else register
        if text is None:
            raise UsageError(f"give the bytes: regmodel decode {device} --descriptor {descriptor} HEX")
        console.print(decoded(found, descriptor, octets(text)))
        return
    if register is None or value is None:
        raise UsageError(f"give a register and its value, e.g. `regmodel decode {device} status 0x80`, or -i for a prompt")
    console.print(decoded(found, register, number(value)))
