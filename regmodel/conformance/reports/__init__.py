"""A report for people and for machines: the terminal, JUnit XML, JSON, a single HTML page.

Nothing in here judges: each form is read off a ``Report``. Libraries that only one form needs are imported by that form.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from regmodel.conformance.outcomes import Report
from regmodel.errors import UsageError


def write(form: str, report: Report, path: Path) -> None:
    """Write ``report`` as ``junit``, ``json`` or ``html`` to ``path``. Raises ``UsageError`` when that cannot be done."""
    from regmodel.conformance.reports import html, json_form, junit

    forms: dict[str, Callable[[Report], str]] = {"junit": junit.text, "json": json_form.text, "html": html.text}
    try:
        path.write_text(forms[form](report), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: the report cannot be written: {error.strerror}") from error
