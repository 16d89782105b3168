"""``regmodel diff``: what changed between two descriptions, by what it means to a driver."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

_SIDE = "a device, path/to/file.py:NAME, or a .json, .rdl or .svd file"


def diff(
    before: Annotated[str, typer.Argument(help=_SIDE)],
    after: Annotated[str, typer.Argument(help=_SIDE)],
    format: Annotated[str, typer.Option("--format", "-f", help="text, markdown, json or sarif")] = "text",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a file to write; none: print it")] = None,
    least: Annotated[str, typer.Option("--least", help="leave out what weighs less: documentation, behaviour, breaking")] = (
        "documentation"
    ),
    exit_code: Annotated[bool, typer.Option("--exit-code", help="exit with 1 when there is anything to say, for CI")] = False,
) -> None:
    """Compare two descriptions, or two revisions of one: would a driver of the first still work on the second?

    \b
    regmodel diff igbvf igbvf-i350
    regmodel export igbvf --format json -o old.json; regmodel diff old.json igbvf --least behaviour --exit-code
    regmodel diff old.json igbvf --format sarif -o diff.sarif
    """
    from regmodel.diff import Severity, compare
    from regmodel.diff.load import load_both
    from regmodel.diff.report import FORMATS
    from regmodel.errors import UsageError

    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
    weights = {str(severity): severity for severity in Severity}
    if least not in weights:
        raise UsageError(f"unknown severity {least!r}; known: {', '.join(weights)}")
    sides = load_both(before, after)
    found = [f for f in compare(sides[0].tree, sides[1].tree) if f.severity >= weights[least]]
    text = FORMATS[format](*sides, found)
    if output is None:
        sys.stdout.write(text)
    else:
        try:
            output.write_text(text)
        except OSError as error:
            raise UsageError(f"cannot write {output}: {error.strerror}") from error
        print(output)
    if exit_code and found:
        raise SystemExit(1)
