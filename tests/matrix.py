"""``make matrix``: every cell of the guest matrix, in resumable shards, and what came of it in ``docs/matrix.json``.

A cell that was green is not run again until something that it is made of has changed, or ``--again PATTERN`` matches its
name; a run that is cut off goes on where it stopped. ``tests/test_matrix.py`` fails when a cell is missing from the file,
or red in it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "docs" / "matrix.json"
SHARD_SECONDS = 75 * 60
BATCH = 6
MADE_OF = ("regmodel", "emulators", "drivers", "firmware", "pyproject.toml")
"""What every cell is made of, besides its own test and what tests share."""


def collect() -> list[str]:
    """The names of all cells, in order of collection. Files that never say ``mark.guest`` are not even read by pytest."""
    files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/**/test_*.py") if "mark.guest" in path.read_text())
    out = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "--cells", "all", "-m", "guest", *files],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [line for line in out.stdout.splitlines() if "::" in line and not line.startswith(("ERROR", "FAILED"))]


def load() -> dict[str, Any]:
    """What is known so far."""
    return json.loads(RESULT.read_text()) if RESULT.exists() else {"cells": {}}


def commit() -> str:
    """The commit of this tree, marked when files differ from it."""
    run = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()  # noqa: E731
    dirty = [line for line in run("status", "--porcelain").splitlines() if "docs/matrix.json" not in line]
    return run("rev-parse", "--short=12", "HEAD") + ("+" if dirty else "")


@cache
def _differing(since: str) -> frozenset[str]:
    """The files that differ from commit ``since``, in the tree as it is; everything, when that commit is not known."""
    done = subprocess.run(["git", "diff", "--name-only", since], cwd=ROOT, capture_output=True, text=True)
    return frozenset(done.stdout.split()) if done.returncode == 0 else frozenset({"regmodel"})


def unchanged(cell: str, since: str) -> bool:
    """Whether nothing that a cell is made of has changed since it was green."""
    own = cell.partition("::")[0]
    return not since.endswith("+") and not any(
        path == own or path.startswith(MADE_OF) or _shared(path) for path in _differing(since)
    )


def _shared(path: str) -> bool:
    """A file of the tests that is no test: fixtures, helpers, lists of differences."""
    return path.startswith("tests/") and not Path(path).name.startswith("test_") and path != "tests/matrix.py"


def versions() -> dict[str, str]:
    """What the guests ran on."""
    from emulators.qemu import Lab, kernels

    lab = Lab()
    found = {"qemu": str(lab.qemu), "accelerator": lab.accelerator.name, "python": sys.version.split()[0]}
    for name in ("7.2", "6.12"):
        found[f"kernel {name}"] = str(kernels.get(lab.cache, name))
    return found


def run(cells: list[str]) -> dict[str, dict[str, Any]]:
    """Run some cells; the outcome and seconds of each."""
    xml = ROOT / "artifacts" / "matrix.xml"
    xml.parent.mkdir(exist_ok=True)
    xml.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "pytest", "-q", "--cells", "all", f"--junitxml={xml}", *cells], cwd=ROOT, check=False)
    outcomes: dict[str, dict[str, Any]] = {}
    if not xml.exists():
        return {cell: {"outcome": "lost"} for cell in cells}
    for case in ElementTree.parse(xml).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        bad = next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), None)
        seconds = round(float(case.get("time", 0)), 1)
        outcomes[name] = {"outcome": {None: "passed", "failure": "failed"}.get(bad, bad), "seconds": seconds}
    return {cell: outcomes.get(_junit(cell), {"outcome": "lost"}) for cell in cells}


def _junit(cell: str) -> str:
    """What JUnit XML calls a test, class and name: dots for all that stands before the parameters."""
    path, bracket, parameters = cell.partition("[")
    return path.replace(".py::", "::").replace("/", ".").replace("::", ".") + bracket + parameters


def main() -> int:
    parser = argparse.ArgumentParser(prog="make matrix", description=__doc__.splitlines()[0])
    parser.add_argument("--again", default=None, metavar="PATTERN", help="run cells whose name matches even if they are green")
    parser.add_argument("--only", default="", metavar="PATTERN", help="of the cells to run, only those whose name matches")
    parser.add_argument("--seconds", type=float, default=SHARD_SECONDS, help="stop after this long; run again to go on")
    options = parser.parse_args()
    known, cells, started = load(), collect(), time.monotonic()
    now = commit()
    done = {
        name
        for name, cell in known["cells"].items()
        if cell["outcome"] == "passed" and unchanged(name, cell["commit"])
        if not (options.again and re.search(options.again, name))
    }
    left = [cell for cell in cells if cell not in done and re.search(options.only, cell)]
    print(f"matrix: {len(cells)} cells, {len(left)} to run at {now}", flush=True)
    found_versions = versions()
    while left and time.monotonic() - started < options.seconds:
        batch, left = left[:BATCH], left[BATCH:]
        for name, outcome in run(batch).items():
            known["cells"][name] = {**outcome, "commit": now, "versions": found_versions, "date": time.strftime("%Y-%m-%d")}
        known["cells"] = {name: known["cells"][name] for name in cells if name in known["cells"]}
        partial = RESULT.with_suffix(".partial")
        partial.write_text(json.dumps(known, indent=1) + "\n")
        partial.replace(RESULT)
    red = [name for name, cell in known["cells"].items() if cell["outcome"] != "passed"]
    missing = [name for name in cells if name not in known["cells"]]
    print(f"matrix: {len(known['cells']) - len(red)} green, {len(red)} red, {len(missing)} not run yet")
    for name in red:
        print(f"  red: {name}")
    if missing:
        print("  run `make matrix` again to go on")
    return 1 if red or missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
