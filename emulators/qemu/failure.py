"""What is kept when something goes wrong in a guest: one folder, whose path is printed.

May not enter: deciding that something went wrong. A folder holds, for each guest, ``console.log``, ``dmesg.txt``,
``qemu.stderr``, ``qemu.command`` and ``qemu.txt`` (what the monitor says), and whatever the hooks add: the decoded register
trace of a device server, for one.
"""

from __future__ import annotations

import os
import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from emulators.qemu.cache import default_root, remove, say

Hook = Callable[[Path], object]  # given the folder, adds files to it

KEEP = 30  # so many failure folders stay

_WARNINGS = re.compile(
    r"WARNING: |BUG: |\bOops\b|kernel BUG at|Kernel panic|Call Trace:|general protection fault|Unable to handle kernel"
    r"|Detected Tx Unit Hang|NETDEV WATCHDOG|transmit queue \d+ timed out|soft lockup|hard LOCKUP|blocked for more than"
    r"|rcu.*(?:stall|starved)|nobody cared|UBSAN:|KASAN:|DMAR: (?:\[[^]]*\]|DRHD|.*fault)|swiotlb buffer is full"
    r"|AER: (?:Multiple |Correct|Uncorrect)|hung_task|scheduling while atomic|possible circular locking"
    r"|page allocation failure")
_HARMLESS = re.compile(
    r"DMAR: (?:DRHD base|Host address width|IOMMU enabled|dmar\d|No ATSR|No RMRR|No SATC|Intel\(R\)|ATSR flags|RMRR base)")


def kernel_warnings(dmesg: str) -> list[str]:
    """The lines of a kernel log with which a kernel complains: about itself, a driver, a device or a DMA fault."""
    return [line for line in dmesg.splitlines() if _WARNINGS.search(line) and not _HARMLESS.search(line)]


def root() -> Path:
    """Where failure folders are: ``$REGMODEL_FAILURES``, or ``failures/`` in the cache."""
    named = os.environ.get("REGMODEL_FAILURES")
    return Path(named) if named else default_root() / "failures"


class Keeper:
    """Makes failure folders: one for all guests that run together, on the first failure among them, announced once.

    ``hooks`` add to every folder, by label: setting a label again replaces what it stood for.
    """

    def __init__(self, where: Path | None = None) -> None:
        self._root = where or root()
        self._folder: Path | None = None
        self._guests = 0
        self._told = False
        self.hooks: dict[str, Hook] = {}

    @property
    def folder(self) -> Path | None:
        """The latest folder, if something was kept."""
        return self._folder

    def guest_starts(self) -> None:
        """One more guest runs; the first one begins a new story."""
        if self._guests == 0:
            self._told = False
        self._guests += 1

    def guest_stops(self) -> None:
        """One guest less."""
        self._guests -= 1

    def keep(self, what: str, save: Hook, name: str = "") -> Path:
        """Let ``save`` write into the folder (its sub-folder ``name``), then every hook; say where that is."""
        first = not self._told or self._folder is None
        folder = self._make() if first or self._folder is None else self._folder
        self._folder, self._told = folder, True
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        guarded(save, target, "guest")
        if first:
            for label, hook in self.hooks.items():
                guarded(hook, folder, label)
            say(f"{what}; what is known about it is in {folder}")
        return folder

    def _make(self) -> Path:
        self._root.mkdir(parents=True, exist_ok=True)
        for old in sorted(self._root.iterdir())[:-KEEP]:
            remove(old)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        for number in range(1000):
            folder = self._root / (f"{stamp}-{os.getpid()}" + (f"-{number}" if number else ""))
            if not folder.exists():
                folder.mkdir()
                return folder
        raise OSError(f"cannot make a failure folder in {self._root}")


def guarded(save: Hook, folder: Path, label: str) -> None:
    """Run one saver; what it raises is written down beside the rest, so that it hides neither the rest nor the failure."""
    try:
        save(folder)
    except Exception:
        (folder / f"{label}-not-saved.txt").write_text(traceback.format_exc())
