"""``make bench``: ratios against peers, each pair of figures taken in turns within one run.

    python -m tests.bench [--quick] [SECTION ...]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

from regmodel.errors import RegmodelError
from tests.bench.pair import enter_namespace
from tests.bench.table import Section, draw


def sections() -> dict[str, Callable[[bool], Section]]:
    """By name, in the order in which they run; ``quick`` is the argument."""
    from tests.bench import (
        avp_sections,
        guest_sections,
        host_sections,
        ivshmem_sections,
        python_sections,
        virtio_sections,
        vmxnet3_sections,
        watching,
    )

    return {
        "server": host_sections.server,
        "idle": host_sections.idle,
        "latency": host_sections.latency,
        "driver": guest_sections.driver,
        "testpmd": guest_sections.testpmd,
        "tcp": guest_sections.tcp,
        "python": python_sections.python,
        "watch": watching.watch,
        "virtio": virtio_sections.driver("modern", targets=True),
        "virtio-packed": virtio_sections.driver("packed", targets=True),
        "virtio-legacy": virtio_sections.driver("legacy", targets=False),
        "virtio-testpmd": virtio_sections.testpmd,
        "virtio-memory": virtio_sections.memory,
        "vmxnet3": vmxnet3_sections.driver,
        "ivshmem": ivshmem_sections.doorbells,
        "vmxnet3-testpmd": vmxnet3_sections.testpmd,
        "vmxnet3-memory": vmxnet3_sections.memory,
        "avp": avp_sections.waiting,
        "avp-testpmd": avp_sections.testpmd,
    }


def main() -> int:
    from rich.console import Console

    known = sections()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Ratios against peers, interleaved in one run.")
    parser.add_argument("section", nargs="*", help=f"which parts to run: {', '.join(known)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for trying out, not for judging")
    arguments = parser.parse_args()
    unknown = set(arguments.section) - set(known)
    if unknown:
        parser.error(f"there is no section {sorted(unknown)[0]!r}; there are {', '.join(known)}")
    enter_namespace("tests.bench")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    start, missed = time.monotonic(), 0
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} now; each row shows the load when it was done.")
    for name in arguments.section or known:
        section = known[name](arguments.quick)
        console.print(draw(section))
        missed += sum(row.met is False for row in section.rows)
    console.print("Ratios may be compared between runs and machines; the figures beside them belong to this run only.")
    how = " (--quick: for trying out, not for judging)" if arguments.quick else ""
    console.print(f"{time.monotonic() - start:.0f} s, {missed} target{'s' * (missed != 1)} missed{how}")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RegmodelError as error:
        sys.exit(f"regmodel: {error}")
