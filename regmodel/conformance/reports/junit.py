"""The report as JUnit XML, one suite per test and one case per register, as CI servers read it."""

from __future__ import annotations

from xml.etree import ElementTree

from regmodel.conformance.outcomes import Outcome, Report, Row

SKIPPED = (Outcome.EXCLUDED, Outcome.VIRTUALISED, Outcome.NOT_APPLICABLE)


def text(report: Report) -> str:
    """UTF-8 with a declaration. What was left out is skipped, with its reason; what was not reached is an error. Bits
    of a register that were left out stand, with the reason, in the output of its case.
    """
    root = ElementTree.Element("testsuites", name=f"{report.device} on {report.target}", time=f"{report.seconds:.3f}")
    tests: dict[str, list[Row]] = {}
    for row in report.rows:
        tests.setdefault(row.test, []).append(row)
    for name, rows in tests.items():
        counts = {
            "tests": len(rows),
            "failures": sum(r.outcome is Outcome.FAIL for r in rows),
            "errors": sum(r.outcome is Outcome.INCOMPLETE for r in rows),
            "skipped": sum(r.outcome in SKIPPED for r in rows),
        }
        seconds = sum(r.seconds for r in rows)
        attributes = {key: str(count) for key, count in counts.items()}
        suite = ElementTree.SubElement(root, "testsuite", {"name": name, "time": f"{seconds:.3f}", **attributes})
        for row in rows:
            _case(suite, report, row)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, report: Report, row: Row) -> None:
    name = f"{report.device}.{row.test}"
    case = ElementTree.SubElement(suite, "testcase", classname=name, name=row.register, time=f"{row.seconds:.3f}")
    if row.outcome is Outcome.FAIL:
        failure = ElementTree.SubElement(case, "failure", message=row.reason)
        failure.text = "\n".join(str(finding) for finding in row.findings)
    elif row.outcome is Outcome.INCOMPLETE:
        ElementTree.SubElement(case, "error", message=row.reason)
    elif row.outcome in SKIPPED:
        ElementTree.SubElement(case, "skipped", message=f"{row.outcome.value}: {row.reason}")
    if row.notes:
        ElementTree.SubElement(case, "system-out").text = "\n".join(f"left out: {note}" for note in row.notes)
