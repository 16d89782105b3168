"""KVM or TCG: KVM only where a guest really runs on it.

``/dev/kvm`` may exist and open, and the guest die as soon as it runs, as under some hypervisors without nested paging. So a
probe guest is booted and kept busy for some seconds, once per host boot; its verdict is in the cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emulators.qemu.cache import Cache, digest, say
from emulators.qemu.errors import LabError

# Unpacks, computes and switches processes for about 3 s: what a half-working KVM dies of.
PROBE = """
now() { cut -d. -f1 /proc/uptime; }
end=$(($(now) + 3))
while [ "$(now)" -lt $end ]; do head -c 1000000 /dev/urandom | sha256sum > /dev/null; done
echo alive
"""


@dataclass(frozen=True)
class Accelerator:
    """``name`` is ``kvm`` or ``tcg``; ``why`` says how that was decided."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name.upper()} ({self.why})"


def choose(cache: Cache, key: str, probe: Callable[[], str], device: Path = Path("/dev/kvm")) -> Accelerator:
    """The accelerator of this host. ``$REGMODEL_ACCEL`` (kvm or tcg) decides where it is set.

    ``probe`` boots a guest under KVM and returns "" where it ran well, else why not. ``key`` is what the verdict depends on.
    """
    forced = os.environ.get("REGMODEL_ACCEL", "")
    if forced:
        if forced not in ("kvm", "tcg"):
            raise LabError(f"REGMODEL_ACCEL={forced!r} is neither kvm nor tcg")
        return Accelerator(forced, "REGMODEL_ACCEL says so")
    if not device.exists():
        return Accelerator("tcg", f"there is no {device}")
    if not os.access(device, os.R_OK | os.W_OK):
        return Accelerator("tcg", f"{device} cannot be opened: is this user in the group kvm?")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def make(part: Path) -> None:
        say(f"{device} is there: trying a guest on it, once")
        part.write_text(probe())

    problem = cache.entry("accel", digest("probe 1", boot, key), make).read_text()
    cache.prune("accel", 8)
    if problem:
        return Accelerator("tcg", f"a probe guest failed under KVM: {problem}")
    return Accelerator("kvm", "a probe guest ran on it")
