"""``regmodel docs``: the datasheet of devices, as a web site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regmodel.errors import RegmodelError, UsageError


class BuildFailed(RegmodelError):
    """Sphinx could not build the pages."""


def docs(
    devices: Annotated[list[str] | None, typer.Argument(help="names, or path/to/file.py:NAME; none: all installed")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="the folder to write")] = Path("site"),
    strict: Annotated[bool, typer.Option(help="fail when a register, field or message has no description or source")] = False,
) -> None:
    """Build the datasheet of devices: a web site of plain files, with search, that needs no server.

    \b
    regmodel docs igbvf -o site
    regmodel docs path/to/mine.py:MINE --strict
    """
    import tempfile

    from regmodel.catalogue import describe
    from regmodel.catalogue import devices as installed

    names = devices or list(installed())
    for name in names:
        describe(name)  # a name that is wrong is one line, before anything is built
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is no folder: name another one with -o")
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "source"
        source.mkdir()
        (source / "index.rst").write_text(_index(names))
        _build(source, output.absolute(), Path(work) / "doctrees", names, strict)
    print(f"{output / 'index.html'}: {', '.join(names)}")


def _index(names: list[str]) -> str:
    title = "Datasheets" if len(names) > 1 else "Datasheet"
    return f"{title}\n{'=' * len(title)}\n\n.. toctree::\n   :maxdepth: 2\n\n   devices/index\n"


def _build(source: Path, output: Path, doctrees: Path, names: list[str], strict: bool) -> None:
    try:
        from sphinx.application import Sphinx
        from sphinx.errors import SphinxError
    except ImportError:
        raise UsageError("the datasheet is built by Sphinx, which is not installed: pip install 'regmodel[docs]'") from None
    import io
    import re

    said = io.StringIO()
    settings = {
        "project": "regmodel", "extensions": ["regmodel.sphinx"], "regmodel_devices": names, "html_theme": "furo",
        "html_title": ", ".join(names), "html_copy_source": False,
    }  # fmt: skip
    try:
        app = Sphinx(
            source, None, output, doctrees, "html", confoverrides=settings, status=None, warning=said, freshenv=True,
            warningiserror=strict, parallel=2,
        )  # fmt: skip
        app.build(force_all=True)
    except SphinxError as error:
        raise BuildFailed(f"Sphinx: {error}") from None
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in said.getvalue().splitlines() if line.strip()]
    if strict and (app.statuscode or lines):
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        raise BuildFailed(f"{lines[0] if lines else 'Sphinx failed'}{more}")
