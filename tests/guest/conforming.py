"""The conformance suite in a guest: `regmodel conform` on a device that is bound to vfio-pci, and its report brought out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from emulators.qemu import VM
from regmodel.conformance.outcomes import Report
from regmodel.conformance.reports import write
from regmodel.conformance.reports.json_form import load
from tests.conformance import peer
from tests.conformance.peer_table import PAGES, counts, published

SECONDS = 180.0


def conform(vm: VM, device: str, bdf: str, *words: str, cpu: int | None = None) -> Report:
    """What the command wrote as JSON; its exit status, its one line and its JUnit XML say the same.

    ``cpu``: the only one that it runs on.
    """
    alone = [] if cpu is None else ["taskset", "-c", str(cpu)]
    files = ("--json", "/tmp/conform.json", "--junit", "/tmp/conform.xml")
    command = [*alone, "regmodel", "conform", device, "--via", f"vfio:{bdf}", "-q", *files, *words]
    said = vm.run(shlex.join(command), timeout=SECONDS)
    assert said.status in (0, 1, 3), said.stderr.decode()
    report = load(vm.get("/tmp/conform.json").decode())
    assert (said.status, said.text.split(" (")[0]) == (report.status, report.summary.split(" (")[0])
    cases = list(ElementTree.fromstring(vm.get("/tmp/conform.xml").decode()).iter("testcase"))
    assert len(cases) == len(report.rows)
    return report


def differs_as_listed(page: str, device: str, reports: Mapping[str, Report], folder: Path) -> None:
    """QEMU's model fails where the list of the page says, no more and no less, and the page counts rightly.

    The reports are kept in ``folder``: `python -m tests.conformance.peer_table` makes the page of them.
    """
    for way, report in reports.items():
        write("json", report, folder / f"{device}-{way}.json")
        print(report.summary)
        assert report.complete
    assert not (said := peer.unexplained(peer.differences(reports), peer.load(PAGES[page].path, device))), said
    assert list(counts(reports)) == published(page, device), f"docs/qemu-{page}.md is to be made anew, of {folder}"
