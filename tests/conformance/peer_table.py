"""What passes and what differs on QEMU's own models of our devices, as pages: ``docs/qemu-igb-vf.md`` and its like.

::

    python -m tests.conformance.peer_table igb-vf VFIO.json FIRMWARE.json > docs/qemu-igb-vf.md

The reports are those of `regmodel conform --json`, two of each device of the page; which differences there are, and who is
right, says its list.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path

from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.reports.json_form import load as load_report
from regmodel.conformance.suite import TESTS
from tests.conformance.peer import WAYS, Entry, load

DOCS = Path(__file__).parents[2] / "docs"
TITLES = {
    Outcome.PASS: "pass", Outcome.FAIL: "differ", Outcome.VIRTUALISED: "virtualised", Outcome.EXCLUDED: "excluded",
    Outcome.NOT_APPLICABLE: "not applicable", Outcome.INCOMPLETE: "incomplete",
}  # fmt: skip


@dataclass(frozen=True)
class Page:
    """The page of a model, of which there may be several ``devices``."""

    title: str
    list: str
    devices: tuple[str, ...]

    @property
    def path(self) -> Path:
        return Path(__file__).with_name(self.list)


PAGES = {
    "igb-vf": Page("The 82576 VF of QEMU's igb", "qemu_igb_vf.toml", ("igbvf",)),
    "virtio-net": Page(
        "QEMU's virtio-net-pci", "qemu_virtio_net.toml", ("virtio-net", "virtio-net-transitional", "virtio-net-legacy")
    ),
    "vmxnet3": Page("QEMU's vmxnet3", "qemu_vmxnet3.toml", ("vmxnet3",)),
}


def page(name: str, reports: Mapping[str, Mapping[str, Report]]) -> Iterator[str]:
    """The lines of a page; reports by device and way."""
    about = PAGES[name]
    yield f"# {about.title}, by our conformance suite\n"
    made = f"`python -m tests.conformance.peer_table {name}`"
    yield f"Made by {made}; do not edit. Rows are registers, or what a test works with."
    for device in about.devices:
        if len(about.devices) > 1:
            yield f"\n## {device}"
        yield ""
        yield from counts(reports[device])
    yield "\n## What differs\n" if len(about.devices) > 1 else "\nWhat differs:\n"
    yield from differing(about)


def published(name: str, device: str) -> list[str]:
    """The lines of the page that ``counts`` has made of a device."""
    text = (DOCS / f"qemu-{name}.md").read_text()
    if len(PAGES[name].devices) > 1:
        text = text.partition(f"\n## {device}\n")[2]
    after = dropwhile(lambda line: not line.startswith("|"), text.splitlines())
    return list(takewhile(lambda line: line.startswith("|"), after))


def counts(reports: Mapping[str, Report]) -> Iterator[str]:
    """How many rows of each test came to which end, as lines of a page; reports by way."""
    yield f"| test | {' | '.join(f'through {way}' if way == 'vfio' else f'from {way}' for way in WAYS)} |"
    yield "|---" * (len(WAYS) + 1) + "|"
    for test in TESTS:
        cells = [_cell(reports[way], test.name) for way in WAYS]
        if any(cells):
            yield f"| {test.name} | {' | '.join(cells)} |"


def _cell(report: Report, test: str) -> str:
    counts = Counter(row.outcome for row in report.rows if row.test == test)
    return ", ".join(f"{counts[outcome]} {title}" for outcome, title in TITLES.items() if counts[outcome])


def differing(about: Page) -> Iterator[str]:
    """Entries of the list in their order; where there are several devices, with those that each is about."""
    lists = {device: load(about.path, device) for device in about.devices}
    entries = list(dict.fromkeys(entry for found in lists.values() for entry in found))
    several = len(lists) > 1
    yield f"|{' of |' if several else ''} where | ours | theirs | right | why |"
    yield "|---" * (5 + several) + "|"
    for entry in entries:
        of = [device for device, found in lists.items() if entry in found]
        yield f"|{f' {_of(of, lists)} |' if several else ''}{_row(entry)}"


def _of(devices: list[str], every: Mapping[str, object]) -> str:
    return "all" if len(devices) == len(every) else ", ".join(devices)


def _row(entry: Entry) -> str:
    one = entry.differences[0]
    where = ", ".join(f"`{difference.at}`" for difference in entry.differences)
    return f" {where} | {one.ours or '-'} | {one.theirs or '-'} | {entry.right} | {' '.join(entry.clause.split())} |"


def main(name: str, *paths: str) -> None:
    devices = PAGES[name].devices
    pairs = zip(paths[::2], paths[1::2], strict=True)
    found = {
        device: {way: load_report(Path(path).read_text()) for way, path in zip(WAYS, pair, strict=True)}
        for device, pair in zip(devices, pairs, strict=True)
    }
    print("\n".join(page(name, found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
