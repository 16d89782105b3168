"""What is kept when something goes wrong in a guest: one folder, whose path is printed.

May not enter: deciding that something went wrong. A folder holds, for each guest, ``console.log``, ``dmesg.txt``,
``qemu.stderr``, ``qemu.command`` and ``qemu.txt`` (what the monitor says), and whatever the hooks add: log, counters and the
decoded register trace of each device server, for one.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from emulators.qemu.cache import default_root, remove, say

Hook = Callable[[Path], object]  # given the folder, adds files to it

KEEP = 30  # so many failure folders stay
KNOWN = "what is known about it is in"

_WARNINGS = re.compile(
    r"WARNING: |BUG: |\bOops\b|kernel BUG at|Kernel panic|Call Trace:|general protection fault|Unable to handle kernel"
    r"|Detected Tx Unit Hang|NETDEV WATCHDOG|transmit queue \d+ timed out|soft lockup|hard LOCKUP|blocked for more than"
    r"|rcu.*(?:stall|starved)|nobody cared|UBSAN:|KASAN:|DMAR: (?:\[[^]]*\]|DRHD|.*fault)|swiotlb buffer is full"
    r"|AER: (?:Multiple |Correct|Uncorrect)|hung_task|scheduling while atomic|possible circular locking"
    r"|page allocation failure")
_UNDER_TEST = re.compile(r"(?:igbvf|virtio_net|virtio-pci|virtio_pci|vmxnet3|8021q|vfio-pci|uio_pci_generic|eth\d+)\b")
"""How what the drivers of the devices under test say begins, and what is said of their interfaces."""
_TROUBLE = re.compile(
    r"\btx hang\b|\b[Uu]nexpected\b|\b[Ff]ail(?:s|ed|ure)?\b|\b[Ee]rrors?\b|\b[Ww]arning\b|\b[Tt]imed? ?out\b|\b[Cc]annot\b"
    r"|\b[Uu]nable\b|\b[Ii]nvalid\b|\b[Cc]ould not\b|\bdisabl|\bnot (?:supported|responding)\b|\bbad\b|\bstuck\b|\bcorrupt")
_WARNING = 4
"""Kernel log levels up to this are complaints (include/linux/kern_levels.h ``KERN_WARNING``)."""
_LINE = re.compile(r"^(?:<(\d+)>)?((?:\[[^\]]*\] ?)*(.*))$")  # a second bracket is CONFIG_PRINTK_CALLER's
_HARMLESS = re.compile(
    r"DMAR: (?:DRHD base|Host address width|IOMMU enabled|dmar\d|No ATSR|No RMRR|No SATC|Intel\(R\)|ATSR flags|RMRR base)"
    r"|^vfio-pci \S+: reset(?:ting| done)$")  # warnings in drivers/pci/pci.c, pci_dev_save_and_disable and pci_dev_restore


def kernel_warnings(dmesg: str) -> list[str]:
    """The lines of a kernel log with which a kernel complains: about itself, a device or a DMA fault; and whatever a driver of
    the devices under test says of trouble, or at the level of a warning, where the log has levels (``dmesg -r``).
    """
    return [text for line in dmesg.splitlines() for text in _complaint(line)]


def _complaint(line: str) -> Iterator[str]:
    """The line without its level, if it is one."""
    level, text, message = _LINE.fullmatch(line).groups()  # type: ignore[union-attr]  # it matches every line
    serious = level is not None and int(level) % 8 <= _WARNING
    own = _UNDER_TEST.match(message) and (serious or _TROUBLE.search(message))
    if (own or _WARNINGS.search(message)) and not _HARMLESS.search(message):
        yield str(text)


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

    def keep(self, what: str, save: Hook, name: str = "", *, silent: bool = False) -> Path:
        """Let ``save`` write into the folder (its sub-folder ``name``), then every hook; say where that is, unless ``silent``:
        then whoever called does."""
        first = not self._told or self._folder is None
        folder = self._make() if first or self._folder is None else self._folder
        self._folder, self._told = folder, True
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        guarded(save, target, "guest")
        if first:
            for label, hook in self.hooks.items():
                guarded(hook, folder, label)
            if not silent:
                say(f"{what}; {KNOWN} {folder}")
        return folder

    def _make(self) -> Path:
        self._root.mkdir(parents=True, exist_ok=True)
        for old in sorted(self._root.iterdir())[:-KEEP]:
            remove(old)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        for number in range(1000):
            folder = self._root / (f"{stamp}-{os.getpid()}" + (f"-{number}" if number else ""))
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
        raise OSError(f"cannot make a failure folder in {self._root}")


def guarded(save: Hook, folder: Path, label: str) -> None:
    """Run one saver; what it raises is written down beside the rest, so that it hides neither the rest nor the failure."""
    try:
        save(folder)
    except Exception:
        (folder / f"{label}-not-saved.txt").write_text(traceback.format_exc())
