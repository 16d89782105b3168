"""The conformance suite in a guest: `regmodel conform` on a device that is bound to vfio-pci, and its report brought out."""

from __future__ import annotations

import shlex
from xml.etree import ElementTree

from emulators.qemu import VM
from regmodel.conformance.outcomes import Report
from regmodel.conformance.reports.json_form import load

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
