"""QEMU: one on PATH that is new enough, or else Debian's from trixie-backports, unpacked privately in the cache.

May not enter: how a machine is composed. The private one runs through its own dynamic loader, so the host's C library and
the host's packages stay as they are, and neither root nor a chroot is needed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field

from emulators.qemu import debian
from emulators.qemu.cache import Cache
from emulators.qemu.errors import LabError

NEEDED = (11, 0)  # the first release line whose vfio-user-pci this project is proven with
PROGRAM = "qemu-system-x86_64"
TREE = debian.Tree(
    "qemu", ("qemu-system-x86",), debian.BACKPORTS,
    without=("./usr/lib/systemd", "./usr/lib/udev", "./usr/share/qemu/keymaps", "./usr/share/icons",
             "./usr/bin/qemu-system-i386"),
)


@dataclass(frozen=True)
class Qemu:
    """A QEMU that can be started: ``command`` are its first arguments, ``version`` is (major, minor, micro)."""

    command: tuple[str, ...]
    version: tuple[int, int, int]
    where: str
    environment: tuple[tuple[str, str], ...] = field(default=())

    def __str__(self) -> str:
        return f"QEMU {'.'.join(map(str, self.version))} ({self.where})"

    def environ(self) -> dict[str, str]:
        """The environment to start it with."""
        return {**os.environ, **dict(self.environment)}


def find(cache: Cache) -> Qemu:
    """A QEMU >= 11.0 with vfio-user-pci: from PATH if there is one, else private (fetched on first use)."""
    path = shutil.which(PROGRAM)
    if path is not None:
        try:
            return examine((path,), "on PATH")
        except LabError:
            pass  # too old, as in Debian 12, or built without vfio-user: the private one it is
    return private(cache)


def private(cache: Cache) -> Qemu:
    """Debian's QEMU from trixie-backports, in the cache."""
    tree = TREE.path(cache)
    firmware = [word for folder in ("qemu", "seabios") for word in ("-L", str(tree / "usr/share" / folder))]
    command = (*debian.own_loader(tree, tree / "usr/bin" / PROGRAM), *firmware)
    return examine(command, "private, in the cache", (("QEMU_MODULE_DIR", str(tree / debian.MULTIARCH / "qemu")),))


def examine(command: tuple[str, ...], where: str, environment: tuple[tuple[str, str], ...] = ()) -> Qemu:
    """The QEMU behind a command line. Raises LabError where it is too old or lacks vfio-user-pci."""
    environ = {**os.environ, **dict(environment)}
    version = parse_version(_ask(command, "-version", environ))
    if version[:2] < NEEDED:
        raise LabError(f"{command[0]} is QEMU {'.'.join(map(str, version))}; {NEEDED[0]}.{NEEDED[1]} or newer is needed")
    if '"vfio-user-pci"' not in _ask((*command, "-device"), "help", environ):
        raise LabError(f"{command[0]} was built without vfio-user-pci")
    return Qemu(command, version, where, environment)


def parse_version(text: str) -> tuple[int, int, int]:
    """(major, minor, micro) out of the first line of ``qemu -version``."""
    match = re.search(r"version (\d+)\.(\d+)\.(\d+)", text)
    if match is None:
        raise LabError(f"not a QEMU: it says {text[:60]!r}")
    return int(match[1]), int(match[2]), int(match[3])


def _ask(command: tuple[str, ...], question: str, environ: dict[str, str]) -> str:
    try:
        answer = subprocess.run([*command, question], capture_output=True, text=True, env=environ, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{command[0]} does not run: {error}") from error
    if answer.returncode:
        raise LabError(f"{command[0]} does not run: {answer.stderr.strip() or answer.returncode}")
    return answer.stdout
