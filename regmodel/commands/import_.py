"""``regmodel import``: a description made from a file of another tool, to go on from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from regmodel.importing import formats


def import_(
    file: Annotated[Path, typer.Argument(help="what to read")],
    format: Annotated[str, typer.Option("--format", "-f", help=f"what it is: {', '.join(formats())}")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a file to write; none: print it")] = None,
    json: Annotated[bool, typer.Option("--json", help="the elaborated tree as JSON instead of Python")] = False,
) -> None:
    """Make a description from a register file in another language: a skeleton in Python.

    All registers, fields, arrays, accesses and resets are in it; rings, messages and models are for you to write. What
    cannot be taken is said with its line and a remedy, and then nothing is written.

    \b
    regmodel import --format systemrdl uart.rdl -o uart.py
    regmodel show uart.py:DESCRIPTION
    """
    from regmodel.errors import UsageError
    from regmodel.export.json_tree import write
    from regmodel.importing import reader
    from regmodel.importing.skeleton import skeleton

    found = reader(format)(file)
    text = write(found) if json else skeleton(found, f"{file.name} ({format})")
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
    print(output)
