"""``regmodel decode``: what a register value or the bytes of a descriptor or message mean."""

from __future__ import annotations

from typing import Annotated

import typer

from regmodel.errors import UsageError


def decode(
    device: Annotated[str, typer.Argument(help="a device name, or path/to/file.py:NAME")],
    register: Annotated[str | None, typer.Argument(help="a register, e.g. v2pmailbox or rdt[1]")] = None,
    value: Annotated[str | None, typer.Argument(help="its value: 0x..., 0b... or decimal")] = None,
    descriptor: Annotated[str | None, typer.Option("--descriptor", "-d", help="a descriptor or message, with --hex")] = None,
    data: Annotated[str | None, typer.Option("--hex", help="its bytes as they lie in memory")] = None,
) -> None:
    """Decode a register value into fields, or the bytes of a descriptor or message.

    \b
    regmodel decode igbvf status 0x80
    regmodel decode igbvf --descriptor tx_data 0010c0ff...
    """
    from rich.console import Console

    from regmodel.catalogue import describe
    from regmodel.render import decode as decoded

    found = describe(device)
    console = Console(highlight=False)
    if descriptor is not None:
        text = data if data is not None else register
        if text is None:
            raise UsageError(f"give the bytes: regmodel decode {device} --descriptor {descriptor} HEX")
        console.print(decoded(found, descriptor, hex_bytes(text)))
        return
    if register is None or value is None:
        raise UsageError(f"give a register and its value, e.g. `regmodel decode {device} status 0x80`")
    console.print(decoded(found, register, number(value)))


def number(text: str) -> int:
    """A non-negative number in Python notation. Raises ``UsageError``."""
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if value < 0:
        raise UsageError(f"{text!r} is no value; write 0x1f, 0b11111 or 31")
    return value


def hex_bytes(text: str) -> bytes:
    """Bytes from hexadecimal digits, with or without blanks, colons and 0x. Raises ``UsageError``."""
    digits = text.lower().removeprefix("0x").replace(" ", "").replace(":", "").replace("_", "")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise UsageError(f"{text!r} is not hexadecimal; write the bytes as they lie in memory, e.g. 00c0ffee") from None
