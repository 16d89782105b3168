"""``python -m emulators.qemu.setup``: fetches and builds what guests need, so that the first one boots at once.

QEMU, both kernels, the base user space, every kit, and the verdict on KVM: nothing is fetched later on. ``--minimal`` leaves
it at what a plain guest needs: QEMU, the default kernel and the base user space. ``--refresh`` makes everything anew, which
is how newer Debian packages get in.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from emulators.qemu import initramfs, kernels, userspace
from emulators.qemu.cache import say
from emulators.qemu.lab import Lab
from regmodel.errors import RegmodelError


def main(argv: list[str] | None = None) -> int:
    """Prepare the lab; 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m emulators.qemu.setup", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minimal", action="store_true", help="only what a plain guest needs")
    parser.add_argument("--refresh", action="store_true", help="fetch and build everything anew")
    options = parser.parse_args(argv)
    started = time.monotonic()
    try:
        prepare(Lab(), minimal=options.minimal, refresh=options.refresh)
    except RegmodelError as error:
        print(f"regmodel: {error}", file=sys.stderr)
        return error.status
    say(f"the lab is ready ({time.monotonic() - started:.0f} s)")
    return 0


def prepare(lab: Lab, *, minimal: bool = False, refresh: bool = False) -> None:
    """Put into the cache what is missing there: all that any guest needs, or with ``minimal`` what a plain one needs."""
    if refresh:
        for kind in ("initramfs", "kernels", "accel", "trees"):
            lab.cache.prune(kind, 0, spared=0)
    say(f"using {lab.qemu}")
    for name in (kernels.DEFAULT,) if minimal else kernels.RELEASES:
        kernel = kernels.get(lab.cache, name)
        archive = initramfs.build(lab.cache, kernel)
        say(f"{kernel}, user space of {_mebibytes(archive)} MiB")
    for kit in () if minimal else userspace.KITS.values():
        kit.tree.path(lab.cache)
    _ = lab.accelerator  # tried now rather than before the first guest, and said


def _mebibytes(path: Path) -> int:
    return path.stat().st_size >> 20


if __name__ == "__main__":
    raise SystemExit(main())
