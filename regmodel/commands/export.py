"""``regmodel export``: writes a description in another language."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    device: Annotated[str, typer.Argument(help="a device name, or path/to/file.py:NAME")],
    format: Annotated[str, typer.Option("--format", "-f", help="what to write: verilog, or whatever is installed")],
    output: Annotated[Path, typer.Option("--output", "-o", help="a file, or a directory for one file per BAR")],
    bar: Annotated[int | None, typer.Option("--bar", help="this BAR only")] = None,
) -> None:
    """Write a device's description in another language, for example as a register block in Verilog."""
    from regmodel.catalogue import describe
    from regmodel.errors import UsageError
    from regmodel.export import backend

    texts = backend(format)(describe(device), bar)
    alone = len(texts) == 1 and not output.is_dir()
    if output.is_file() and not alone:
        raise UsageError(f"{output} is a file and there are {len(texts)} to write; name a directory, or one BAR with --bar")
    try:
        for name, text in texts.items():
            path = output if alone else output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(path)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from error
