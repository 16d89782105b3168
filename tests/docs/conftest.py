"""The documentation, built once for all tests, and a browser to look at it."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.browser import browser

__all__ = ["browser"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Site:
    """The built pages, how long building took (in CPU seconds, whatever else the machine did), and what Sphinx said."""

    folder: Path
    seconds: float
    said: str

    def pages(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*.html") if "_static" not in path.parts)


def spent() -> float:
    """CPU seconds of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def build(project: Path) -> subprocess.CompletedProcess[str]:
    """The pages of a copy of the project, into its ``html``; the descriptions are those of the copy, too."""
    words = ("-W", "--keep-going", "-q", "-j", "2", "-b", "html", "-d", "doctrees", "docs", "html")
    command = [sys.executable, "-m", "sphinx", *words]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    for room, made in (("docs", "devices"), ("regmodel", "__pycache__")):  # a copy: a test changes a description
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns(made))
    start = spent()
    done = build(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return Site(folder / "html", spent() - start, done.stderr)
