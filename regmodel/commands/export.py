"""``regmodel export``: writes a description in another language."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from regmodel.export import TRACES, formats

_FORMATS = f"{', '.join(formats())}; of a trace {', '.join(formats(TRACES))}"


def export(
    device: Annotated[str, typer.Argument(help="a device name, or path/to/file.py:NAME")],
    format: Annotated[str, typer.Option("--format", "-f", help=f"what to write: {_FORMATS}")],
    output: Annotated[Path, typer.Option("--output", "-o", help="a file, or a directory for one file per BAR")],
    bar: Annotated[int | None, typer.Option("--bar", help="this BAR only")] = None,
    trace: Annotated[Path | None, typer.Option("--trace", help="a trace to write, as `regmodel trace --save` makes it")] = None,
    left_out: Annotated[Path | None, typer.Option("--left-out", help="list here, by path, what the format cannot say")] = None,
) -> None:
    """Write a device's description in another language: C, SystemRDL, SVD, JSON, Verilog, a Wireshark dissector; or, with
    --trace, what a driver did to it: a waveform, a capture for that dissector.

    What the format has no words for is said on stderr, and listed one by one in --left-out FILE.
    """
    from regmodel.catalogue import describe
    from regmodel.errors import UsageError
    from regmodel.export import backend, trace_backend, traced
    from regmodel.export.omissions import summary
    from regmodel.traces import load

    description = describe(device)
    files: Mapping[str, str] | Mapping[str, bytes]
    if trace is None:
        files = backend(format)(description, bar)
    elif bar is not None:
        raise UsageError("a trace is written with all of its BARs; leave --bar out")
    else:
        write, saved = trace_backend(format), load(trace)
        files = write(description, saved, traced(saved, description, device))
    omitted = getattr(files, "left_out", ())
    alone = len(files) == 1 and not output.is_dir()
    if output.is_file() and not alone:
        raise UsageError(f"{output} is a file and there are {len(files)} to write; name a directory, or one BAR with --bar")
    try:
        for name, content in files.items():
            path = output if alone else output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            print(path)
        if left_out is not None:
            left_out.write_text("".join(f"{item}\n" for item in omitted))
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from error
    if left_out is None:
        for line in summary(omitted, format):
            print(line, file=sys.stderr)
