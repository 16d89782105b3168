"""``regmodel conform``: judge a device by its description, wherever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def conform(
    device: Annotated[str, typer.Argument(help="a name or file.py:NAME, see `regmodel list`")],
    via: Annotated[str, typer.Option(help="where it is, see below")] = "inprocess",
    neighbour: Annotated[str | None, typer.Option(help="another function of the same card, as for --via, to talk to")] = None,
    physical: Annotated[bool, typer.Option("--physical", help="of vfio: DMA of the device passes the IOMMU by")] = False,
    test: Annotated[list[str] | None, typer.Option(help="only this test, or those that begin so; may be repeated")] = None,
    why: Annotated[bool, typer.Option("--why", help="print the reason for everything that was left out")] = False,
    junit: Annotated[Path | None, typer.Option(help="write JUnit XML there")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all results there")] = None,
    html: Annotated[Path | None, typer.Option(help="write a single page there")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="print the verdict only")] = False,
    needless: Annotated[bool, typer.Option("--needless", help="also try what the description excludes")] = False,
) -> None:
    """Judge a device by its description: registers, interrupts, mailbox, rings.

    \b
    --via inprocess[:NAME=VALUE,...]
                              our model, in this process, with options as for `regmodel serve --option`
    --via vfio-user:SOCKET    what a vfio-user server serves, e.g. `regmodel serve`
    --via vfio:BDF            a PCI function bound to vfio-pci
    --via firmware[:WHERE]    from a guest image without operating system: registers, by one table of accesses;
                              WHERE is vfio-user:SOCKET, e1000e (a device of QEMU's), igb/vf0 (a VF of one),
                              pci:DEVICE (one on a conventional bus)
    --via firmware:live[:...] the same, access by access: interrupts, mailbox and rings as well
    --via rtl                 the exported Verilog, simulated (if installed)
    --via others              whatever else is installed as a target

    Exit status: 0 passed, 1 something failed, 2 wrong usage, 3 incomplete: not all could be judged, or nothing, because the
    target cannot be opened. The files are written in any case but 2.
    """
    import logging

    from drivers.conformance import judge_via
    from regmodel.catalogue import find
    from regmodel.conformance.reports import write

    complaints = logging.getLogger("regmodel.device")
    level = complaints.level
    complaints.setLevel(logging.CRITICAL)  # what the device says of the suite's accesses
    try:
        options = {"physical": True} if physical else {}
        report = judge_via(via, find(device), tests=test or (), needless=needless, neighbour=neighbour, **options)
    finally:
        complaints.setLevel(level)
    if quiet:
        print(f"{report.summary}: {report.stopped}" if report.stopped else report.summary)
    else:
        from rich.console import Console

        from regmodel.conformance.reports.table import draw

        Console(highlight=False).print(draw(report, why=why))
    for form, path in (("junit", junit), ("json", json_path), ("html", html)):
        if path is not None:
            write(form, report, path)
    raise typer.Exit(report.status)
