"""``python -m emulators.qemu.setup``: fetches and builds what guests need, so that the first one boots at once.

Without arguments: QEMU, Linux 7.2, the base user space, and the verdict on KVM. ``--all`` adds Linux 6.12 and every kit;
``--refresh`` makes everything anew, which is how newer Debian packages get in.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from emulators.qemu import initramfs, kernels, userspace
from emulators.qemu.cache import remove, say
from emulators.qemu.lab import Lab
from regmodel.errors import RegmodelError


def main(argv: list[str] | None = None) -> int:
    """Prepare the lab; 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m emulators.qemu.setup", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="also Linux 6.12 and every kit of programs")
    parser.add_argument("--refresh", action="store_true", help="fetch and build everything anew")
    options = parser.parse_args(argv)
    started = time.monotonic()
    try:
        prepare(Lab(), everything=options.all, refresh=options.refresh)
    except RegmodelError as error:
        print(f"regmodel: {error}", file=sys.stderr)
        return error.status
    say(f"the lab is ready ({time.monotonic() - started:.0f} s)")
    return 0


def prepare(lab: Lab, *, everything: bool = False, refresh: bool = False) -> None:
    """Put into the cache what is missing there: all that a guest needs, or with ``everything`` all that any guest needs."""
    if refresh:
        for kind in ("initramfs", "kernels", "accel", "trees"):
            remove(lab.cache.root / kind)
    say(f"using {lab.qemu}")
    for name in kernels.RELEASES if everything else (kernels.DEFAULT,):
        kernel = kernels.get(lab.cache, name)
        archive = initramfs.build(lab.cache, kernel, kits=tuple(userspace.KITS) if everything else ("base",))
        say(f"{kernel}, user space of {_mebibytes(archive)} MiB")
    _ = lab.accelerator  # tried now rather than before the first guest, and said


def _mebibytes(path: Path) -> int:
    return path.stat().st_size >> 20


if __name__ == "__main__":
    raise SystemExit(main())
